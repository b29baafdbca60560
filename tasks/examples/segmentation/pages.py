"""Pages of real handwritten digits under a light ramp and stripes, with the ink as the mask."""

from dataclasses import dataclass

import torch

from tasks.examples.digits.conditions import SIDE as DIGIT_SIDE
from tasks.examples.digits.data import Digits

SIDE = 2 * DIGIT_SIDE  # pixels; four digits a page
_INK = 0.4  # grey from which a pixel belongs to the stroke
_NOISE = 0.05  # standard deviation, of the ink's grey range
_STRIPE_FREQUENCY = 1.6  # radians a pixel
_STRIPE_AMPLITUDE = 0.5  # grey range of a stripe of strength one
CONTRAST = 0.2  # the ink's share of the file's grey range: the strongest light and stripes must not leave it


@dataclass(frozen=True, slots=True)
class Light:
    """ramp: change of light from left to right, in units of the ink's contrast; stripe: strength of the stripes."""

    ramp: float
    stripe: float

    @property
    def name(self) -> str:
        """A name that is a path: `ramp_m1_stripe_0.7` has light falling to the right."""
        sign = "m" if self.ramp < 0 else "p"
        return f"ramp_{sign}{abs(self.ramp):g}_stripe_{self.stripe:g}"


LIBRARY = tuple(Light(ramp, stripe) for ramp in (-1.0, 0.0, 1.0) for stripe in (0.0, 0.7))
INSIDE = (Light(-0.5, 0.0), Light(0.5, 0.7), Light(0.0, 0.35), Light(0.5, 0.35))
EDGE = (Light(-1.5, 0.0), Light(1.5, 0.0), Light(1.5, 0.7), Light(0.0, 1.1), Light(-1.0, 1.1), Light(1.5, 1.1))


def pages(digits: Digits, count: int, *, generator: torch.Generator) -> torch.Tensor:
    """`count` pages (count, SIDE, SIDE) of ink in 0..1, each of four digits drawn at random."""
    rows = torch.randint(len(digits.labels), (count, 2, 2), generator=generator)
    ink = digits.images[rows, 0]  # (count, 2, 2, DIGIT_SIDE, DIGIT_SIDE)
    return ink.permute(0, 1, 3, 2, 4).reshape(count, SIDE, SIDE)


def masks(ink: torch.Tensor) -> torch.Tensor:
    """Where the strokes are, boolean, of the shape of `ink`."""
    return ink > _INK


def seen(ink: torch.Tensor, light: Light, *, generator: torch.Generator) -> torch.Tensor:
    """Grey values in 0..1 of pages (n, SIDE, SIDE) under a light."""
    column = torch.arange(SIDE, dtype=torch.float32)
    ramp = light.ramp * (column / (SIDE - 1) - 0.5)
    stripes = light.stripe * _STRIPE_AMPLITUDE * torch.sin(_STRIPE_FREQUENCY * column)
    noise = _NOISE * torch.randn(ink.shape, generator=generator)
    return (0.5 + CONTRAST * (ink - 0.5 + ramp + stripes + noise)).clamp(0, 1)
