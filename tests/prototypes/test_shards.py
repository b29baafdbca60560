"""Shards keep every worker busy to the end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.prototypes.extraction import Job
from tasks.prototypes.shards import balanced_shards


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 300), size=st.integers(1, 70), workers=st.integers(1, 9))
def test_every_job_is_in_one_shard_and_the_workers_share_evenly(count: int, size: int, workers: int) -> None:
    jobs = [Job(str(number), str(number), "") for number in range(count)]
    parts = balanced_shards(jobs, size=size, workers=workers)
    assert [job for part in parts for job in part] == jobs
    lengths = [len(part) for part in parts]
    assert all(1 <= length <= size for length in lengths)
    assert len(parts) == count if count < workers else len(parts) % workers == 0 or len(parts) == count
    assert not lengths or max(lengths) - min(lengths) <= 1


def test_the_last_shard_leaves_nobody_idle() -> None:
    jobs = [Job(str(number), str(number), "") for number in range(201)]
    assert [len(part) for part in balanced_shards(jobs, size=64, workers=2)] == [50, 50, 50, 51]
