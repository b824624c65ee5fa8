"""Rank-one measurement matrices: bilinear and quadratic sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.numerics import as_operator
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements
from skprecgd.measurements.validation import as_real_array


class RankOneMeasurements(Measurements, checked=True):
    """Measurements ``a_i^T M b_i``; the matrices ``a_i b_i^T`` are never formed.

    Parameters
    ----------
    a : array-like of shape (n, n_rows)
        Left vectors, one measurement a row.
    b : array-like of shape (n, n_columns), default=None
        Right vectors. None: ``b = a``, quadratic sampling ``a_i^T M a_i``, which
        for a PSD matrix is (real) phase retrieval.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import RankOneMeasurements
    >>> A = RankOneMeasurements([[1.0, 0.0], [1.0, 1.0]])
    >>> x = np.array([[3.0], [-1.0]])
    >>> A.forward(x, x)
    array([9., 4.])
    """

    def __init__(self, a: Any, b: Any = None) -> None:
        self.a: Array = as_real_array(a, "a", (2,))
        self.b: Array = self.a if b is None else as_real_array(b, "b", (2,))
        if len(self.a) != len(self.b):
            raise ValueError(
                f"a and b must hold equally many vectors, got {len(self.a)} and "
                f"{len(self.b)}."
            )
        self.matrix_shape = (self.a.shape[1], self.b.shape[1])
        self.dtype = np.result_type(self.a, self.b)

    @property
    def n_measurements(self) -> int:
        return len(self.a)

    def forward(self, left: Array, right: Array) -> Array:
        return np.einsum("ij,ij->i", self.a @ left, self.b @ right)

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        r = left.shape[1]
        a_both = self.a @ np.hstack([left, d_left])
        if self.b is self.a and right is left and d_right is d_left:
            b_both = a_both
        else:
            b_both = self.b @ np.hstack([right, d_right])
        linear = np.einsum("ij,ij->i", a_both[:, r:], b_both[:, :r])
        linear += np.einsum("ij,ij->i", a_both[:, :r], b_both[:, r:])
        return linear, np.einsum("ij,ij->i", a_both[:, r:], b_both[:, r:])

    def adjoint(self, weights: Array) -> LinearOperator:
        w = weights.astype(self.dtype, copy=False)[:, None]

        def times(block: Array) -> Array:
            return self.a.T @ (w * (self.b @ block.reshape(len(block), -1)))

        def transposed_times(block: Array) -> Array:
            return self.b.T @ (w * (self.a @ block.reshape(len(block), -1)))

        return as_operator(self.matrix_shape, self.dtype, times, transposed_times)

    def rows(self, index: Array) -> RankOneMeasurements:
        b = None if self.b is self.a else self.b[index]
        return RankOneMeasurements(self.a[index], b)

    def _sizes(self) -> Array:
        size_a, size_b = (
            np.sqrt(np.einsum("ij,ij->i", x, x, dtype=np.float64))
            for x in (self.a, self.b)
        )
        return np.asarray(size_a * size_b)

    def _mean_square(self) -> float:
        square_a = np.einsum("ij,ij->i", self.a, self.a, dtype=np.float64)
        square_b = np.einsum("ij,ij->i", self.b, self.b, dtype=np.float64)
        n_cells = self.matrix_shape[0] * self.matrix_shape[1]
        return float(np.mean(square_a * square_b)) / n_cells
