"""A shard whose workers may die of it: nothing finished is lost, and only the culprit fails."""

from collections.abc import Callable, Sequence

from tasks.files import Failure
from tasks.prototypes.extraction import STAGE, Job, ShardReport

_REMEDY = "look at its samples: they exhaust the memory or crash a decoder"


def extract_isolated(
    jobs: Sequence[Job],
    run: Callable[[Sequence[Job]], ShardReport],
    *,
    died: type[BaseException],
    tries: int,
) -> list[ShardReport]:
    """Reports of a shard, or, when it killed its workers, of its halves, down to the jobs that do it alone.

    `run` works on jobs on a worker and raises `died` when that ended its process. A reference that does so is found
    with about 2 log2(n) further runs and listed as a failure; the prototypes of the others are computed. A single job
    is tried `tries` times: a scheduler may blame work that only waited on the worker that died.
    """
    for attempt in range(1 if len(jobs) > 1 else tries):
        try:
            return [run(jobs)]
        except died as error:
            if len(jobs) == 1 and attempt == tries - 1:
                return [ShardReport(None, 0, (Failure(jobs[0].name, STAGE, f"its worker died: {error}", _REMEDY),))]
    middle = len(jobs) // 2
    return [
        *extract_isolated(jobs[:middle], run, died=died, tries=tries),
        *extract_isolated(jobs[middle:], run, died=died, tries=tries),
    ]
