"""The reader: lazy, strict, and never more than it was asked for."""

import json
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import save, save_file

from tasks.blending.adapter_config import parse_config, rank_of, scale_of
from tasks.blending.exact import blend_exact
from tasks.blending.hub import fetch_adapter
from tasks.blending.peft_files import read_adapter
from tasks.blending.safetensors_file import read_header
from tasks.files import InvalidInput
from tests.benchmarks.fuzz_reader import fuzz
from tests.blending.models import fresh_model, randomise, save_random_adapter


def test_fuzzed_adapters_are_read_or_refused_and_leave_nothing_behind():
    found = fuzz(600, seed=2)
    assert found["blended"] + found["refused"] == 600


def test_opening_reads_headers_and_no_tensor(tmp_path):
    directory = save_random_adapter(tmp_path / "a", LoraConfig(r=2, target_modules=["q_proj"]), seed=0)
    adapter = read_adapter(directory)
    (directory / "adapter_model.safetensors").unlink()
    assert adapter.modules["layers.0.q_proj"].rank == 2
    with pytest.raises(FileNotFoundError):
        adapter.modules["layers.0.q_proj"].factors(torch.float32)


def test_a_declared_shape_beyond_the_file_is_refused_before_memory_is_taken(tmp_path):
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "x").write_bytes(len(header).to_bytes(8, "little") + header)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InvalidInput, match=r"lies at 0\.\.4398046511104 of 0 bytes"):
        read_header(tmp_path / "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


@settings(max_examples=30, deadline=None)
@given(shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_every_dtype_and_shape_is_read_as_safetensors_writes_it(tmp_path_factory, shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    dtypes = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool]
    tensors = {
        str(i): torch.randint(0, 2, shape, generator=generator).to(dtypes[(i + seed) % len(dtypes)])
        for i, shape in enumerate(shapes)
    }
    path = tmp_path_factory.mktemp("x") / "x.safetensors"
    path.write_bytes(save(tensors))
    found = read_header(path).tensors
    assert all(torch.equal(found[name].read(), tensor) for name, tensor in tensors.items())
    assert all(found[name].read().dtype == tensor.dtype for name, tensor in tensors.items())


names = st.sampled_from(["layers.0.q_proj", "layers.10.q_proj", "x.layers.1.v_proj", "q_proj", "conv2"])
patterns = st.dictionaries(
    st.sampled_from(["q_proj", r"layers\.\d\.q_proj", "^layers.1", ".*v_proj", "layers.0.q_proj", "conv"]),
    st.integers(1, 9),
)


@given(module=names, ranks=patterns, alphas=patterns, rslora=st.booleans())
def test_ranks_and_scales_are_resolved_by_pefts_own_rule(module, ranks, alphas, rslora):
    from peft.utils.other import get_pattern_key

    raw = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "rank_pattern": ranks, "alpha_pattern": alphas}
    config = parse_config("x", {**raw, "use_rslora": rslora})
    rank = ranks.get(get_pattern_key(list(ranks), module), 4)
    alpha = alphas.get(get_pattern_key(list(alphas), module), 6)
    assert rank_of(config, module) == rank
    assert scale_of(config, module) == pytest.approx(alpha / (rank**0.5 if rslora else rank))


def test_every_fault_of_a_config_is_listed_at_once():
    with pytest.raises(InvalidInput) as refused:
        parse_config("mine", {"peft_type": "LORA", "r": 0, "lora_alpha": "x", "rank_pattern": [1]})
    assert len(refused.value.problems) == 3
    assert all(str(problem).startswith("mine: adapter_config.json: ") for problem in refused.value.problems)


def test_a_shard_outside_the_directory_is_refused(tmp_path):
    directory = save_random_adapter(tmp_path / "a", LoraConfig(r=2, target_modules=["q_proj"]), seed=0)
    (directory / "adapter_model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (directory / "adapter_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidInput, match=r"'../outside.safetensors' is no safetensors file beside it"):
        read_adapter(directory)


def test_diverged_training_is_refused_by_adapter_and_module(tmp_path):
    directory = save_random_adapter(tmp_path / "a", LoraConfig(r=2, target_modules=["q_proj"]), seed=0)
    tensors = {f"base_model.model.layers.0.q_proj.lora_{part}.weight": torch.ones(2, 2) for part in "AB"}
    tensors["base_model.model.layers.0.q_proj.lora_B.weight"][0, 0] = float("nan")
    save_file(tensors, directory / "adapter_model.safetensors")
    with pytest.raises(InvalidInput, match=r"mine: module layers.0.q_proj has values that are not finite"):
        blend_exact([read_adapter(directory, name="mine")], [1.0], base_model_name="b", revision=None)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_base_embedding_that_peft_saves_beside_its_factors_is_kept_under_any_weights(tmp_path):
    for i in range(2):
        model = get_peft_model(fresh_model(), LoraConfig(r=2, target_modules=["embed"]))
        randomise(model, i)
        model.save_pretrained(str(tmp_path / str(i)), save_embedding_layers=True)
        base = {"base_model.model.embed.base_layer.weight": fresh_model().embed.weight.detach().clone()}
        from safetensors.torch import load_file

        path = tmp_path / str(i) / "adapter_model.safetensors"
        save_file({**load_file(path), **base}, path)
    adapters = [read_adapter(tmp_path / str(i)) for i in range(2)]
    blend = blend_exact(adapters, [0.7, -0.4], base_model_name="b", revision=None)
    assert torch.equal(blend.tensors["base_model.model.embed.base_layer.weight"], fresh_model().embed.weight)
    assert blend.config["modules_to_save"] is None


@pytest.mark.parametrize("address", ["hub:owner/name", "hub:owner/name@main", "hub:owner/name@abc123"])
def test_an_unpinned_hub_adapter_is_refused_with_the_pin_as_remedy(address):
    with pytest.raises(InvalidInput, match=r"pin it: hub:owner/name@<40-digit commit>"):
        fetch_adapter(address)


def test_a_pinned_hub_adapter_comes_from_the_hubs_cache(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "models--owner--name" / "snapshots" / commit
    save_random_adapter(snapshot, LoraConfig(r=2, target_modules=["q_proj"]), seed=0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = fetch_adapter(f"hub:owner/name@{commit}")
    assert Path(found) == snapshot
    assert read_adapter(found).config.rank == 2
