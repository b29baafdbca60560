"""Tasks hand their arguments on unseen, whatever is in them."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import flows
from tests.conftest import with_running_server

NIGHT = """
    from prefect import flow
    from flows.tasking import opaque_task

    class Sealed(dict):
        def items(self):
            raise AssertionError("somebody looked inside")

    tries = []

    @opaque_task("count")
    def count(thing: Sealed, *, more: Sealed) -> int:
        tries.append(1)
        if len(tries) == 3:
            raise OSError("once")
        return len(thing) + len(more)

    @flow
    def night() -> list[int]:
        one = Sealed(a=1)
        called = count(one, more=one)
        submitted = count.submit(one, more=one).result()
        return [called, submitted, count.retried(1)(one, more=one), len(tries)]

    print(night())
"""


@pytest.mark.services
def test_prefect_does_not_look_into_what_a_task_is_handed_and_tries_it_again_where_asked_to():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NIGHT)],
        env=with_running_server(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[2, 2, 2, 4]"


def test_the_flows_make_no_other_tasks():
    plain = re.compile(r"^ *(from prefect import .*\btask\b|@task\b|from prefect.tasks)", re.MULTILINE)
    found = [path.name for path in Path(flows.__path__[0]).glob("*.py") if plain.search(path.read_text())]
    assert found == []
