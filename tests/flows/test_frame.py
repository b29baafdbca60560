"""The frames of a night."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flows.frame import Frames, covariance_of, stored_scale
from flows.settings import PreparationName, ProjectionSettings
from flows.workspace import Workspace
from tasks.files import InvalidInput
from tasks.prototypes.matrix import mapped, no_prototypes
from tasks.prototypes.store import PrototypeStore
from tests.audit.synthetic import prototype


def frames_of(names: str, folder: Path) -> Frames:
    rng = np.random.default_rng(0)
    store = PrototypeStore(folder / "prototypes")
    made = [prototype(name, rng.normal(size=6), rng, noise=0.1) for name in names]
    if made:
        store.write_part(made, "one", now=datetime(2026, 1, 2, tzinfo=UTC))
    compacted = store.compact([(one.name, one.digest) for one in made])
    references = no_prototypes() if compacted is None else mapped(compacted)
    snapshot = SimpleNamespace(references=[SimpleNamespace(name=name, adapter_digest=name) for name in names])
    run = SimpleNamespace(workspace=Workspace(SimpleNamespace(workspace=folder)))
    return Frames(run, SimpleNamespace(references=references, snapshot=snapshot))


def test_settings_that_prepare_alike_share_one_frame(tmp_path: Path):
    frames, how = frames_of("abc", tmp_path), ProjectionSettings()
    assert frames.under(how) is frames.under(how.model_copy(update={"penalty": 0.3}))
    assert frames.under(how) is not frames.under(how.model_copy(update={"preparation": PreparationName.STANDARDISED}))


def test_a_library_without_any_prototype_has_no_frame(tmp_path: Path):
    with pytest.raises(InvalidInput, match="no reference has a prototype"):
        frames_of("", tmp_path).under(ProjectionSettings())


def test_whitening_makes_the_samples_noise_the_same_in_every_direction_and_is_kept_for_explain(tmp_path: Path):
    how = ProjectionSettings(preparation=PreparationName.WHITENED)
    frame = frames_of("abcdefghij", tmp_path).under(how)
    matrix = frame.scale.transform.matrix
    (stored,) = (tmp_path / "calibration").glob("covariance-*.npy")
    np.testing.assert_allclose(matrix @ np.load(stored) @ matrix, np.eye(6), atol=1e-9)
    again = stored_scale(Workspace(SimpleNamespace(workspace=tmp_path)), PreparationName.WHITENED)
    assert again is not None
    np.testing.assert_array_equal(again.transform.matrix, matrix)
    assert frames_of("abcdefghij", tmp_path).under(how).digest == frame.digest


def test_another_covariance_is_another_frame(tmp_path: Path):
    how = ProjectionSettings(preparation=PreparationName.WHITENED)
    before = frames_of("abcdefghij", tmp_path).under(how).digest
    (stored,) = (tmp_path / "calibration").glob("covariance-*.npy")
    np.save(stored, 2.0 * np.load(stored))
    assert frames_of("abcdefghij", tmp_path).under(how).digest != before


def test_prototypes_too_wide_for_a_matrix_are_refused_with_the_limit():
    wide = np.zeros((2, 5000), np.float32)
    with pytest.raises(InvalidInput, match="the limit is 4096"):
        covariance_of(wide, wide, np.array([4, 4]))
