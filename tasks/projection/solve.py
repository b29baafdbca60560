"""Project targets onto their neighbourhoods, and refuse what cannot be certified."""

import numpy as np

from tasks.projection.certificate import relative_gaps
from tasks.projection.moments import Moments, moments_of, scales_of
from tasks.projection.polish import polish
from tasks.projection.projection import NotCertified, Projection, coverage
from tasks.projection.reference import solve_reference
from tasks.projection.variants import Variant


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

    relative_penalty is in units of `spread` (squared prototype distance); `centre` (d,) only enters the coverage.
    `tolerance` bounds the duality gap relative to the problem's scale. Raises NotCertified above it.
    """
    penalty = relative_penalty * spread
    moments = moments_of(atoms[None], target[None], variant=variant)
    penalty = max(penalty, floor_of(moments, variant))
    rough = solve_reference(moments, penalty=penalty, variant=variant, precision=1e-12)
    weights = polish(moments, rough, penalty=penalty, variant=variant)
    gap = float(relative_gaps(moments, weights[None], penalty=np.array([penalty]), variant=variant)[0])
    if not gap <= tolerance:
        raise NotCertified(
            f"duality gap {gap:.1e} is above {tolerance:.1e}; rescale the prototypes or raise the penalty"
        )
    goal = target.astype(np.float64)
    residual = float(np.linalg.norm(goal - weights @ atoms.astype(np.float64)))
    distance = float(np.linalg.norm(goal - centre))
    return Projection(
        weights,
        penalty,
        penalty / spread if spread > 0.0 else relative_penalty,
        residual,
        coverage(residual, distance),
        gap,
    )


def floor_of(moments: Moments, variant: Variant) -> float:
    """Smallest penalty that float64 can certify where weights may not be negative: 1e-11 of the problem's scale.

    Below it rounding in the correlations decides whether the dual point is feasible; the signed variants have a second
    certificate for that case and the simplex ignores the penalty.
    """
    return 1e-11 * float(scales_of(moments, variant=variant)[0]) if variant is Variant.NONNEGATIVE else 0.0
