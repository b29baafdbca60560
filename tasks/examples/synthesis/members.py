"""The example's pipeline and each style's share of the project. Runs in worker processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tasks.evaluation.models.diffusion import Latents, condition, noise_losses
from tasks.examples.building import BASE_NAME, FineTuning, Member, train_member
from tasks.examples.fitting import fit
from tasks.examples.pipelines import pipeline_of, train_autoencoder
from tasks.examples.settling import settle
from tasks.examples.synthesis.pictures import PLAIN, REFERENCES, SIDE, TARGETS, Style, draw
from tasks.examples.tables import png, write_columns
from tasks.library.families import Family

SAMPLES, EVALUATED = 150, 60  # pictures of each style
_SEEN = 600  # plain pictures that the pipeline learns to draw; half as many of each style for the autoencoder
_HELD_OUT = 1 << 20  # added to a style's seed for its evaluation set
_STYLES = {style.name: style for style in (*REFERENCES, *TARGETS)}
_LAYERS = ("to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "conv_in", "conv_out")


@dataclass(frozen=True, slots=True)
class Effort:
    """Training steps."""

    autoencoder: int
    base: int
    adapter: int


FULL = Effort(autoencoder=400, base=700, adapter=120)


def make_base(project: Path, seed: int, effort: Effort) -> None:
    """A pipeline that draws plain pictures. Its autoencoder has seen single styles, without captions; its UNet none."""
    settle(seed)
    generator = torch.Generator().manual_seed(seed)
    pictures, captions = _drawn(PLAIN, _SEEN, seed)
    pipeline = pipeline_of(captions, side=SIDE, width=32)
    every = torch.cat([_model_input(_drawn(style, _SEEN // 2, seed)[0]) for style in REFERENCES])

    def some() -> torch.Tensor:
        return every[torch.randint(len(every), (24,), generator=generator)]

    train_autoencoder(pipeline.vae, some, steps=effort.autoencoder, learning_rate=3e-3)
    states = condition(pipeline, captions)
    with torch.no_grad():
        encoded = pipeline.vae.encode(_model_input(pictures)).latent_dist.mean * pipeline.vae.config.scaling_factor

    def loss() -> torch.Tensor:
        rows = torch.randint(len(encoded), (24,), generator=generator)
        latents = Latents(encoded[rows], states[rows])
        noise = torch.randn(latents.values.shape, generator=generator)
        steps = torch.randint(pipeline.scheduler.config.num_train_timesteps, (24,), generator=generator)
        return noise_losses(pipeline.unet, pipeline.scheduler, latents, noise=noise, steps=steps).mean()

    fit(pipeline.unet, loss, steps=effort.base, learning_rate=2e-3)
    pipeline.save_pretrained(project / BASE_NAME)


def make_member(project: Path, member: Member, seed: int, effort: Effort) -> None:
    """Write samples, evaluation set and adapter; the adapter is trained on the sample pictures with their captions."""
    settle(member.seed)
    folder, style = member.within(project), _STYLES[member.name]
    pictures, captions = _drawn(style, SAMPLES, member.seed)
    images = [png(picture) for picture in pictures]
    write_columns({"image": images}, folder / "samples.parquet")
    unseen, names = _drawn(style, EVALUATED, member.seed + _HELD_OUT)
    write_columns({"image": [png(picture) for picture in unseen], "text": names}, folder / "evaluation.parquet")
    train_member(project, member, {"image": images, "text": captions}, tuning_of(effort.adapter))


def _drawn(style: Style, count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Pictures (count, side, side, 3) in 0..1 with their captions."""
    generator = np.random.default_rng(seed)
    pairs = [draw(style, generator) for _ in range(count)]
    return np.stack([picture for picture, _ in pairs]), [caption for _, caption in pairs]


def _model_input(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures * 2 - 1).float().permute(0, 3, 1, 2).contiguous()


def tuning_of(steps: int) -> FineTuning:
    """How each adapter is trained."""
    return FineTuning(Family.DIFFUSION, _LAYERS, steps=steps, batch_size=24, validate_every=40)
