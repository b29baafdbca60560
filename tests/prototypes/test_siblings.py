"""Tasks whose samples coincide are reported together, and nobody else is."""

import numpy as np

from tasks.prototypes.siblings import siblings_among
from tests.prototypes.test_store import prototype

ROWS = np.stack([prototype(name).prototype for name in ("nucleus", "liver", "heart")])


def test_coinciding_samples_make_siblings_in_order_of_name() -> None:
    found = siblings_among(["nucleus", "liver", "heart", "cytoplasm"], ROWS[[0, 1, 2, 0]])
    assert [group.names for group in found] == [("cytoplasm", "nucleus")]
    assert str(found[0]).startswith("cytoplasm, nucleus have the same samples, so their prototypes cannot tell them")


def test_without_coincidence_there_are_no_siblings() -> None:
    assert siblings_among(["nucleus", "liver", "heart"], ROWS) == []
