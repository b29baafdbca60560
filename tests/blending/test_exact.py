"""The exact blend equals the weighted sum of the deltas, as real PEFT sees both."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from safetensors.torch import load_file

from tasks.blending.blend import changes_nothing, module_norms, random_like, rescale
from tasks.blending.exact import blend_exact
from tasks.blending.memory import resident, stored_bytes
from tasks.blending.peft_files import read_adapter, write_adapter
from tests.blending.models import peft_deltas, relative_error, save_random_adapter, weighted_sum

LINEAR = ["q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "down_proj"]
OTHERS = ["embed", "conv1", "conv2", "conv2_unit", "conv3"]
NAME = "base"

configs = st.builds(
    LoraConfig,
    r=st.integers(1, 5),
    lora_alpha=st.integers(1, 16),
    use_rslora=st.booleans(),
    target_modules=st.lists(st.sampled_from(LINEAR + OTHERS), min_size=1, unique=True),
    rank_pattern=st.dictionaries(
        st.sampled_from(["layers.0.q_proj", r"layers\.[12]\..*_proj", "conv2"]), st.integers(1, 4)
    ),
    alpha_pattern=st.dictionaries(st.sampled_from(["layers.1.k_proj", ".*down_proj", "^embed"]), st.integers(1, 9)),
)
weights = st.floats(-2, 2).filter(lambda weight: abs(weight) > 1e-3)


def blended(directories: list[Path], chosen: list[float], out: Path) -> Path:
    blend = blend_exact([read_adapter(path) for path in directories], chosen, base_model_name=NAME, revision=None)
    write_adapter(blend, out)
    return out


@settings(max_examples=25, deadline=None)
@given(terms=st.lists(st.tuples(configs, weights), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_the_reloaded_blend_is_the_weighted_sum_of_deltas(terms, seed):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        directories = [save_random_adapter(root / str(i), config, seed=seed + i) for i, (config, _) in enumerate(terms)]
        chosen = [weight for _, weight in terms]
        out = blended(directories, chosen, root / "blend")
        assert relative_error(peft_deltas(out), weighted_sum(directories, chosen)) < 1e-6


def two_adapters(root: Path) -> list[Path]:
    first = LoraConfig(r=2, lora_alpha=7, target_modules=["q_proj", "v_proj", "conv2"])
    second = LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "down_proj"])
    return [save_random_adapter(root / "first", first, seed=1), save_random_adapter(root / "second", second, seed=2)]


def test_adapters_of_weight_zero_add_no_rank(tmp_path):
    adapters = [read_adapter(path) for path in two_adapters(tmp_path)]
    assert blend_exact(adapters, [1.0, 0.0], base_model_name=NAME, revision=None).rank == 2


def test_all_weights_zero_give_a_zero_adapter_of_rank_one_that_peft_loads(tmp_path):
    directories = two_adapters(tmp_path)
    out = blended(directories, [0.0, 0.0], tmp_path / "blend")
    deltas = peft_deltas(out)
    assert read_adapter(out).config.rank == 1
    assert all(float(delta.norm()) == 0 for delta in deltas.values())


def test_shares_of_a_module_are_the_shares_of_the_norm_and_sum_to_one(tmp_path):
    directories = two_adapters(tmp_path)
    blend = blend_exact([read_adapter(d) for d in directories], [0.5, -2.0], base_model_name=NAME, revision=None)
    module = "layers.0.q_proj"
    norms = [weight * float(peft_deltas(d)[module].norm()) for d, weight in zip(directories, (0.5, 2.0), strict=True)]
    assert list(blend.shares[module].values()) == pytest.approx([norm / sum(norms) for norm in norms])
    assert blend.shares["layers.0.down_proj"] == {str(directories[1]): 1.0}


def test_adapters_held_in_memory_blend_to_the_same_bits_and_their_files_are_not_opened_again(tmp_path):
    directories = two_adapters(tmp_path)
    read = [read_adapter(directory) for directory in directories]
    held = [resident(adapter) for adapter in read]
    expected = blend_exact(read, [0.5, -2.0], base_model_name=NAME, revision=None)
    assert (
        stored_bytes(read[0])
        == stored_bytes(held[0])
        == sum(
            tensor.numel() * tensor.element_size()
            for tensor in load_file(directories[0] / "adapter_model.safetensors").values()
        )
    )
    for directory in directories:
        (directory / "adapter_model.safetensors").unlink()
    found = blend_exact(held, [0.5, -2.0], base_model_name=NAME, revision=None)
    assert found.config == expected.config
    assert found.shares == expected.shares
    assert all(torch.equal(found.tensors[key], tensor) for key, tensor in expected.tensors.items())


def test_only_a_blend_without_any_delta_changes_nothing(tmp_path):
    adapters = [read_adapter(directory) for directory in two_adapters(tmp_path)]
    for weights, still in (([0.0, 0.0], True), ([0.0, 1e-6], False), ([1.0, 1.0], False)):
        assert changes_nothing(blend_exact(adapters, weights, base_model_name=NAME, revision=None)) == still


def test_module_norms_rescale_and_the_random_control_agree_on_norms(tmp_path):
    directories = two_adapters(tmp_path)
    blend = blend_exact([read_adapter(d) for d in directories], [0.7, -0.3], base_model_name=NAME, revision=None)
    norms = module_norms(blend)
    wanted = weighted_sum(directories, [0.7, -0.3])
    expected = {module: float(wanted[module].norm()) if module in wanted else 0.0 for module in norms}
    assert norms == pytest.approx(expected, rel=1e-5)
    doubled = module_norms(rescale(blend, {"conv2": -2.0}))
    assert doubled["conv2"] == pytest.approx(2 * norms["conv2"])
    control = random_like(blend, torch.Generator().manual_seed(3))
    assert module_norms(control) == pytest.approx(norms, rel=1e-5)
    assert not torch.equal(*(b.tensors["base_model.model.conv2.lora_A.weight"] for b in (blend, control)))
