"""A snapshot is the library's content: the order does not matter, every changed byte does."""

from dataclasses import replace
from pathlib import Path

from tasks.files import DigestCache
from tasks.library.snapshot import take_snapshot, take_targets
from tests.library.projects import random_rows, save_base, save_entry, save_samples


def test_the_order_of_the_library_does_not_matter_and_every_change_does(tmp_path: Path) -> None:
    base = save_base(tmp_path)
    a, b = save_entry(tmp_path, "a"), save_entry(tmp_path, "b", seed=1)
    before = take_snapshot([a, b], base=base, cache=DigestCache())
    assert take_snapshot([b, a], base=base, cache=DigestCache()) == before
    assert take_snapshot([a, replace(b, description="x")], base=base, cache=DigestCache()).digest != before.digest
    save_samples(Path(b.samples), random_rows(6, 2))
    after = take_snapshot([a, b], base=base, cache=DigestCache())
    assert after.digest != before.digest
    assert after.references[0] == before.references[0]
    assert after.references[1].samples_digest != before.references[1].samples_digest


def test_a_target_keeps_its_ceiling_apart(tmp_path: Path) -> None:
    entry = save_entry(tmp_path, "a")
    (target,) = take_targets([entry], cache=DigestCache())
    assert target.ceiling == Path(entry.adapter or "")
    assert target.samples_digest == DigestCache().file(Path(entry.samples))
