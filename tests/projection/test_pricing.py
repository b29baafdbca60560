"""Solving on a neighbourhood and pricing the library gives the optimum over the whole library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.projection.neighbours import nearest
from tasks.projection.pricing import longest_of, most_correlated, project_on_library
from tasks.projection.solve import project
from tasks.projection.variants import Variant

OVER_A_LIBRARY = [Variant.AFFINE, Variant.FREE, Variant.NONNEGATIVE, Variant.SIMPLEX]


def library_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    library = (rng.normal(size=(150, 8)) @ rng.normal(size=(8, 60)) + rng.normal(size=(150, 60))).astype(np.float32)
    targets = library[rng.integers(0, 150, size=(5, 3))].mean(axis=1) + 0.5 * rng.normal(size=(5, 60))
    return library, targets.astype(np.float32)


def settings_of(library: np.ndarray, variant: Variant) -> dict:
    spread = float(np.square(library - library.mean(axis=0)).sum(axis=1).mean())
    return {"variant": variant, "spread": spread, "tolerance": 1e-8}


def over_library(library: np.ndarray, near: np.ndarray, targets: np.ndarray, **known) -> tuple:
    return project_on_library(library, near, targets, longest=longest_of(library), **known)


@pytest.mark.parametrize("variant", OVER_A_LIBRARY)
@pytest.mark.parametrize("relative_penalty", [0.3, 0.05])
def test_the_answer_over_the_library_is_that_of_the_problem_with_every_reference_in_it(variant, relative_penalty):
    for seed in range(3):
        library, targets = library_of(seed)
        known = settings_of(library, variant)
        near = nearest(library, [str(i) for i in range(150)], targets, count=6).indices
        penalty = np.full(5, relative_penalty * known["spread"])
        answers = over_library(library, near, targets, penalty=penalty, **known)
        for target, answer in zip(targets, answers, strict=True):
            whole = project(library, target, relative_penalty=relative_penalty, centre=library.mean(axis=0), **known)
            weights = np.zeros(150)
            weights[answer.references] = answer.weights
            np.testing.assert_allclose(weights, whole.weights, atol=1e-5)
            assert answer.gap <= 1e-8


@pytest.mark.parametrize("variant", OVER_A_LIBRARY)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(2, 40),
    share=st.floats(0.0, 1.0),
    relative_penalty=st.sampled_from([1e-3, 0.05, 0.3]),
    copied=st.booleans(),
)
def test_a_library_of_any_size_is_answered_for_whole_from_any_neighbourhood(
    variant, seed, size, share, relative_penalty, copied
):
    rng = np.random.default_rng(seed)
    library = rng.normal(size=(size, 50))
    if copied and size > 4:  # half of the references stand there twice, almost; a library of copies has no spread
        library[: size // 2] = library[size - size // 2 :] + 1e-5 * rng.normal(size=(size // 2, 50))
    targets = rng.dirichlet(np.ones(size), size=3) @ library + 0.3 * rng.normal(size=(3, 50))
    library, targets = library.astype(np.float32), targets.astype(np.float32)
    known = settings_of(library, variant)
    count = max(1, round(share * size))
    near = nearest(library, [f"{i:02}" for i in range(size)], targets, count=count).indices
    answers = over_library(library, near, targets, penalty=np.full(3, relative_penalty * known["spread"]), **known)
    for target, answer in zip(targets, answers, strict=True):
        whole = project(library, target, relative_penalty=relative_penalty, centre=library.mean(axis=0), **known)
        weights = np.zeros(size)
        weights[answer.references] = answer.weights
        assert answer.gap <= 1e-8
        np.testing.assert_allclose(weights, whole.weights, atol=3e-4)


def test_it_says_whether_retrieval_lost_anything():
    library, targets = library_of(0)
    known = settings_of(library, Variant.AFFINE)
    penalty = np.full(5, 0.05 * known["spread"])
    few = nearest(library, [str(i) for i in range(150)], targets, count=3).indices
    every = np.tile(np.arange(150), (5, 1))
    assert any(answer.lost for answer in over_library(library, few, targets, penalty=penalty, **known))
    assert not any(answer.lost for answer in over_library(library, every, targets, penalty=penalty, **known))


def test_the_most_correlated_references_are_those_of_a_full_sort():
    library, targets = library_of(1)
    found = most_correlated(library, targets, count=4)
    wanted = np.argsort(-np.abs(targets @ library.T), axis=1)[:, :4]
    np.testing.assert_array_equal(found, wanted)


def test_refit_is_refused_because_it_has_no_optimum_over_a_library():
    library, targets = library_of(1)
    with pytest.raises(ValueError, match="refit"):
        over_library(
            library,
            np.zeros((5, 1), dtype=int),
            targets,
            penalty=np.ones(5),
            **settings_of(library, Variant.REFIT),
        )
