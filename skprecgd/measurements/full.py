"""Every entry observed: the identity on matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.groups import Groups
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, as_shape


class FullObservation(Measurements, checked=True):
    """All ``n_rows * n_columns`` entries of the matrix, in C order.

    The map is an isometry, so the objective built on it works with products of
    the data and Gram matrices of the factors, never with a residual: a sparse
    data matrix stays sparse. The products below, which do form the matrix, are
    there for the contract (and for small data).

    Parameters
    ----------
    matrix_shape : tuple of int
        ``(n_rows, n_columns)``.
    dtype : dtype, default=float64
        float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import FullObservation
    >>> FullObservation((2, 2)).forward(np.ones((2, 1)), np.ones((2, 1)))
    array([1., 1., 1., 1.])
    """

    single_entries = True

    def __init__(self, matrix_shape: tuple[int, int], dtype: Any = np.float64) -> None:
        self.matrix_shape = as_shape(matrix_shape)
        self.dtype = np.dtype(dtype)

    @property
    def n_measurements(self) -> int:
        return self.matrix_shape[0] * self.matrix_shape[1]

    def forward(self, left: Array, right: Array) -> Array:
        return np.asarray(left @ right.T).ravel()

    def adjoint(self, weights: Array) -> Array:
        return weights.reshape(self.matrix_shape)

    def stacked(self, part: slice) -> Array:
        return np.eye(self.n_measurements, dtype=self.dtype)[part]

    def rows(self, index: Array) -> Any:
        """The chosen entries, as `EntryMeasurements`."""
        from skprecgd.measurements.entries import EntryMeasurements

        row_index, column_index = np.divmod(np.asarray(index), self.matrix_shape[1])
        return EntryMeasurements(row_index, column_index, self.matrix_shape, self.dtype)

    def cells(self, index: Array | None = None) -> tuple[Array, Array]:
        index = np.arange(self.n_measurements) if index is None else index
        rows, columns = np.divmod(index, self.matrix_shape[1])
        return rows, columns

    def line_counts(self, often: Any = None) -> tuple[Array, Array]:
        shape = self.matrix_shape
        seen = np.broadcast_to(1.0 if often is None else often.reshape(shape), shape)
        return seen.sum(axis=1), seen.sum(axis=0)

    def groups(self, *, symmetric: bool = False) -> Groups:
        n_rows, n_columns = self.matrix_shape
        return Groups.one((np.ones(n_rows, bool), np.ones(n_columns, bool)))

    def _mean_square(self) -> float:
        return 1.0 / self.n_measurements

    def _sizes(self) -> Array:
        return np.ones(self.n_measurements)
