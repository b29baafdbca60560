"""A Segment Anything Model of about 150,000 parameters, with its image processor."""

from pathlib import Path

from transformers import SamConfig, SamImageProcessor, SamModel

from tasks.examples.segmentation.pages import CONTRAST, SIDE

_PATCH = 4
_CHANNELS = 32  # of the image embedding


def untrained_sam() -> SamModel:
    """A fresh model; its weights come from torch's global random state, which the caller has seeded."""
    frame = {"image_size": SIDE, "patch_size": _PATCH}
    return SamModel(
        SamConfig(
            vision_config={
                **frame,
                "hidden_size": 48,
                "output_channels": _CHANNELS,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "mlp_ratio": 2.0,
                "window_size": 0,
                "global_attn_indexes": [0, 1],
                "num_pos_feats": _CHANNELS // 2,
                "initializer_range": 0.02,
            },
            prompt_encoder_config={**frame, "hidden_size": _CHANNELS, "mask_input_channels": 4},
            mask_decoder_config={
                "hidden_size": _CHANNELS,
                "mlp_dim": 64,
                "num_attention_heads": 4,
                "iou_head_hidden_dim": 16,
            },
        )
    )


def image_processor() -> SamImageProcessor:
    """From the pages' grey values to model input: the ink's contrast becomes two, as in -1 to 1."""
    side = {"height": SIDE, "width": SIDE}
    return SamImageProcessor(
        size={"longest_edge": SIDE},
        pad_size=side,
        mask_size={"longest_edge": SIDE},
        mask_pad_size=side,
        image_mean=[0.5] * 3,
        image_std=[CONTRAST / 2] * 3,
    )


def save(model: SamModel, directory: Path) -> None:
    """Model and processor beside each other, as on the hub."""
    model.save_pretrained(directory)
    image_processor().save_pretrained(directory)
