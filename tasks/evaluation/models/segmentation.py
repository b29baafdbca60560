"""SAM (Kirillov et al., arXiv 2304.02643) prompted with a box around the whole image: one mask an image, no clicks.

SAM works in a square frame: images are scaled by their longest side and padded on the right and below. Masks travel
the same way in, and predictions the same way back.
"""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import SamModel

ATTENTION = r"vision_encoder\.layers\.\d+\.attn\.(qkv|proj)"  # where LoRA goes unless the project says otherwise
_IGNORED = -1.0  # value of a framed mask where the image is padding
_SMOOTH = 1.0  # pixels; keeps soft Dice defined for empty masks


def load_sam(path: Path, device: str) -> Any:
    """A `SamModel` in evaluation mode."""
    model: Any = SamModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
    return model.eval().to(device)


def framed_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of an image within the frame, as SamImageProcessor computes them."""
    scale = side / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def into_frame(mask: torch.Tensor, side: int) -> torch.Tensor:
    """A mask (h, w) of 0 and 1 as (side, side), -1 where the frame is padding."""
    height, width = framed_size(mask.shape[0], mask.shape[1], side)
    scaled = functional.interpolate(mask[None, None].float(), size=(height, width), mode="nearest-exact")[0, 0]
    return functional.pad(scaled, [0, side - width, 0, side - height], value=_IGNORED)


def out_of_frame(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Logits (side, side) of a frame as those of the image of `size` (h, w) that was put into it."""
    height, width = framed_size(*size, logits.shape[-1])
    inside = logits[None, None, :height, :width]
    return functional.interpolate(inside, size=size, mode="bilinear", align_corners=False)[0, 0]


def mask_logits(model: torch.nn.Module, pixel_values: torch.Tensor) -> torch.Tensor:
    """Logits (n, side, side) of the object's mask for images (n, 3, side, side)."""
    side = pixel_values.shape[-1]
    box = torch.tensor([0.0, 0.0, side, side], device=pixel_values.device).expand(len(pixel_values), 1, 4)
    # One mask, not SAM's three candidates: choosing among them would need its quality head to be trained too.
    low = model(pixel_values=pixel_values, input_boxes=box, multimask_output=False).pred_masks[:, 0]
    return functional.interpolate(low, size=(side, side), mode="bilinear", align_corners=False)[:, 0]


def mask_losses(logits: torch.Tensor, framed: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice loss of each image, (n,); padding does not count."""
    inside = (framed != _IGNORED).float()
    truth = framed.clamp(min=0.0)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (entropy * inside).sum((1, 2)) / inside.sum((1, 2))
    likely = logits.sigmoid() * inside
    overlap = 2 * (likely * truth).sum((1, 2)) + _SMOOTH
    return entropy + 1 - overlap / (likely.sum((1, 2)) + truth.sum((1, 2)) + _SMOOTH)
