"""Tiny real models of every family, saved as a user's would be, and sample files for them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SamConfig,
    SamModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    ViTConfig,
    ViTForImageClassification,
)

WORDS = 50  # "w0" is token 0, and so on; the unknown token is the last, padding is token 0
DEPTH = 3


def save_tokenizer(path: Path) -> None:
    vocabulary = {f"w{token}": token for token in range(WORDS)}
    words = Tokenizer(WordLevel(vocabulary, unk_token="w49"))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", model_max_length=40).save_pretrained(path)


def llama() -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 32}
    return LlamaForCausalLM(LlamaConfig(vocab_size=WORDS, num_key_value_heads=1, **sizes))


def gpt2() -> PreTrainedModel:
    return GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_positions=40, n_embd=16, n_layer=DEPTH, n_head=2))


def bert() -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 32}
    return BertModel(BertConfig(vocab_size=WORDS, max_position_embeddings=40, **sizes))


def clip() -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 32}
    text = sizes | {"vocab_size": WORDS, "max_position_embeddings": 40, "eos_token_id": 48, "bos_token_id": 47}
    vision = sizes | {"image_size": 8, "patch_size": 4}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12))


def sam() -> PreTrainedModel:
    vision = {"hidden_size": 16, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "mlp_dim": 32}
    vision |= {"image_size": 32, "patch_size": 8, "output_channels": 12, "global_attn_indexes": [1], "window_size": 2}
    prompt = {"hidden_size": 12, "image_size": 32, "patch_size": 8, "image_embedding_size": 4, "mask_input_channels": 4}
    decoder = {"hidden_size": 12, "mlp_dim": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder |= {"iou_head_hidden_dim": 8, "iou_head_depth": 2}
    return SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))


def segformer() -> PreTrainedModel:
    stages = {"depths": [1] * 4, "hidden_sizes": [8, 8, 8, 16], "num_attention_heads": [1, 1, 1, 2]}
    return SegformerForSemanticSegmentation(SegformerConfig(decoder_hidden_size=8, **stages))


def vit() -> PreTrainedModel:
    sizes = {"hidden_size": 16, "num_hidden_layers": DEPTH, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, **sizes))


TEXT_MODELS = {"llama": llama, "gpt2": gpt2, "bert": bert, "clip": clip}
VISION_MODELS = {"vit": vit, "clip": clip, "sam": sam, "segformer": segformer}
PIXELS = {"vit": (1, 8, 8), "clip": (3, 8, 8), "sam": (3, 32, 32), "segformer": (3, 64, 64)}
MAKERS = TEXT_MODELS | VISION_MODELS


def model_named(name: str) -> PreTrainedModel:
    """The same weights each time."""
    torch.manual_seed(0)
    return MAKERS[name]().eval()


def save_model(name: str, path: Path) -> Path:
    model_named(name).save_pretrained(path)
    save_tokenizer(path)
    return path


def random_texts(count: int, seed: int, *, longest: int = 20) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{token}" for token in rng.integers(1, 46, rng.integers(1, longest))) for _ in range(count)]


def save_texts(path: Path, texts: Sequence[str]) -> str:
    pq.write_table(pa.table({"text": pa.array(list(texts), pa.string())}), path)
    return str(path)


def random_pixels(name: str, count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, *PIXELS[name])).astype(np.float32))


def save_pixels(path: Path, pixels: torch.Tensor) -> str:
    rows = pixels.flatten(1).numpy()
    pq.write_table(pa.table({"pixel_values": pa.array(list(rows), pa.list_(pa.float32()))}), path)
    return str(path)
