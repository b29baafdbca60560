"""Synthesis: a Stable Diffusion pipeline's UNet; the denoising loss of held-out images, and drawn images to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.examiners.table import decoded, evenly_spaced, read_columns
from tasks.evaluation.metrics.diffusion import DENOISING_LOSS
from tasks.evaluation.metrics.features import CLIP_SCORE, KID, clip_scores, kernel_distances
from tasks.evaluation.models.diffusion import Latents, draw_images, encode, image_side, load_pipeline, noise_losses
from tasks.evaluation.models.features import Clip, resident_clip
from tasks.evaluation.scores import Examination, Metric, Shape
from tasks.files import InvalidInput, Problem

_LEVELS = 8  # noise levels each image is measured at, evenly spaced over the schedule
_DRAWING_STEPS = 20  # of DDIM, for the picture alone
_SEED = 0  # of the noise: every method, every night and every reader sees the same


@dataclass(frozen=True, slots=True)
class Judge:
    """CLIP with its embeddings of the evaluation set's images and captions, (n, d) each."""

    clip: Clip
    images: torch.Tensor
    captions: torch.Tensor

    def values(self, drawn: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """CLIP score of each drawn image, and what it adds to the kernel distance from the real ones."""
        embedded = self.clip.images(drawn)
        return {
            CLIP_SCORE.name: clip_scores(embedded, self.captions),
            KID.name: kernel_distances(embedded, self.images),
        }


@dataclass(frozen=True, slots=True)
class DiffusionExaminer:
    """Latents of the evaluation images and, for each of the levels, one fixed noise."""

    base: torch.nn.Module
    pipeline: Any
    latents: Latents
    noise: torch.Tensor  # (levels, n, c, h, w)
    images: tuple[np.ndarray, ...]
    captions: tuple[str, ...]
    batch_size: int
    rows: tuple[int, ...]
    judge: Judge | None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The denoising loss decides; it needs no drawing."""
        return (DENOISING_LOSS,) if self.judge is None else (DENOISING_LOSS, CLIP_SCORE, KID)

    @property
    def shown(self) -> tuple[tuple[Shape, Shape], ...]:
        """Captions and the images they belong to."""
        return tuple((self.captions[row], self.images[row]) for row in self.rows)

    def examine(self, model: torch.nn.Module) -> Examination:
        """The loss of each image, over all noise levels; an image drawn for each shown caption."""
        losses = torch.zeros(len(self.images), dtype=torch.float64)
        with torch.inference_mode():
            for rows in torch.arange(len(self.images)).split(self.batch_size):
                losses[rows] = self._losses(model, rows)
        values = {DENOISING_LOSS.name: losses.numpy()}
        if self.judge is None:
            return Examination(values, tuple(self._drawn(model, self.rows)))
        drawn = self._drawn(model, range(len(self.images)))
        return Examination(values | self.judge.values(drawn), tuple(drawn[row] for row in self.rows))

    def _drawn(self, model: torch.nn.Module, rows: Sequence[int]) -> list[np.ndarray]:
        """An image for the caption of each of these rows, from the same noise for every model."""
        drawn: list[np.ndarray] = []
        for part in torch.tensor(list(rows), dtype=torch.int64).split(self.batch_size):
            if len(part):
                states, noise = self.latents.condition[part], self.noise[0, part]
                drawn += list(draw_images(model, self.pipeline, states, noise=noise, steps=_DRAWING_STEPS))
        return drawn

    def _losses(self, model: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
        device = self.latents.values.device
        total = torch.zeros(len(rows), dtype=torch.float64)
        levels = (np.arange(_LEVELS) + 0.5) / _LEVELS * self.pipeline.scheduler.config.num_train_timesteps
        for level, step in enumerate(levels.astype(int)):
            steps = torch.full((len(rows),), int(step), device=device)
            part = self.latents.take(rows)
            losses = noise_losses(model, self.pipeline.scheduler, part, noise=self.noise[level, rows], steps=steps)
            total += losses.double().cpu() / _LEVELS
        return total


def open_diffusion(setting: Setting) -> DiffusionExaminer:
    """Load the pipeline, once per process, and the columns `image` and, where it is there, `text` (the caption)."""
    pipeline = resident_pipeline(setting.base.path, setting.base.digest, setting.device)
    table = read_columns(setting.evaluation, required=("image",))
    images = [decoded(value) for value in table["image"].to_pylist()]
    if setting.features is not None and len(images) < 2:
        raise InvalidInput(
            Problem(
                setting.evaluation,
                "it has one image, and a kernel distance compares two or more",
                "add images, or leave evaluation.feature_model out",
            )
        )
    captions = table["text"].to_pylist() if "text" in table.column_names else [""] * len(images)
    side = image_side(pipeline)
    latents = encode(pipeline, images, captions, side=side)
    generator = torch.Generator().manual_seed(_SEED)
    noise = torch.randn(_LEVELS, *latents.values.shape, generator=generator).to(latents.values)
    scaled = tuple(np.asarray(image.resize((side, side))) / 255.0 for image in images)
    return DiffusionExaminer(
        base=pipeline.unet,
        pipeline=pipeline,
        latents=latents,
        noise=noise,
        images=scaled,
        captions=tuple(captions),
        batch_size=setting.batch_size,
        rows=evenly_spaced(len(images), setting.shown),
        judge=_judge(setting, scaled, captions),
    )


def _judge(setting: Setting, images: Sequence[np.ndarray], captions: Sequence[str]) -> Judge | None:
    if setting.features is None:
        return None
    clip = resident_clip(setting.features.path, setting.features.digest, setting.device)
    return Judge(clip, clip.images(images), clip.texts(captions))


@cache
def resident_pipeline(path: Path, digest: str, device: str) -> Any:
    """The pipeline, loaded once per process for each content digest."""
    return load_pipeline(path, device)
