"""From a recipe to an encoder resident in this process. Imports torch and transformers: workers only."""

import threading
from collections.abc import Callable
from functools import cache

from safetensors import SafetensorError

from tasks.library.families import Family
from tasks.prototypes.encoders import causal_lm, diffusion, general, segmentation
from tasks.prototypes.encoders.encoder import Encoder, Modality
from tasks.prototypes.settings import Recipe

_BUILDERS: dict[Family, Callable[[Recipe, Modality, str], Encoder]] = {
    Family.CAUSAL_LM: causal_lm.build,
    Family.SEGMENTATION: segmentation.build,
    Family.DIFFUSION: diffusion.build,
    Family.ENCODER: general.build,
}


_LOADING = threading.Lock()  # two reader threads that want one model shall not load it twice


class EncoderUnavailable(RuntimeError):
    """The model itself cannot be loaded: no reference is at fault, and another worker may succeed."""


def resident_encoder(recipe: Recipe, modality: Modality, device: str) -> Encoder:
    """The encoder of `recipe` on `device`, loaded once per process; the key holds the model's content digest.

    Raises ValueError where the recipe does not fit the model or the modality, EncoderUnavailable where loading fails.
    """
    with _LOADING:
        found = _resident(recipe, modality, device)
    if isinstance(found, ValueError):
        raise ValueError(str(found))
    return found


@cache
def _resident(recipe: Recipe, modality: Modality, device: str) -> Encoder | ValueError:
    try:
        return _BUILDERS[recipe.family](recipe, modality, device)
    except ValueError as error:
        return error  # remembered, or a recipe that does not fit would load a large model once a reference
    except (OSError, RuntimeError, ImportError, SafetensorError) as error:
        raise EncoderUnavailable(f"{recipe.encoder.name} cannot be loaded: {error}") from error
