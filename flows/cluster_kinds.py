"""One small function for each place where Dask workers can live; its package is imported only where it is used."""

import contextlib
import os
from collections.abc import Iterator
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from flows.cluster_settings import (
    AddressCluster,
    AnyCluster,
    CudaCluster,
    KubernetesCluster,
    LocalCluster,
    SlurmCluster,
)
from flows.forking import ALLOCATOR, forked_workers, start_fork_server
from tasks.files import InvalidInput, Problem

if TYPE_CHECKING:
    from distributed import Client


def _missing_extra(kind: str, extra: str, error: ImportError) -> InvalidInput:
    return InvalidInput(
        Problem(f"cluster.kind {kind}", f"its package is not installed ({error})", f"pip install 'tesserae[{extra}]'")
    )


@contextlib.contextmanager
def _connected(cluster: Any) -> "Iterator[Client]":
    from distributed import Client

    # Never the process's default client: Prefect and Dask would both pick it up behind our back.
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def _keeping_memory() -> "contextlib.AbstractContextManager[object]":
    """Dask's settings under which nannies start workers with this allocator; what the environment says comes first."""
    import dask

    return dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ALLOCATOR.items()})


@singledispatch
def worker_count(settings: AnyCluster) -> int:
    """Workers that work is split for."""
    raise TypeError(f"{type(settings).__name__} is no kind of cluster")


@singledispatch
def threads_per_worker(settings: AnyCluster) -> int:
    """Compute threads of one worker. Dask's nanny sets them to one, which leaves most of a machine idle."""
    raise TypeError(f"{type(settings).__name__} is no kind of cluster")


@singledispatch
def open_cluster(settings: AnyCluster) -> "contextlib.AbstractContextManager[Client]":
    """A connection to workers, which end with it unless they were there before. Raises InvalidInput."""
    raise TypeError(f"{type(settings).__name__} is no kind of cluster")


@singledispatch
def prepare_cluster(settings: AnyCluster) -> None:
    """Begin, without waiting, what makes opening the cluster quick; nothing for workers on other machines."""


@worker_count.register(LocalCluster)
def _(settings: LocalCluster) -> int:
    return settings.workers or max(2, (os.cpu_count() or 2) // 2)


@threads_per_worker.register(LocalCluster)
def _(settings: LocalCluster) -> int:
    return max(1, (os.cpu_count() or 1) // worker_count(settings))


@prepare_cluster.register(LocalCluster)
def _(settings: LocalCluster) -> None:
    start_fork_server()


@open_cluster.register(LocalCluster)
@contextlib.contextmanager
def _(settings: LocalCluster) -> "Iterator[Client]":
    from distributed import LocalCluster as Processes

    # For as long as the cluster lives: a worker that dies is started again.
    with _keeping_memory(), forked_workers():
        cluster = Processes(
            n_workers=worker_count(settings),
            threads_per_worker=1,  # a model is not shared between threads
            processes=True,
            dashboard_address=":0",  # two runs on one machine must not fight for a port
            memory_limit=0,  # a nanny that kills a worker while it loads a model helps nobody
        )
        with _connected(cluster) as client:
            yield client


@worker_count.register(CudaCluster)
def _(settings: CudaCluster) -> int:
    # Asking the driver here would be the first touch of a GPU in this process; a split for many is harmless.
    return len(settings.devices) if settings.devices else 8


@threads_per_worker.register(CudaCluster)
def _(settings: CudaCluster) -> int:
    return settings.threads


@open_cluster.register(CudaCluster)
def _(settings: CudaCluster) -> "contextlib.AbstractContextManager[Client]":
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise _missing_extra("cuda", "gpu", error) from error
    chosen = {"CUDA_VISIBLE_DEVICES": list(settings.devices)} if settings.devices else {}
    with _keeping_memory():
        cluster = LocalCUDACluster(
            threads_per_worker=1,
            dashboard_address=":0",
            memory_limit=0,
            device_memory_limit=0,  # results are small and live on the host: nothing to watch over or to spill
            **chosen,
        )
    return _connected(cluster)


def slurm_options(settings: SlurmCluster) -> dict[str, Any]:
    """Arguments of dask-jobqueue's SLURMCluster: one worker process a job."""
    return {
        "queue": settings.queue,
        "account": settings.account,
        "processes": 1,
        "cores": 1,  # of Dask: a model is not shared between threads
        "job_cpu": settings.cores,
        "memory": settings.memory,
        "walltime": settings.walltime,
        "job_script_prologue": [*(f"export {name}={value}" for name, value in ALLOCATOR.items()), *settings.prologue],
        "job_extra_directives": [f"--gres=gpu:{settings.gpus}"] if settings.gpus else [],
        "scheduler_options": {"dashboard_address": ":0"},
    }


@worker_count.register(SlurmCluster)
def _(settings: SlurmCluster) -> int:
    return settings.workers


@threads_per_worker.register(SlurmCluster)
def _(settings: SlurmCluster) -> int:
    return settings.cores


@open_cluster.register(SlurmCluster)
def _(settings: SlurmCluster) -> "contextlib.AbstractContextManager[Client]":
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise _missing_extra("slurm", "slurm", error) from error
    return _connected(SLURMCluster(n_workers=settings.workers, **slurm_options(settings)))


def kubernetes_options(settings: KubernetesCluster) -> dict[str, Any]:
    """Arguments of dask-kubernetes' KubeCluster and its manifest: one worker process a pod."""
    limits: dict[str, str] = {"cpu": str(settings.cpu), "memory": settings.memory}
    if settings.gpus:
        limits["nvidia.com/gpu"] = str(settings.gpus)
    return {
        "image": settings.image,
        "n_workers": settings.workers,
        "env": dict(ALLOCATOR),
        "resources": {"limits": limits, "requests": limits},
        "worker_command": ["dask", "worker", "--nthreads", "1"],
    }


@worker_count.register(KubernetesCluster)
def _(settings: KubernetesCluster) -> int:
    return settings.workers


@threads_per_worker.register(KubernetesCluster)
def _(settings: KubernetesCluster) -> int:
    return settings.cpu


@open_cluster.register(KubernetesCluster)
def _(settings: KubernetesCluster) -> "contextlib.AbstractContextManager[Client]":
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise _missing_extra("kubernetes", "kubernetes", error) from error
    return _connected(KubeCluster(name="tesserae", namespace=settings.namespace, **kubernetes_options(settings)))


@worker_count.register(AddressCluster)
def _(settings: AddressCluster) -> int:
    return settings.workers


@threads_per_worker.register(AddressCluster)
def _(settings: AddressCluster) -> int:
    return settings.threads


@open_cluster.register(AddressCluster)
@contextlib.contextmanager
def _(settings: AddressCluster) -> "Iterator[Client]":
    from distributed import Client

    try:
        client = Client(settings.address, set_as_default=False)
    except OSError as error:
        problem = f"no Dask scheduler answers at {settings.address}"
        raise InvalidInput(Problem("cluster.address", problem, "start it, or correct the address")) from error
    with client:
        yield client
