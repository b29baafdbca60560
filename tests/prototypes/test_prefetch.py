"""The reader thread: in order, only so far ahead, errors in their place, and gone when it is not wanted."""

import threading
from collections.abc import Iterator

import pytest

from tasks.prototypes.prefetch import Prefetched


def test_items_come_in_order_and_the_thread_ends() -> None:
    before = threading.active_count()
    read = Prefetched(iter(range(50)), depth=3)
    assert list(read) == list(range(50))
    read.close()
    assert threading.active_count() == before


def test_the_reader_is_at_most_depth_items_ahead() -> None:
    started: list[int] = []

    def source() -> Iterator[int]:
        for item in range(20):
            started.append(item)
            yield item

    read = Prefetched(source(), depth=2)
    for item in read:
        assert max(started) <= item + 2 + 2  # two queued, one waiting to be, one being made
    read.close()


def test_an_error_comes_where_its_item_would_have() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("row 2 is bad")

    got: list[int] = []
    read = Prefetched(source(), depth=1)
    with pytest.raises(ValueError, match="row 2 is bad"):
        got.extend(read)
    assert got == [1]
    read.close()


def test_a_blocked_reader_ends_when_it_is_closed() -> None:
    before = threading.active_count()
    Prefetched(iter(range(1000)), depth=1).close()
    assert threading.active_count() == before
