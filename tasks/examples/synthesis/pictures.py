"""Coloured shapes on a ground, in styles that change how they are drawn and not what is drawn."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image, ImageDraw

SIDE = 16  # pixels
_FINE = 4  # drawn this much larger and scaled down, so that edges are smooth
_SHAPES = ("circle", "square", "triangle")
_COLOURS = {"red": (214, 48, 49), "blue": (9, 132, 227), "green": (0, 148, 100), "orange": (225, 142, 20)}
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Style:
    """dark: on a dark ground; outline: only the edge is drawn; grey: no colour; small: half the size; striped: bars."""

    name: str
    dark: bool = False
    outline: bool = False
    grey: bool = False
    small: bool = False
    striped: bool = False


PLAIN = Style("plain")
SINGLES = (
    Style("dark", dark=True),
    Style("outline", outline=True),
    Style("grey", grey=True),
    Style("small", small=True),
    Style("striped", striped=True),
)


def both(first: Style, second: Style) -> Style:
    """The two styles at once."""
    return Style(
        f"{first.name}_{second.name}",
        dark=first.dark or second.dark,
        outline=first.outline or second.outline,
        grey=first.grey or second.grey,
        small=first.small or second.small,
        striped=first.striped or second.striped,
    )


REFERENCES = (PLAIN, *SINGLES)
TARGETS = tuple(both(first, second) for first, second in combinations(SINGLES, 2))


def draw(style: Style, generator: np.random.Generator) -> tuple[np.ndarray, str]:
    """A picture (SIDE, SIDE, 3) in 0..1 and its caption, which names colour and shape and never the style."""
    colour, shape = str(generator.choice(list(_COLOURS))), str(generator.choice(_SHAPES))
    side = SIDE * _FINE
    radius = side * generator.uniform(0.26, 0.36) * (0.55 if style.small else 1.0)
    middle = side / 2 + generator.uniform(-0.1, 0.1, size=2) * side
    ground = (40, 40, 48) if style.dark else _WHITE
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    ink = _COLOURS[colour]
    _shape(pen, shape, middle, radius, fill=None if style.outline else ink, ink=ink)
    if style.striped:
        for row in range(0, side, 4 * _FINE):
            pen.rectangle((0, row, side, row + _FINE), fill=ground)
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small.convert("L").convert("RGB") if style.grey else small)
    return pixels / 255.0, f"{'an' if colour == 'orange' else 'a'} {colour} {shape}"


def _shape(
    pen: ImageDraw.ImageDraw,
    shape: str,
    middle: np.ndarray,
    radius: float,
    *,
    fill: tuple[int, int, int] | None,
    ink: tuple[int, int, int],
) -> None:
    x, y = float(middle[0]), float(middle[1])
    box = (x - radius, y - radius, x + radius, y + radius)
    width = 2 * _FINE
    if shape == "circle":
        pen.ellipse(box, fill=fill, outline=ink, width=width)
    elif shape == "square":
        pen.rectangle(box, fill=fill, outline=ink, width=width)
    else:
        corners = [(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
        pen.polygon(corners, fill=fill, outline=ink, width=width)
