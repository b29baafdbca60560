"""Local workers as forks of one process that has imported what they all need.

Importing torch and transformers is most of a worker's start. A fork server (Python's own) does it once for all of them,
beside whatever the run does meanwhile, and they share its pages. Elsewhere than on Linux system libraries do not
survive a fork, and workers are spawned as usual.
"""

import contextlib
import multiprocessing
import sys
from multiprocessing import forkserver

from flows.environment import exported, unset_among

# Dask's nanny tells glibc to give every freed 64 kB back to the system. A model's forward pass frees and takes the same
# megabytes in every layer, and pays for their pages anew each time: a third of the whole (docs/benchmarks.md).
# glibc's own bounds are no help, for a stated trim threshold also freezes the one for mmap at 128 kB. Bytes.
ALLOCATOR = {"MALLOC_TRIM_THRESHOLD_": str(256 * 2**20), "MALLOC_MMAP_THRESHOLD_": str(64 * 2**20)}
# Read once, when a library is loaded: before the fork. A worker's piece of work then sets torch's threads for itself.
SINGLE = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

FORKING = sys.platform == "linux"


def start_fork_server() -> None:
    """Start the process that local workers will be forked from, unless it runs; returns before its imports are done.

    It ends with this process, however this one ends.
    """
    if FORKING:
        multiprocessing.get_context("forkserver").set_forkserver_preload(["flows.preloaded"])
        with exported(unset_among(ALLOCATOR | SINGLE)):
            forkserver.ensure_running()


def forked_workers() -> "contextlib.AbstractContextManager[object]":
    """Dask's settings under which workers are forks of that process."""
    import dask

    if not FORKING:
        return contextlib.nullcontext()
    start_fork_server()
    return dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
