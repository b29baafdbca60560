"""A small pipeline of Stable Diffusion's parts, with CLIP's image tower beside them for prototypes."""

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from tasks.examples.fitting import fit

_WORDS = 12  # tokens of a caption, its two ends included
_KL = 1e-4  # weight of the autoencoder's pull towards unit noise, as in latent diffusion's own, loosely
_LEVELS = 200  # noise levels


def pipeline_of(captions: Sequence[str], *, side: int, width: int) -> Any:
    """A `StableDiffusionPipeline` of fresh parts for images of `side` pixels; its words are those of the captions."""
    tokenizer = caption_tokenizer(captions)
    return StableDiffusionPipeline(
        vae=_autoencoder(side, width // 2),
        text_encoder=_text_encoder(tokenizer, width),
        tokenizer=tokenizer,
        unet=_unet(side // 2, width),
        scheduler=DDPMScheduler(
            num_train_timesteps=_LEVELS, beta_start=5e-4, beta_end=0.06, clip_sample=False, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=CLIPImageProcessor(
            size={"height": side, "width": side}, crop_size={"height": side, "width": side}
        ),
        image_encoder=_image_encoder(side, width),
        requires_safety_checker=False,
    )


def train_autoencoder(vae: Any, draw: Callable[[], torch.Tensor], *, steps: int, learning_rate: float) -> None:
    """Train the autoencoder on batches of images (n, 3, h, w) in -1..1, and give its latents unit variance."""

    def loss() -> torch.Tensor:
        pixels = draw()
        latent = vae.encode(pixels).latent_dist
        return functional.mse_loss(vae.decode(latent.sample()).sample, pixels) + _KL * latent.kl().mean()

    fit(vae, loss, steps=steps, learning_rate=learning_rate)
    with torch.no_grad():
        spread = float(vae.encode(draw()).latent_dist.mean.std())
    vae.register_to_config(scaling_factor=1.0 / spread)


def caption_tokenizer(captions: Sequence[str]) -> CLIPTokenizer:
    """CLIP's own tokenizer class over the captions' words."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=600, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator([caption.lower() for caption in captions], trainer)
    for special in ("<|startoftext|>", "<|endoftext|>"):
        tokenizer.add_special_tokens([special])
    with tempfile.TemporaryDirectory() as folder:
        vocabulary, merges = tokenizer.model.save(folder)
        words = CLIPTokenizer(vocabulary, merges, model_max_length=_WORDS)
    return words


def _autoencoder(side: int, width: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(width, width),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=side,
        mid_block_add_attention=False,
    )


def _unet(side: int, width: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=side,
        block_out_channels=(width, 2 * width),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def _text_encoder(tokenizer: CLIPTokenizer, width: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=_WORDS,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def _image_encoder(side: int, width: int) -> CLIPVisionModelWithProjection:
    # Its weights stay random: random features keep distances between images (Johnson and Lindenstrauss 1984).
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            image_size=side,
            patch_size=8,
            hidden_size=2 * width,
            intermediate_size=4 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            projection_dim=2 * width,
            initializer_factor=2.0,
        )
    )
