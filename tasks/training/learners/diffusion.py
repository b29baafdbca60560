"""A Stable Diffusion pipeline's UNet on images: columns `image` and, where it is there, `text` (the caption)."""

from dataclasses import dataclass
from typing import Any

import torch

from tasks.evaluation.examiners.diffusion import resident_pipeline
from tasks.evaluation.examiners.table import decoded, read_columns
from tasks.evaluation.models.diffusion import ATTENTION, Latents, encode, image_side, noise_losses
from tasks.training.job import TrainingJob


@dataclass(frozen=True, slots=True)
class DiffusionLearner:
    """Latents with the conditioning of their captions; the encoders are frozen, so both are made once."""

    base: torch.nn.Module
    scheduler: Any
    latents: Latents

    @property
    def targets(self) -> list[str]:
        """The UNet's attention."""
        return ATTENTION

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.latents.values)

    def losses(self, model: torch.nn.Module, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Noise prediction at a random step of each image."""
        part = self.latents.take(rows)
        noise = torch.randn(part.values.shape, generator=generator).to(part.values)
        levels = self.scheduler.config.num_train_timesteps
        steps = torch.randint(levels, (len(rows),), generator=generator).to(part.values.device)
        return noise_losses(model, self.scheduler, part, noise=noise, steps=steps)


def open_diffusion(job: TrainingJob) -> DiffusionLearner:
    """Load the pipeline, once per process, and the rows. Raises InvalidInput for missing columns."""
    pipeline = resident_pipeline(job.base.path, job.base.digest, job.device)
    table = read_columns(job.samples, required=("image",))
    images = [decoded(value) for value in table["image"].to_pylist()]
    captions = table["text"].to_pylist() if "text" in table.column_names else [""] * len(images)
    return DiffusionLearner(
        pipeline.unet, pipeline.scheduler, encode(pipeline, images, captions, side=image_side(pipeline))
    )
