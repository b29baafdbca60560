"""What is solved on a GPU is certified like everything else, and is what the CPU finds."""

import numpy as np
import pytest

from tasks.projection.variants import Variant
from tests.projection.test_solve import many

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("variant", [v for v in Variant if v is not Variant.REFIT])
def test_a_gpu_finds_the_cpus_weights_and_certifies_them(variant: Variant) -> None:
    there, here = many(variant, device="cuda"), many(variant, device=None)
    assert there.failures == {}
    for one, other in zip(there.projections, here.projections, strict=True):
        assert one is not None
        assert other is not None
        assert one.duality_gap <= 1e-8
        np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-8)
