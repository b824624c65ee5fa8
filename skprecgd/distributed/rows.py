"""A data matrix in chunks of whole rows, and statistics of it from one pass."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from skprecgd._linalg.numerics import UNIT, norm, working_dtype
from skprecgd._linalg.offsets import at_least_something, squared_deviations
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
    """

    counts: Array
    means: Array
    spreads: Array
    seen_rows: Array
    row_means: Array
    size: float
    complete: bool
    chunk_sizes: tuple[int, ...]

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
        elif not sparse.issparse(entry_weight):
            entry_weight = np.asarray(entry_weight)
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
        X = X.to_dask_array(lengths=lengths or None)
    check_kind(X, name)
    check_real(X, name, ndim)
    if lengths and np.isnan(np.sum(X.shape)):
        X = X.compute_chunk_sizes()
    dtype = working_dtype(X.dtype)
    return X if X.dtype == dtype else X.astype(dtype)


def array_or_csr(block: Any) -> Any:
    """A chunk as an array, or a csr_array whose stored values are the entries."""
    if not sparse.issparse(block):
        return np.asarray(block)
    return without_duplicates(sparse.csr_array(block))


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


def _survey(
    block: Any, shape: tuple[int, int], weights: Any, missing_values: float
) -> Survey:
    block = array_or_csr(block)
    if block.shape != shape:
        raise ValueError(
            f"A chunk of X has shape {block.shape}, while dask was told {shape}."
        )
    if np.any(np.isinf(_extremes(block))):
        raise ValueError("X holds infinity.")
    if missing_values == 0 and has_nan(block):
        raise ValueError(
            "X contains NaN, while with missing_values=0 zeros are what is missing."
        )
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
    n_entries = n_rows * n_columns
    return Survey(counts, means, spreads, seen, row_means, size, True, (n_entries,))


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
    return Survey(counts, means, spreads, seen, no_means, size, False, (len(values),))


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
