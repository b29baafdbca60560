"""From sample rows to batches for the model. Runs on the reader thread."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from tasks.library.entries import lines_of
from tasks.library.families import TEXT
from tasks.library.samples import iter_samples
from tasks.prototypes.batching import plan_batches
from tasks.prototypes.encoders.encoder import Encoder, Item
from tasks.prototypes.sampling import Rows
from tasks.prototypes.settings import Machine

Choose = Callable[[tuple[str, ...]], Encoder]

_ROWS = 256  # read from a file at a time: images are megabytes each


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs of one forward pass, whose encoder they are for, and the samples' positions (n,) in reading order."""

    encoder: Encoder
    inputs: dict[str, Tensor]
    positions: Tensor


def described_rows(description: str) -> Iterator[pa.RecordBatch]:
    """The lines of a description as text samples, for a task that has no others."""
    yield pa.RecordBatch.from_pydict({TEXT: lines_of(description)})


def stored_rows(uri: str, rows: Rows | None, *, window_rows: int) -> Iterator[pa.RecordBatch]:
    """Record batches of the samples at `uri`, of all or only of those at the positions `rows` (sorted)."""
    start = 0
    for batch in iter_samples(uri, columns=None, batch_rows=min(window_rows, _ROWS)):
        if rows is None:
            yield batch
        else:
            first, last = np.searchsorted(rows, [start, start + batch.num_rows])
            if first < last:
                yield batch.take(pa.array(rows[first:last] - start))
            if last == len(rows):
                return
        start += batch.num_rows


def batches(
    rows: Iterator[pa.RecordBatch], encoder_for: Choose, *, machine: Machine, first_position: int
) -> Iterator[Batch]:
    """Batches of one task's samples, within a window sorted by length so that little is padded.

    Positions count on from `first_position`. The window, not the task, is in memory; where all samples have one length,
    as images do, nothing is gained by waiting for a full one.
    """
    items: list[Item] = []
    encoder: Encoder | None = None
    for batch in rows:
        encoder = encoder or encoder_for(tuple(batch.schema.names))
        items += encoder.read(batch)
        if len(items) >= machine.window_rows or _full_and_even(items, machine.token_budget):
            yield from _window(encoder, items, machine, first_position)
            first_position += len(items)
            items = []
    if encoder is not None:
        yield from _window(encoder, items, machine, first_position)


def _full_and_even(items: list[Item], token_budget: int) -> bool:
    first = items[0].length if items else 0
    return len(items) * first >= token_budget and all(item.length == first for item in items)


def _window(encoder: Encoder, items: list[Item], machine: Machine, first_position: int) -> Iterator[Batch]:
    pinned = machine.device.startswith("cuda")
    for plan in plan_batches([item.length for item in items], token_budget=machine.token_budget):
        inputs = encoder.collate([items[position] for position in plan])
        if pinned:
            inputs = {name: value.pin_memory() for name, value in inputs.items()}
        yield Batch(encoder, inputs, torch.from_numpy(plan) + first_position)
