"""A data matrix in chunks of whole rows, and statistics of it from one pass."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from skprecgd._linalg.containers import (
    Marked,
    check_no_dates,
    marked,
    numbers_of_frame,
)
from skprecgd._linalg.groups import Block, ChunkGroups, Groups, merged_groups
from skprecgd._linalg.naming import ENTRIES, Cures, columns_named
from skprecgd._linalg.numerics import UNIT, norm, working_dtype
from skprecgd._linalg.offsets import at_least_something, squared_deviations
from skprecgd._linalg.ratings import StoredValues
from skprecgd._linalg.stored import (
    has_nan,
    is_incomplete,
    stored_values,
    without_duplicates,
)
from skprecgd._runtime.dask_kinds import is_dask_array, is_dask_frame
from skprecgd._runtime.typing import Array
from skprecgd.distributed import graph
from skprecgd.measurements.in_memory import check_any_observed, matrix_entries
from skprecgd.measurements.validation import check_real


@dataclass(frozen=True)
class Survey:
    """Statistics of the observed entries, from one pass over the data.

    Attributes
    ----------
    counts, means, spreads : ndarray of shape (n_columns,)
        Observed entries of each column, their mean, and the norm of their deviations
        from it.
    seen_rows : ndarray of bool, shape (n_rows,)
        Rows with an observed entry.
    row_means : ndarray of shape (n_rows,)
        Means of the rows of complete data, otherwise zeros.
    size : float
        Norm of the observed entries.
    complete : bool
        Whether no entry is missing.
    chunk_sizes : tuple of int
        Observed entries of each chunk.
    groups : tuple of ChunkGroups or None
        Which rows and columns the entries of each chunk connect; None for a complete
        chunk.
    stored_values : StoredValues or None, default=None
        What complete data store, if all of their chunks are sparse.
    """

    counts: Array
    means: Array
    spreads: Array
    seen_rows: Array
    row_means: Array
    size: float
    complete: bool
    chunk_sizes: tuple[int, ...]
    groups: tuple[ChunkGroups | None, ...]
    stored_values: StoredValues | None = None

    def variance(self, unit: float = 1.0) -> float:
        """Sum of the columns' variances, in units of the square of `unit`."""
        squares = (self.spreads / unit) ** 2
        return float(np.sum(squares / at_least_something(self.counts)))

    @property
    def n_observed(self) -> int:
        """Number of observed entries."""
        return sum(self.chunk_sizes)

    def offsets(self, center: str | None) -> tuple[Array, Array]:
        """Row and column offsets, as `skprecgd._linalg.offsets` computes them."""
        rows, columns = np.zeros(len(self.seen_rows)), np.zeros(len(self.counts))
        if center is None:
            return rows, columns
        mean = float(self.counts @ self.means) / float(np.sum(self.counts))
        if center == "mean":
            return rows, np.full_like(columns, mean)
        if center == "both":
            rows = self.row_means - self.row_means.mean()
        return rows, np.where(self.counts > 0, self.means, mean)


class RowChunks:
    """A dask array or DataFrame as lazy blocks of whole rows.

    Parameters
    ----------
    X : dask array or DataFrame of shape (n_rows, n_columns)
        Chunks may be arrays or SciPy sparse matrices. Chunks of columns are put
        together (lazily); lengths of chunks that dask does not know are computed.
    entry_weight : array, sparse array or dask array of that shape, default=None
        How often each entry counts; see `PrecGDFactorization.fit`.

    Attributes
    ----------
    blocks, weights : list
        One item for each chunk: its rows, and the weights of their entries or None.
    """

    def __init__(self, X: Any, entry_weight: Any = None) -> None:
        X = as_dask_array(X, 2)
        n_columns = int(X.shape[1])
        if X.numblocks[1] > 1:
            X = X.rechunk({1: n_columns})
        self.dtype = X.dtype
        self.shape = (int(X.shape[0]), n_columns)
        if 0 in self.shape:
            raise ValueError(f"X has no entries: its shape is {self.shape}.")
        lengths = X.chunks[0]
        self.blocks = [
            block for block, n in zip(graph.blocks(X), lengths, strict=True) if n > 0
        ]
        edges = np.concatenate([[0], np.cumsum([n for n in lengths if n > 0])])
        self.slices = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        self.weights = self._cut(entry_weight)

    def _cut(self, entry_weight: Any) -> list[Any]:
        """The weights by chunk."""
        if entry_weight is None:
            return [None] * len(self.blocks)
        lazy = is_dask_array(entry_weight) or is_dask_frame(entry_weight)
        if lazy:
            entry_weight = as_dask_array(entry_weight, 2, name="entry_weight")
        else:
            entry_weight = _array_or_sparse(marked(entry_weight, np.nan).matrix)
        if tuple(entry_weight.shape) != self.shape:
            raise ValueError(
                f"entry_weight must have the shape of X, {self.shape}, got "
                f"{tuple(entry_weight.shape)}."
            )
        if not lazy:
            if sparse.issparse(entry_weight):
                entry_weight = entry_weight.tocsr()
            return [entry_weight[part] for part in self.slices]
        lengths = tuple(part.stop - part.start for part in self.slices)
        return graph.blocks(entry_weight.rechunk((lengths, self.shape[1])))

    def of_block(self, block: Block, missing_values: float) -> RowChunks:
        """Some of the rows and columns, cut out where the chunks are.

        Parameters
        ----------
        block : Block
        missing_values : nan or 0
        """
        ends = np.searchsorted(block.rows, [0, *(part.stop for part in self.slices)])
        pieces = [
            (k, slice(int(a), int(b)))
            for k, (a, b) in enumerate(pairwise(ends))
            if a < b
        ]
        rows = [block.rows[part] - self.slices[k].start for k, part in pieces]

        def cut(items: list[Any]) -> list[Any]:
            wanted, common = (
                [items[k] for k, _ in pieces],
                (block.columns, missing_values),
            )
            return graph.call_each(_cut, wanted, rows, common=common)

        made = copy(self)
        made.shape = block.shape
        made.slices = [part for _, part in pieces]
        made.blocks = cut(self.blocks)
        unweighted = self.weights[0] is None
        made.weights = [None] * len(pieces) if unweighted else cut(self.weights)
        return made

    def groups(self, survey: Survey) -> Groups:
        """The groups of rows and columns that share no observed entry.

        Parameters
        ----------
        survey : Survey
            From `survey`.
        """
        n_columns = self.shape[1]
        chunks = [
            ChunkGroups.complete(part.stop - part.start, n_columns)
            if groups is None
            else groups
            for part, groups in zip(self.slices, survey.groups, strict=True)
        ]
        return merged_groups(chunks, self.slices, self.shape)

    def survey(self, missing_values: float) -> Survey:
        """One pass over the data: what is observed, and its moments."""
        shapes = [(part.stop - part.start, self.shape[1]) for part in self.slices]
        calls = graph.call_each(
            _survey, self.blocks, shapes, self.weights, common=(missing_values,)
        )
        parts = graph.gathered(calls)
        counts, means, spreads = parts[0].counts, parts[0].means, parts[0].spreads
        for part in parts[1:]:
            counts, means, spreads = _merged((counts, means, spreads), part)
        sizes = np.array([part.size for part in parts])
        found = Survey(
            counts,
            means,
            spreads,
            np.concatenate([part.seen_rows for part in parts]),
            np.concatenate([part.row_means for part in parts]),
            norm(sizes),
            all(part.complete for part in parts),
            tuple(part.n_observed for part in parts),
            tuple(groups for part in parts for groups in part.groups),
            _stored_together([part.stored_values for part in parts]),
        )
        check_any_observed(np.arange(found.n_observed))
        return found


def check_kind(X: Any, name: str) -> None:
    """Refuse dask collections that are neither arrays nor DataFrames."""
    if not (is_dask_array(X) or is_dask_frame(X)):
        kind = f"{type(X).__module__.rpartition('.')[0]}.{type(X).__name__}"
        raise ValueError(
            f"Of dask, {name} must be an array or a DataFrame here, got a {kind}."
        )


def as_dask_array(X: Any, *ndim: int, lengths: bool = True, name: str = "X") -> Any:
    """A dask array of floats, of an allowed number of dimensions.

    With `lengths`, the lengths of chunks that dask does not know are computed.
    """
    if is_dask_frame(X):
        check_frame(X)
        X = _numbers(X).to_dask_array(lengths=lengths or None)
    check_kind(X, name)
    check_real(X, name, ndim)
    if lengths and np.isnan(np.sum(X.shape)):
        X = X.compute_chunk_sizes()
    dtype = working_dtype(X.dtype)
    return X if X.dtype == dtype else X.astype(dtype)


def check_frame(X: Any, cures: Cures = ENTRIES) -> None:
    """Refuse a dask DataFrame with columns of dates or text; no partition is read."""
    with columns_named(X._meta, cures):
        for dtype in X.dtypes:
            check_no_dates(dtype)
            if str(dtype).startswith("str"):
                raise ValueError(f"A matrix must be numeric, got dtype {dtype}.")


def _numbers(X: Any) -> Any:
    """A dask DataFrame whose columns are numbers of NumPy, `pd.NA` read as NaN."""
    if all(isinstance(dtype, np.dtype) and dtype.kind in "fiubc" for dtype in X.dtypes):
        return X
    return X.map_partitions(_as_floats, meta=_as_floats(X._meta))


def read_block(block: Any, missing_values: float) -> Marked:
    """A chunk as an array, or a csr_array whose stored values are the entries.

    Parameters
    ----------
    block : matrix in any container
    missing_values : nan or 0
        See `marked`.
    """
    matrix, missing_values = marked(block, missing_values)
    matrix = _array_or_sparse(matrix)
    if sparse.issparse(matrix):
        matrix = without_duplicates(sparse.csr_array(matrix))
    return Marked(matrix, missing_values)


def array_or_csr(block: Any) -> Any:
    """A chunk of complete data as an array or a csr_array, see `read_block`."""
    return read_block(block, np.nan).matrix


def _array_or_sparse(matrix: Any) -> Any:
    return matrix if sparse.issparse(matrix) else np.asarray(matrix)


def check_chunk(found: tuple[int, int], shape: tuple[int, int]) -> None:
    """Refuse a chunk that has not the shape that dask was told."""
    if found != shape:
        raise ValueError(
            f"A chunk of X has shape {found}, while dask was told {shape}."
        )


def weighted_entries(
    block: Any, missing_values: float, weights: Any
) -> tuple[Array, Array, Array, Array | None]:
    """Rows, columns, values and weights of the entries of a chunk that count.

    Parameters
    ----------
    block : ndarray or sparse array of shape (n_rows, n_columns)
    missing_values : nan or 0
    weights : matrix of that shape or None
        None counts every entry once; the weights that are returned are then None, too.
    """
    if weights is not None and sparse.issparse(block) and np.isnan(missing_values):
        raise ValueError(
            "entry_weight looks at every entry, and X has sparse chunks with "
            "missing_values=nan, so that entries not stored are zeros: pass dense "
            "ones, or missing_values=0 if they are missing."
        )
    rows, columns, values, _ = matrix_entries(block, missing_values)
    if weights is None:
        return rows, columns, values, None
    often = np.asarray(array_or_csr(weights)[rows, columns], dtype=np.float64).ravel()
    if not (np.all(np.isfinite(often)) and np.all(often >= 0)):
        raise ValueError("entry_weight must be finite and not negative.")
    counts = often > 0
    return rows[counts], columns[counts], values[counts], often[counts]


def _as_floats(partition: Any) -> Any:
    """A partition of a dask DataFrame whose columns are arrays of floats."""
    with columns_named(partition):
        numbers = numbers_of_frame(partition)
    return type(partition)(
        numbers, index=partition.index, columns=partition.columns, copy=False
    )


def _cut(block: Any, rows: Array, columns: Array, missing_values: float) -> Any:
    matrix, marker = read_block(block, missing_values)
    # A container whose fill value says what is missing goes on saying it.
    same = np.array_equal(marker, missing_values, equal_nan=True)
    return (matrix if same else block)[rows][:, columns]


def _survey(
    block: Any, shape: tuple[int, int], weights: Any, missing_values: float
) -> Survey:
    block, missing_values = read_block(block, missing_values)
    check_chunk(block.shape, shape)
    with columns_named(block):
        if np.any(np.isinf(_extremes(block))):
            raise ValueError("Input X contains infinity.")
        if missing_values == 0 and has_nan(block):
            raise ValueError("Input X contains NaN.")
    if weights is not None or is_incomplete(block, missing_values):
        return _survey_entries(block, missing_values, weights)
    n_rows, n_columns = block.shape
    if sparse.issparse(block):
        size = norm(block.data)
        unit = UNIT.unit(size, np.float64)
        means, variances = mean_variance_axis(block.astype(np.float64) / unit, axis=0)
        means, spreads = unit * means, unit * np.sqrt(variances * n_rows)
    else:
        means, size = block.mean(axis=0, dtype=np.float64), norm(block)
        unit = UNIT.unit(size, np.float64)
        spreads = unit * np.sqrt(squared_deviations(block, means, unit))
    row_means = np.asarray(block.mean(axis=1, dtype=np.float64)).ravel()
    counts, seen = np.full(n_columns, n_rows), np.ones(n_rows, dtype=bool)
    sizes = (n_rows * n_columns,)
    stored = StoredValues.of(block) if sparse.issparse(block) else None
    return Survey(
        counts, means, spreads, seen, row_means, size, True, sizes, (None,), stored
    )


def _survey_entries(block: Any, missing_values: float, weights: Any) -> Survey:
    n_rows, n_columns = block.shape
    rows, columns, values, often = weighted_entries(block, missing_values, weights)

    def sums(numbers: Array) -> Array:
        repeated = numbers if often is None else often * numbers
        return np.bincount(columns, weights=repeated, minlength=n_columns)

    counts = np.bincount(columns, often, minlength=n_columns)
    means = sums(values) / at_least_something(counts)
    size = norm(values)
    unit = UNIT.unit(size, np.float64)
    spreads = unit * np.sqrt(sums(((values - means[columns]) / unit) ** 2))
    seen = np.bincount(rows, minlength=n_rows) > 0
    no_means = np.zeros(n_rows)
    sizes = (len(values),)
    groups = (ChunkGroups.of(rows, columns, block.shape),)
    return Survey(counts, means, spreads, seen, no_means, size, False, sizes, groups)


def _stored_together(parts: list[StoredValues | None]) -> StoredValues | None:
    known = [part for part in parts if part is not None]
    return StoredValues.together(known) if len(known) == len(parts) else None


def _extremes(block: Any) -> Array:
    """Smallest and largest value, NaN left out."""
    values = stored_values(block)
    if not values.size:
        return np.zeros(2)
    return np.array([np.fmin.reduce(values, None), np.fmax.reduce(values, None)])


def _merged(
    moments: tuple[Array, Array, Array], part: Survey
) -> tuple[Array, Array, Array]:
    """Counts, means and spreads of two sets of rows taken together."""
    counts, means, spreads = moments
    both = counts + part.counts
    share = part.counts / at_least_something(both)
    gap = part.means - means
    return (
        both,
        means + share * gap,
        np.hypot(np.hypot(spreads, part.spreads), gap * np.sqrt(counts * share)),
    )
