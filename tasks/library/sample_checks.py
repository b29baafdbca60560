"""What is wrong with a set of samples: missing, unreadable, empty, of the wrong columns, or with holes in it."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.files import InvalidInput
from tasks.library.memory import Verdict
from tasks.library.samples import iter_samples

_BATCH_ROWS = 1024  # rows looked at together; bounds the memory, changes no answer


def examine_samples(uri: str, *, columns: Sequence[str], least_rows: int, pixel_count: int | None) -> Verdict:
    """Every (problem, remedy) of the samples at `uri`.

    The first of `columns` that is there is looked at. `least_rows`: a prototype of fewer has no standard error.
    `pixel_count`: the length that every `pixel_values` row must have, None where the model does not fix it.
    """
    rows, holes, wrong_size = 0, 0, 0
    try:
        for batch in iter_samples(uri, columns=None, batch_rows=_BATCH_ROWS):
            name = next((column for column in columns if column in batch.schema.names), None)
            if name is None:
                found = ", ".join(batch.schema.names)
                return ((f"samples have the columns {found}", f"one of them must be {' or '.join(columns)}"),)
            values = batch.column(name)
            rows += batch.num_rows
            holes += int(holes_in(values).sum())
            if pixel_count is not None and pa.types.is_list(values.type):
                lengths = pc.fill_null(pc.list_value_length(values), pixel_count).to_numpy(zero_copy_only=False)
                wrong_size += int((lengths != pixel_count).sum())
    except InvalidInput as error:
        return tuple((problem.problem, problem.remedy) for problem in error.problems)
    return _verdict(rows, holes, wrong_size, least_rows, pixel_count)


def _verdict(rows: int, holes: int, wrong_size: int, least_rows: int, pixel_count: int | None) -> Verdict:
    found: list[tuple[str, str]] = []
    if rows == 0:
        return (("the sample file is empty", f"give at least {least_rows} samples"),)
    if rows < least_rows:
        found.append((f"it has {rows} sample, too few for a standard error", f"give at least {least_rows}"))
    if holes:
        found.append((f"{holes} of {rows} samples hold NaN, infinity or nothing", "drop or repair those rows"))
    if wrong_size:
        found.append(
            (f"{wrong_size} of {rows} samples do not have {pixel_count} values", "resize them as the model needs")
        )
    return tuple(found)


def holes_in(values: pa.Array) -> np.ndarray:
    """Which rows are null, empty, or contain a null or a number that is not finite; shape (rows,) bool."""
    missing = np.asarray(values.is_null())
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return missing | np.asarray(pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(values)), 0), True))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return missing | np.asarray(pc.fill_null(pc.equal(pc.binary_length(values), 0), True))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return missing | _holes_in_lists(values)
    if pa.types.is_floating(kind):
        return missing | ~np.asarray(pc.fill_null(pc.is_finite(values), False))
    return missing


def _holes_in_lists(values: pa.Array) -> np.ndarray:
    lengths = np.asarray(pc.fill_null(pc.list_value_length(values), 0))
    inner = values.flatten()
    if len(inner) == 0 or not (pa.types.is_floating(inner.type) or inner.null_count):
        return np.asarray(lengths == 0)
    good = pc.is_finite(inner) if pa.types.is_floating(inner.type) else inner.is_valid()
    bad = ~np.asarray(pc.fill_null(good, False))
    row_of = np.repeat(np.arange(len(values)), lengths)
    return np.asarray((lengths == 0) | (np.bincount(row_of[bad], minlength=len(values)) > 0))
