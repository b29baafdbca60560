"""Blends scored on a domain's tasks at the price of forward passes: their deltas are added to the base's own weights.

What the product does with PEFT in place costs more than such a small base's forward pass; the values agree with
`evaluate_target` to rounding (1.5e-8 on one blend of segmentation, 7e-7 of reports), but for denoising losses, which
are taken at fewer noise levels. Only each family's primary metric is taken, higher is better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tasks.audit.store import ScoreStore
from tasks.blending.factors import dense
from tasks.blending.peft_files import read_adapter
from tasks.evaluation.examiners.opening import open_examiner
from tasks.evaluation.models.causal_lm import answer_losses
from tasks.evaluation.models.diffusion import noise_losses
from tasks.evaluation.models.segmentation import mask_logits, out_of_frame
from tasks.evaluation.scores import Direction
from tasks.files import digest_value
from tests.benchmarks.domain.units import Place, setting_of

LEVELS = 4  # noise levels of the denoising loss, half of what the product takes: the benchmark's dearest part
DECIMALS = 4  # of weights: those that agree so far are one blend, and what is scored are the rounded weights

Weights = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Blended:
    """A blend of adapters, by name, to be scored on the samples of task `on`."""

    on: str
    weights: Weights

    @property
    def key(self) -> str:
        """Equal blends on equal samples are one."""
        return digest_value([self.on, [[name, weight] for name, weight in self.weights]])


def blended(on: str, weights: Mapping[str, float]) -> Blended:
    """Weights rounded to DECIMALS, without zeros, in order of name."""
    rounded = {name: round(float(weight), DECIMALS) for name, weight in weights.items()}
    return Blended(on, tuple(sorted((name, weight) for name, weight in rounded.items() if weight)))


@dataclass(frozen=True, slots=True)
class Bench:
    """A base with the deltas of all adapters, (adapters, parameters) in one matrix."""

    place: Place
    examiners: Mapping[str, Any]
    rows: Mapping[str, int]
    deltas: torch.Tensor
    originals: Mapping[str, torch.Tensor]
    modules: Mapping[str, Any]

    def score(self, asked: Blended) -> np.ndarray:
        """Values (n,) of the primary metric on the samples of `asked.on`."""
        examiner = self.examiners[asked.on]
        delta = torch.zeros(self.deltas.shape[1])
        for name, weight in asked.weights:
            delta.add_(self.deltas[self.rows[name]], alpha=weight)
        sign = 1.0 if examiner.metrics[0].direction is Direction.HIGHER else -1.0
        self._add(delta)
        with torch.inference_mode():
            values: np.ndarray = sign * _PRIMARY[self.place.domain](examiner)
        self._add(torch.zeros_like(delta))
        return values

    def _add(self, delta: torch.Tensor) -> None:
        """Set the base's weights to the originals plus `delta`."""
        start = 0
        for name, original in self.originals.items():
            part = delta[start : start + original.numel()].view_as(original)
            torch.add(original, part, out=self.modules[name].weight.data)
            start += original.numel()


def _dice(examiner: Any) -> np.ndarray:
    parts = [mask_logits(examiner.base, part) for part in examiner.pixel_values.split(examiner.batch_size)]
    values = []
    for logits, truth in zip(torch.cat(parts), examiner.masks, strict=True):
        said = out_of_frame(logits, (truth.shape[0], truth.shape[1])) > 0
        both, total = int((said & truth).sum()), int(said.sum()) + int(truth.sum())
        values.append(2 * both / total if total else 1.0)
    return np.array(values)


def _answer_nll(examiner: Any) -> np.ndarray:
    rows = torch.arange(len(examiner.prompts))
    parts = [answer_losses(examiner.base, examiner.pairs.take(part)) for part in rows.split(examiner.batch_size)]
    return torch.cat(parts).double().numpy()


def _denoising_loss(examiner: Any) -> np.ndarray:
    scheduler = examiner.pipeline.scheduler
    times = ((np.arange(LEVELS) + 0.5) / LEVELS * scheduler.config.num_train_timesteps).astype(int)
    count = len(examiner.images)
    losses = []
    for level, step in enumerate(times):
        steps = torch.full((count,), int(step))
        noise = examiner.noise[level]
        losses.append(noise_losses(examiner.base, scheduler, examiner.latents, noise=noise, steps=steps))
    return torch.stack(losses).double().mean(dim=0).numpy()


_PRIMARY = {"segmentation": _dice, "reports": _answer_nll, "synthesis": _denoising_loss}


def open_bench(place: Place) -> Bench:
    """Load the base, every task's samples and every task's adapter."""
    examiners = {name: open_examiner(setting_of(place, name)) for name in place.names}
    adapters = [read_adapter(place.adapter(name)) for name in place.names]
    modules = dict(next(iter(examiners.values())).base.named_modules())
    adapted = sorted({name for one in adapters for name in one.modules})
    originals = {name: modules[name].weight.detach().clone() for name in adapted}
    deltas = torch.zeros(len(adapters), sum(one.numel() for one in originals.values()))
    for row, adapter in enumerate(adapters):
        start = 0
        for name, original in originals.items():
            if name in adapter.modules:
                deltas[row, start : start + original.numel()] = dense(
                    adapter.modules[name].factors(torch.float32)
                ).flatten()
            start += original.numel()
    rows = {name: row for row, name in enumerate(place.names)}
    return Bench(place, examiners, rows, deltas, originals, modules)


def score_all(bench: Bench, asked: Sequence[Blended], store: ScoreStore) -> dict[str, np.ndarray]:
    """Values by key, those that the store does not hold computed and kept, one part for each task."""
    known = store.read()
    missing = {one.key: one for one in asked if one.key not in known}
    for on in sorted({one.on for one in missing.values()}):
        found = {key: bench.score(one) for key, one in missing.items() if one.on == on}
        store.add(found)
        known |= found
    return known
