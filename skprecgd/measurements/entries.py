"""Observed entries of a matrix: completion."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skprecgd._linalg.containers import unmasked
from skprecgd._linalg.numerics import slab_bincount
from skprecgd._linalg.row_systems import solve_weighted_rows
from skprecgd._runtime.typing import Array
from skprecgd.kernels import (
    adjoint_products,
    sampled_product,
    sampled_ray,
    unchecked_csr,
)
from skprecgd.measurements.base import Measurements, as_shape
from skprecgd.measurements.labels import ARRAY_NAMES, as_ids, encoded


class _Pattern(NamedTuple):
    """The observed cells by rows; `order` sorts measurements into it."""

    indptr: Array
    indices: Array
    order: Array | None


class EntryMeasurements(Measurements, checked=True):
    """One measurement per observed entry ``M[rows[i], columns[i]]``.

    Parameters
    ----------
    rows, columns : array-like of int, shape (n_measurements,)
        Where the entries stand.
    matrix_shape : tuple of int
        ``(n_rows, n_columns)``.
    dtype : dtype, default=float64
        float32 or float64.

    Attributes
    ----------
    row_index, column_index : ndarray of int, shape (n_measurements,)
        Where the entries stand.
    row_labels, column_labels : ndarray of shape (n_rows,), (n_columns,), or None
        The ids of the rows and columns of the matrix, by position, where
        `from_labels` or `skprecgd.observed_entries` has encoded any. Selections of the
        entries keep them.

    Notes
    -----
    The pattern is kept in 8 bytes an entry where entries come sorted by rows, and in
    16 otherwise (twice that where an index needs 64 bits); a product adds its result
    and, for `adjoint_products`, at most one more number an entry. Nothing of size
    (n_measurements, r) is ever formed. Cells may repeat.

    Raises
    ------
    ValueError
        If an index lies outside `matrix_shape` or the two lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import EntryMeasurements
    >>> A = EntryMeasurements([0, 2], [1, 0], (3, 2))
    >>> A.forward(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [10.0]]))
    array([10.,  3.])
    >>> len(A[:1])
    1
    """

    large_products = False
    single_entries = True

    def __init__(
        self,
        rows: Any,
        columns: Any,
        matrix_shape: tuple[int, int],
        dtype: Any = np.float64,
    ) -> None:
        self.matrix_shape = as_shape(matrix_shape)
        index_type = np.int32 if max(self.matrix_shape) < 2**31 else np.int64
        self.row_index = _check_index(rows, "rows", self.matrix_shape[0], index_type)
        self.column_index = _check_index(
            columns, "columns", self.matrix_shape[1], index_type
        )
        if len(self.row_index) != len(self.column_index):
            raise ValueError(
                f"rows and columns must have equal length, got {len(self.row_index)} "
                f"and {len(self.column_index)}."
            )
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}.")

    @classmethod
    def from_labels(
        cls, rows: Any, columns: Any, dtype: Any = np.float64
    ) -> EntryMeasurements:
        """Entries at rows and columns that are named by ids.

        An estimator that was fitted to entries with labels, by
        `skprecgd.observed_entries` of a long data frame, predicts them by their ids.

        Parameters
        ----------
        rows, columns : array-like of shape (n_measurements,)
            Ids of one type each: integers, strings, categories or dates.
        dtype : dtype, default=float64
            float32 or float64.

        Returns
        -------
        EntryMeasurements
            Of a matrix with a row and a column for each different id, sorted.

        Raises
        ------
        ValueError
            If there is no id, one is missing, or the two lengths differ.

        Examples
        --------
        >>> from skprecgd.measurements import EntryMeasurements
        >>> A = EntryMeasurements.from_labels(["bob", "alice"], [1999, 1979])
        >>> A.row_index, A.row_labels
        (array([1, 0], dtype=int32), array(['alice', 'bob'], dtype=object))
        """
        (row_labels, i), (column_labels, j) = (
            encoded(as_ids(ids, what), what)
            for ids, what in zip((rows, columns), ARRAY_NAMES, strict=True)
        )
        if not (len(i) and len(j)):
            raise ValueError("rows and columns must name at least one entry.")
        entries = cls(i, j, (len(row_labels), len(column_labels)), dtype)
        entries.row_labels, entries.column_labels = row_labels, column_labels
        return entries

    @property
    def n_measurements(self) -> int:
        return len(self.row_index)

    def forward(self, left: Array, right: Array) -> Array:
        return sampled_product(left, right, self.row_index, self.column_index)

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        return sampled_ray(
            left, right, d_left, d_right, self.row_index, self.column_index
        )

    def adjoint(self, weights: Array) -> sparse.csr_array:
        indptr, indices, order = self._pattern
        data = weights if order is None else weights[order]
        return unchecked_csr(indptr, indices, data, self.matrix_shape)

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        indptr, indices, order = self._pattern
        data = weights if order is None else weights[order]
        return adjoint_products(indptr, indices, data, left, right)

    def stacked(self, part: slice) -> Array:
        flat = self.row_index[part].astype(np.intp) * self.matrix_shape[1]
        flat += self.column_index[part]
        out = np.zeros((len(flat), self.shape[1]), self.dtype)
        out[np.arange(len(flat)), flat] = 1
        return out

    def rows(self, index: Array) -> EntryMeasurements:
        selected = EntryMeasurements(
            self.row_index[index],
            self.column_index[index],
            self.matrix_shape,
            self.dtype,
        )
        selected.row_labels = self.row_labels
        selected.column_labels = self.column_labels
        return selected

    def natural_order(self) -> Array | None:
        if np.all(self.row_index[1:] >= self.row_index[:-1]):
            return None
        return np.lexsort((self.column_index, self.row_index))

    def cells(self, index: Array | None = None) -> tuple[Array, Array]:
        if index is None:
            return self.row_index, self.column_index
        return self.row_index[index], self.column_index[index]

    def row_solutions(
        self,
        weights: Array,
        right_hand_side: Array,
        other: Array,
        ridge: float | Array,
        block: int,
    ) -> Array:
        # Every row of the factor meets its own entries only.
        matrix = self.adjoint(weights)
        if block == 1:
            matrix = matrix.T.tocsr()
        return solve_weighted_rows(matrix, right_hand_side, other, ridge)

    def _mean_square(self) -> float:
        return 1.0 / (self.matrix_shape[0] * self.matrix_shape[1])

    def _sizes(self) -> Array:
        return np.ones(self.n_measurements)

    @cached_property
    def _pattern(self) -> _Pattern:
        n_rows = self.matrix_shape[0]
        counts = slab_bincount(self.row_index, n_rows)
        few = self.n_measurements < 2**31
        indptr = np.concatenate([[0], np.cumsum(counts)])
        order = self.natural_order()
        if order is None:
            # Not a copy: the pattern by rows costs no memory where entries are sorted.
            indices = self.column_index.view()
        else:
            indices = self.column_index[order]
            order = order.astype(np.int32) if few else order
        indptr = indptr.astype(indices.dtype if few else np.int64)
        indices = indices.astype(indptr.dtype, copy=False)
        # Read-only, so that no one can sort the shared columns in place.
        indptr.flags.writeable = indices.flags.writeable = False
        return _Pattern(indptr, indices, order)


def _check_index(values: Any, name: str, size: int, index_type: type) -> Array:
    index = np.asarray(unmasked(values, name))
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must be a 1-D array of integers, got {index.ndim}-D of dtype "
            f"{index.dtype}."
        )
    if index.size and (index.min() < 0 or index.max() >= size):
        raise ValueError(
            f"{name} must lie in 0..{size - 1} for this matrix_shape, got values "
            f"from {index.min()} to {index.max()}."
        )
    return index.astype(index_type, copy=False)
