"""Streaming mean and variance of embeddings, in float64 on the device where the embeddings are. Pure."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.prototypes.statistics import Statistics


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean (d,) and sum of squared deviations from that mean (d,) of the embeddings seen so far."""

    count: int
    mean: Tensor
    squares: Tensor


@dataclass(frozen=True, slots=True)
class Halves:
    """Moments of the samples at even and at odd positions; None where no sample came yet."""

    even: Moments | None
    odd: Moments | None


def moments_of(embeddings: Tensor) -> Moments | None:
    """Moments of a batch of shape (n, d); None for n = 0."""
    if embeddings.shape[0] == 0:
        return None
    values = embeddings.double()
    mean = values.mean(dim=0)
    return Moments(values.shape[0], mean, (values - mean).square().sum(dim=0))


def merged(first: Moments | None, second: Moments | None) -> Moments | None:
    """Moments of both sets together (Chan, Golub and LeVeque, 1979); None is the empty set."""
    if first is None or second is None:
        return second if first is None else first
    count = first.count + second.count
    step = second.mean - first.mean
    mean = first.mean + step * (second.count / count)
    squares = first.squares + second.squares + step.square() * (first.count * second.count / count)
    return Moments(count, mean, squares)


def with_batch(halves: Halves, embeddings: Tensor, rows: Tensor) -> Halves:
    """`halves` after a batch: embeddings (n, d) of the samples at positions `rows` (n,), on the CPU.

    The position decides the half, so the order in which samples are encoded does not.
    """
    odd = (rows % 2).bool()
    even = torch.nonzero(~odd).squeeze(1).to(embeddings.device)
    return Halves(
        merged(halves.even, moments_of(embeddings[even])),
        merged(halves.odd, moments_of(embeddings[torch.nonzero(odd).squeeze(1).to(embeddings.device)])),
    )


def standard_error_of(halves: Halves) -> float:
    """Expected length of the mean's error, sqrt(trace(covariance) / n); infinite for fewer than two samples."""
    whole = merged(halves.even, halves.odd)
    if whole is None or whole.count < 2:
        return math.inf
    return math.sqrt(float(whole.squares.sum()) / (whole.count - 1) / whole.count)


def statistics_of(halves: Halves) -> Statistics:
    """Statistics of a task. Raises ValueError when a half is empty: one sample has no standard error."""
    if halves.even is None or halves.odd is None:
        raise ValueError("a prototype needs at least two samples, one for each half")
    whole = merged(halves.even, halves.odd)
    assert whole is not None  # both halves are there
    return Statistics(
        count=whole.count,
        prototype=whole.mean.float().cpu().numpy(),
        half_a=halves.even.mean.float().cpu().numpy(),
        half_b=halves.odd.mean.float().cpu().numpy(),
        standard_error=standard_error_of(halves),
        within_std=(whole.squares / (whole.count - 1)).sqrt().float().cpu().numpy(),
    )
