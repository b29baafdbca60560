"""The frames of a night."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flows.frame import Frames
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
