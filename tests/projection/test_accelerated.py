"""On torch's CPU device: what an accelerator would do gives the CPU's moments and weights, and leaves it the rest."""

import numpy as np
import pytest

from tasks.projection import accelerated
from tasks.projection.accelerated import gather_accelerated
from tasks.projection.certificate import relative_gaps
from tasks.projection.exchange import exchange_weights
from tasks.projection.moments import gather_moments
from tasks.projection.path import largest_penalties
from tasks.projection.solve import SETTLED_GAP, Projections, project_many
from tasks.projection.variants import Variant
from tests.projection.cases import VARIANTS

EXCHANGED = [variant for variant in Variant if variant is not Variant.REFIT]
TARGETS, ATOMS, DIMENSIONS = 50, 12, 30


def library_with(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A library with a common mean (n, d), neighbourhoods (t, k) that leave some of it out, and targets (t, d)."""
    rng = np.random.default_rng(seed)
    library = (rng.normal(size=(80, DIMENSIONS)) + 3.0).astype(np.float32)
    indices = np.stack([rng.choice(40, size=ATOMS, replace=False) * 2 + 1 for _ in range(TARGETS)])
    mix = rng.dirichlet(np.ones(ATOMS), size=TARGETS)
    targets = np.einsum("tk,tkd->td", mix, library[indices]) + 0.3 * rng.normal(size=(TARGETS, DIMENSIONS))
    return library, indices, targets.astype(np.float32)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_moments_are_those_of_the_cpu(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerated, "ATOMS", 7 * ATOMS)  # windows of seven targets
    library, indices, targets = library_with(0)
    found = gather_accelerated(library, indices, targets, variant=variant, device="cpu").moments()
    wanted = gather_moments(library, indices, targets, variant=variant)
    for name in ("gram", "correlations", "energy"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("share", [0.3, 0.03])
@pytest.mark.parametrize("variant", EXCHANGED)
def test_the_weights_are_certified_and_those_of_the_cpu(
    variant: Variant, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerated, "ENTRIES", 9 * ATOMS**2)  # windows of nine problems
    there = gather_accelerated(*library_with(1), variant=variant, device="cpu")
    moments = there.moments()
    penalty = share * largest_penalties(moments, variant=variant)
    found = there.exchange(moments, penalty=penalty, variant=variant)
    assert not np.isnan(found).any()
    assert relative_gaps(moments, found, penalty=penalty, variant=variant).max() <= SETTLED_GAP
    here = exchange_weights(moments, penalty=penalty, variant=variant, allowed=None)
    np.testing.assert_allclose(found, here, rtol=0, atol=1e-10)
    assert ((found == 0.0) == (here == 0.0)).all()


def test_what_depends_on_the_support_is_left_unsettled_and_nothing_else() -> None:
    library, indices, targets = library_with(2)
    library[indices[3, :2]] = library[indices[3, 2]]  # three copies of one atom; a free support of them has no inverse
    there = gather_accelerated(library, indices, targets, variant=Variant.FREE, device="cpu")
    moments = there.moments()
    copies = (np.ptp(moments.gram[:, :, None] - moments.gram[:, None], axis=3) == 0.0).sum(axis=(1, 2)) > ATOMS
    found = there.exchange(moments, penalty=np.full(TARGETS, 1e-3), variant=Variant.FREE)
    unsettled = np.isnan(found).any(axis=1)
    assert unsettled.any()
    assert not (unsettled & ~copies).any()


def projected(device: str | None, variant: Variant) -> Projections:
    library, indices, targets = library_with(3)
    library[indices[0, 0]] = library[indices[0, 1]] * np.float32(1.0 + 1e-7)  # near copies share their weight
    return project_many(
        library,
        indices,
        targets,
        variant=variant,
        relative_penalty=np.full(TARGETS, 0.03),
        spread=float(DIMENSIONS),
        centre=library.mean(axis=0).astype(np.float64),
        tolerance=1e-8,
        device=device,
    )


@pytest.mark.parametrize("rounds", [accelerated.TOGETHER, 0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_projections_are_the_same_however_much_is_settled_there(
    variant: Variant, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerated, "TOGETHER", rounds)
    here, there = projected(None, variant), projected("cpu", variant)
    assert there.failures == {}
    for one, other in zip(there.projections, here.projections, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(one.weights, other.weights, rtol=0, atol=1e-9)
        assert one.residual == pytest.approx(other.residual, rel=1e-6)
        assert one.duality_gap <= 1e-8
