"""Prefect tasks that take their arguments as they are.

Prefect looks for futures and states in every argument, twice a call, through dataclasses, lists and dicts all the way
down. A run's memory and a library's references are tens of thousands of entries: half a second a task at ten thousand
references, and the more the larger the library. Our tasks depend on nothing but the order in which a flow calls them,
so they hand everything on quoted.
"""

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect.utilities.annotations import quote

P = ParamSpec("P")
R = TypeVar("R")


class OpaqueTask(Generic[P, R]):
    """A Prefect task whose arguments Prefect does not look into."""

    def __init__(self, task: Task[..., R]) -> None:
        self._task = task

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run here and wait."""
        return self._task(*map(quote, args), **_quoted(kwargs))

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> PrefectFuture[R]:
        """Run in a thread of the flow's task runner."""
        return self._task.submit(*map(quote, args), **_quoted(kwargs))

    def retried(self, times: int) -> "OpaqueTask[P, R]":
        """The same task, tried again so many times where it fails."""
        return OpaqueTask(self._task.with_options(retries=times))


def opaque_task(name: str) -> Callable[[Callable[P, R]], OpaqueTask[P, R]]:
    """Decorate a function as such a task; its results are never cached."""
    return lambda function: OpaqueTask(Task(function, name=name, cache_policy=NO_CACHE))


def _quoted(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: quote(value) for name, value in arguments.items()}
