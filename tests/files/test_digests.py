"""Digests are of content, and the memory of them never hides a change."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.files import DigestCache, InvalidInput, Problem, digest_bytes, digest_tree, digest_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_the_order_of_a_mapping_does_not_matter(value: dict):
    assert digest_value(value) == digest_value(dict(reversed(value.items())))


@given(st.lists(st.binary(), max_size=4), st.lists(st.binary(), max_size=4))
def test_different_lists_of_parts_have_different_digests(left: list[bytes], right: list[bytes]):
    assert (digest_bytes(*left) == digest_bytes(*right)) == (left == right)


def test_nan_has_no_digest():
    with pytest.raises(ValueError, match="JSON"):
        digest_value(float("nan"))


def test_a_tree_s_digest_depends_on_names_and_bytes_and_not_on_place_or_hidden_files(tmp_path: Path):
    def tree(root: Path, name: str, content: str) -> str:
        (tmp_path / root).mkdir()
        (tmp_path / root / name).write_text(content)
        return digest_tree(tmp_path / root)

    first = tree(Path("a"), "w", "1")
    assert tree(Path("b"), "w", "1") == first
    assert tree(Path("c"), "v", "1") != first
    assert tree(Path("d"), "w", "2") != first
    (tmp_path / "a" / ".w.tmp").write_text("half")
    assert digest_tree(tmp_path / "a") == first


def test_the_memory_answers_for_an_unchanged_file_and_not_for_a_changed_one(tmp_path: Path):
    path = tmp_path / "w"
    path.write_text("1")
    first = DigestCache()
    digest = first.file(path)
    poisoned = {name: (*entry[:3], "remembered") for name, entry in first.entries.items()}
    assert DigestCache(poisoned).file(path) == "remembered"
    path.write_text("2")
    os.utime(path, ns=(0, 0))
    assert DigestCache(poisoned).file(path) not in ("remembered", digest)


def test_all_problems_survive_the_way_from_a_worker():
    import pickle

    error = InvalidInput(Problem("a", "is bad", "mend it"), Problem("b", "is worse", "drop it"))
    assert pickle.loads(pickle.dumps(error)).problems == error.problems
    assert str(error) == "a: is bad; mend it\nb: is worse; drop it"
