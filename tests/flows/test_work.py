"""What a worker decides for itself."""

from pathlib import Path

import pytest

from flows import work
from flows.work import ShardWork, extract_on_worker
from tasks.prototypes.extraction import Job
from tasks.prototypes.settings import ExtractionSettings
from tests.library.projects import save_base
from tests.prototypes.recipes import recipe_for


@pytest.mark.parametrize(("asked", "device", "taken"), [(None, "cpu", 1024), (None, "cuda", 8192), (7, "cuda", 7)])
def test_the_device_decides_how_many_tokens_go_at_once_unless_the_project_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: int | None, device: str, taken: int
) -> None:
    seen: list[ExtractionSettings] = []
    monkeypatch.setattr(work, "worker_device", lambda: device)
    monkeypatch.setattr(work, "extract_shard", lambda jobs, settings, directory: seen.append(settings))
    save_base(tmp_path)
    recipe = recipe_for(tmp_path / "base")
    extract_on_worker(ShardWork((Job("a", "d", "samples"),), recipe, 1, asked, 64, tmp_path))
    assert [(one.machine.device, one.machine.token_budget) for one in seen] == [(device, taken)]
