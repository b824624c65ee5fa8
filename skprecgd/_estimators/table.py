"""Tables with holes, as an imputer reads them: in memory, or in chunks of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._estimators.lazy import check_columns
from skprecgd._estimators.validation import validated
from skprecgd._estimators.weighting import checked_numbers
from skprecgd._linalg.containers import is_frame, marked
from skprecgd._linalg.naming import Cures, columns_named
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array
from skprecgd.distributed.rows import RowChunks, as_dask_array

# Values of each column in a sample of rows, as a share of the rows that are asked for.
_LEAST_SHARE = 0.25


class Table(ABC):
    """Rows of a table, of which some cells are missing."""

    missing_values: float
    """What marks the cells that are missing in the matrices, nan or 0."""
    seen: Array
    """Which columns have a value, as a mask; may take a pass over the data."""
    incomplete: Array
    """Which columns have a hole, as a mask."""

    def sampled(self, n_rows: int) -> Table:
        """The table, or a random sample of rows, the same at every call.

        Parameters
        ----------
        n_rows : int
            Rows at least; more where a column has few values.
        """
        return self

    @abstractmethod
    def of_columns(self, columns: Array) -> Any:
        """Some columns, given by a mask, as a matrix for `PrecGDFactorization`."""

    @abstractmethod
    def weights(self, entry_weight: Any, columns: Array) -> Any:
        """The same columns of a matrix of weights; None is ones."""


@dataclass(frozen=True, eq=False)
class TableInMemory(Table):
    """A table that is an array.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns)
        Floats; NaN where a cell is missing.
    """

    values: Array
    missing_values = np.nan

    @cached_property
    def missing(self) -> Array:
        return np.isnan(self.values)

    @cached_property
    def seen(self) -> Array:  # type: ignore[override]
        return np.logical_not(self.missing.all(axis=0))

    @cached_property
    def incomplete(self) -> Array:  # type: ignore[override]
        return np.asarray(self.missing.any(axis=0))

    def sampled(self, n_rows: int) -> TableInMemory:
        there = np.flatnonzero(~self.missing.all(axis=1))
        if len(there) <= n_rows:
            return self
        counts = len(self.values) - np.sum(self.missing, axis=0)
        least = float(np.min(counts[self.seen])) / len(there)
        wanted = max(n_rows, int(np.ceil(_LEAST_SHARE * n_rows / least)))
        if wanted >= len(there):
            return self
        rows = np.random.RandomState(0).permutation(there)[:wanted]
        return TableInMemory(self.values[np.sort(rows)])

    def of_columns(self, columns: Array) -> Array:
        return self.values if columns.all() else self.values[:, columns]

    def weights(self, entry_weight: Any, columns: Array) -> Any:
        if entry_weight is None:
            return np.ones((len(self.values), np.sum(columns)))
        if columns.all():
            return entry_weight
        numbers = checked_numbers(
            entry_weight, "entry_weight", accept_sparse="csr", ensure_all_finite=False
        )
        return numbers[:, columns]


class TableInChunks(Table):
    """A table that is a dask array or DataFrame.

    Parameters
    ----------
    X : dask array or DataFrame
    missing_values : nan or 0
    """

    def __init__(self, X: Any, missing_values: float) -> None:
        self.X, self.missing_values = X, missing_values

    @cached_property
    def _counts(self) -> tuple[int, Array]:
        """Number of rows, and of the values of each column: a pass over the data."""
        chunks = RowChunks(self.X)
        return chunks.shape[0], chunks.survey(self.missing_values).counts

    @cached_property
    def seen(self) -> Array:  # type: ignore[override]
        return np.asarray(self._counts[1] > 0)

    @cached_property
    def incomplete(self) -> Array:  # type: ignore[override]
        n_rows, counts = self._counts
        return np.asarray(counts < n_rows)

    def of_columns(self, columns: Array) -> Any:
        return self.X if columns.all() else as_dask_array(self.X, 2)[:, columns]

    def weights(self, entry_weight: Any, columns: Array) -> Any:
        if entry_weight is None:
            X = as_dask_array(self.X, 2)[:, columns]
            return X.map_blocks(_ones, dtype=np.float64, meta=np.empty((0, 0)))
        if columns.all():
            return entry_weight
        if is_dask(entry_weight):
            entry_weight = as_dask_array(entry_weight, 2, name="entry_weight")
        return entry_weight[:, columns]


def _ones(block: Any) -> Array:
    return np.ones(block.shape)


def read_table(estimator: Any, X: Any, *, reset: bool) -> Table:
    """A user's table, in any container.

    Parameters
    ----------
    estimator : PrecGDImputer
        Its `missing_values` is read; number and names of the columns are set on it, or
        compared.
    X : array-like, sparse array or dask collection of shape (n_samples, n_features)
    reset : bool
        Whether X is fitted.

    Raises
    ------
    ValueError, TypeError
        If X is no matrix of real, finite numbers.
    """
    if not is_dask(X):
        return read_array(estimator, X, reset=reset)
    marks = marker(estimator.missing_values)
    if not (np.isnan(marks) or marks == 0):
        raise ValueError(
            f"missing_values={marks:g} needs X in memory, got a dask collection: "
            f"replace the marker first, X.where(X != {marks:g})."
        )
    check_columns(estimator, X, reset=reset)
    return TableInChunks(X, marks)


def marker(missing_values: Any) -> float:
    """What marks a missing cell once `pd.NA` and None are read as NaN."""
    return float(missing_values) if isinstance(missing_values, Real) else np.nan


def read_array(estimator: Any, X: Any, *, reset: bool = False) -> TableInMemory:
    """A user's table that is no dask collection; see `read_table`."""
    marks = marker(estimator.missing_values)
    with columns_named(X, _cures(marks)):
        matrix, found = marked(X, marks)
        if is_frame(X) and sparse.issparse(matrix) and found != 0:
            # A frame with sparse columns of zeros is a table like any other.
            matrix = matrix.toarray()
        matrix = validated(
            estimator,
            X,
            matrix,
            reset=reset,
            accept_sparse="csr" if found == 0 else False,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan" if np.isnan(found) else True,
        )
    if sparse.issparse(matrix):
        cells = matrix.tocoo()
        matrix = np.full(cells.shape, np.nan, cells.dtype)
        matrix[cells.row, cells.col] = cells.data
        if marks == 0:
            return TableInMemory(matrix)
    if np.isnan(marks):
        return TableInMemory(matrix)
    return TableInMemory(np.where(matrix == marks, np.nan, matrix))


def _cures(marks: float) -> Cures:
    return Cures(
        f"with missing_values={marks:g} a cell is missing if it is {marks:g}; use "
        "missing_values=nan if NaN marks what is missing",
        "put a finite number there, or mark it as missing",
        "in a sklearn.compose.ColumnTransformer, give the imputer the columns of "
        "numbers, and the others an encoder",
    )
