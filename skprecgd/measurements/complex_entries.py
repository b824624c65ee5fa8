"""Observed entries of a complex matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import complex_dtype, real_dtype
from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.measurements.base import Measurements
from skprecgd.measurements.entries import EntryMeasurements


class ComplexEntryMeasurements(Measurements, checked=True):
    """Observed entries ``M[rows[i], columns[i]]`` of a complex matrix.

    Its targets are the complex entries. With ``symmetric=True``, the matrix is
    Hermitian and positive semidefinite.

    Parameters
    ----------
    rows, columns : array-like of int, shape (n_measurements,)
        Where the entries stand. Cells may repeat.
    matrix_shape : tuple of int
        ``(n_rows, n_columns)``.
    dtype : dtype, default=complex128
        complex64 or complex128.

    Raises
    ------
    ValueError
        If an index lies outside `matrix_shape` or the two lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import ComplexEntryMeasurements
    >>> A = ComplexEntryMeasurements([0, 2], [1, 0], (3, 2))
    >>> A.forward(np.array([[1.0], [2.0], [3j]]), np.array([[1.0], [1j]]))
    array([0.-1.j, 0.+3.j])
    """

    large_products = False

    def __init__(
        self,
        rows: Any,
        columns: Any,
        matrix_shape: tuple[int, int],
        dtype: Any = np.complex128,
    ) -> None:
        self._of(EntryMeasurements(rows, columns, matrix_shape, real_dtype(dtype)))

    @classmethod
    def at(cls, cells: EntryMeasurements) -> ComplexEntryMeasurements:
        """The complex entries at the cells of real ones."""
        made = cls.__new__(cls)
        made._of(cells)
        return made

    def _of(self, cells: EntryMeasurements) -> None:
        self._cells, self.matrix_shape = cells, cells.matrix_shape
        self.dtype = complex_dtype(cells.dtype)

    @property
    def row_index(self) -> Array:
        """The row of each entry, shape (n_measurements,)."""
        return self._cells.row_index

    @property
    def column_index(self) -> Array:
        """The column of each entry, shape (n_measurements,)."""
        return self._cells.column_index

    @property
    def n_measurements(self) -> int:
        return self._cells.n_measurements

    def forward(self, left: Array, right: Array) -> Array:
        # By real products: l conj(r) = (a + ib)(c - id) = ac + bd + i (bc - ad).
        a, b, c, d = left.real, left.imag, right.real, right.imag
        rights = np.hstack([c, d])
        out = np.empty(self.n_measurements, self.dtype)
        out.real = self._product(np.hstack([a, b]), rights)
        out.imag = self._product(np.hstack([b, -a]), rights)
        return out

    def _product(self, left: Array, right: Array) -> Array:
        return sampled_product(left, right, self.row_index, self.column_index)

    def adjoint(self, weights: Array) -> sparse.csr_array:
        return self._cells.adjoint(weights.astype(self.dtype, copy=False))

    def rows(self, index: Array) -> ComplexEntryMeasurements:
        return self.at(self._cells.rows(index))

    def natural_order(self) -> Array | None:
        return self._cells.natural_order()

    def stacked(self, part: slice) -> Array:
        return self._cells.stacked(part).astype(self.dtype)

    def _mean_square(self) -> float:
        return self._cells._mean_square()

    def _sizes(self) -> Array:
        return self._cells._sizes()


def entries_at(
    rows: Array, columns: Array, matrix_shape: tuple[int, int], dtype: np.dtype
) -> EntryMeasurements | ComplexEntryMeasurements:
    """Entries of a matrix of real or of complex numbers."""
    kind = ComplexEntryMeasurements if dtype.kind == "c" else EntryMeasurements
    return kind(rows, columns, matrix_shape, dtype)
