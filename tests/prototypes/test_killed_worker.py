"""kill -9 of a worker in the middle: the run finishes, bit for bit the same, and nothing finished is computed again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import Client, KilledWorker, LocalCluster

from tasks.prototypes.dispatch import extract_isolated
from tasks.prototypes.extraction import Job, ShardReport, extract_shard
from tasks.prototypes.settings import ExtractionSettings
from tasks.prototypes.store import PrototypeStore
from tests.library.projects import random_rows, save_base, save_samples
from tests.prototypes.deadly import always_fatal, killed_once
from tests.prototypes.recipes import settings_for

SHARDS, SIZE = 4, 2


@pytest.fixture(scope="module")
def client() -> Client:
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    # One more try after a death; with Dask's default of three the story is the same and twice as long.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(**options) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    root = tmp_path_factory.mktemp("project")
    save_base(root)
    names = [f"r{number}" for number in range(SHARDS * SIZE)]
    files = [save_samples(root / f"{name}.parquet", random_rows(9, row)) for row, name in enumerate(names)]
    return [Job(name, f"digest-{name}", str(file)) for name, file in zip(names, files, strict=True)]


@pytest.fixture(scope="module")
def settings(jobs: list[Job]) -> ExtractionSettings:
    return settings_for(Path(jobs[0].samples).parent / "base")


@pytest.fixture(scope="module")
def undisturbed(jobs: list[Job], settings: ExtractionSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("undisturbed")
    extract_shard(jobs, settings, directory)
    return directory


def shards_of(jobs: list[Job]) -> list[list[Job]]:
    return [jobs[start : start + SIZE] for start in range(0, len(jobs), SIZE)]


def assert_same_prototypes(first: Path, second: Path, names: Sequence[str]) -> None:
    one, other = PrototypeStore(first).read(), PrototypeStore(second).read()
    assert set(one) == {f"digest-{name}" for name in names}
    for digest, found in one.items():
        for part in ("prototype", "half_a", "half_b", "within_std", "standard_error", "count"):
            np.testing.assert_array_equal(getattr(found, part), getattr(other[digest], part))


@pytest.mark.services
def test_a_killed_worker_changes_no_bit_and_repeats_no_finished_shard(
    client: Client, jobs: list[Job], settings: ExtractionSettings, undisturbed: Path, tmp_path: Path
) -> None:
    parts = shards_of(jobs)
    finished = [client.submit(killed_once, part, settings, tmp_path, "r7", pure=False).result() for part in parts[:2]]
    written = {report.part: report.part.stat().st_mtime_ns for report in finished if report.part}
    # All four again, as a scheduler does that lost the results of a dead worker: two are finished, one kills.
    futures = [client.submit(killed_once, part, settings, tmp_path, "r7", pure=False) for part in parts]
    reports = [future.result() for future in futures]
    assert (tmp_path / "marks" / "killed").exists()
    assert [report.computed for report in reports[:2]] == [0, 0]
    # The third may have been finished by the worker that died before it could say so: then it is found.
    assert reports[2].computed in (0, SIZE)
    assert reports[3].computed == SIZE
    assert {part: part.stat().st_mtime_ns for part in written} == written
    assert not list(tmp_path.glob(".*"))
    assert_same_prototypes(tmp_path, undisturbed, [job.name for job in jobs])


@pytest.mark.services
def test_a_reference_that_always_kills_its_worker_fails_alone(
    client: Client, jobs: list[Job], settings: ExtractionSettings, undisturbed: Path, tmp_path: Path
) -> None:
    def on_worker(part: Sequence[Job]) -> ShardReport:
        return client.submit(always_fatal, list(part), settings, tmp_path, "r5", pure=False).result()

    isolated = partial(extract_isolated, run=on_worker, died=KilledWorker, tries=1)
    with ThreadPoolExecutor(2) as pool:
        reports = [report for found in pool.map(isolated, shards_of(jobs)[1:3]) for report in found]
    (failure,) = [failure for report in reports for failure in report.failures]
    assert failure.item == "r5"
    assert failure.error.startswith("its worker died: ")
    assert_same_prototypes(tmp_path, undisturbed, ["r2", "r3", "r4"])
    assert sum(pq.read_metadata(part).num_rows for part in tmp_path.glob("part-*.parquet")) == 3
