"""What determines a prototype, and how it is computed. Values only: they travel to the workers."""

from dataclasses import dataclass
from enum import StrEnum

from tasks.library.base_model import BaseModel
from tasks.library.families import Family


class Pooling(StrEnum):
    """From token states to one embedding a sample: their mean, or all of them one behind the other."""

    MEAN = "mean"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Capped:
    """At most `count` samples, a random choice of them that `seed` determines."""

    count: int
    seed: int


@dataclass(frozen=True, slots=True)
class UntilCertain:
    """Samples in random order (by `seed`), `first` of them and then twice as many as before each time.

    Stops when the standard error is at most `error`, in units of prototype distance, or the samples are used up.
    """

    error: float
    first: int
    seed: int


Sampling = Capped | UntilCertain


@dataclass(frozen=True, slots=True)
class DescriptionPart:
    """The embedding of the task's description joins the prototype: `weight` times its direction (length one).

    It tells siblings apart, whose samples are the same and whose labels are not. `weight` is in units of prototype
    distance. `encoder` reads the description; None: the recipe's own encoder, where it reads text.
    """

    weight: float
    encoder: BaseModel | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything besides the samples that determines a prototype; all of it is in the digest.

    `encoder` is the model that encodes (mostly the base model itself); `layers` are indices of hidden states, 0 the
    embeddings and -1 the last, whose embeddings are averaged; `max_tokens` cuts longer texts. `sampling` None takes
    every sample, `description` None leaves descriptions out.
    """

    base: BaseModel
    encoder: BaseModel
    family: Family
    pooling: Pooling
    layers: tuple[int, ...]
    max_tokens: int
    dtype: str
    trust_remote_code: bool
    sampling: Sampling | None = None
    description: DescriptionPart | None = None

    @property
    def layer(self) -> str:
        """The store's `layer` column: "-1", or "-1+-5" for a mean of several."""
        return "+".join(str(layer) for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Machine:
    """How the work is done on this machine; none of it is in the digest.

    `threads` per worker process, `token_budget` per batch (padding included), `window_rows` samples read ahead and
    sorted by length together.
    """

    device: str
    threads: int
    token_budget: int
    window_rows: int


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """What to compute and how."""

    recipe: Recipe
    machine: Machine
