"""One reference that kills its process is found and named; the others get their prototypes."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.prototypes.dispatch import extract_isolated
from tasks.prototypes.extraction import Job, ShardReport


class Died(RuntimeError):
    pass


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 40), poison=st.sets(st.integers(0, 39), max_size=3), tries=st.integers(1, 3))
def test_only_those_that_kill_their_worker_fail(count: int, poison: set[int], tries: int) -> None:
    jobs = [Job(str(number), str(number), "") for number in range(count)]
    bad = {str(number) for number in poison if number < count}
    runs = 0

    def run(part: Sequence[Job]) -> ShardReport:
        nonlocal runs
        runs += 1
        if any(job.name in bad for job in part):
            raise Died("killed")
        return ShardReport(None, len(part), ())

    reports = extract_isolated(jobs, run, died=Died, tries=tries)
    assert sum(report.computed for report in reports) == count - len(bad)
    assert {failure.item for report in reports for failure in report.failures} == bad
    assert runs <= 1 + len(bad) * (2 * 6 + tries)  # a path of halvings to each, and the tries at its end


def test_a_job_that_was_blamed_for_another_is_tried_again() -> None:
    answers = iter([Died("blamed"), ShardReport(None, 1, ())])

    def run(part: Sequence[Job]) -> ShardReport:
        answer = next(answers)
        if isinstance(answer, Died):
            raise answer
        return answer

    assert extract_isolated([Job("a", "a", "")], run, died=Died, tries=2) == [ShardReport(None, 1, ())]


def test_another_error_is_not_taken_for_a_death() -> None:
    def run(part: Sequence[Job]) -> ShardReport:
        raise OSError("no model")

    with pytest.raises(OSError, match="no model"):
        extract_isolated([Job("a", "a", "")], run, died=Died, tries=2)
