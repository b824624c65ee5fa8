"""Complex measurements and targets, as the real numbers that a fit sees."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from skprecgd._estimators.measured import Measured
from skprecgd._linalg.numerics import complex_numbers
from skprecgd._runtime.typing import Array
from skprecgd.losses import Loss
from skprecgd.measurements import Measurements
from skprecgd.measurements.real_numbers import (
    RealParts,
    RealValues,
    real_numbers_of,
)


@dataclass(frozen=True, eq=False)
class ComplexMeasured(Measured):
    """Real numbers that were read off complex measurements.

    Attributes
    ----------
    given : Measured
        The complex measurements in the same order, with their targets.
    """

    given: Measured | None = None

    def in_natural_order(self) -> Measured:
        return self

    def in_input_order(self, values: Array) -> Array:
        assert self.given is not None
        if isinstance(self.measurements, RealParts):
            values = complex_numbers(values)
        return self.given.in_input_order(values)


def in_real_numbers(measured: Measured, loss: Loss, *, hermitian: bool) -> Measured:
    """Complex measurements and targets, as an objective sees them.

    Parameters
    ----------
    measured : Measured
        With weights, one for each complex measurement.
    loss : Loss
    hermitian : bool
        Whether the matrix is.

    Raises
    ------
    ValueError
        If complex targets cannot be what was measured, or the loss has no meaning for
        them.
    """
    given = measured.measurements, measured.targets
    numbers = real_numbers_of(*given, loss, hermitian=hermitian)
    weights = measured.weights
    if isinstance(numbers, RealParts):
        weights = weights.at(np.repeat(np.arange(len(measured.targets)), 2))
    targets = numbers.read(measured.targets)
    return ComplexMeasured(numbers, targets, weights, given=measured)


def both_parts(index: Array) -> Array:
    """Where the real and the imaginary part of complex measurements stand, in turn."""
    return np.repeat(2 * index, 2) + np.tile([0, 1], len(index))


def warn_if_real(measured: Measured) -> None:
    """Warn of a Hermitian matrix of which only the real part is seen."""
    numbers = measured.measurements
    if not isinstance(numbers, RealValues) or numbers.measurements.sees_imaginary_part:
        return
    warnings.warn(
        "All measurement matrices are real, so the imaginary part of a Hermitian "
        "matrix cannot be seen; add some that are not, or give them as real numbers "
        "to recover a real symmetric matrix.",
        UserWarning,
        stacklevel=2,
    )


def measured_values(
    measurements: Measurements, left: Array, right: Array, *, hermitian: bool
) -> Array:
    """The measurements of a matrix that was found.

    Parameters
    ----------
    measurements : Measurements
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
    hermitian : bool
        Whether the matrix is: then Hermitian measurements of it are real.
    """
    if left.dtype.kind == "c" and not measurements.of_complex:
        raise ValueError(
            "The matrix is complex, but the measurements are real; give complex ones, "
            f"got {measurements!r}."
        )
    values = measurements.forward(left, right)
    return values.real if hermitian and measurements.hermitian else values
