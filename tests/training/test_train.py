"""Training: the loss falls, an interruption changes nothing, and the base is left alone."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tasks.blending.peft_files import read_adapter
from tasks.files import InvalidInput, digest_tree
from tasks.library.base_model import BaseModel
from tasks.library.families import Family
from tasks.training.job import LoraShape, Schedule, TrainingJob
from tasks.training.learners.opening import open_learner
from tasks.training.rate import rate_share
from tasks.training.train import train_adapter
from tests.evaluation import tiny
from tests.evaluation.test_families import png

SCHEDULE = Schedule(
    steps=30,
    batch_size=4,
    learning_rate=0.02,
    weight_decay=0.0,
    clip=1.0,
    warmup=0.1,
    validation=0.25,
    validate_every=5,
    patience=100,
    checkpoint_every=10,
)


class Log:
    def __init__(self, stop_at: int | None = None) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []
        self._stop_at = stop_at

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None:
        self.lines.append((step, dict(metrics)))
        if step == self._stop_at:
            raise KeyboardInterrupt

    def values(self, name: str) -> list[float]:
        return [metrics[name] for _, metrics in self.lines if name in metrics]


def job_of(root: Path, family: Family, base: Path, table: dict) -> TrainingJob:
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), root / "labelled.parquet")
    return TrainingJob(
        name="reference",
        family=family,
        base=BaseModel("base", None, base, str(base)),
        samples=str(root / "labelled.parquet"),
        directory=root / "adapter",
        checkpoint=root / "checkpoint.safetensors",
        lora=LoraShape(rank=2, alpha=4, dropout=0.1, targets=None),
        schedule=SCHEDULE,
        seed=0,
        device="cpu",
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def bases(folder: Path) -> dict[Family, Path]:
    from tests.evaluation.conftest import tiny_vit

    torch.manual_seed(0)
    tiny_vit().save_pretrained(folder / "vit")
    return {
        Family.ENCODER: folder / "vit",
        Family.SEGMENTATION: tiny.save_sam(folder / "sam"),
        Family.CAUSAL_LM: tiny.save_llama(folder / "llama"),
        Family.DIFFUSION: tiny.save_diffusion(folder / "painter"),
    }


def labelled(family: Family) -> dict:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, size=(16, 16, 16, 3)).astype(np.uint8)
    match family:
        case Family.ENCODER:
            labels = generator.integers(2, size=16)
            pixels = generator.normal(size=(16, 64)) + labels[:, None]
            return {"pixel_values": pa.array(list(pixels.astype(np.float32)), pa.list_(pa.float32())), "label": labels}
        case Family.SEGMENTATION:
            left = np.zeros((16, 16), np.uint8)
            left[:4] = 255
            return {"image": [png(image) for image in images], "mask": [png(left)] * 16}
        case Family.CAUSAL_LM:
            return {"text": [f"case {i}" for i in range(16)], "answer": ["heart is large"] * 16}
        case Family.DIFFUSION:
            return {"image": [png(images[0])] * 16, "text": ["a cat"] * 16}


@pytest.mark.parametrize("family", list(Family))
def test_the_held_out_loss_falls_and_the_adapter_can_be_blended(bases, tmp_path: Path, family: Family):
    job = job_of(tmp_path, family, bases[family], labelled(family))
    if family is Family.DIFFUSION:  # an untrained UNet learns with its last layer first
        job = replace(job, lora=replace(job.lora, targets=("to_v", "conv_out")))
    log = Log()
    learner = open_learner(job)
    before = {name: p.clone() for name, p in learner.base.named_parameters()}
    report = train_adapter(job, log)
    losses = log.values("validation_loss")
    assert report.validation_loss == min(losses)
    assert min(losses) < losses[0]
    assert read_adapter(job.directory).modules
    after = dict(learner.base.named_parameters())
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in after)
    assert not any(module.training for module in learner.base.modules())
    assert not job.checkpoint.exists()


def test_an_interrupted_training_goes_on_to_the_same_adapter(bases, tmp_path: Path):
    family = Family.CAUSAL_LM
    whole = job_of(tmp_path / "whole", family, bases[family], labelled(family))
    cut = replace(whole, directory=tmp_path / "cut" / "adapter", checkpoint=tmp_path / "cut" / "checkpoint")
    train_adapter(whole, Log())
    with pytest.raises(KeyboardInterrupt):
        train_adapter(cut, Log(stop_at=17))
    assert not cut.directory.exists()
    log = Log()
    report = train_adapter(cut, log)
    assert log.lines[0][0] == 11  # checkpoints are every ten steps
    assert report.steps == 30
    assert digest_tree(cut.directory) == digest_tree(whole.directory)


def test_progress_of_other_settings_is_not_taken_up(bases, tmp_path: Path):
    family = Family.CAUSAL_LM
    job = job_of(tmp_path, family, bases[family], labelled(family))
    with pytest.raises(KeyboardInterrupt):
        train_adapter(job, Log(stop_at=17))
    log = Log()
    train_adapter(replace(job, seed=1), log)
    assert log.lines[0][0] == 1


def test_training_stops_when_it_no_longer_helps(bases, tmp_path: Path):
    family = Family.CAUSAL_LM
    job = job_of(tmp_path, family, bases[family], labelled(family))
    useless = replace(job.schedule, learning_rate=0.0, patience=2)  # nothing changes, so nothing gets better
    report = train_adapter(replace(job, schedule=useless), Log())
    assert report.best_step == 5
    assert report.steps == 15


def test_the_adapter_loads_with_peft_and_answers_as_it_was_trained(bases, tmp_path: Path):
    family = Family.CAUSAL_LM
    job = job_of(tmp_path, family, bases[family], labelled(family))
    report = train_adapter(job, Log())
    learner = open_learner(job)
    base = AutoModelForCausalLM.from_pretrained(bases[family])
    model = PeftModel.from_pretrained(base, job.directory).eval()
    with torch.no_grad():
        losses = learner.losses(model, torch.arange(16), torch.Generator())
    assert float(losses.mean()) == pytest.approx(report.validation_loss, rel=0.2)
    assert model.peft_config["default"].base_model_name_or_path == "base"


def test_a_single_labelled_sample_is_refused(bases, tmp_path: Path):
    job = job_of(tmp_path, Family.CAUSAL_LM, bases[Family.CAUSAL_LM], {"text": ["a"], "answer": ["b"]})
    with pytest.raises(InvalidInput, match="1 labelled samples; give two at least"):
        train_adapter(job, Log())


def test_the_rate_rises_then_falls_to_nothing():
    shares = [rate_share(step, steps=100, warmup=0.1) for step in range(101)]
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert max(shares) == pytest.approx(1.0)
    assert shares[-1] == pytest.approx(0.0)
