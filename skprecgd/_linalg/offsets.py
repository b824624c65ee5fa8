"""The centre of a data matrix: what is subtracted before it is factorized."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs import mean_variance_axis

from skprecgd._linalg.matrices import Matrix, TransposedMatrix, as_matrix
from skprecgd._linalg.numerics import (
    UNIT,
    dot,
    is_mapped,
    norm,
    slabs,
    working_dtype,
)
from skprecgd._linalg.svd_tuning import SinglePrecision
from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class SweepTuning:
    """When the offsets of incomplete data are found.

    Attributes
    ----------
    most : int
        Sweeps over the rows' and the columns' offsets.
    small : float
        Changes that may be rounding, as a share of the data.
    """

    most: int = 200
    small: float = 1e-12


SWEEPS = SweepTuning()
# A difference below this share of its terms has lost three digits, so that it is summed
# again term by term.
_CANCELLED = 1e-3
# The same for terms in single precision, of which one digit is spared.
_CANCELLED_SINGLE = 0.1
# Size of data, as a multiple of that of what offsets leave of them, up to which single
# precision shows enough of the rest.
_MOSTLY_OFFSET = 10.0


class ShiftedMatrix(Matrix):
    """``X - rows 1^T - 1 columns^T``, never formed.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
    rows, columns : ndarray of shape (n_rows,), (n_columns,)
        In the precision of X.
    """

    def __init__(self, X: Matrix, rows: Array, columns: Array) -> None:
        super().__init__(X.shape, X.dtype)
        self._data, self.rows, self.columns = X, rows, columns

    def times(self, block: Array) -> Array:
        product = self._data.times(block)
        return product - _outer(self.rows, block) - self.columns @ block

    def transposed_times(self, block: Array) -> Array:
        product = self._data.transposed_times(block)
        return product - _outer(self.columns, block) - self.rows @ block

    def in_single(
        self, size: float | None, tuning: SinglePrecision
    ) -> tuple[Matrix, float] | None:
        whole = self._data.frobenius_norm()
        size = self.frobenius_norm() if size is None else size
        # Single precision does not show a small rest of large products.
        if whole > _MOSTLY_OFFSET * size:
            return None
        cast = self._data.in_single(whole, tuning)
        if cast is None:
            return None
        scaled, factor = cast
        rows, columns = (
            (factor * part).astype(np.float32) for part in (self.rows, self.columns)
        )
        return ShiftedMatrix(scaled, rows, columns), factor

    def in_double(self) -> Matrix | None:
        if self.dtype == np.float64:
            return self
        double = self._data.in_double()
        if double is None:
            return None
        rows, columns = (part.astype(np.float64) for part in (self.rows, self.columns))
        return ShiftedMatrix(double, rows, columns)

    def _transpose(self) -> Matrix:
        return ShiftedMatrix(self._data.T, self.columns, self.rows)


class OffsetMatrix(ShiftedMatrix):
    """The same for a sparse X, whose norm and Gram matrix are known, too.

    Parameters
    ----------
    X : sparse array of shape (n_rows, n_columns)
    rows, columns : ndarray of shape (n_rows,), (n_columns,)
    """

    def __init__(self, X: Any, rows: Array, columns: Array) -> None:
        super().__init__(as_matrix(X), rows, columns)
        self.X = X

    def frobenius_norm(self) -> float:
        n_rows, n_columns = self.shape
        size = self._data.frobenius_norm()
        unit = UNIT.unit(size, self.dtype)
        rows, columns = self.rows / unit, self.columns / unit
        offset = (
            n_columns * dot(rows, rows)
            + n_rows * dot(columns, columns)
            + 2.0 * float(rows.sum()) * float(columns.sum())
        )
        cross = dot(rows, np.asarray(self.X.sum(axis=1)).ravel() / unit)
        cross += dot(columns, np.asarray(self.X.sum(axis=0)).ravel() / unit)
        square = (size / unit) ** 2 + offset - 2 * cross
        return unit * float(np.sqrt(max(square, 0.0)))

    def gram(self) -> Array:
        n_rows, n_columns = self.shape
        # What is subtracted is the product of these two.
        left = np.column_stack([self.rows, np.ones(n_rows)]).astype(np.float64)
        right = np.column_stack([np.ones(n_columns), self.columns]).astype(np.float64)
        cross = self._data.transposed_times(left) @ right.T
        subtracted = right @ (left.T @ left) @ right.T
        return self._data.gram() - cross - cross.T + subtracted

    def _transpose(self) -> Matrix:
        return OffsetMatrix(self.X.T, self.columns, self.rows)


class MappedOffsetMatrix(OffsetMatrix):
    """The same for an array that is mapped to a file.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    rows, columns : ndarray of shape (n_rows,), (n_columns,)
    """

    large_products = True

    def frobenius_norm(self) -> float:
        return norm(np.array([norm(part) for part in self._centred_slabs()]))

    def gram(self) -> Array:
        total = np.zeros((self.shape[1], self.shape[1]))
        for part in self._centred_slabs():
            total += as_matrix(part).gram()
        return total

    def _centred_slabs(self) -> Iterator[Array]:
        for rows in slabs(self.shape):
            yield self.X[rows] - self.rows[rows, None] - self.columns

    def _transpose(self) -> Matrix:
        # Slabs of the transpose would be read from all over the file.
        return TransposedMatrix(self)


def _outer(offsets: Array, block: Array) -> Array:
    """``offsets 1^T @ block`` for a block of columns, or for a vector."""
    return np.multiply.outer(offsets, block.sum(axis=0))


def entry_offsets(
    rows: Array,
    columns: Array,
    values: Array,
    shape: tuple[int, int],
    center: Any,
    weights: Array | None = None,
) -> tuple[Array, Array]:
    """Row and column offsets of observed entries: (weighted) means.

    Parameters
    ----------
    rows, columns, values : ndarray of shape (n_entries,)
    shape : tuple of int
    center : {None, "mean", "columns", "both"}
    weights : ndarray of shape (n_entries,), default=None
        An entry of weight two counts like two; None is one each.

    Returns
    -------
    row_offsets : ndarray of shape (n_rows,)
        Zero unless `center` is "both"; they sum to zero over the observed rows.
    column_offsets : ndarray of shape (n_columns,)
        The overall mean for columns without an observed entry.
    """
    n_rows, n_columns = shape
    row_offsets = np.zeros(n_rows)
    if center is None:
        return row_offsets, np.zeros(n_columns)
    mean = float(np.average(values.astype(np.float64, copy=False), weights=weights))
    if center == "mean":
        return row_offsets, np.full(n_columns, mean)
    per_column = np.bincount(columns, weights, minlength=n_columns)
    per_row = np.bincount(rows, weights, minlength=n_rows)
    target = values.astype(np.float64) - mean
    column_offsets = _group_means(columns, target, per_column, weights)
    if center == "both":
        # Alternate the two exact halves of a least-squares fit.
        size, changed = norm(target), np.inf
        for _ in range(SWEEPS.most):
            old = row_offsets
            row_offsets = _group_means(
                rows, target - column_offsets[columns], per_row, weights
            )
            column_offsets = _group_means(
                columns, target - row_offsets[rows], per_column, weights
            )
            before, changed = changed, norm((row_offsets - old)[rows])
            # Once changes are small, they fall until they are rounding.
            if changed <= SWEEPS.small * size and not changed < 0.9 * before:
                break
        shift = np.average(row_offsets, weights=per_row > 0)
        row_offsets = np.where(per_row > 0, row_offsets - shift, 0.0)
        column_offsets = np.where(per_column > 0, column_offsets + shift, 0.0)
    return row_offsets, mean + column_offsets


def median_offsets(
    rows: Array, columns: Array, values: Array, shape: tuple[int, int], center: Any
) -> tuple[Array, Array]:
    """Row and column offsets that gross errors do not move: medians of entries.

    Weights have no part in them, and those of rows are medians of what the columns'
    leave, so that they are where a search for better ones starts.

    Parameters
    ----------
    rows, columns, values, shape, center
        See `entry_offsets`.
    """
    n_rows, n_columns = shape
    row_offsets, column_offsets = np.zeros(n_rows), np.zeros(n_columns)
    if center is None:
        return row_offsets, column_offsets
    values = values.astype(np.float64)
    overall = float(np.median(values))
    if center == "mean":
        return row_offsets, np.full(n_columns, overall)
    seen = np.bincount(columns, minlength=n_columns) > 0
    column_offsets = np.where(seen, medians(values, columns, n_columns), overall)
    if center == "both":
        left = values - column_offsets[columns]
        row_offsets = medians(left, rows, n_rows)
    return row_offsets, column_offsets


def medians(values: Array, lines: Array, n_lines: int) -> Array:
    """Medians of the entries of each line; zero for empty ones."""
    ordered = values[np.lexsort((values, lines))]
    counts = np.bincount(lines, minlength=n_lines)
    starts, out = np.cumsum(counts) - counts, np.zeros(n_lines)
    some = np.flatnonzero(counts)
    low, high = (counts[some] - 1) // 2, counts[some] // 2
    first, second = (ordered[starts[some] + place] for place in (low, high))
    out[some] = 0.5 * first + 0.5 * second
    return out


def complete_offsets(X: Any, center: Any) -> tuple[Array, Array]:
    """Row and column offsets of a complete matrix, dense or sparse."""
    n_rows, n_columns = X.shape
    row_offsets = np.zeros(n_rows)
    if center is None:
        return row_offsets, np.zeros(n_columns)
    columns = np.asarray(X.mean(axis=0, dtype=np.float64)).ravel()
    if center == "mean":
        return row_offsets, np.full(n_columns, columns.mean())
    if center == "both":
        row_means = np.asarray(X.mean(axis=1, dtype=np.float64)).ravel()
        row_offsets = row_means - row_means.mean()
    return row_offsets, columns


def subtract(X: Any, row_offsets: Array, column_offsets: Array) -> Any:
    """The centred matrix; sparse data stay sparse inside an operator."""
    if not (row_offsets.any() or column_offsets.any()):
        return X
    rows, columns = (o.astype(X.dtype) for o in (row_offsets, column_offsets))
    if sparse.issparse(X):
        return OffsetMatrix(X, rows, columns)
    if is_mapped(X):
        return MappedOffsetMatrix(X, rows, columns)
    centred = X - columns
    # No second temporary of the size of the data where rows have no offsets.
    return centred - rows[:, None] if rows.any() else centred


def total_variance(
    X: Any,
    unit: float = 1.0,
    shifted: tuple[Matrix, float] | None = None,
) -> float:
    """Sum of the columns' variances, in units of the square of `unit`.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n_rows, n_columns)
    unit : float, default=1.0
    shifted : tuple of Matrix and float, default=None
        X less the same in all rows, and the Frobenius norm of that. It saves passes
        where its means are small enough.
    """
    if shifted is not None:
        matrix, size = shifted
        variance = _variance_by_norm(matrix, size, unit)
        if variance is not None:
            return variance
    if sparse.issparse(X):
        X = X if unit == 1.0 else X / X.dtype.type(unit)
        return float(np.sum(mean_variance_axis(X, axis=0)[1]))
    means = X.mean(axis=0, dtype=np.float64)
    return float(np.sum(squared_deviations(X, means, unit))) / len(X)


def _variance_by_norm(X: Matrix, size: float, unit: float) -> float | None:
    """Sum of the columns' variances by their means; None where digits would cancel."""
    n_rows = X.shape[0]
    sums = X.transposed_times(np.ones(n_rows, working_dtype(np.dtype(X.dtype))))
    means = sums.astype(np.float64) / (n_rows * unit)
    square = (size / unit) ** 2 / n_rows
    variance = square - dot(means, means)
    least = _CANCELLED if X.dtype == np.float64 else _CANCELLED_SINGLE
    return variance if variance > least * square else None


def squared_deviations(X: Array, means: Array, unit: float = 1.0) -> Array:
    """Sum over the rows of ``((X - means) / unit)^2``, in float64."""
    squares = np.zeros(X.shape[1])
    for rows in slabs(X.shape):
        deviations = X[rows] - means
        if unit != 1.0:
            deviations /= unit
        squares += np.einsum("ij,ij->j", deviations, deviations)
    return squares


def score_variances(u: Array, s: Array) -> Array:
    """Variances of the columns of ``u * s``, those of `u` orthonormal."""
    mean_square = 1.0 / len(u)
    shares = mean_square - (np.ones(len(u), u.dtype) @ u / len(u)) ** 2
    lost = shares < 0.1 * mean_square
    shares[lost] = np.var(u[:, lost], axis=0)
    return np.asarray(s**2 * shares)


def _group_means(
    groups: Array, values: Array, counts: Array, weights: Array | None
) -> Array:
    weighted = values if weights is None else weights * values
    sums = np.bincount(groups, weights=weighted, minlength=len(counts))
    return sums / at_least_something(counts)


def at_least_something(counts: Array) -> Array:
    """The counts, but one where there is nothing to divide by them."""
    return np.where(counts > 0, counts, 1)
