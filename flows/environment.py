"""Environment variables that hold for a while: for this process, and for those that it starts meanwhile."""

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables, and put back what was there before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def unset_among(variables: Mapping[str, str]) -> dict[str, str]:
    """Those that the environment does not hold yet: what the user has set stays."""
    return {name: value for name, value in variables.items() if name not in os.environ}
