"""Samples of one reference or target through an encoder: read ahead, encode, add up, stop when certain enough."""

from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np
import torch
from torch import Tensor

from tasks.library.samples import count_rows
from tasks.prototypes.moments import Halves, standard_error_of, statistics_of, with_batch
from tasks.prototypes.prefetch import Prefetched
from tasks.prototypes.reading import Batch, Choose, batches, described_rows, stored_rows
from tasks.prototypes.sampling import Rows, rounds
from tasks.prototypes.settings import Machine, Sampling, UntilCertain
from tasks.prototypes.statistics import Statistics

_AHEAD = 4  # batches that the reader thread may be ahead of the device; bounds the memory


class Stream:
    """The samples of a reference or target on their way through an encoder; reading begins when this is made.

    `samples` is where they lie; empty: the lines of `description` are the samples.
    """

    def __init__(
        self, samples: str, description: str | None, encoder_for: Choose, *, machine: Machine, sampling: Sampling | None
    ) -> None:
        self._samples, self._description = samples, description
        self._encoder_for, self._machine, self._sampling = encoder_for, machine, sampling
        self._first = self._read_ahead(self._first_round(), 0)

    def close(self) -> None:
        """End the reader thread."""
        self._first.close()

    def statistics(self) -> Statistics:
        """Encode the samples. Raises InvalidInput or ValueError when they cannot be read or are too few."""
        halves = _added(Halves(None, None), self._first, self._machine.device)
        for rows in self._later_rounds():
            if _certain(halves, self._sampling):
                break
            taken = _count(halves)
            with closing(self._read_ahead(iter([rows]), taken)) as read:
                halves = _added(halves, read, self._machine.device)
        return statistics_of(halves)

    def _first_round(self) -> Iterator[Rows | None]:
        # On the reader thread: counting the rows of a CSV file reads all of it.
        yield None if self._sampling is None or not self._samples else next(self._rounds(self._sampling), None)

    def _later_rounds(self) -> Iterator[Rows]:
        if isinstance(self._sampling, UntilCertain) and self._samples:
            later = self._rounds(self._sampling)
            next(later, None)
            yield from later

    def _rounds(self, sampling: Sampling) -> Iterator[Rows]:
        return rounds(count_rows(self._samples), sampling)

    def _read_ahead(self, chosen: Iterator[Rows | None], first_position: int) -> Prefetched[Batch]:
        def read() -> Iterator[Batch]:
            rows = next(chosen)
            if self._samples:
                records = stored_rows(self._samples, rows, window_rows=self._machine.window_rows)
            else:
                records = described_rows(self._description or "")
            yield from batches(records, self._encoder_for, machine=self._machine, first_position=first_position)

        return Prefetched(read(), depth=_AHEAD)


def _added(halves: Halves, read: Iterable[Batch], device: str) -> Halves:
    for batch in read:
        with torch.inference_mode():
            inputs = {name: value.to(device, non_blocking=True) for name, value in batch.inputs.items()}
            halves = with_batch(halves, batch.encoder.encode(inputs), batch.positions)
    return halves


def _count(halves: Halves) -> int:
    return sum(half.count for half in (halves.even, halves.odd) if half is not None)


def _certain(halves: Halves, sampling: Sampling | None) -> bool:
    return isinstance(sampling, UntilCertain) and standard_error_of(halves) <= sampling.error


def direction_of(description: str, encoder_for: Choose, *, device: str) -> np.ndarray:
    """Unit embedding of a description, shape (d,) float32."""
    encoder = encoder_for(("text",))
    (rows,) = described_rows(" ".join(description.split()))
    with torch.inference_mode():
        inputs = {name: value.to(device) for name, value in encoder.collate(encoder.read(rows)).items()}
        embedding: Tensor = encoder.encode(inputs)[0].double()
    return (embedding / embedding.norm()).float().cpu().numpy()


def configure_threads(threads: int) -> None:
    """Set this process's compute threads: Dask starts its workers with one."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
