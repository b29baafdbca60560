"""DoRA is refused without the base model and converted with it, to what PEFT's own merge gives."""

import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file

from tasks.blending.base_weights import read_base_weights
from tasks.blending.dora import read_dora
from tasks.blending.exact import blend_exact
from tasks.blending.peft_files import read_adapter, write_adapter
from tasks.blending.recompression import ToEnergy, ToRank
from tasks.files import InvalidInput
from tests.blending.models import fresh_model, peft_deltas, randomise

MODULES = ["q_proj", "down_proj", "conv2", "conv1", "embed"]


@pytest.fixture(scope="module")
def dora(tmp_path_factory):
    """A DoRA adapter with moved magnitudes, its base on disk, and the weights that PEFT merges it to."""
    root = tmp_path_factory.mktemp("dora")
    config = LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=MODULES)
    model = get_peft_model(fresh_model(), config)
    randomise(model, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "magnitude" in name:
                parameter.copy_(1 + torch.rand(parameter.shape, generator=generator))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(str(root / "adapter"), save_embedding_layers=False)
    base = {name: value.clone().contiguous() for name, value in fresh_model().state_dict().items()}
    (root / "base").mkdir()
    save_file(base, root / "base/model.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = PeftModel.from_pretrained(fresh_model(), str(root / "adapter")).merge_and_unload().state_dict()
    deltas = {name: (merged[name] - value).double() for name, value in base.items() if name.endswith("weight")}
    return root, {name.removesuffix(".weight"): d for name, d in deltas.items() if float(d.norm()) > 1e-4}


def test_dora_is_refused_by_name_with_the_remedy(dora):
    with pytest.raises(InvalidInput, match=r"adapter: DoRA: .*tesserae blend --base DIR"):
        read_adapter(dora[0] / "adapter")


def test_at_full_rank_the_converted_adapter_is_what_peft_merges(dora, tmp_path):
    root, wanted = dora
    converted = read_dora(root / "adapter", read_base_weights(root / "base"), ToEnergy(1.0))
    write_adapter(blend_exact([converted.adapter], [1.0], base_model_name="b", revision=None), tmp_path / "out")
    found = peft_deltas(tmp_path / "out")
    for module, delta in wanted.items():
        assert float((found[module] - delta).norm() / delta.norm()) < 1e-5, module
    assert set(converted.lost_energy) == set(wanted)


def test_a_truncated_conversion_reports_the_energy_it_lost(dora, tmp_path):
    root, wanted = dora
    converted = read_dora(root / "adapter", read_base_weights(root / "base"), ToRank(2))
    write_adapter(blend_exact([converted.adapter], [1.0], base_model_name="b", revision=None), tmp_path / "out")
    found = peft_deltas(tmp_path / "out")
    for module, delta in wanted.items():
        lost = float((found[module] - delta).norm() ** 2 / delta.norm() ** 2)
        assert lost == pytest.approx(converted.lost_energy[module], rel=1e-3)


def test_another_base_model_is_refused(dora, tmp_path):
    root, _ = dora
    (tmp_path / "base").mkdir()
    save_file({"layers.0.q_proj.weight": torch.ones(3, 3)}, tmp_path / "base/model.safetensors")
    with pytest.raises(InvalidInput) as refused:
        read_dora(root / "adapter", read_base_weights(tmp_path / "base"), ToRank(2))
    assert "layers.0.q_proj.weight has shape (3, 3) and the adapter (8, 8)" in str(refused.value)
    assert "the base model has no embed.weight" in str(refused.value)
