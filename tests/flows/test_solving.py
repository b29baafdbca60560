"""What a target's weights are solved over: its neighbours, or every reference."""

from types import SimpleNamespace

import numpy as np
import pytest

from flows import solving
from flows.frame import Frame, Scale
from flows.settings import ProjectionSettings, RuleName, Scope, VariantName
from flows.solving import answer, is_over_library
from tasks.projection.calibration import calibrate
from tasks.projection.neighbours import nearest
from tasks.projection.preparation import Preparation, fit_transform
from tasks.projection.solve import project
from tasks.projection.variants import Variant

NEAR = ProjectionSettings(rule=RuleName.PROJECTION, neighbours=3, penalty=0.01, tolerance=1e-8)
WHOLE = NEAR.model_copy(update={"exact": Scope.LIBRARY})


@pytest.fixture(autouse=True)
def no_prefect(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    logger = SimpleNamespace(info=lambda text, *values: lines.append(text % values))
    monkeypatch.setattr(solving, "get_run_logger", lambda: logger)
    return lines


def frame_of(matrix: np.ndarray) -> Frame:
    calibration = calibrate(matrix, np.ones_like(matrix))
    names = tuple(f"r{row:02d}" for row in range(len(matrix)))
    scale = Scale(fit_transform(Preparation.RAW, calibration, within_covariance=None), calibration)
    return Frame(names, names, names, matrix, scale, "digest")


def far_reference_that_matters() -> tuple[Frame, np.ndarray]:
    """Three references on one side of the target, and the one that balances them farther away than they are."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(12, 6)).astype(np.float32) * 0.01
    matrix[:, 0] += np.repeat([1.0, 1.1, -3.0, 9.0], 3).astype(np.float32)
    return frame_of(matrix), np.zeros((1, 6), np.float32)


def asked(how: ProjectionSettings, frame: Frame, targets: np.ndarray):
    rows = nearest(frame.matrix, frame.names, targets, count=how.neighbours).indices
    return rows, answer(frame, how, targets, rows)


def test_over_the_library_a_reference_beyond_the_neighbours_carries_weight(no_prefect: list[str]):
    frame, targets = far_reference_that_matters()
    near, among = asked(NEAR, frame, targets)
    _, whole = asked(WHOLE, frame, targets)
    assert set(whole.rows[0][:3]) == set(near[0])
    beyond = whole.rows[0][3:]
    assert len(beyond) > 0
    assert (whole.projections[0].weights[3:] != 0).all()
    assert whole.projections[0].residual < 0.5 * among.projections[0].residual
    assert no_prefect == ["1 of 1 targets use references that retrieval missed"]


def test_its_answer_is_that_of_the_problem_with_every_reference():
    frame, targets = far_reference_that_matters()
    _, found = asked(WHOLE, frame, targets)
    scale = frame.scale.calibration
    everything = project(
        frame.matrix,
        targets[0],
        variant=Variant.AFFINE,
        relative_penalty=WHOLE.penalty,
        spread=scale.spread,
        centre=scale.centre,
        tolerance=1e-8,
    )
    weights = np.zeros(len(frame.names))
    weights[found.rows[0]] = found.projections[0].weights
    np.testing.assert_allclose(weights, everything.weights, atol=1e-6)
    for name in ("penalty", "relative_penalty", "residual", "coverage"):
        assert getattr(found.projections[0], name) == pytest.approx(getattr(everything, name), rel=1e-6), name


def test_far_ones_stand_behind_the_neighbours_nearest_first():
    frame, targets = far_reference_that_matters()
    _, found = asked(WHOLE, frame, targets)
    squares = np.square(frame.matrix[found.rows[0]] - targets[0]).sum(axis=1)
    assert (np.diff(squares) >= 0).all()


def test_a_target_without_a_certificate_fails_alone_with_a_reason():
    frame, targets = far_reference_that_matters()
    strict = WHOLE.model_copy(update={"tolerance": 1e-30})
    _, found = asked(strict, frame, np.concatenate([targets, frame.matrix[:1]]))
    assert found.projections[0] is None
    assert found.failures[0].startswith("duality gap")


def test_formulas_and_refit_know_neighbours_only():
    assert is_over_library(WHOLE)
    assert not is_over_library(NEAR)
    for other in ({"variant": VariantName.REFIT}, {"rule": RuleName.SIMILARITY}):
        assert not is_over_library(WHOLE.model_copy(update=other))


def test_what_was_solved_over_the_library_is_another_composition_once_any_reference_changes():
    frame, _ = far_reference_that_matters()
    changed = Frame(frame.names, (*frame.names[:-1], "new"), frame.names, frame.matrix, frame.scale, frame.digest)
    assert changed.digest == frame.digest
    assert changed.whole_digest != frame.whole_digest
