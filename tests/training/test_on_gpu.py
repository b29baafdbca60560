"""Training on a GPU: the held-out loss falls, and an interruption changes nothing that matters."""

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.blending.peft_files import read_adapter
from tasks.library.families import Family
from tasks.training.train import train_adapter
from tests.training.test_train import Log, bases, folder, job_of, labelled

pytestmark = pytest.mark.gpu

__all__ = ["bases", "folder"]  # the fixtures of test_train, used below


@pytest.mark.parametrize("family", list(Family))
def test_the_held_out_loss_falls_on_a_gpu(bases: dict[Family, Path], tmp_path: Path, family: Family) -> None:
    job = replace(job_of(tmp_path, family, bases[family], labelled(family)), device="cuda")
    if family is Family.DIFFUSION:  # an untrained UNet learns with its last layer first
        job = replace(job, lora=replace(job.lora, targets=("to_v", "conv_out")))
    log = Log()
    train_adapter(job, log)
    losses = log.values("validation_loss")
    assert min(losses) < losses[0]
    assert read_adapter(job.directory).modules


def test_an_interrupted_training_goes_on_on_a_gpu(bases: dict[Family, Path], tmp_path: Path) -> None:
    family = Family.CAUSAL_LM
    job = replace(job_of(tmp_path, family, bases[family], labelled(family)), device="cuda")
    with pytest.raises(KeyboardInterrupt):
        train_adapter(job, Log(stop_at=17))
    log = Log()
    assert train_adapter(job, log).steps == 30
    assert log.lines[0][0] == 11  # checkpoints are every ten steps
