"""Settings to Dask workers. Nothing here, or imported from here, touches a GPU before the workers exist."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flows.settings import ClusterKind, ClusterSettings
from tasks.files import InvalidInput, Problem

if TYPE_CHECKING:
    from distributed import Client


def worker_count(settings: ClusterSettings) -> int:
    """Workers of an embedded cluster: as configured, else one per two cores and at least two."""
    return settings.workers or max(2, (os.cpu_count() or 2) // 2)


def threads_per_worker(settings: ClusterSettings) -> int:
    """Compute threads of one worker. Dask's nanny sets them to one, which leaves most of a machine idle."""
    return max(1, (os.cpu_count() or 1) // worker_count(settings))


@contextlib.contextmanager
def _local(settings: ClusterSettings) -> "Iterator[Client]":
    from distributed import Client, LocalCluster

    # Prefect's set-up opens Dask's loggers at INFO: forty lines a run about connections that open and close.
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with (
        LocalCluster(
            n_workers=worker_count(settings),
            threads_per_worker=1,  # a model is not shared between threads
            processes=True,
            dashboard_address=None,  # two runs on one machine must not fight for a port
            memory_limit=0,  # models are counted by nobody; a nanny that kills a loading worker helps nobody
        ) as cluster,
        # Never the process's default client: Prefect and Dask would both pick it up behind our back.
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextlib.contextmanager
def _address(settings: ClusterSettings) -> "Iterator[Client]":
    from distributed import Client

    if settings.address is None:
        raise InvalidInput(
            Problem("cluster.address", "kind `address` has no address", "set it, for instance tcp://host:8786")
        )
    with Client(settings.address, set_as_default=False) as client:
        yield client


_OPENERS: dict[ClusterKind, Callable[[ClusterSettings], Any]] = {
    ClusterKind.LOCAL: _local,
    ClusterKind.ADDRESS: _address,
}


class Workers:
    """Dask workers that start when the first work arrives: a night without changes never pays for them."""

    def __init__(self, settings: ClusterSettings) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self._opening = threading.Lock()  # shards ask from several threads at once

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()
        self._client = None

    @property
    def count(self) -> int:
        """Workers that work is split for."""
        return worker_count(self._settings)

    @property
    def threads(self) -> int:
        """Compute threads that a piece of work may use."""
        return threads_per_worker(self._settings)

    @property
    def client(self) -> "Client":
        """The connection; opens the cluster on first use."""
        with self._opening:
            if self._client is None:
                self._client = self._stack.enter_context(_OPENERS[self._settings.kind](self._settings))
            return self._client

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run `function(*arguments)` on a worker and wait; its exception is raised here."""
        return self.client.submit(function, *arguments, pure=False).result()
