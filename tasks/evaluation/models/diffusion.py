"""Latent diffusion (Rombach et al., arXiv 2112.10752) through diffusers: noise prediction by the pipeline's UNet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline
from diffusers.utils import logging
from PIL import Image
from torch.nn import functional

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]  # of the UNet: where LoRA goes unless the project says otherwise


@dataclass(frozen=True, slots=True)
class Latents:
    """Latents (n, c, h, w) with the conditioning (n, t, d) of their captions."""

    values: torch.Tensor
    condition: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Latents":
        """These rows."""
        return Latents(self.values[rows], self.condition[rows])


def load_pipeline(path: Path, device: str) -> Any:
    """The pipeline with every part in evaluation mode; safetensors only."""
    logging.disable_progress_bar()  # the bars of workers would run through the night's own
    pipeline: Any = DiffusionPipeline.from_pretrained(path, local_files_only=True, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline.to(device)


def encode(pipeline: Any, images: Sequence[Image.Image], captions: Sequence[str], *, side: int) -> Latents:
    """Latent means of images of `side` pixels square, captions through the text encoder; on the pipeline's device."""
    pixels = torch.stack([pixels_of(image, side) for image in images]).to(pipeline.device)
    with torch.inference_mode():
        values = pipeline.vae.encode(pixels).latent_dist.mean * pipeline.vae.config.scaling_factor
    return Latents(values.clone(), condition(pipeline, captions))


def condition(pipeline: Any, captions: Sequence[str]) -> torch.Tensor:
    """Text states (n, t, d) of captions, padded to the text encoder's length as Stable Diffusion does."""
    tokens = pipeline.tokenizer(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=pipeline.tokenizer.model_max_length,
        return_tensors="pt",
    )
    with torch.inference_mode():
        states: torch.Tensor = pipeline.text_encoder(tokens["input_ids"].to(pipeline.device)).last_hidden_state
    return states.clone()


def noise_losses(
    unet: torch.nn.Module, scheduler: Any, latents: Latents, *, noise: torch.Tensor, steps: torch.Tensor
) -> torch.Tensor:
    """Squared error of the predicted noise (Ho et al., arXiv 2006.11239, Eq. 14) of each sample at its step, (n,)."""
    noisy = scheduler.add_noise(latents.values, noise, steps)
    predicted = unet(noisy, steps, encoder_hidden_states=latents.condition).sample
    wanted = (
        noise if scheduler.config.prediction_type == "epsilon" else scheduler.get_velocity(latents.values, noise, steps)
    )
    return functional.mse_loss(predicted, wanted, reduction="none").mean(dim=(1, 2, 3))


def draw_images(
    unet: torch.nn.Module, pipeline: Any, states: torch.Tensor, *, noise: torch.Tensor, steps: int
) -> np.ndarray:
    """Images (n, h, w, 3) in 0..1 by DDIM (Song et al., arXiv 2010.02502) from the given noise (n, c, h, w)."""
    scheduler: Any = DDIMScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(steps, device=noise.device)
    latents = noise
    with torch.inference_mode():
        for step in scheduler.timesteps:
            predicted = unet(latents, step, encoder_hidden_states=states).sample
            latents = scheduler.step(predicted, step, latents).prev_sample
        pixels = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor).sample
    images: np.ndarray = ((pixels + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).float().cpu().numpy()
    return images


def image_side(pipeline: Any) -> int:
    """Pixels of the square images that the pipeline was made for."""
    return int(pipeline.unet.config.sample_size * 2 ** (len(pipeline.vae.config.block_out_channels) - 1))


def pixels_of(image: Image.Image, side: int) -> torch.Tensor:
    """An image as the autoencoder takes it: (3, side, side) in -1..1."""
    scaled = np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy(scaled / 127.5 - 1).permute(2, 0, 1)
