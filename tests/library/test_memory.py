"""Digests of one night are those of any other way to take them, and are taken once."""

from pathlib import Path

from tasks.files import DigestCache
from tasks.library.memory import NightlyDigests, load_memory, save_memory


def fill(root: Path) -> None:
    (root / "flat").mkdir()
    (root / "deep" / "below").mkdir(parents=True)
    for name in ("flat/b", "flat/a", "flat/.hidden", "deep/x", "deep/below/y", "deep/below.z"):
        (root / name).write_text(name)


def test_the_values_are_those_of_the_plain_cache(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in ("flat", "deep", "flat/a"):
        assert NightlyDigests().tree(tmp_path / name) == DigestCache().tree(tmp_path / name)


def test_a_change_is_seen_the_next_night_and_not_in_the_middle_of_one(tmp_path: Path) -> None:
    fill(tmp_path)
    memory = load_memory(tmp_path / "none.json")
    before = memory.digests.tree(tmp_path / "flat")
    (tmp_path / "flat" / "a").write_text("changed")
    assert memory.digests.tree(tmp_path / "flat") == before
    save_memory(tmp_path / "memory.json", memory)
    assert load_memory(tmp_path / "memory.json").digests.tree(tmp_path / "flat") != before


def test_what_has_its_old_stamp_is_not_read_again(tmp_path: Path) -> None:
    fill(tmp_path)
    memory = load_memory(tmp_path / "none.json")
    before = memory.digests.tree(tmp_path / "flat")
    save_memory(tmp_path / "memory.json", memory)
    content = (tmp_path / "memory.json").read_text()
    (tmp_path / "memory.json").write_text(content.replace(DigestCache().file(tmp_path / "flat" / "a"), "0" * 32))
    assert load_memory(tmp_path / "memory.json").digests.tree(tmp_path / "flat") != before
