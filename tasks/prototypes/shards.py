"""How jobs are split for workers. Pure."""

import math
from collections.abc import Sequence
from itertools import pairwise

from tasks.prototypes.extraction import Job


def balanced_shards(jobs: Sequence[Job], *, size: int, workers: int) -> list[tuple[Job, ...]]:
    """Consecutive shards of at most `size` jobs, equal to within one, and a multiple of `workers` of them.

    Else the last ones leave workers idle: 201 jobs in shards of 64 keep two workers busy for 128 jobs' time instead of
    101. Fewer jobs than workers make a shard each.
    """
    if not jobs:
        return []
    number = min(len(jobs), workers * math.ceil(len(jobs) / (workers * size)))
    cuts = [len(jobs) * position // number for position in range(number + 1)]
    return [tuple(jobs[start:stop]) for start, stop in pairwise(cuts)]
