"""Acquisition conditions of one task: how the same digits look through five scanners, and through any two at once."""

import math
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
import torch
from torch.nn import functional

SIDE = 16  # pixels; four patches of four in each direction
_INNER = 12  # pixels the 8x8 digit is enlarged to, so that rotation and shear stay within the frame
_JITTER_ANGLE = 0.03  # radians, standard deviation
_JITTER_SHIFT = 0.06  # half-widths of the image, standard deviation
_NOISE = 0.05  # standard deviation, of a grey range of one
_STRIPE_FREQUENCY = 1.6  # radians a pixel
_STRIPE_AMPLITUDE = 0.5  # grey range of a stripe of strength one


@dataclass(frozen=True, slots=True)
class Condition:
    """What a scanner does to an image; zeros everywhere leave it clean.

    rotation in radians; ramp in grey range from left to right; stripe relative to half the grey range;
    shrink = 1 - size of the digit; shear = horizontal shift a row, in half-widths.
    """

    name: str
    rotation: float = 0.0
    ramp: float = 0.0
    stripe: float = 0.0
    shrink: float = 0.0
    shear: float = 0.0


CLEAN = Condition("clean")
SINGLES = (
    Condition("rotation", rotation=math.radians(40)),
    Condition("ramp", ramp=1.6),
    Condition("stripe", stripe=0.8),
    Condition("scale", shrink=0.4),
    Condition("shear", shear=0.5),
)


def both(first: Condition, second: Condition) -> Condition:
    """The two conditions at once."""
    strengths = {
        field.name: getattr(first, field.name) + getattr(second, field.name)
        for field in fields(Condition)
        if field.name != "name"
    }
    return Condition(f"{first.name}_{second.name}", **strengths)


PAIRS = tuple(both(first, second) for first, second in combinations(SINGLES, 2))


def enlarge(digits: np.ndarray) -> torch.Tensor:
    """Digits (n, 8, 8) with grey 0..16 as images (n, 1, SIDE, SIDE) with grey 0..1."""
    images = torch.from_numpy(digits.astype(np.float32) / 16.0)[:, None]
    images = functional.interpolate(images, size=(_INNER, _INNER), mode="bilinear", align_corners=False)
    return functional.pad(images, [(SIDE - _INNER) // 2] * 4)


def acquire(images: torch.Tensor, condition: Condition, *, generator: torch.Generator) -> torch.Tensor:
    """Images (n, 1, SIDE, SIDE) in 0..1 as the scanner shows them: the model's own input, about -1..1."""
    warped = functional.grid_sample(images, _grid(len(images), condition, generator), align_corners=False)
    column = torch.arange(SIDE, dtype=torch.float32)
    light = condition.ramp * (column / (SIDE - 1) - 0.5)
    stripes = condition.stripe * _STRIPE_AMPLITUDE * torch.sin(_STRIPE_FREQUENCY * column)
    noise = _NOISE * torch.randn(images.shape, generator=generator)
    return 2 * (warped + light + stripes + noise) - 1


def _grid(count: int, condition: Condition, generator: torch.Generator) -> torch.Tensor:
    """Sampling grid (count, SIDE, SIDE, 2): where in the digit each pixel looks, with a small jitter for each image."""
    angle = condition.rotation + _JITTER_ANGLE * torch.randn(count, generator=generator)
    shift = _JITTER_SHIFT * torch.randn(count, 2, generator=generator)
    rotate = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1).reshape(count, 2, 2)
    size = 1.0 - condition.shrink
    shape = torch.tensor([[1.0, condition.shear], [0.0, 1.0]]) / size
    return functional.affine_grid(
        torch.cat([rotate @ shape, shift[:, :, None]], dim=2), [count, 1, SIDE, SIDE], align_corners=False
    )
