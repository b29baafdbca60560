"""What a library lacks, from what its compositions leave unexplained."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.audit.missing import Wanted, wanted_references

X, Y = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_targets_that_lack_the_same_thing_ask_for_one_reference():
    found = wanted_references({"a": 2 * X, "b": X + 0.1 * Y, "c": 3 * Y}, alike=0.8, most=5)
    assert found == (Wanted("a", ("a", "b")), Wanted("c", ("c",)))


def test_opposite_lacks_are_not_one():
    assert len(wanted_references({"a": X, "b": -X}, alike=0.8, most=5)) == 2


def test_a_target_that_is_explained_wholly_lacks_nothing():
    assert wanted_references({"a": 0 * X}, alike=0.8, most=5) == ()


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_nobody_is_served_twice_and_the_most_useful_come_first(count: int, most: int, seed: int):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    found = wanted_references({f"t{i}": vector for i, vector in enumerate(vectors)}, alike=0.5, most=most)
    served = [name for one in found for name in one.serves]
    assert len(served) == len(set(served))
    assert [len(one.serves) for one in found] == sorted((len(one.serves) for one in found), reverse=True)
    assert len(found) <= most
