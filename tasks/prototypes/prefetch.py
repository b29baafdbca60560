"""A reader thread that stays a few items ahead of whoever consumes them."""

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_END = object()
_PATIENCE_S = 0.1  # how long a blocked reader waits before it looks whether anybody still wants its items


class Prefetched(Generic[T]):
    """Iterates over `source`, which runs on a thread of its own from now on, at most `depth` items ahead.

    An error of the source is raised where its item would have come. `close` ends the thread, also in the middle.
    """

    def __init__(self, source: Iterator[T], *, depth: int) -> None:
        self._items: queue.Queue[object] = queue.Queue(depth)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source,), daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """The items, once."""
        while (item := self._items.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]  # the queue also holds the two marks above

    def close(self) -> None:
        """Stop reading and wait until the thread has ended."""
        self._unwanted.set()
        self._thread.join()

    def _fill(self, source: Iterator[T]) -> None:
        try:
            for item in source:
                if not self._put(item):
                    return
            self._put(_END)
        except BaseException as error:  # handed over: it belongs to the consumer
            self._put(_Raised(error))

    def _put(self, item: object) -> bool:
        while not self._unwanted.is_set():
            try:
                self._items.put(item, timeout=_PATIENCE_S)
            except queue.Full:
                continue
            return True
        return False


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error
