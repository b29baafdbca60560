"""One base per domain and seed, pre-trained on synthetic data or on inputs alone: no target's label is ever seen."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn import functional

from tasks.evaluation.examiners.table import decoded
from tasks.evaluation.models.causal_lm import Pairs, answer_losses
from tasks.evaluation.models.diffusion import Latents, condition, noise_losses, pixels_of
from tasks.evaluation.models.segmentation import mask_logits, mask_losses
from tasks.examples.fitting import fit
from tasks.examples.models import (
    llama_of,
    sam_of,
    save_sam,
    train_tokenizer,
)
from tasks.examples.pipelines import pipeline_of, train_autoencoder

SAM_SIDE = 48
TOKENS = 128


def segmentation_base(folder: Path, names: tuple[str, ...], directory: Path, seed: int) -> None:
    """SAM on random blobs of random colour and texture: it knows what an object on a ground is, and no real image."""
    generator = torch.Generator().manual_seed(seed)
    model = sam_of(side=SAM_SIDE, width=64, layers=3, channels=48)

    def loss() -> torch.Tensor:
        images, masks = blobs(16, SAM_SIDE, generator)
        return mask_losses(mask_logits(model, images), masks).mean()

    fit(model, loss, steps=500, learning_rate=2e-3)
    save_sam(model, directory, side=SAM_SIDE, mean=0.5, deviation=0.5)


def blobs(count: int, side: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 3, side, side) in -1..1 and masks (n, side, side): smooth noise above a level, on another texture."""
    coarse = torch.randn(count, 1, 6, 6, generator=generator)
    field = functional.interpolate(coarse, size=(side, side), mode="bicubic")[:, 0]
    level = torch.rand(count, 1, 1, generator=generator) - 0.2
    masks = (field > level).float()
    colours = torch.rand(2, count, 3, 1, 1, generator=generator) * 2 - 1
    grain = torch.rand(2, count, 1, 1, 1, generator=generator) * 0.4
    texture = torch.randn(2, count, 3, side, side, generator=generator) * grain + colours
    inside = masks[:, None]
    return (inside * texture[0] + (1 - inside) * texture[1]).clamp(-1, 1), masks


def reports_base(folder: Path, names: tuple[str, ...], directory: Path, seed: int) -> None:
    """A Llama on the shuffled inputs and answers of all tasks, unpaired: it knows the words, and no task."""
    texts = [text for name in names for text in _texts(folder / name / "labelled.parquet")]
    tokenizer = train_tokenizer(texts, vocabulary=1000)
    tokenizer.save_pretrained(directory)
    ids = torch.tensor([token for text in _shuffled(texts, seed) for token in [*tokenizer(text)["input_ids"], 1]])
    model = llama_of(tokenizer, width=112, inner=288, layers=3, heads=4)
    generator = torch.Generator().manual_seed(seed)

    def loss() -> torch.Tensor:
        starts = torch.randint(len(ids) - TOKENS, (16, 1), generator=generator)
        rows = ids[starts + torch.arange(TOKENS)]
        return answer_losses(model, Pairs(rows, torch.ones_like(rows), rows)).mean()

    fit(model, loss, steps=400, learning_rate=3e-3)
    model.save_pretrained(directory)


def synthesis_base(folder: Path, names: tuple[str, ...], directory: Path, seed: int) -> None:
    """A latent-diffusion pipeline on random blobs; its autoencoder, which has no labels, has seen all images."""
    images = [decoded(value) for name in names for value in _column(folder / name / "labelled.parquet", "image")]
    pixels = torch.stack([pixels_of(image, 32) for image in images])
    generator = torch.Generator().manual_seed(seed)
    captions = [text for name in names for text in _column(folder / name / "labelled.parquet", "text")]
    pipeline = pipeline_of(captions, side=32, width=32)

    def draw() -> torch.Tensor:
        return pixels[torch.randint(len(pixels), (16,), generator=generator)]

    train_autoencoder(pipeline.vae, draw, steps=400, learning_rate=3e-3)
    nothing = condition(pipeline, [""])

    def loss() -> torch.Tensor:
        shapes, _ = blobs(16, 32, generator)
        with torch.no_grad():
            values = pipeline.vae.encode(shapes).latent_dist.mean * pipeline.vae.config.scaling_factor
        latents = Latents(values, nothing.expand(16, -1, -1))
        noise = torch.randn(values.shape, generator=generator)
        steps = torch.randint(pipeline.scheduler.config.num_train_timesteps, (16,), generator=generator)
        return noise_losses(pipeline.unet, pipeline.scheduler, latents, noise=noise, steps=steps).mean()

    fit(pipeline.unet, loss, steps=500, learning_rate=2e-3)
    pipeline.save_pretrained(directory)


BASES = {"segmentation": segmentation_base, "reports": reports_base, "synthesis": synthesis_base}


def _column(path: Path, name: str) -> list:
    return pq.read_table(path, columns=[name])[name].to_pylist()


def _texts(path: Path) -> list[str]:
    return [*_column(path, "text"), *_column(path, "answer")]


def _shuffled(texts: list[str], seed: int) -> list[str]:
    return [texts[row] for row in np.random.default_rng(seed).permutation(len(texts))]
