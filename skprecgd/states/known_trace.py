"""Measurements together with the trace, which of a state is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.matrices import as_matrix
from skprecgd._linalg.numerics import square
from skprecgd._runtime.typing import Array
from skprecgd.measurements import Measurements


class WithTrace(Measurements, checked=True):
    """Hermitian measurements of a matrix, and its trace as one more, the last.

    Parameters
    ----------
    measurements : Measurements
        Of a square matrix.
    kept : ndarray of int, default=None
        Which of all these there are, in their order; None is each once.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import RankOneMeasurements
    >>> from skprecgd.states.known_trace import WithTrace
    >>> A = WithTrace(RankOneMeasurements([[1.0, 0.0], [1.0, 1.0]]))
    >>> x = np.array([[3.0], [-1.0]])
    >>> A.forward(x, x)
    array([ 9.,  4., 10.])
    """

    has_design = True

    def __init__(self, measurements: Measurements, kept: Array | None = None) -> None:
        self._all = measurements
        n = measurements.n_measurements
        self._kept = np.arange(n + 1) if kept is None else kept
        self.matrix_shape, self.dtype = measurements.matrix_shape, measurements.dtype

    @property
    def n_measurements(self) -> int:
        return len(self._kept)

    @property
    def hermitian(self) -> bool:  # type: ignore[override]
        return self._all.hermitian

    @property
    def sees_imaginary_part(self) -> bool:  # type: ignore[override]
        return self._all.sees_imaginary_part

    def forward(self, left: Array, right: Array) -> Array:
        trace = np.sum(left * right.conj(), keepdims=True).ravel()
        return np.concatenate([self._all.forward(left, right), trace])[self._kept]

    def adjoint(self, weights: Array) -> Array:
        weights, of_trace = self._apart(weights)
        matrix = as_matrix(self._all.adjoint(weights)).formed()
        return matrix + of_trace * np.eye(len(matrix), dtype=matrix.dtype)

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        weights, of_trace = self._apart(weights)
        times, back = self._all.adjoint_products(weights, left, right)
        return times + of_trace * right, back + np.conj(of_trace) * left

    def rows(self, index: Array) -> WithTrace:
        return WithTrace(self._all, self._kept[index])

    def stacked(self, part: slice) -> Array:
        kept, n = self._kept[part], self._all.n_measurements
        out = np.empty((len(kept), self.shape[1]), self.dtype)
        out[kept < n] = self._all.rows(kept[kept < n]).stacked(slice(None))
        out[kept == n] = np.eye(self.matrix_shape[0], dtype=self.dtype).ravel()
        return out

    def design(self, other: Array, block: int) -> Array:
        return np.concatenate([self._all.design(other, block), other[None]])[self._kept]

    def _apart(self, weights: Array) -> tuple[Array, Any]:
        """The weights of all but the trace, and that of the trace."""
        each = np.zeros(self._all.n_measurements + 1, weights.dtype)
        np.add.at(each, self._kept, weights)
        return each[:-1], each[-1]

    def _sizes(self) -> Array:
        trace = np.sqrt([float(self.matrix_shape[0])])
        return np.concatenate([self._all.sizes(), trace])[self._kept]

    def _mean_square(self) -> float:
        return square(self._size())
