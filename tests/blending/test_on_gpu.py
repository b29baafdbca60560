"""Blends made on a GPU are those made on the CPU."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig

from tasks.blending.peft_files import read_adapter
from tasks.blending.profiles import Portable
from tasks.blending.recompression import Exact, Recompression, ToEnergy, ToRank
from tasks.blending.streaming import Job, Output, check_job, stream_blends
from tests.blending.models import peft_deltas, relative_error, save_random_adapter

pytestmark = pytest.mark.gpu

WEIGHTS = {"0": 0.7, "1": -0.3}


@pytest.mark.parametrize("recompression", [Exact(), ToRank(2), ToEnergy(0.9)], ids=["exact", "rank", "energy"])
def test_a_gpu_gives_the_blend_of_the_cpu(tmp_path: Path, recompression: Recompression) -> None:
    configs = [
        LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "conv2", "embed"]),
        LoraConfig(r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "down_proj", "conv1"]),
    ]
    places = {str(i): save_random_adapter(tmp_path / str(i), config, seed=i) for i, config in enumerate(configs)}
    adapters = {name: read_adapter(path, name=name) for name, path in places.items()}
    made = []
    for device in ("cpu", "cuda"):
        job = check_job(adapters, Job(weights=WEIGHTS, directory=tmp_path / device, metadata={}, recipe={}))
        output = Output(profile=Portable(base_shapes={}), dtype=torch.float32, base_model_name="base", revision=None)
        stream_blends([job], recompression, output, spectra=True, threads=2, device=torch.device(device))
        made.append(peft_deltas(tmp_path / device))
    here, there = made
    assert relative_error(there, here) < 1e-6  # the factors are float32
