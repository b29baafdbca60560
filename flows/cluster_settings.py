"""Where Dask workers live, and how many; a section of the project file."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from flows.strict import Frozen


class AnyCluster(Frozen):
    """What all kinds of Dask clusters share."""

    attempts: PositiveInt = 2  # tries of a shard before it counts as failed


class LocalCluster(AnyCluster):
    """Worker processes on this machine."""

    kind: Literal["local"] = "local"
    workers: PositiveInt | None = None  # None: one per two cores, at least two


class CudaCluster(AnyCluster):
    """One worker process per GPU of this machine (extra `gpu`)."""

    kind: Literal["cuda"]
    devices: tuple[int, ...] | None = None  # None: all of them
    threads: PositiveInt = 4  # of one worker, for reading and preparing samples


class SlurmCluster(AnyCluster):
    """Workers as jobs of a Slurm queue (extra `slurm`)."""

    kind: Literal["slurm"]
    workers: PositiveInt
    queue: str | None = None
    account: str | None = None
    cores: PositiveInt = 8
    memory: str = "32GB"
    walltime: str = "04:00:00"
    gpus: Annotated[int, Field(ge=0)] = 1
    prologue: tuple[str, ...] = ()  # shell lines before the worker starts: modules, an environment


class KubernetesCluster(AnyCluster):
    """Workers as pods of the Dask operator (extra `kubernetes`)."""

    kind: Literal["kubernetes"]
    workers: PositiveInt
    image: str  # has Tesserae and the workspace's file system
    namespace: str = "default"
    cpu: PositiveInt = 4
    memory: str = "16Gi"
    gpus: Annotated[int, Field(ge=0)] = 1


class AddressCluster(AnyCluster):
    """The workers of a scheduler that runs already."""

    kind: Literal["address"]
    address: str  # for instance tcp://host:8786
    workers: PositiveInt = 2  # that work is split for
    threads: PositiveInt = 1  # compute threads of one worker


ClusterSettings = Annotated[
    LocalCluster | CudaCluster | SlurmCluster | KubernetesCluster | AddressCluster, Field(discriminator="kind")
]
