"""Workers on this machine's GPUs: dask-cuda's, and forked ones, which must not have touched a GPU before."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.conftest import edit_project, environment, run_command, tesserae

pytestmark = [pytest.mark.gpu, pytest.mark.services]


def prototypes(project: Path) -> dict[str, np.ndarray]:
    stored = pq.read_table(project / "workspace" / "prototypes")
    return dict(zip(stored["name"].to_pylist(), map(np.array, stored["prototype"].to_pylist()), strict=True))


@pytest.fixture
def on_the_cpu(digits: Path, tmp_path: Path) -> dict[str, np.ndarray]:
    import shutil

    project = Path(shutil.copytree(digits, tmp_path / "cpu"))
    done = run_command(["refresh", project, "--json"], {**environment(), "CUDA_VISIBLE_DEVICES": ""})
    assert done.code == 0, done.err
    return prototypes(project)


@pytest.mark.parametrize("kind", ["cuda", "local"])
def test_the_examples_refresh_runs_on_the_gpu(fresh: Path, on_the_cpu: dict[str, np.ndarray], kind: str) -> None:
    if kind == "cuda":
        pytest.importorskip("dask_cuda", reason="dask-cuda is in the extra `gpu`")
    edit_project(fresh, lambda settings: settings.update(cluster={"kind": kind}))
    done = tesserae("refresh", fresh, "--json")
    assert done.code == 0, done.err
    assert done.json["prototypes_computed"] == len(on_the_cpu)
    found = prototypes(fresh)
    assert found.keys() == on_the_cpu.keys()
    for name, here in on_the_cpu.items():
        np.testing.assert_allclose(found[name], here, rtol=0, atol=1e-5 * np.abs(here).max())


def test_a_night_runs_on_the_gpu(fresh: Path) -> None:
    done = tesserae("nightly", fresh, "--json")
    assert done.code == 0, done.err
    assert done.json["failures"] == []
