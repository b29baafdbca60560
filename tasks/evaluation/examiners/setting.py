"""What an examiner is opened with."""

from dataclasses import dataclass

from tasks.evaluation.limits import USUAL, Limits
from tasks.library.base_model import BaseModel
from tasks.library.families import Family


@dataclass(frozen=True, slots=True)
class Setting:
    """The base model, the labelled evaluation set, and how much goes through the model at a time.

    `shown` samples, evenly spaced over the file, go into the picture; `limits` cut the texts of a language model.
    `features` is a model that judges written texts (a text encoder) or drawn images (CLIP); None: nothing does.
    """

    family: Family
    base: BaseModel
    evaluation: str
    device: str
    batch_size: int
    shown: int
    limits: Limits = USUAL
    features: BaseModel | None = None
