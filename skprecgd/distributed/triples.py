"""Entries of a matrix in a dask collection, of triples or of the matrix itself."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skprecgd._linalg.numerics import working_dtype
from skprecgd._runtime.dask_kinds import is_dask_array, is_dask_frame
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.distributed.rows import RowChunks, check_chunk, check_frame
from skprecgd.measurements import EntryMeasurements
from skprecgd.measurements.in_memory import (
    MAYBE_LONG,
    check_any_observed,
    check_own_shape,
    given_entries,
)
from skprecgd.measurements.labels import encoded
from skprecgd.measurements.placing import (
    axes_of,
    n_equal_neighbours,
    warn_of_duplicates,
)
from skprecgd.measurements.tables import looks_long, warn_of_long_table
from skprecgd.measurements.triples import FrameColumns, Triples, as_triples

_Entries = tuple[ChunkedMeasurements, Any]


class _Numbered(NamedTuple):
    """The triples of a partition, by the positions of their ids among its own.

    `rows` and `columns` of the partition's `Triples` are its different ids.
    """

    rows: Array
    columns: Array
    values: Array


def collection_entries(
    X: Any,
    missing_values: float | None,
    names: FrameColumns | None,
    matrix_shape: tuple[int, int] | None,
) -> _Entries:
    """Measurements and targets of the entries in a dask collection.

    See `observed_entries`.
    """
    if names is not None:
        names.check(X)
        return _triple_entries(X, names, matrix_shape)
    if is_dask_array(X) or is_dask_frame(X):
        return _matrix_entries(X, missing_values, matrix_shape)
    if type(X).__module__.startswith("dask.bag"):
        return _triple_entries(X, None, matrix_shape)
    raise ValueError(
        "Of dask, X must be an array, a DataFrame or a bag of triples, got a "
        f"{type(X).__module__}.{type(X).__name__}."
    )


def _triple_entries(
    X: Any, names: FrameColumns | None, matrix_shape: tuple[int, int] | None
) -> _Entries:
    """Two passes: one finds the different ids, one sorts every partition by rows."""
    calls = graph.call_each(_numbered, graph.blocks(X), common=(names,))
    numbers, ids = graph.unpacked(calls, 2)
    found, kept = graph.gathered_and_persisted(ids, numbers)
    pairs = [(t, n) for t, n in zip(found, kept, strict=True) if len(t.rows)]
    different, numbered = [t for t, _ in pairs], [n for _, n in pairs]
    rows, columns = axes_of(different, matrix_shape)
    slices = [slice(int(i.min()), int(i.max()) + 1) for i in rows.positions]
    dtype = working_dtype(*(part.values.dtype for part in different))
    calls = graph.call_each(
        _sorted,
        numbered,
        slices,
        [i - part.start for i, part in zip(rows.positions, slices, strict=True)],
        columns.positions,
        common=(columns.size, dtype),
    )
    parts, values, facts = graph.unpacked(calls, 3)
    facts, (parts, values) = graph.gathered_and_persisted(facts, (parts, values))
    lengths, repeated = zip(*facts, strict=True)
    warn_of_duplicates(sum(repeated), sum(lengths))
    shape = rows.size, columns.size
    entries = ChunkedMeasurements.of_rows(parts, list(lengths), slices, shape, dtype)
    entries.row_labels, entries.column_labels = rows.labels, columns.labels
    return entries, _concatenated(values, lengths, dtype)


def _matrix_entries(
    X: Any, missing_values: float | None, matrix_shape: tuple[int, int] | None
) -> _Entries:
    """One pass takes the entries out of the chunks of a matrix."""
    if is_dask_frame(X):
        check_frame(X, MAYBE_LONG)
    chunks = RowChunks(X)
    check_own_shape(matrix_shape, chunks.shape)
    shapes = [(part.stop - part.start, chunks.shape[1]) for part in chunks.slices]
    calls = graph.call_each(_taken_out, chunks.blocks, shapes, common=(missing_values,))
    parts, values, facts = graph.unpacked(calls, 3)
    facts, (parts, values) = graph.gathered_and_persisted(facts, (parts, values))
    lengths, long = zip(*facts, strict=True)
    check_any_observed(range(sum(lengths)))
    # A short chunk looks like nothing.
    if any(long) and sum(lengths) == chunks.shape[0] * chunks.shape[1]:
        warn_of_long_table(chunks.shape)
    entries = ChunkedMeasurements.of_rows(
        parts, list(lengths), chunks.slices, chunks.shape, chunks.dtype
    )
    return entries, _concatenated(values, lengths, chunks.dtype)


def _concatenated(values: list[Any], lengths: tuple[int, ...], dtype: np.dtype) -> Any:
    import dask.array as da
    from dask.delayed import Delayed

    parts = [
        da.from_delayed(Delayed(lazy.key, lazy.graph), (n,), dtype=dtype)
        for lazy, n in zip(values, lengths, strict=True)
    ]
    return da.concatenate(parts)


# Functions that run on a partition ----------------------------------------------------


def _numbered(partition: Any, names: FrameColumns | None) -> tuple[_Numbered, Triples]:
    """A partition's triples by numbers, and its different ids (with one value)."""
    triples = _of_bag(partition) if names is None else names.read(partition)
    row_ids, rows = encoded(triples.rows, triples.names[0])
    column_ids, columns = encoded(triples.columns, triples.names[1])
    different = triples._replace(
        rows=row_ids, columns=column_ids, values=triples.values[:1]
    )
    return _Numbered(rows, columns, triples.values), different


def _of_bag(partition: Any) -> Triples:
    items = list(partition)
    kinds = tuple, list, np.ndarray
    if not all(isinstance(item, kinds) and len(item) == 3 for item in items):
        raise ValueError("The items of a bag must be triples (row, column, value).")
    return as_triples(tuple([item[k] for item in items] for k in range(3)))


def _sorted(
    triples: _Numbered,
    rows: slice,
    row_positions: Array,
    column_positions: Array,
    n_columns: int,
    dtype: np.dtype,
) -> tuple[EntryMeasurements, Array, tuple[int, int]]:
    """Entries sorted by rows, their values, and how many there are and repeat a cell.

    The first row of the partition is number 0.
    """
    i, j = row_positions[triples.rows], column_positions[triples.columns]
    order = np.lexsort((j, i))
    i, j = i[order], j[order]
    measured = EntryMeasurements(i, j, (rows.stop - rows.start, n_columns), dtype)
    values = triples.values[order].astype(dtype, copy=False)
    return measured, values, (len(values), n_equal_neighbours(i, j))


def _taken_out(
    block: Any, shape: tuple[int, int], missing_values: float | None
) -> tuple[EntryMeasurements, Array, tuple[int, bool]]:
    """A chunk's entries, their values, and how many there are; does it look long?"""
    rows, columns, values, found = given_entries(block, missing_values)
    check_chunk(found, shape)
    complete = len(values) == shape[0] * shape[1]
    facts = len(values), complete and looks_long(values.reshape(shape))
    return EntryMeasurements(rows, columns, shape, values.dtype), values, facts
