"""Tasks whose samples coincide are reported together, and nobody else is."""

from dataclasses import replace

from tasks.prototypes.siblings import siblings_among
from tests.prototypes.test_store import prototype


def test_coinciding_samples_make_siblings_whatever_else_differs() -> None:
    cells = prototype("nucleus")
    others = {name: prototype(name) for name in ("liver", "heart")}
    found = siblings_among({"nucleus": cells, "cytoplasm": replace(cells, name="cytoplasm", digest="x")} | others)
    assert [group.names for group in found] == [("cytoplasm", "nucleus")]
    assert str(found[0]).startswith("cytoplasm, nucleus have the same samples, so their prototypes cannot tell them")


def test_without_coincidence_there_are_no_siblings() -> None:
    assert siblings_among({name: prototype(name) for name in "abc"}) == []
