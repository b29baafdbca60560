"""The scale of `samples: auto`: how far references lie apart, settled once and kept.

An error that followed the library would change every prototype's identity with each new reference, so it is measured
on a pilot of few samples a reference and then stays until its file is deleted.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.files import write_json
from tasks.prototypes.extraction import prototype_digest
from tasks.prototypes.sampling import typical_distance
from tasks.prototypes.settings import Recipe


def settled_error(
    file: Path, *, pilot_recipe: Recipe, share: float, pilot: Callable[[], NDArray[np.floating]]
) -> float:
    """`share` of the typical distance between references, in units of prototype distance.

    The distance is read from `file` where it was measured with this recipe before; else `pilot` is called, which gives
    the references' pilot prototypes (n, d), and the distance is kept.
    """
    key = prototype_digest("pilot", recipe=pilot_recipe)
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("recipe") != key:
        known = {"recipe": key, "distance": typical_distance(pilot())}
        write_json(file, known)
    return share * float(known["distance"])
