"""Dask workers for a run. Nothing here, or imported from here, touches a GPU before the workers exist."""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flows.cluster_kinds import open_cluster, threads_per_worker, worker_count
from flows.cluster_settings import AnyCluster

if TYPE_CHECKING:
    from distributed import Client


class Workers:
    """Dask workers that start when the first work arrives: a night without changes never pays for them."""

    def __init__(self, settings: AnyCluster) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self._client: Client | None = None
        self._opening = threading.Lock()  # shards ask from several threads at once
        self._early: threading.Thread | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *failure: object) -> None:
        if self._early is not None:
            self._early.join()
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
                # Prefect's set-up opens Dask's loggers at INFO: forty lines a run about connections.
                logging.getLogger("distributed").setLevel(logging.WARNING)
                # A worker that takes its time to end is killed, with a warning that concerns nobody.
                logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
                self._client = self._stack.enter_context(open_cluster(self._settings))
            return self._client

    def start(self, prepare: Callable[[], None]) -> None:
        """Start the workers, and `prepare()` on each, while this process does something else: work is sure to come.

        What fails here is told to whoever then asks for a worker.
        """
        if self._early is None:
            self._early = threading.Thread(target=self._start, args=(prepare,), daemon=True)
            self._early.start()

    def _start(self, prepare: Callable[[], None]) -> None:
        with contextlib.suppress(Exception):
            workers = self.client.scheduler_info(n_workers=-1)["workers"]
            for preparing in [self.client.submit(prepare, workers=[worker], pure=False) for worker in workers]:
                preparing.result()

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run `function(*arguments)` on a worker and wait; its exception is raised here."""
        return self.client.submit(function, *arguments, pure=False).result()
