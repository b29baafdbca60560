"""Project targets onto their neighbourhoods: fast where it can be, certified always, refused where it cannot be.

Every target is first solved together with the others by exchanging whole supports. What is not certified then walks its
path, and those whose gap is still too large are solved again with a small ridge, then by cvxpy and a polish; what is
uncertified after that is an error for that target alone.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.projection.certificate import relative_gaps
from tasks.projection.duplicates import Merged, merge_duplicates
from tasks.projection.exchange import exchange_weights
from tasks.projection.lockstep import lockstep_weights
from tasks.projection.moments import Moments, gather_moments, gather_moments_about, scales_of
from tasks.projection.projection import NotCertified, Projection, coverage
from tasks.projection.refit import FIT_FLOOR, choose_supports, prune, refit_weights
from tasks.projection.variants import Variant

if TYPE_CHECKING:
    from tasks.projection.accelerated import Accelerated

SETTLED_GAP = 1e-12  # an exchanged answer above this is walked instead: it is exact, or its support is wrong
FAST_GAP = 1e-8  # a walked answer above this goes to the fallbacks, however generous the tolerance
RIDGE = 1e-9  # of the mean squared atom length


@dataclass(frozen=True, slots=True)
class Projections:
    """What became of t targets: a Projection each, or the reason why there is none.

    failures: target position -> message; by_ridge and by_cvxpy count the targets that needed those fallbacks.
    """

    projections: tuple[Projection | None, ...]
    failures: dict[int, str]
    by_ridge: int
    by_cvxpy: int


def project(
    atoms: np.ndarray,
    target: np.ndarray,
    *,
    variant: Variant,
    relative_penalty: float,
    spread: float,
    centre: np.ndarray,
    tolerance: float,
) -> Projection:
    """Weights of `target` (d,) on `atoms` (k, d), certified.

    relative_penalty is in units of `spread` (squared prototype distance); `centre` (d,) is the library's. `tolerance`
    bounds the duality gap relative to the problem's scale. Raises NotCertified above it.
    """
    many = project_many(
        atoms,
        np.arange(len(atoms))[None],
        target[None],
        variant=variant,
        relative_penalty=np.array([relative_penalty]),
        spread=spread,
        centre=centre,
        tolerance=tolerance,
        device=None,
    )
    only = many.projections[0]
    if only is None:
        raise NotCertified(many.failures[0])
    return only


def project_many(
    library: np.ndarray,
    indices: np.ndarray,
    targets: np.ndarray,
    *,
    variant: Variant,
    relative_penalty: np.ndarray,
    spread: float,
    centre: np.ndarray,
    tolerance: float,
    device: str | None,
) -> Projections:
    """Weights of `targets` (t, d) on their own neighbourhoods, rows `indices` (t, k) of `library` (n, d).

    relative_penalty: (t,), in units of `spread`; `device`: a torch device for Gram matrices and supports, the
    CPU without torch where None.
    Neighbourhoods are read a few at a time, so the library may be memory-mapped.
    """
    accelerated = None
    if device is None:
        moments = gather_moments(library, indices, targets, variant=variant)
    else:
        from tasks.projection.accelerated import gather_accelerated  # torch takes two seconds to import

        accelerated = gather_accelerated(library, indices, targets, variant=variant, device=device)
        moments = accelerated.moments()
    about_centre = None
    if variant is Variant.REFIT:
        about_centre = gather_moments_about(library, indices, targets, origin=centre)
    solved = solve_moments(
        moments,
        about_centre,
        variant=variant,
        penalty=relative_penalty * spread,
        spread=spread,
        dimension=library.shape[1],
        tolerance=tolerance,
        accelerated=accelerated,
    )
    residuals = _residuals(moments, solved.weights, library, indices, targets, variant=variant)
    distances = np.linalg.norm(targets.astype(np.float64) - centre, axis=1)
    projections: list[Projection | None] = []
    for i, gap in enumerate(solved.gaps):
        penalty = float(solved.penalty[i])
        relative = penalty / spread if spread > 0.0 else float(relative_penalty[i])
        residual = float(residuals[i])
        known = Projection(
            solved.weights[i], penalty, relative, residual, coverage(residual, float(distances[i])), float(gap)
        )
        projections.append(None if i in solved.failures else known)
    return Projections(tuple(projections), solved.failures, solved.by_ridge, solved.by_cvxpy)


@dataclass(frozen=True, slots=True)
class Solved:
    """Weights (t, k), the penalties (t,) they belong to, their relative gaps (t,), and how they were reached.

    `moments` is the problem that the gaps judge: near copies of one prototype stand in it as their mean.
    """

    moments: Moments
    weights: np.ndarray
    penalty: np.ndarray
    gaps: np.ndarray
    failures: dict[int, str]
    by_ridge: int
    by_cvxpy: int


def solve_moments(
    moments: Moments,
    about_centre: Moments | None,
    *,
    variant: Variant,
    penalty: np.ndarray,
    spread: float,
    dimension: int,
    tolerance: float,
    accelerated: "Accelerated | None",
) -> Solved:
    """Solve, certify and where needed solve again; `about_centre` is needed by REFIT alone, for its free path.

    `accelerated`: the moments once more where they are on a device, on which most supports are then found.
    """
    merged = merge_duplicates(moments, spread=spread)
    if variant is Variant.REFIT:
        if about_centre is None:
            raise ValueError("the refit variant walks the free path about the centre and needs those moments too")
        squares = np.einsum("tkk->tk", merged.moments.gram)
        choice = choose_supports(merged.merge(about_centre), squares, dimension=dimension, allowed=merged.allowed)
        support = prune(merged.moments, choice.support, dimension=dimension, floor=FIT_FLOOR * about_centre.energy)
        return _certify_refit(merged, support, choice.penalty, tolerance)
    penalty = np.maximum(penalty, _least_penalty(moments, variant))
    return _fall_back(merged, _solved_fast(merged, penalty, variant, accelerated), variant=variant, tolerance=tolerance)


def _solved_fast(merged: Merged, penalty: np.ndarray, variant: Variant, accelerated: "Accelerated | None") -> Solved:
    """Exchanged, and walked where that did not settle."""
    exchanged = _exchanged(merged, penalty, variant, accelerated)
    found = _judged(merged, exchanged, penalty, variant)
    left = np.flatnonzero(~(found.gaps <= SETTLED_GAP))
    if left.size:
        tried = _walked(merged, merged.moments[left], left, penalty, variant)
        _keep_better(merged, left, tried, found.weights, found.gaps, penalty, variant)
    return found


def _exchanged(merged: Merged, penalty: np.ndarray, variant: Variant, accelerated: "Accelerated | None") -> np.ndarray:
    """On an accelerator first, where there is one; what did not settle there is exchanged here."""
    moments, allowed = merged.moments, merged.allowed
    if accelerated is None:
        return exchange_weights(moments, penalty=penalty, variant=variant, allowed=allowed)
    weights = accelerated.exchange(moments, penalty=penalty, variant=variant)
    left = np.flatnonzero(np.isnan(weights).any(axis=1))
    who = None if allowed is None else allowed[left]
    weights[left] = exchange_weights(moments[left], penalty=penalty[left], variant=variant, allowed=who)
    return weights


def _judged(merged: Merged, weights: np.ndarray, penalty: np.ndarray, variant: Variant) -> Solved:
    shared = merged.share(weights)
    gaps = relative_gaps(merged.moments, shared, penalty=penalty, variant=variant)
    return Solved(merged.moments, shared, penalty, gaps, {}, 0, 0)


def _certify_refit(merged: Merged, support: np.ndarray, penalty: np.ndarray, tolerance: float) -> Solved:
    found = _judged(merged, refit_weights(merged.moments, support), penalty, Variant.REFIT)
    return replace(found, failures=_failures(found.gaps, tolerance))


def _least_penalty(moments: Moments, variant: Variant) -> np.ndarray:
    """Smallest penalty that float64 can certify, (t,): 1e-11 of the scale where weights may not be negative.

    Below it rounding in the correlations decides whether the dual point is feasible; the signed variants have a second
    certificate for that case and the simplex ignores the penalty.
    """
    scales = scales_of(moments, variant=variant)
    return 1e-11 * scales if variant is Variant.NONNEGATIVE else np.zeros_like(scales)


def _fall_back(merged: Merged, first: Solved, *, variant: Variant, tolerance: float) -> Solved:
    """Ridge, then cvxpy with a polish, for the targets whose gap is above the limit; the better answer is kept."""
    limit = min(tolerance, FAST_GAP)
    weights, gaps, penalty = first.weights.copy(), first.gaps.copy(), first.penalty
    ridge_rows = np.flatnonzero(~(gaps <= limit))
    if ridge_rows.size:
        some = merged.moments[ridge_rows]
        length = np.einsum("tkk->t", some.gram) / some.size
        ridged = replace(some, gram=some.gram + RIDGE * length[:, None, None] * np.eye(some.size))
        tried = _walked(merged, ridged, ridge_rows, penalty, variant)
        _keep_better(merged, ridge_rows, tried, weights, gaps, penalty, variant)
    cvxpy_rows = np.flatnonzero(~(gaps <= limit))
    for row in cvxpy_rows:
        tried = _by_cvxpy(merged.moments[row : row + 1], float(penalty[row]), variant)
        _keep_better(merged, np.array([row]), tried, weights, gaps, penalty, variant)
    failures = _failures(gaps, tolerance)
    by_ridge = int(ridge_rows.size - cvxpy_rows.size)
    return Solved(merged.moments, weights, penalty, gaps, failures, by_ridge, int(cvxpy_rows.size))


def _walked(merged: Merged, moments: Moments, rows: np.ndarray, penalty: np.ndarray, variant: Variant) -> np.ndarray:
    allowed = None if merged.allowed is None else merged.allowed[rows]
    return lockstep_weights(moments, penalty=penalty[rows], variant=variant, allowed=allowed)


def _by_cvxpy(moments: Moments, penalty: float, variant: Variant) -> np.ndarray:
    # cvxpy takes 0.7 s to import, and almost no run needs it.
    from tasks.projection.polish import polish
    from tasks.projection.reference import solve_reference

    try:
        rough = solve_reference(moments, penalty=penalty, variant=variant, precision=1e-12)
    except ArithmeticError:
        return np.full((1, moments.size), np.nan)
    return polish(moments, rough, penalty=penalty, variant=variant)[None]


def _keep_better(
    merged: Merged,
    rows: np.ndarray,
    tried: np.ndarray,
    weights: np.ndarray,
    gaps: np.ndarray,
    penalty: np.ndarray,
    variant: Variant,
) -> None:
    candidate = weights.copy()
    candidate[rows] = tried
    candidate = merged.share(candidate)[rows]
    new = relative_gaps(merged.moments[rows], candidate, penalty=penalty[rows], variant=variant)
    better = ~(gaps[rows] <= new)
    weights[rows[better]], gaps[rows[better]] = candidate[better], new[better]


def _failures(gaps: np.ndarray, tolerance: float) -> dict[int, str]:
    return {int(row): not_certified(gaps[row], tolerance) for row in np.flatnonzero(~(gaps <= tolerance))}


def not_certified(gap: float, tolerance: float) -> str:
    """Why a target has no answer, and what helps."""
    return (
        f"duality gap {gap:.1e} is above the tolerance {tolerance:.1e}; "
        "raise the penalty, use fewer neighbours, or prepare the prototypes (within-task standardisation)"
    )


def _residuals(
    moments: Moments,
    weights: np.ndarray,
    library: np.ndarray,
    indices: np.ndarray,
    targets: np.ndarray,
    *,
    variant: Variant,
) -> np.ndarray:
    """Lengths of target - sum w_i atom_i, (t,); from the moments where they are exact enough, else from the atoms."""
    fit = np.einsum("tk,tk->t", weights, np.matmul(moments.gram, weights[:, :, None])[:, :, 0])
    squares = moments.energy - 2.0 * np.einsum("tk,tk->t", weights, moments.correlations) + fit
    size = np.maximum(moments.energy, np.einsum("tk,tk->t", np.abs(weights), np.einsum("tkk->tk", moments.gram)))
    residuals = np.sqrt(np.maximum(squares, 0.0))
    for row in np.flatnonzero(~(squares > 1e-6 * size)):
        atoms = library[indices[row]].astype(np.float64)
        goal = targets[row].astype(np.float64)
        difference = (atoms - goal).T @ weights[row] if variant.sums_to_one else goal - weights[row] @ atoms
        residuals[row] = np.linalg.norm(difference)
    return residuals
