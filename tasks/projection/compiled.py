"""Compilation of the loops that numpy cannot take together."""

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable)


def compiled(function: Function) -> Function:
    """The function as machine code, compiled when it is first called, that runs without the interpreter's lock.

    Kept on disk for later processes, beside the source or in the user's cache folder; where neither can be written each
    process compiles anew. What is kept is renewed when the file of the outermost function changes, and only then: what
    it calls belongs in that file. Sums keep their order, so answers do not depend on the width of the processor's
    vectors; a division by zero gives what numpy gives.
    """
    kept = njit(nogil=True, error_model="numpy", cache=True)
    try:
        return cast(Function, kept(function))
    except RuntimeError:  # numba found no place for a cache
        return cast(Function, njit(nogil=True, error_model="numpy")(function))
