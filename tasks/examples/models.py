"""Small models of the real classes; fresh weights come from torch's global state, which the caller has seeded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    SamConfig,
    SamImageProcessor,
    SamModel,
)

_PATCH = 4  # pixels


def sam_of(*, side: int, width: int, layers: int, channels: int) -> SamModel:
    """A Segment Anything Model for images of `side` pixels: an encoder of `width`, an image embedding of `channels`."""
    frame = {"image_size": side, "patch_size": _PATCH}
    return SamModel(
        SamConfig(
            vision_config={
                **frame,
                "hidden_size": width,
                "output_channels": channels,
                "num_hidden_layers": layers,
                "num_attention_heads": 4,
                "mlp_ratio": 2.0,
                "window_size": 0,  # attention over the whole image
                "global_attn_indexes": list(range(layers)),
                "num_pos_feats": channels // 2,
                "initializer_range": 0.02,
            },
            prompt_encoder_config={**frame, "hidden_size": channels, "mask_input_channels": 4},
            mask_decoder_config={
                "hidden_size": channels,
                "mlp_dim": 2 * channels,
                "num_attention_heads": 4,
                "iou_head_hidden_dim": 16,
            },
        )
    )


def save_sam(model: SamModel, directory: Path, *, side: int, mean: float, deviation: float) -> None:
    """Model and image processor beside each other, as on the hub; the processor makes (grey - mean) / deviation."""
    model.save_pretrained(directory)
    square = {"height": side, "width": side}
    SamImageProcessor(
        size={"longest_edge": side},
        pad_size=square,
        mask_size={"longest_edge": side},
        mask_pad_size=square,
        image_mean=[mean] * 3,
        image_std=[deviation] * 3,
    ).save_pretrained(directory)


def train_tokenizer(texts: Sequence[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of its own, so that nothing has to be downloaded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")


def llama_of(tokenizer: Any, *, width: int, inner: int, layers: int, heads: int) -> LlamaForCausalLM:
    """A Llama over the tokenizer's vocabulary, with tied embeddings."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
