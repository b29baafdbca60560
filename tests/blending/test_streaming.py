"""Streaming writes what blending in memory gives, for many targets at once, atomically and in little memory."""

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors import safe_open
from safetensors.torch import load_file

from tasks.blending.memory import blend_adapters
from tasks.blending.peft_files import read_adapter
from tasks.blending.profiles import Compact, Portable
from tasks.blending.recompression import Exact, ToEnergy, ToRank
from tasks.blending.safetensors_writer import SafetensorsWriter
from tasks.blending.streaming import Job, Output, check_job, stream_blends
from tasks.files import InvalidInput
from tests.blending.models import peft_deltas, relative_error, save_random_adapter, weighted_sum

CPU = torch.device("cpu")
WEIGHTS = [{"0": 0.7, "1": -0.3, "2": 0.6}, {"1": 1.0}, {"0": 0.5, "2": 0.5}]


@pytest.fixture(scope="module")
def directories(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("library")
    configs = [
        LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "conv2", "embed"]),
        LoraConfig(r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "down_proj", "conv1"]),
        LoraConfig(r=4, lora_alpha=2, target_modules=["q_proj", "v_proj"], rank_pattern={"layers.1.q_proj": 2}),
    ]
    return {str(i): save_random_adapter(root / str(i), config, seed=i) for i, config in enumerate(configs)}


def streamed(directories, root: Path, recompression, profile, dtype=torch.float32):
    adapters = {name: read_adapter(path, name=name) for name, path in directories.items()}
    jobs = [
        Job(weights=w, directory=root / str(i), metadata={"recipe": str(i)}, recipe={"n": i})
        for i, w in enumerate(WEIGHTS)
    ]
    output = Output(profile=profile, dtype=dtype, base_model_name="base", revision=None)
    reports = stream_blends(
        [check_job(adapters, job) for job in jobs], recompression, output, spectra=True, threads=2, device=CPU
    )
    return [job.directory for job in jobs], reports, adapters


@pytest.mark.parametrize("profile", [Portable(base_shapes={}), Compact()], ids=["portable", "compact"])
@pytest.mark.parametrize("recompression", [Exact(), ToRank(2), ToEnergy(0.9)], ids=["exact", "rank", "energy"])
def test_a_streamed_batch_equals_blending_each_target_in_memory(directories, tmp_path, recompression, profile):
    out, reports, adapters = streamed(directories, tmp_path, recompression, profile)
    for directory, report, weights in zip(out, reports, WEIGHTS, strict=True):
        blend = blend_adapters(
            [adapters[name] for name in weights],
            list(weights.values()),
            recompression,
            profile,
            base_model_name="base",
            revision=None,
            device=CPU,
        )
        found = load_file(directory / "adapter_model.safetensors")
        assert found.keys() == blend.tensors.keys()
        assert all(found[key].shape == tensor.shape for key, tensor in blend.tensors.items())
        assert report.lost_energy == pytest.approx(blend.lost_energy)
        deltas = peft_deltas(directory)
        wanted = weighted_sum([directories[name] for name in weights], list(weights.values()))
        total = sum(float(delta.norm()) ** 2 for delta in wanted.values())
        lost = sum(float((deltas[name] - delta).norm()) ** 2 for name, delta in wanted.items()) / total
        assert lost == pytest.approx(report.lost_energy, rel=1e-4, abs=1e-10)
        recipe = json.loads((directory / "recipe.json").read_text())
        assert recipe["blend"] == report.to_json()
        if isinstance(recompression, ToEnergy):
            assert report.lost_energy <= 0.1 + 1e-9


def test_the_file_carries_its_recipe_and_loads_in_bfloat16_within_its_rounding(directories, tmp_path):
    out, _, _ = streamed(directories, tmp_path, Exact(), Portable(base_shapes={}), torch.bfloat16)
    with safe_open(out[0] / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "recipe": "0"}
        assert file.get_slice("base_model.model.conv2.lora_A.weight").get_dtype() == "BF16"
    wanted = weighted_sum([directories[name] for name in WEIGHTS[0]], list(WEIGHTS[0].values()))
    assert 1e-5 < relative_error(peft_deltas(out[0]), wanted) < 1e-2


def test_a_failure_in_the_middle_leaves_no_directory(directories, tmp_path):
    adapters = {name: read_adapter(path, name=name) for name, path in directories.items()}
    target = check_job(adapters, Job(weights=WEIGHTS[0], directory=tmp_path / "out" / "x", metadata={}, recipe={}))
    broken = adapters["2"].modules["layers.2.v_proj"].a
    damaged = broken.path.read_bytes()
    broken.path.write_bytes(damaged[: broken.start])
    output = Output(profile=Compact(), dtype=torch.float32, base_model_name="base", revision=None)
    try:
        with pytest.raises(InvalidInput, match="the file ends before its tensors do"):
            stream_blends([target], Exact(), output, spectra=False, threads=2, device=CPU)
    finally:
        broken.path.write_bytes(damaged)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_writer_refuses_a_wrong_shape_and_a_file_left_incomplete(tmp_path):
    with (
        pytest.raises(ValueError, match=r"has shape \(3,\) and was declared as \(2,\)"),
        SafetensorsWriter(tmp_path / "a", {"x": (2,)}, dtype=torch.float32, metadata={}) as writer,
    ):
        writer.write("x", torch.zeros(3))
    with (
        pytest.raises(ValueError, match="never written: y"),
        SafetensorsWriter(tmp_path / "b", {"x": (2,), "y": (1,)}, dtype=torch.float32, metadata={}) as writer,
    ):
        writer.write("x", torch.zeros(2))
