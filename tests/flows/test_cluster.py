"""Every kind of cluster: real processes where this machine has them, the real job script or manifest elsewhere."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from flows import cluster_kinds
from flows.cluster import Workers
from flows.cluster_kinds import (
    kubernetes_options,
    open_cluster,
    prepare_cluster,
    slurm_options,
    threads_per_worker,
    worker_count,
)
from flows.cluster_settings import AnyCluster, ClusterSettings
from flows.forking import ALLOCATOR, FORKING, SINGLE
from tasks.files import InvalidInput


def settings(**values: object) -> AnyCluster:
    return TypeAdapter(ClusterSettings).validate_python(values)


def where_am_i() -> int:
    return os.getpid()


def leave_a_trace(directory: Path) -> None:
    (directory / str(os.getpid())).touch()


def origin() -> tuple[int, bool]:
    """This worker's parent, and whether the fork already held the modelling code."""
    return os.getppid(), "transformers.modeling_utils" in sys.modules


def nothing() -> None:
    """What a worker may be asked to prepare."""


def pages_taken() -> int:
    """Pages that this process asks the system for while it takes and frees four megabytes two hundred times."""
    import resource

    def taken() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    bytearray(4_000_000)
    before = taken()
    for _ in range(200):
        bytearray(4_000_000)
    return taken() - before


@pytest.mark.services
def test_local_workers_are_processes_of_their_own_and_end_with_the_run():
    import psutil

    with Workers(settings(kind="local", workers=2)) as workers:
        worker = workers.run(where_am_i)
        assert worker != os.getpid()
        assert len(workers.client.scheduler_info()["workers"]) == 2
    assert not psutil.pid_exists(worker)


@pytest.mark.services
def test_a_local_worker_keeps_the_memory_that_a_model_takes_again_and_again():
    with Workers(settings(kind="local", workers=1)) as workers:
        # Given back after every use, four megabytes are a thousand pages each time.
        assert workers.run(pages_taken) < 20_000


@pytest.mark.services
@pytest.mark.skipif(not FORKING, reason="workers are spawned here: only Linux survives a fork")
def test_local_workers_are_forks_of_one_process_that_has_imported_what_they_need():
    with Workers(settings(kind="local", workers=1)) as workers:
        parent, ready = workers.run(origin)
    assert parent != os.getpid()
    assert ready
    with Workers(settings(kind="local", workers=1)) as workers:
        assert workers.run(origin) == (parent, True)  # the next cluster's too: nothing is imported twice


@pytest.mark.skipif(not FORKING, reason="workers are spawned here: only Linux survives a fork")
def test_the_process_that_is_forked_has_one_thread():
    counted = "import os, flows.preloaded; print(len(os.listdir('/proc/self/task')))"
    found = subprocess.run(
        [sys.executable, "-c", counted], env={**os.environ, **SINGLE}, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["1"]


def test_preparing_workers_on_other_machines_starts_nothing_here(monkeypatch: pytest.MonkeyPatch):
    started: list[str] = []
    monkeypatch.setattr(cluster_kinds, "start_fork_server", lambda: started.append("fork server"))
    prepare_cluster(settings(kind="address", address="tcp://127.0.0.1:9"))
    prepare_cluster(settings(kind="slurm", queue="gpu", workers=1, cores=1, memory="1GB", walltime="1:00:00"))
    assert started == []
    prepare_cluster(settings(kind="local"))
    assert started == ["fork server"]


@pytest.mark.services
def test_workers_started_early_are_prepared_each_and_end_with_the_run(tmp_path: Path):
    import psutil

    with Workers(settings(kind="local", workers=2)) as workers:
        workers.start(functools.partial(leave_a_trace, tmp_path))
    traces = [int(trace.name) for trace in tmp_path.iterdir()]
    assert len(traces) == 2
    assert not any(psutil.pid_exists(worker) for worker in traces)


def test_workers_that_cannot_start_early_say_so_when_they_are_asked_for():
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        Workers(settings(kind="address", address="tcp://127.0.0.1:9")) as workers,
    ):
        workers.start(nothing)
        with pytest.raises(InvalidInput, match="no Dask scheduler answers"):
            workers.run(where_am_i)


def test_no_worker_starts_before_there_is_work():
    import psutil

    before = len(psutil.Process().children())
    with Workers(settings(kind="local")) as workers:
        assert workers.count >= 2
        assert len(psutil.Process().children()) == before


@pytest.mark.services
def test_an_existing_scheduler_s_workers_are_used_and_left_running():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as theirs:
        with Workers(settings(kind="address", address=theirs.scheduler_address)) as workers:
            worker = workers.run(where_am_i)
        with Workers(settings(kind="address", address=theirs.scheduler_address)) as workers:
            assert workers.run(where_am_i) == worker


def test_a_slurm_job_asks_for_what_the_project_file_says():
    from dask_jobqueue import SLURMCluster

    how = settings(kind="slurm", workers=3, queue="gpu", account="team", gpus=2, prologue=("module load cuda",))
    with SLURMCluster(n_workers=0, **slurm_options(how)) as cluster:
        script = cluster.job_script()
    for line in ("-p gpu", "-A team", "--cpus-per-task=8", "--mem=30G", "-t 04:00:00", "--gres=gpu:2"):
        assert f"#SBATCH {line}" in script
    assert "module load cuda" in script
    assert all(f"export {name}={value}" in script for name, value in ALLOCATOR.items())
    assert "--nthreads 1" in script
    assert (worker_count(how), threads_per_worker(how)) == (3, 8)


def test_kubernetes_pods_ask_for_what_the_project_file_says():
    from dask_kubernetes.operator import make_cluster_spec

    how = settings(kind="kubernetes", workers=3, image="example.org/tesserae:1")
    manifest = yaml.safe_load(yaml.safe_dump(make_cluster_spec(name="tesserae", **kubernetes_options(how))))
    worker = manifest["spec"]["worker"]
    (container,) = worker["spec"]["containers"]
    assert worker["replicas"] == 3
    assert container["image"] == "example.org/tesserae:1"
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}
    assert "--nthreads" in container["args"]
    assert {"name": "MALLOC_TRIM_THRESHOLD_", "value": ALLOCATOR["MALLOC_TRIM_THRESHOLD_"]} in container["env"]
    assert threads_per_worker(how) == 4


def test_a_kind_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import sys

    for kind, module, extra in (
        ("cuda", "dask_cuda", "gpu"),
        ("slurm", "dask_jobqueue", "slurm"),
        ("kubernetes", "dask_kubernetes.operator", "kubernetes"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        more = {"slurm": {"workers": 1}, "kubernetes": {"workers": 1, "image": "i"}}.get(kind, {})
        with pytest.raises(InvalidInput, match=rf"tesserae\[{extra}\]"):
            open_cluster(settings(kind=kind, **more))


def test_an_address_where_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch):
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InvalidInput, match="no Dask scheduler answers"),
        open_cluster(settings(kind="address", address="tcp://127.0.0.1:9")),
    ):
        pass
