"""Measurement matrices with few nonzero entries: CSR rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import norm, square
from skprecgd._linalg.stored import without_duplicates
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, check_matrix_shape
from skprecgd.measurements.entries import EntryMeasurements
from skprecgd.measurements.validation import as_real_csr


class SparseMeasurements(Measurements, checked=True):
    """Sparse measurement matrices, one flattened matrix a row.

    Only the cells some measurement touches are ever computed, so the matrix may
    be far larger than memory.

    Parameters
    ----------
    rows : sparse array or matrix of shape (n, n_rows * n_columns)
        Row i holds the measurement matrix ``A_i`` flattened in C order.
    matrix_shape : tuple of int, default=None
        ``(n_rows, n_columns)``; None is the most balanced shape.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import sparse
    >>> from skprecgd.measurements import SparseMeasurements
    >>> A = SparseMeasurements(sparse.csr_array([[1.0, 0.0, 0.0, 2.0]]), (2, 2))
    >>> A.forward(np.ones((2, 1)), np.ones((2, 1)))
    array([3.])
    """

    large_products = False
    has_design = True

    def __init__(self, rows: Any, matrix_shape: tuple[int, int] | None = None) -> None:
        if not sparse.issparse(rows):
            raise ValueError(
                f"rows must be a SciPy sparse array, got {type(rows).__name__}."
            )
        csr = without_duplicates(as_real_csr(rows, "rows"))
        self.matrix_shape = check_matrix_shape(matrix_shape, csr.shape[1])
        self.dtype = csr.dtype
        self._csr = csr
        cells, position = np.unique(csr.indices, return_inverse=True)
        self._weights = sparse.csr_array(
            (csr.data, position, csr.indptr), shape=(csr.shape[0], len(cells))
        )
        row_index, column_index = np.divmod(cells, self.matrix_shape[1])
        self._entries = EntryMeasurements(
            row_index, column_index, self.matrix_shape, self.dtype
        )

    @property
    def n_measurements(self) -> int:
        return int(self._csr.shape[0])

    def forward(self, left: Array, right: Array) -> Array:
        return np.asarray(self._weights @ self._entries.forward(left, right))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        linear, quadratic = self._entries.forward_ray(left, right, d_left, d_right)
        return self._weights @ linear, self._weights @ quadratic

    def adjoint(self, weights: Array) -> sparse.csr_array:
        return self._entries.adjoint(self._weights.T @ weights)

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        return self._entries.adjoint_products(self._weights.T @ weights, left, right)

    def rows(self, index: Array) -> SparseMeasurements:
        return SparseMeasurements(self._csr[index], self.matrix_shape)

    def stacked(self, part: slice) -> Array:
        return np.asarray(self._csr[part].toarray())

    def design(self, other: Array, block: int) -> Array:
        n, r = self.matrix_shape[block], other.shape[1]
        n_measurements = self.n_measurements
        cells = np.divmod(self._csr.indices, self.matrix_shape[1])
        free, fixed = cells[block], cells[1 - block]
        each = np.repeat(np.arange(n_measurements), np.diff(self._csr.indptr))
        where = each * n + free
        out = np.empty((n_measurements * n, r), self.dtype)
        for k in range(r):
            terms = self._csr.data * other[fixed, k]
            out[:, k] = np.bincount(where, terms, len(out))
        return out.reshape(n_measurements, n, r)

    def scaled(self, factor: float) -> SparseMeasurements:
        return SparseMeasurements(
            self._csr * self.dtype.type(factor), self.matrix_shape
        )

    def _sizes(self) -> Array:
        # Squares of very small or very large numbers would be zero or infinite.
        unit = float(np.max(np.abs(self._csr.data), initial=0.0)) or 1.0
        scaled = self._csr / unit
        squares = np.asarray((scaled * scaled).sum(axis=1), np.float64).ravel()
        return unit * np.sqrt(squares)

    def _mean_square(self) -> float:
        return square(self._size())

    def _size(self) -> float:
        n_cells = self.matrix_shape[0] * self.matrix_shape[1]
        n_numbers = max(1, self.n_measurements) * n_cells
        return norm(self._csr.data) / float(np.sqrt(n_numbers))
