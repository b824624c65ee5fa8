"""Measurements of complex numbers as an objective sees them: as real numbers.

A complex target is two real ones, its real and its imaginary part; where measurement
matrices and the matrix are Hermitian, it is a single one. The inner product of matrices
is ``Re tr(A^H M)`` in both cases.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import (
    complex_dtype,
    complex_numbers,
    norm,
    real_dtype,
    real_parts,
    square,
)
from skprecgd._runtime.typing import Array
from skprecgd.losses import Loss
from skprecgd.measurements.base import Measurements, Tangent


class RealNumbers(Measurements, checked=True):
    """Real numbers that are read off complex measurements.

    Parameters
    ----------
    measurements : Measurements
        Of complex numbers.
    """

    def __init__(self, measurements: Measurements) -> None:
        self.measurements = measurements
        self.matrix_shape = measurements.matrix_shape
        self.dtype = real_dtype(measurements.dtype)

    @abstractmethod
    def read(self, values: Array) -> Array:
        """The real numbers of complex targets or predictions, an array of its own.

        Parameters
        ----------
        values : ndarray of shape (n_complex,)
        """

    @abstractmethod
    def complex_weights(self, weights: Array) -> Array:
        """The complex weights whose adjoint is that of real ones."""

    @abstractmethod
    def matrix_sizes(self) -> Array:
        """The Frobenius norm of the complex matrix of each number."""

    @property
    def of_complex(self) -> bool:
        return True

    @property
    def large_products(self) -> bool:
        return self.measurements.large_products

    def forward(self, left: Array, right: Array) -> Array:
        return self.read(self.measurements.forward(left, right))

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        both = self.measurements.forward_ray(left, right, d_left, d_right)
        return self.read(both[0]), self.read(both[1])

    def forward_tangent(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> Array:
        given = left, right, d_left, d_right
        return self.read(self.measurements.forward_tangent(*given))

    def adjoint(self, weights: Array) -> Any:
        return self.measurements.adjoint(self.complex_weights(weights))

    def adjoint_products(
        self, weights: Array, left: Array, right: Array
    ) -> tuple[Array, Array]:
        weights = self.complex_weights(weights)
        return self.measurements.adjoint_products(weights, left, right)

    def check_adjoint(self) -> None:
        self.measurements.check_adjoint()

    def stacked(self, part: slice) -> Array:
        """The complex matrices A of ``Re tr(A^H M)``, flattened."""
        return self.measurements.stacked(part)

    def design(self, other: Array, block: int) -> Array:
        """The complex design of the same matrices; see `Measurements.design`."""
        return self.measurements.design(other, block)

    def contracts(self, rank: int) -> bool:
        return self.measurements.contracts(rank)

    def tangent(self, left: Array, right: Array) -> Tangent:
        if not self.contracts(left.shape[1]):
            return Tangent(self, left, right)
        return _ContractedTangent(self, left, right)

    def _mean_square(self) -> float:
        return square(self._size())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.measurements!r})"


class RealValues(RealNumbers, checked=True):
    """Measurements of a Hermitian matrix by Hermitian ones, which are real numbers.

    Parameters
    ----------
    measurements : Measurements
        Of complex numbers, with Hermitian measurement matrices.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import DenseMeasurements
    >>> from skprecgd.measurements.real_numbers import RealValues
    >>> Y = np.array([[[0.0, -1j], [1j, 0.0]]])
    >>> x = np.array([[1.0], [1j]])
    >>> RealValues(DenseMeasurements(Y)).forward(x, x)
    array([2.])
    """

    @property
    def n_measurements(self) -> int:
        return self.measurements.n_measurements

    def read(self, values: Array) -> Array:
        return values.real.copy()

    def complex_weights(self, weights: Array) -> Array:
        return weights.astype(self.measurements.dtype)

    def rows(self, index: Array) -> RealValues:
        return RealValues(self.measurements.rows(index))

    def matrix_sizes(self) -> Array:
        return self.measurements.sizes()

    def _size(self) -> float:
        return self.measurements.size

    def _sizes(self) -> Array:
        return self.matrix_sizes()


class RealParts(RealNumbers, checked=True):
    """The real and the imaginary parts of complex measurements, in turn.

    Parameters
    ----------
    measurements : Measurements
        Of complex numbers.
    index : ndarray of int, default=None
        Which of the parts, of which measurement k has number 2 k and 2 k + 1; None is
        all of them in turn.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import DenseMeasurements
    >>> from skprecgd.measurements.real_numbers import RealParts
    >>> A = DenseMeasurements(np.array([[[1.0, 1j]]]))
    >>> left, right = np.array([[2.0 + 3.0j]]), np.array([[1.0], [0.0]])
    >>> A.forward(left, right)
    array([2.+3.j])
    >>> RealParts(A).forward(left, right)
    array([2., 3.])
    """

    def __init__(self, measurements: Measurements, index: Array | None = None) -> None:
        super().__init__(measurements)
        self._index = index

    @property
    def n_measurements(self) -> int:
        if self._index is None:
            return 2 * self.measurements.n_measurements
        return len(self._index)

    def read(self, values: Array) -> Array:
        kind = complex_dtype(values.dtype)
        parts = real_parts(np.ascontiguousarray(values, dtype=kind))
        return parts.copy() if self._index is None else parts[self._index]

    def complex_weights(self, weights: Array) -> Array:
        weights = weights.astype(self.dtype, copy=False)
        if self._index is not None:
            scattered = np.zeros(2 * self.measurements.n_measurements, self.dtype)
            # A part may be selected twice (bootstrap), so add.
            np.add.at(scattered, self._index, weights)
            weights = scattered
        return complex_numbers(weights)

    def rows(self, index: Array) -> RealParts:
        parts = np.asarray(index) if self._index is None else self._index[index]
        wanted, place = np.unique(parts // 2, return_inverse=True)
        return RealParts(self.measurements.rows(wanted), 2 * place + parts % 2)

    def _size(self) -> float:
        if self._index is None:
            # Each of the two parts has half of the square.
            return self.measurements.size / float(np.sqrt(2.0))
        n_cells = self.matrix_shape[0] * self.matrix_shape[1]
        n_numbers = max(1, self.n_measurements) * n_cells
        return norm(self._sizes()) / float(np.sqrt(n_numbers))

    @property
    def _parts(self) -> Array:
        """The numbers of the parts that are measured."""
        return np.arange(self.n_measurements) if self._index is None else self._index

    def matrix_sizes(self) -> Array:
        return self.measurements.sizes()[self._parts // 2]

    def _sizes(self) -> Array:
        return self.matrix_sizes() / np.sqrt(2.0)

    def stacked(self, part: slice) -> Array:
        parts = self._parts[part]
        wanted, place = np.unique(parts // 2, return_inverse=True)
        matrices = self.measurements.rows(wanted).stacked(slice(None))[place]
        return matrices * _phases(parts)[:, None]

    def design(self, other: Array, block: int) -> Array:
        design = self.measurements.design(other, block)[self._parts // 2]
        phases = _phases(self._parts)[:, None, None]
        return design * (phases.conj() if block else phases)


class _ContractedTangent(Tangent):
    """All measurement matrices times both factors, so that `normal` needs no other.

    With the designs A R and ``A^H L``, the measurement of ``dL R^H + L dR^H`` is
    ``<A R, dL> + <dR, A^H L>``.
    """

    def __init__(self, numbers: RealNumbers, left: Array, right: Array) -> None:
        super().__init__(numbers, left, right)
        self._numbers, self._shapes = numbers, (left.shape, right.shape)
        measurements = numbers.measurements
        n = measurements.n_measurements
        self._of_left = measurements.design(right, 0).reshape(n, -1)
        self._of_right = measurements.design(left, 1).reshape(n, -1)

    def normal(
        self, d_left: Array, d_right: Array, weights: Any
    ) -> tuple[Array, Array]:
        # The moves are conjugated, and not the designs.
        z = (self._of_left @ d_left.ravel().conj()).conj()
        z += self._of_right @ d_right.ravel().conj()
        w = self._numbers.complex_weights(weights * self._numbers.read(z))
        return (
            (w @ self._of_left).reshape(self._shapes[0]),
            (w.conj() @ self._of_right).reshape(self._shapes[1]),
        )


def _phases(parts: Array) -> Array:
    """1 and i: the imaginary part of ``tr(A^H M)`` is the real one with iA for A."""
    return np.where(parts % 2, 1j, 1.0)


def real_numbers_of(
    measurements: Measurements, targets: Array, loss: Loss, *, hermitian: bool
) -> RealNumbers:
    """What an objective sees of complex measurements.

    Parameters
    ----------
    measurements : Measurements
        Of complex numbers.
    targets : ndarray of shape (n_measurements,)
        Complex, or real ones; `RealNumbers.read` makes those of the objective of them.
    loss : Loss
    hermitian : bool
        Whether the matrix is.

    Raises
    ------
    ValueError
        If the targets cannot be what was measured, or the loss has no meaning for them.
    """
    if hermitian and measurements.hermitian:
        _check_real(targets)
        return RealValues(measurements)
    if hermitian and targets.dtype.kind != "c":
        raise ValueError(
            "y is real, but the measurement matrices are not Hermitian, so that the "
            "measurements of a Hermitian matrix are complex; give a complex y, or "
            "matrices that equal their conjugate transposes."
        )
    if loss.generalized:
        raise ValueError(
            f"loss={loss.name!r} needs real targets, those of Hermitian measurements "
            "with symmetric=True; use loss='squared'."
        )
    return RealParts(measurements)


def _check_real(targets: Array) -> None:
    """Refuse targets whose imaginary part is more than rounding."""
    close = float(np.sqrt(np.finfo(real_dtype(targets.dtype)).eps))
    if norm(targets.imag) > close * norm(targets):
        raise ValueError(
            "y is complex, but Hermitian measurements of a Hermitian matrix are real; "
            "give real numbers, or symmetric=False for a matrix that is not Hermitian."
        )
