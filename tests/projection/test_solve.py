"""One target's trouble stays its own: fallbacks are counted, failures are named, the rest is solved."""

import hashlib

import numpy as np
import pytest

import tasks.projection as room
from tasks.projection import solve as solving
from tasks.projection.exchange import exchange_weights
from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import moments_of
from tasks.projection.polish import polish
from tasks.projection.projection import NotCertified, Projection
from tasks.projection.reference import reference_problem, solve_reference
from tasks.projection.solve import Projections, project, project_many
from tasks.projection.variants import Variant
from tests.projection.cases import VARIANTS, case_of


def many(variant: Variant, *, tolerance: float = 1e-8, device: str | None = None) -> Projections:
    rng = np.random.default_rng(0)
    library = rng.normal(size=(40, 20)).astype(np.float32)
    targets = (library[:6] + library[6:12]).astype(np.float32) / 2 + np.float32(0.1)
    indices = np.stack([rng.choice(40, size=8, replace=False) for _ in range(6)])
    return project_many(
        library,
        indices,
        targets,
        variant=variant,
        relative_penalty=np.linspace(0.01, 0.2, 6),
        spread=20.0,
        centre=library.mean(axis=0),
        tolerance=tolerance,
        device=device,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_many_targets_in_lockstep_get_what_each_would_get_alone(variant):
    rng = np.random.default_rng(1)
    library = rng.normal(size=(60, 20)).astype(np.float32)
    targets = rng.normal(size=(9, 20)).astype(np.float32)
    indices = np.stack([rng.choice(60, size=7, replace=False) for _ in range(9)])
    known = {"variant": variant, "spread": 20.0, "centre": library.mean(axis=0), "tolerance": 1e-8}
    together = project_many(library, indices, targets, relative_penalty=np.full(9, 0.05), device=None, **known)
    for i, target in enumerate(targets):
        alone = project(library[indices[i]], target, relative_penalty=0.05, **known)
        found = together.projections[i]
        assert found is not None
        np.testing.assert_allclose(found.weights, alone.weights, atol=1e-10)
        assert found.residual == pytest.approx(np.linalg.norm(target - alone.weights @ library[indices[i]]), rel=1e-5)


def spoil(monkeypatch, *, rows, times):
    """Let the first `times` of the fast answers (the exchange's, then the walks') be wrong at some rows."""
    calls = []

    def spoiled(good):
        def answer(moments, **known):
            weights = good(moments, **known)
            calls.append(len(weights))
            if len(calls) <= times:
                weights[[row for row in rows if row < len(weights)]] = 1.0 / weights.shape[1]
            return weights

        return answer

    monkeypatch.setattr(solving, "exchange_weights", spoiled(exchange_weights))
    monkeypatch.setattr(solving, "lockstep_weights", spoiled(lockstep_weights))


def before_and_after(monkeypatch, variant, **spoiling) -> tuple[tuple[Projection | None, ...], Projections]:
    """The projections of undisturbed solvers, and all about those of spoiled ones."""
    honest = many(variant)
    spoil(monkeypatch, **spoiling)
    return honest.projections, many(variant)


@pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.FREE, Variant.SIMPLEX, Variant.NONNEGATIVE])
def test_what_the_exchange_gets_wrong_is_walked(variant, monkeypatch):
    honest, repaired = before_and_after(monkeypatch, variant, rows=[1, 4], times=1)
    assert (repaired.by_ridge, repaired.by_cvxpy) == (0, 0)
    for one, other in zip(honest, repaired.projections, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-10)


def test_nothing_is_walked_twice(monkeypatch):
    walks = []

    def counted(moments, **known):
        walks.append(moments.count)
        return lockstep_weights(moments, **known)

    monkeypatch.setattr(solving, "lockstep_weights", counted)
    monkeypatch.setattr(solving, "SETTLED_GAP", -1.0)  # as if no answer were settled
    many(Variant.AFFINE)
    assert walks == [6]


@pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.FREE])
def test_a_wrong_walk_is_noticed_and_solved_with_a_ridge(variant, monkeypatch):
    honest, repaired = before_and_after(monkeypatch, variant, rows=[0, 1], times=2)
    assert (repaired.by_ridge, repaired.by_cvxpy) == (2, 0)
    for one, other in zip(honest, repaired.projections, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)


@pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.FREE, Variant.SIMPLEX, Variant.NONNEGATIVE])
def test_where_the_ridge_does_not_help_cvxpy_and_the_polish_do(variant, monkeypatch):
    honest, repaired = before_and_after(monkeypatch, variant, rows=[0, 1], times=3)
    assert (repaired.by_ridge, repaired.by_cvxpy) == (0, 2)
    for one, other in zip(honest, repaired.projections, strict=True):
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
        np.testing.assert_array_equal(one.weights != 0.0, other.weights != 0.0)


def test_nonnegative_weights_are_certified_without_a_penalty_and_with_massive_coordinates():
    """Rounding then leaves a correlation above the penalty, and only the certificate's shifted residual can tell."""
    for seed in range(120):
        case = case_of("massive coordinates", seed)
        known = {"spread": case.spread, "centre": case.centre, "tolerance": 1e-8}
        found = project(case.atoms, case.target, variant=Variant.NONNEGATIVE, relative_penalty=0.0, **known)
        assert found.duality_gap <= 1e-8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", [63, 69, 158, 208])
def test_a_walk_that_loses_all_its_weight_is_no_answer_and_no_warning(seed):
    """A target within the span of 32 atoms in 7 dimensions, without a penalty: the optimum is a face, not a point."""
    rng = np.random.default_rng(seed)
    library, target = rng.normal(size=(1000, 7)).astype(np.float32), rng.normal(size=7).astype(np.float32)
    atoms = library[np.argsort(np.square(library - target).sum(axis=1))[:32]]
    moments = moments_of(atoms[None], target[None], variant=Variant.AFFINE)
    walked = lockstep_weights(moments, penalty=np.zeros(1), variant=Variant.AFFINE, allowed=None)
    assert np.isnan(walked).all()
    known = {"spread": 7.0, "centre": np.zeros(7), "tolerance": 1e-8}
    assert project(atoms, target, variant=Variant.AFFINE, relative_penalty=0.0, **known).duality_gap <= 1e-8


def test_what_stays_uncertified_fails_alone_and_says_what_to_do(monkeypatch):
    spoil(monkeypatch, rows=[0], times=3)
    monkeypatch.setattr(solving, "_by_cvxpy", lambda moments, penalty, variant: np.full((1, moments.size), np.nan))
    found = many(Variant.AFFINE)
    assert list(found.failures) == [0]
    assert "raise the penalty" in found.failures[0]
    assert [projection is None for projection in found.projections] == [True] + [False] * 5


def test_one_target_that_fails_is_an_error_never_a_warning(monkeypatch):
    case = case_of("random", 0)
    spoil(monkeypatch, rows=[0], times=3)
    monkeypatch.setattr(solving, "_by_cvxpy", lambda moments, penalty, variant: np.full((1, moments.size), np.nan))
    with pytest.raises(NotCertified, match="duality gap"):
        project(
            case.atoms,
            case.target,
            variant=Variant.AFFINE,
            relative_penalty=0.1,
            spread=case.spread,
            centre=case.centre,
            tolerance=1e-8,
        )


@pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.FREE, Variant.SIMPLEX, Variant.NONNEGATIVE])
def test_the_polish_turns_interior_weights_into_exact_zeros(variant):
    for seed in range(10):
        case = case_of("random", seed)
        moments = moments_of(case.atoms[None], case.target[None], variant=variant)
        penalty = 0.1 * case.spread
        rough = solve_reference(moments, penalty=penalty, variant=variant, precision=1e-10)
        exact = polish(moments, rough, penalty=penalty, variant=variant)
        fast = lockstep_weights(moments, penalty=np.array([penalty]), variant=variant, allowed=None)[0]
        np.testing.assert_allclose(exact, fast, atol=1e-7)
        np.testing.assert_array_equal(exact != 0.0, fast != 0.0)


def test_cvxpy_compiles_one_problem_for_each_size_and_variant():
    assert reference_problem(5, Variant.AFFINE) is reference_problem(5, Variant.AFFINE)
    assert reference_problem(5, Variant.AFFINE) is not reference_problem(6, Variant.AFFINE)
    assert reference_problem(5, Variant.FREE).problem.is_dpp()


def test_version_four_means_these_weights():
    """Two orthogonal atoms and the target 0.75 a + 0.25 b: w = (3/4, 1/4) exactly, whatever the affine penalty.

    The target lies in the hull, so Eq. 5 has the mixing weights as its minimiser (the residual is zero and |w|_1 is
    least). If this fails the same inputs give other outputs, and VERSION must rise.
    """
    atoms = np.eye(2, dtype=np.float32)
    weights = project(
        atoms,
        np.array([0.75, 0.25], dtype=np.float32),
        variant=Variant.AFFINE,
        relative_penalty=0.1,
        spread=0.5,
        centre=np.zeros(2),
        tolerance=1e-8,
    ).weights
    wanted = hashlib.sha256(np.array([0.75, 0.25]).tobytes()).hexdigest()
    assert room.VERSION == "4"
    assert hashlib.sha256(np.round(weights, 12).tobytes()).hexdigest() == wanted
