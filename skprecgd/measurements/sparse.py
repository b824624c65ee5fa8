"""Measurement matrices with few nonzero entries: CSR rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import norm, square
from skprecgd._linalg.stored import without_duplicates
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, check_matrix_shape
from skprecgd.measurements.complex_entries import entries_at
from skprecgd.measurements.validation import as_number_csr


class SparseMeasurements(Measurements, checked=True):
    """Sparse measurement matrices, one flattened matrix a row.

    Only the cells some measurement touches are ever computed, so the matrix may
    be far larger than memory.

    Parameters
    ----------
    rows : sparse array or matrix of shape (n, n_rows * n_columns)
        Row i holds the measurement matrix ``A_i`` flattened in C order. Complex ones
        measure ``tr(A_i^H M)``.
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
        csr = without_duplicates(as_number_csr(rows, "rows"))
        self.matrix_shape = check_matrix_shape(matrix_shape, csr.shape[1])
        self.dtype = csr.dtype
        self._csr = csr
        cells, position = np.unique(csr.indices, return_inverse=True)
        self._weights = sparse.csr_array(
            (csr.data, position, csr.indptr), shape=(csr.shape[0], len(cells))
        )
        row_index, column_index = np.divmod(cells, self.matrix_shape[1])
        self._entries = entries_at(
            row_index, column_index, self.matrix_shape, self.dtype
        )

    @property
    def n_measurements(self) -> int:
        return int(self._csr.shape[0])

    @cached_property
    def hermitian(self) -> bool:  # type: ignore[override]
        n_rows, n_columns = self.matrix_shape
        if n_rows != n_columns:
            return False
        csr = self._csr
        row, column = np.divmod(csr.indices, n_columns)
        turned = csr.data.conj(), column * n_columns + row, csr.indptr
        apart = csr - sparse.csr_array(turned, shape=csr.shape)
        close = float(np.sqrt(np.finfo(self.dtype).eps))
        return bool(np.all(_lengths(apart) <= close * _lengths(csr)))

    @property
    def sees_imaginary_part(self) -> bool:  # type: ignore[override]
        return bool(np.any(self._csr.data.imag))

    def forward(self, left: Array, right: Array) -> Array:
        return self._measured(self._entries.forward(left, right))

    def _measured(self, entries: Array) -> Array:
        # The entries are conjugated, and not the measurement matrices.
        return np.asarray((self._weights @ entries.conj()).conj())

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        linear, quadratic = self._entries.forward_ray(left, right, d_left, d_right)
        return self._measured(linear), self._measured(quadratic)

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
        entries = self._csr.data.conj() if block else self._csr.data
        for k in range(r):
            terms = entries * other[fixed, k]
            out[:, k].real = np.bincount(where, terms.real, len(out))
            if self.of_complex:
                out[:, k].imag = np.bincount(where, terms.imag, len(out))
        return out.reshape(n_measurements, n, r)

    def scaled(self, factor: float) -> SparseMeasurements:
        return SparseMeasurements(
            self._csr * self.dtype.type(factor), self.matrix_shape
        )

    def _sizes(self) -> Array:
        return _lengths(self._csr)

    def _mean_square(self) -> float:
        return square(self._size())

    def _size(self) -> float:
        n_cells = self.matrix_shape[0] * self.matrix_shape[1]
        n_numbers = max(1, self.n_measurements) * n_cells
        return norm(self._csr.data) / float(np.sqrt(n_numbers))


def _lengths(csr: Any) -> Array:
    """The norm of each row."""
    # Squares of very small or very large numbers would be zero or infinite.
    unit = float(np.max(np.abs(csr.data), initial=0.0)) or 1.0
    scaled = abs(csr) / unit
    squares = np.asarray((scaled * scaled).sum(axis=1), np.float64).ravel()
    return np.asarray(unit * np.sqrt(squares))
