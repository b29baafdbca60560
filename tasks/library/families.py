"""The model families of a project file, and the sample columns each can encode."""

from enum import StrEnum


class Family(StrEnum):
    """`family` in the project file."""

    CAUSAL_LM = "causal-lm"
    SEGMENTATION = "segmentation"
    DIFFUSION = "diffusion"
    ENCODER = "encoder"


TEXT = "text"
IMAGE = "image"
PIXEL_VALUES = "pixel_values"

SAMPLE_COLUMNS: dict[Family, tuple[str, ...]] = {
    Family.CAUSAL_LM: (TEXT,),
    Family.SEGMENTATION: (PIXEL_VALUES, IMAGE),
    Family.DIFFUSION: (PIXEL_VALUES, IMAGE, TEXT),
    Family.ENCODER: (PIXEL_VALUES, IMAGE, TEXT),
}

DESCRIBABLE = frozenset({Family.DIFFUSION})  # a reference without samples may have descriptive texts instead
