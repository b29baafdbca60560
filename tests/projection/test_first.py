import numpy as np
import pytest

from tasks.projection.solve import project
from tasks.projection.variants import Variant


@pytest.mark.parametrize("variant", [Variant.AFFINE, Variant.SIMPLEX, Variant.FREE, Variant.NONNEGATIVE])
@pytest.mark.parametrize("relative_penalty", [0.0, 0.05, 1.0])
def test_every_projection_is_certified(variant, relative_penalty):
    rng = np.random.default_rng(0)
    for _ in range(5):
        atoms = rng.normal(size=(12, 30)).astype(np.float32) + 3
        target = (atoms[:3].mean(0) + rng.normal(size=30) * 0.3).astype(np.float32)
        projection = project(
            atoms,
            target,
            variant=variant,
            relative_penalty=relative_penalty,
            spread=30.0,
            centre=atoms.mean(0),
            tolerance=1e-8,
        )
        assert projection.duality_gap <= 1e-9
