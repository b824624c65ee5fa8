"""Entries of a matrix as triples in a dask DataFrame or bag, partitioned by rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skprecgd._linalg.numerics import working_dtype
from skprecgd._runtime.dask_kinds import is_dask_frame
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.measurements import EntryMeasurements
from skprecgd.measurements.base import as_shape
from skprecgd.measurements.in_memory import check_any_observed
from skprecgd.measurements.validation import as_real_array

_NAMES = ("row", "column", "value")


class _Found(NamedTuple):
    """Facts about a partition that the client keeps."""

    n_entries: int
    first_row: int
    last_row: int
    first_column: int
    last_column: int
    dtype: np.dtype


def frame_entries(
    X: Any, matrix_shape: tuple[int, int] | None
) -> tuple[ChunkedMeasurements, Any]:
    """Measurements and targets of the entries in a dask DataFrame or bag of triples.

    See `observed_entries`. There are two passes: one reads the indices, and one sorts
    every partition by rows, which is then kept with dask.
    """
    import dask.array as da
    from dask.delayed import Delayed

    if not (is_dask_frame(X) or type(X).__module__.startswith("dask.bag")):
        raise ValueError(
            "Of dask, X must be a DataFrame or a bag of triples, got a "
            f"{type(X).__module__}.{type(X).__name__}; PrecGDFactorization takes a "
            "matrix in chunks."
        )

    triples = graph.call_each(_triples, graph.blocks(X), common=(_names(X),))
    found, triples = graph.gathered_and_persisted(
        graph.call_each(_found, triples), triples
    )
    check_any_observed(np.arange(sum(part.n_entries for part in found)))
    pairs = [(t, f) for t, f in zip(triples, found, strict=True) if f.n_entries]
    triples, found = [t for t, _ in pairs], [f for _, f in pairs]
    shape = _shape(found, matrix_shape)
    slices = [slice(part.first_row, part.last_row + 1) for part in found]
    dtype = working_dtype(*(part.dtype for part in found))
    calls = graph.call_each(_sorted, triples, slices, common=(shape[1], dtype))
    parts, values = graph.persisted(tuple(graph.unpacked(calls, 2)))
    lengths = [part.n_entries for part in found]
    entries = ChunkedMeasurements.of_rows(parts, lengths, slices, shape, dtype)
    y = [
        da.from_delayed(Delayed(lazy.key, lazy.graph), (n,), dtype=dtype)
        for lazy, n in zip(values, lengths, strict=True)
    ]
    return entries, da.concatenate(y)


def _names(X: Any) -> list[Any] | None:
    """The columns of the frame that hold row, column and value; None for a bag."""
    if not is_dask_frame(X):
        return None
    columns = list(X.columns)
    if set(_NAMES) <= set(columns):
        return list(_NAMES)
    if len(columns) != 3:
        raise ValueError(
            "A dask DataFrame of entries must have three columns, or columns named "
            f"'row', 'column' and 'value'; got {columns}."
        )
    return columns


def _shape(
    found: list[_Found], matrix_shape: tuple[int, int] | None
) -> tuple[int, int]:
    if min(min(part.first_row, part.first_column) for part in found) < 0:
        raise ValueError("X holds a negative row or column index.")
    least = (
        max(part.last_row for part in found) + 1,
        max(part.last_column for part in found) + 1,
    )
    shape = least if matrix_shape is None else as_shape(matrix_shape)
    if shape[0] < least[0] or shape[1] < least[1]:
        raise ValueError(
            f"matrix_shape={shape} is too small: X holds entries up to row "
            f"{least[0] - 1} and column {least[1] - 1}."
        )
    return shape


# Functions that run on a partition ----------------------------------------------------


def _triples(partition: Any, names: list[Any] | None) -> tuple[Array, Array, Array]:
    if names is not None:
        rows, columns, values = (partition[name].to_numpy() for name in names)
    else:
        items = list(partition)
        kinds = tuple, list, np.ndarray
        if not all(isinstance(item, kinds) and len(item) == 3 for item in items):
            raise ValueError("The items of a bag must be triples (row, column, value).")
        rows, columns, values = (
            np.array([item[k] for item in items]) for k in range(3)
        )
    if len(rows) and not {rows.dtype.kind, columns.dtype.kind} <= set("iu"):
        raise ValueError(
            "Row and column indices must be integers, got dtypes "
            f"{rows.dtype} and {columns.dtype}."
        )
    return rows, columns, as_real_array(values, "the values of X", (1,))


def _found(triples: tuple[Array, Array, Array]) -> _Found:
    rows, columns, values = triples
    if not len(values):
        return _Found(0, 0, -1, 0, -1, values.dtype)
    first, last = (int(edge) for edge in (rows.min(), rows.max()))
    least, most = (int(edge) for edge in (columns.min(), columns.max()))
    return _Found(len(values), first, last, least, most, values.dtype)


def _sorted(
    triples: tuple[Array, Array, Array], rows: slice, n_columns: int, dtype: np.dtype
) -> tuple[EntryMeasurements, Array]:
    """Entries sorted by rows; the first row of the partition is number 0."""
    i, j, values = triples
    order = np.lexsort((j, i))
    shape = (rows.stop - rows.start, n_columns)
    measured = EntryMeasurements(i[order] - rows.start, j[order], shape, dtype)
    return measured, values[order].astype(dtype, copy=False)
