"""One task's samples through an encoder, in a stream: read, sort by length, batch, encode, add up."""

from collections.abc import Iterator

import torch

from tasks.library.samples import iter_samples
from tasks.prototypes.batching import plan_batches
from tasks.prototypes.encoders.encoder import Encoder, Item
from tasks.prototypes.moments import Halves, statistics_of, with_batch
from tasks.prototypes.settings import Machine
from tasks.prototypes.statistics import Statistics


def configure_threads(threads: int) -> None:
    """Set this process's compute threads: Dask starts its workers with one."""
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def encode_samples(encoder: Encoder, uri: str, *, machine: Machine) -> Statistics:
    """Statistics of all samples at `uri`. Raises InvalidInput or ValueError when they cannot be read."""
    halves = Halves(None, None)
    for rows, items in _windows(encoder, uri, machine.window_rows):
        for batch in plan_batches([item.length for item in items], token_budget=machine.token_budget):
            inputs = encoder.collate([items[position] for position in batch])
            with torch.inference_mode():
                embeddings = encoder.encode({key: value.to(machine.device) for key, value in inputs.items()})
                halves = with_batch(halves, embeddings, rows[torch.from_numpy(batch)])
    return statistics_of(halves)


def _windows(encoder: Encoder, uri: str, window_rows: int) -> Iterator[tuple[torch.Tensor, list[Item]]]:
    start = 0
    for batch in iter_samples(uri, columns=None, batch_rows=window_rows):
        items = encoder.read(batch)
        yield torch.arange(start, start + len(items)), items
        start += len(items)
