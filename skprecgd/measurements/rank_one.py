"""Rank-one measurement matrices: bilinear and quadratic sampling."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.numerics import (
    UNIT,
    as_operator,
    column_squares,
    in_precision,
    largest_size,
    norm,
    power_of_two,
    square,
)
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements
from skprecgd.measurements.validation import as_number_array


class RankOneMeasurements(Measurements, checked=True):
    """Measurements ``a_i^T M b_i``; the matrices ``a_i b_i^T`` are never formed.

    Complex vectors measure ``a_i^H M b_i``.

    Parameters
    ----------
    a : array-like of shape (n, n_rows)
        Left vectors, one measurement a row.
    b : array-like of shape (n, n_columns), default=None
        Right vectors. None: ``b = a``, quadratic sampling ``a_i^T M a_i``, which
        for a PSD matrix is phase retrieval. Of complex vectors, these are the
        intensities ``a_i^H M a_i``, ``|a_i^H x|^2`` for ``M = x x^H``: real numbers
        with ``symmetric=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import RankOneMeasurements
    >>> A = RankOneMeasurements([[1.0, 0.0], [1.0, 1.0]])
    >>> x = np.array([[3.0], [-1.0]])
    >>> A.forward(x, x)
    array([9., 4.])
    """

    has_design = True

    def __init__(self, a: Any, b: Any = None) -> None:
        self.a: Array = as_number_array(a, "a", (2,))
        self.b: Array = self.a if b is None else as_number_array(b, "b", (2,))
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

    @property
    def hermitian(self) -> bool:  # type: ignore[override]
        return self.b is self.a

    @property
    def sees_imaginary_part(self) -> bool:  # type: ignore[override]
        return bool(np.any(self.a.imag))

    def forward(self, left: Array, right: Array) -> Array:
        a_left, b_right = _products(self.a, left), _products(self.b, right)
        return np.einsum("ij,ij->i", a_left, b_right.conj())

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        r = left.shape[1]
        a_both = _products(self.a, np.hstack([left, d_left]))
        if self.b is self.a and right is left and d_right is d_left:
            b_both = a_both.conj()
        else:
            b_both = _products(self.b, np.hstack([right, d_right])).conj()
        linear = np.einsum("ij,ij->i", a_both[:, r:], b_both[:, :r])
        linear += np.einsum("ij,ij->i", a_both[:, :r], b_both[:, r:])
        return linear, np.einsum("ij,ij->i", a_both[:, r:], b_both[:, r:])

    def adjoint(self, weights: Array) -> LinearOperator:
        w = weights.astype(self.dtype, copy=False)[:, None]

        def times(block: Array) -> Array:
            return self.a.T @ (w * _products(self.b, block.reshape(len(block), -1)))

        def transposed_times(block: Array) -> Array:
            seen = _products(self.a, block.reshape(len(block), -1))
            return self.b.T @ (w.conj() * seen)

        return as_operator(self.matrix_shape, self.dtype, times, transposed_times)

    def rows(self, index: Array) -> RankOneMeasurements:
        b = None if self.b is self.a else self.b[index]
        return RankOneMeasurements(self.a[index], b)

    def stacked(self, part: slice) -> Array:
        a, b = self.a[part], self.b[part]
        return (a[:, :, None] * b.conj()[:, None, :]).reshape(len(a), -1)

    def design(self, other: Array, block: int) -> Array:
        free, fixed = (self.b, self.a) if block else (self.a, self.b)
        return np.asarray(free[:, :, None] * _products(fixed, other)[:, None, :])

    def of_unit_size(self) -> tuple[Measurements, float]:
        # The vectors are divided by powers of two that bring each of them to unit size.
        units = [UNIT.unit(_size(x), self.dtype) for x in (self.a, self.b)]
        if units == [1.0, 1.0]:
            return self, 1.0
        a, b = (
            x / x.dtype.type(u) for x, u in zip((self.a, self.b), units, strict=True)
        )
        unit = units[0] * units[1]
        if not 0 < unit < np.inf:
            raise ValueError(
                "The vectors of the rank-one measurements are too small or too large: "
                "the product of two of their entries is no number. Multiply or divide "
                "them by a power of ten."
            )
        return RankOneMeasurements(a, None if self.b is self.a else b), unit

    def scaled(self, factor: float) -> RankOneMeasurements:
        if self.b is self.a:
            return RankOneMeasurements(self.a * self.dtype.type(np.sqrt(factor)))
        # Each vector gets its own share, so that neither is very small or very large.
        share = 1.0 / UNIT.unit(_size(self.a), self.dtype)
        rest = factor / share
        return RankOneMeasurements(
            self.a * self.a.dtype.type(share), self.b * self.b.dtype.type(rest)
        )

    def _sizes(self) -> Array:
        size_a, size_b = (self._lengths(x) for x in (self.a, self.b))
        return np.asarray(size_a * size_b)

    def _mean_square(self) -> float:
        return square(self._size())

    @staticmethod
    def _lengths(x: Array) -> Array:
        """The norm of each vector, also where the squares are no numbers."""
        unit = power_of_two(largest_size(x))
        scaled = in_precision(x, np.float64) / unit
        return unit * np.sqrt(column_squares(scaled.T))


def _products(vectors: Array, block: Array) -> Array:
    """``a_i^H B`` for each of the vectors, shape (n, r)."""
    # The short block is conjugated, and not the vectors.
    return np.asarray((vectors @ block.conj()).conj())


def _size(x: Array) -> float:
    """The root mean square of the entries."""
    return norm(x) / float(np.sqrt(max(1, x.size)))
