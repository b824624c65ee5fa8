"""Measurements divided by a number, where the data cannot be divided themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.numerics import square
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements


class ScaledMeasurements(Measurements):
    """Other measurements times a factor, which multiplies what goes in and comes out.

    Parameters
    ----------
    measurements : Measurements
    factor : float
        Positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import DenseMeasurements
    >>> from skprecgd.measurements.scaled import ScaledMeasurements
    >>> A = ScaledMeasurements(DenseMeasurements(np.eye(4), (2, 2)), 0.5)
    >>> A.forward(np.ones((2, 1)), np.array([[2.0], [4.0]]))
    array([1., 2., 1., 2.])
    """

    def __init__(self, measurements: Measurements, factor: float) -> None:
        self.measurements, self.factor = measurements, factor
        self.matrix_shape, self.dtype = measurements.matrix_shape, measurements.dtype
        self.keeps_adjoint = measurements.keeps_adjoint

    @property
    def n_measurements(self) -> int:
        return self.measurements.n_measurements

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    def forward(self, left: Array, right: Array) -> Array:
        return self._scaled(self.measurements.forward(left, right))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        both = self.measurements.forward_ray(left, right, d_left, d_right)
        return self._scaled(both[0]), self._scaled(both[1])

    def adjoint(self, weights: Array) -> Any:
        return self.measurements.adjoint(self._scaled(weights))

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        weights = self._scaled(weights)
        return self.measurements.adjoint_products(weights, left, right)

    def rows(self, index: Array) -> ScaledMeasurements:
        return ScaledMeasurements(self.measurements.rows(index), self.factor)

    @property
    def folds_share(self) -> bool:
        return self.measurements.folds_share

    def fold(self, index: Array) -> ScaledMeasurements:
        return ScaledMeasurements(self.measurements.fold(index), self.factor)

    def natural_order(self) -> Array | None:
        return self.measurements.natural_order()

    def _mean_square(self) -> float:
        return square(self._size())

    def _size(self) -> float:
        return self.measurements._size() * self.factor

    def _sizes(self) -> Array:
        return self.measurements._sizes() * self.factor

    def _scaled(self, values: Array) -> Array:
        return np.asarray(values * values.dtype.type(self.factor))
