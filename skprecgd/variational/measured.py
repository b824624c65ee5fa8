"""Noisy measurements of a matrix, in units of their own size, and their systems.

Given one factor, the measurements are a linear regression on the other: its design has
the rows ``vec(A_i R)``. Where the given factor is uncertain, too, the *expected* sum of
squares is a quadratic form of the other: that of a `System`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.typing import Array
from skprecgd.measurements import Measurements
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.gaussian import FullSpread, Gaussian, Spread

# Numbers of measurement matrices that are in memory at a time (32 MB).
_NUMBERS = 1 << 22


class System(ABC):
    """The inverse covariances of all entries of a factor, given what else is known."""

    @abstractmethod
    def times(self, factor: Array) -> Array:
        """The product with a factor, of the same shape (n, r)."""

    @abstractmethod
    def solve(self, target: Array) -> Array:
        """The factor whose product is the target, shape (n, r)."""

    @abstractmethod
    def spread(self) -> tuple[Spread, float]:
        """The covariances, and the logarithm of their determinant."""


class JointSpread(ABC):
    """Covariances of all entries of all factors, row by row, the left one first."""

    @abstractmethod
    def variances(self, design: Array) -> Array:
        """Of the inner products with each row of a matrix."""

    @abstractmethod
    def draws(self, count: int, rng: np.random.RandomState) -> Array:
        """Gaussian draws around zero, shape (count, n)."""

    @abstractmethod
    def in_units(self, unit: float) -> JointSpread:
        """That of the factors, each times the root of a number."""


@dataclass(frozen=True)
class JointCovariance(JointSpread):
    """The covariances themselves.

    Attributes
    ----------
    matrix : ndarray of shape (n, n)
    log_determinant : float
    """

    matrix: Array
    log_determinant: float

    @classmethod
    def of_precision(cls, precision: Array) -> JointCovariance:
        """The inverse of a positive definite matrix."""
        root = linalg.cholesky(precision, lower=True, check_finite=False)
        unit = np.eye(len(root))
        log = -2.0 * float(np.sum(np.log(np.diag(root))))
        return cls(linalg.cho_solve((root, True), unit, check_finite=False), log)

    def variances(self, design: Array) -> Array:
        return np.asarray(np.einsum("ij,ij->i", design @ self.matrix, design))

    def draws(self, count: int, rng: np.random.RandomState) -> Array:
        root = linalg.cholesky(self.matrix, check_finite=False)
        return np.asarray(rng.standard_normal((count, len(root))) @ root)

    def in_units(self, unit: float) -> JointSpread:
        log = self.log_determinant + len(self.matrix) * float(np.log(unit))
        return JointCovariance(unit * self.matrix, log)


class DenseSystem(System):
    """A matrix of all entries by all entries.

    Parameters
    ----------
    matrix : ndarray of shape (n r, n r)
        Positive definite.
    shape : tuple of int
    """

    def __init__(self, matrix: Array, shape: tuple[int, int]) -> None:
        self._matrix, self._shape = matrix, shape
        self._root = linalg.cholesky(matrix, lower=True, check_finite=False)

    def times(self, factor: Array) -> Array:
        return np.asarray((self._matrix @ factor.ravel()).reshape(self._shape))

    def solve(self, target: Array) -> Array:
        found = linalg.cho_solve((self._root, True), target.ravel(), check_finite=False)
        return np.asarray(found.reshape(self._shape))

    def spread(self) -> tuple[Spread, float]:
        inverse, _ = linalg.lapack.dpotri(self._root, lower=1)
        lower = np.tril(inverse, -1)
        inverse = lower + lower.T + np.diag(np.diag(inverse))
        log = -2.0 * float(np.sum(np.log(np.diag(self._root))))
        return FullSpread(inverse.reshape(self._shape * 2)), log


@dataclass(frozen=True)
class NoisyMeasurements:
    """Measurements of a matrix, with targets of mean square one.

    Attributes
    ----------
    measurements : Measurements
    targets : ndarray of shape (n_measurements,)
        In units of `size`.
    weights : ndarray of shape (n_measurements,) or None
        Factors of the squared residuals.
    count : float
        How many measurements there are, each as often as it was made.
    size : float
        Root mean square of the targets.
    symmetric : bool
        Whether the matrix is: then only the symmetric part of a measurement matrix
        counts.
    """

    measurements: Measurements
    targets: Array
    weights: Array | None
    count: float
    size: float
    symmetric: bool

    @classmethod
    def of(
        cls,
        measurements: Measurements,
        targets: Array,
        weights: Weights = ONCE,
        *,
        symmetric: bool = False,
    ) -> NoisyMeasurements:
        each = weights.of_losses
        unit = float(np.max(np.abs(targets), initial=0.0)) or 1.0
        scaled = np.asarray(targets, np.float64) / unit
        squares = scaled**2 if each is None else scaled**2 * each
        count = weights.count(len(targets))
        root = float(np.sqrt(squares.sum() / count)) or 1.0
        return cls(measurements, scaled / root, each, count, unit * root, symmetric)

    @property
    def shape(self) -> tuple[int, int]:
        return self.measurements.matrix_shape

    @cached_property
    def matrix_size(self) -> float:
        """Size of the entries of a matrix whose measurements have mean square one."""
        root = float(np.sqrt(self.shape[0] * self.shape[1]))
        return 1.0 / (self.measurements.size * root)

    @cached_property
    def squares(self) -> float:
        """Weighted sum of the squared targets."""
        squares = self.targets**2
        return float(squares.sum() if self.weights is None else squares @ self.weights)

    def stacks(self) -> Iterator[tuple[slice, Array]]:
        """Blocks of measurement matrices, flat, weighted, in units of their size."""
        n_rows, n_columns = self.shape
        unit = 1.0 / self.measurements.size
        for part in slabs((len(self.targets), n_rows * n_columns), _NUMBERS):
            rows = self.measurements.stacked(part).astype(np.float64) * unit
            if self.symmetric:
                square = rows.reshape(-1, n_rows, n_columns)
                square = 0.5 * (square + square.transpose(0, 2, 1))
                rows = square.reshape(len(rows), -1)
            if self.weights is not None:
                rows *= np.sqrt(self.weights[part])[:, None]
            yield part, rows


class Observed(ABC):
    """What the measurements say of a matrix, in one of two forms.

    Attributes
    ----------
    shape : tuple of int
    count : float
        How many measurements there are.
    squares : float
        Weighted sum of the squared targets.
    seen : ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
        The adjoint of the targets.
    mean_square : float
        Mean over the cells of what they are seen by.
    """

    shape: tuple[int, int]
    count: float
    squares: float
    seen: Any
    mean_square: float

    @abstractmethod
    def times(self, left: Array, right: Array) -> Any:
        """The adjoint of the measurements of ``left @ right.T``."""

    def at_spread(self, spread: Spread) -> Any:
        """The adjoint of the measurements of what a spread adds to ``E[X X^T]``."""
        outer = spread.outer()
        return self.times(outer, np.eye(len(outer)))

    @abstractmethod
    def left_by(self, left: Array, right: Array) -> Any:
        """The adjoint of what ``left @ right.T`` leaves of the targets."""

    @abstractmethod
    def unknown(self, n: int) -> Gaussian:
        """A side without columns."""

    @abstractmethod
    def system(
        self, block: int, other: Gaussian, prior: Array, noise: float, factor: float
    ) -> System:
        """The system of a side: that of the data, and the prior.

        Parameters
        ----------
        block : {0, 1}
        other : Gaussian
        prior : ndarray of shape (r,)
        noise : float
            Variance.
        factor : float
            What the system of the data is multiplied by.
        """

    @abstractmethod
    def spread_squares(self, side: Gaussian) -> float:
        """``4 <m, C m> + 2 <C, S>``, of a side that is both factors; see `SquareModel`.

        Parameters
        ----------
        side : Gaussian
        """

    @abstractmethod
    def joint(self, sides: tuple[Gaussian, ...], noise: float) -> JointSpread:
        """Covariances of all entries of all factors, as the data link them.

        In the posterior, factors are independent. What a measurement says is known
        less well if it may be owed to either.

        Parameters
        ----------
        sides : tuple of Gaussian
        noise : float
        """

    def dependence(self, sides: tuple[Gaussian, ...], noise: float) -> float:
        """What the evidence misses, as factors are independent; 0 if it is not known.

        Parameters
        ----------
        sides : tuple of Gaussian
        noise : float
        """
        joint = self.joint(sides, noise)
        assert isinstance(joint, JointCovariance)
        logs = sum(side.log_determinant for side in sides)
        return 0.5 * (joint.log_determinant - logs)


class Normal(Observed):
    """The measurements by what they say of pairs of cells.

    Parameters
    ----------
    data : NoisyMeasurements

    Attributes
    ----------
    gram : ndarray of shape (n_cells, n_cells)
        Sum of the outer products of the measurement matrices.
    """

    def __init__(self, data: NoisyMeasurements) -> None:
        self.shape, self.count, self.squares = data.shape, data.count, data.squares
        n_rows, n_columns = data.shape
        n_cells = n_rows * n_columns
        self.gram, seen = np.zeros((n_cells, n_cells)), np.zeros(n_cells)
        for part, rows in data.stacks():
            self.gram += rows.T @ rows
            targets = data.targets[part]
            if data.weights is not None:
                targets = targets * np.sqrt(data.weights[part])
            seen += targets @ rows
        self.seen = seen.reshape(data.shape)
        pairs = self.gram.reshape(data.shape * 2).transpose(0, 2, 1, 3)
        of_rows = np.ascontiguousarray(pairs.reshape(n_rows**2, n_columns**2))
        self._of_pairs = of_rows, of_rows.T

        self.mean_square = float(np.trace(self.gram)) / n_cells

    def times(self, left: Array, right: Array) -> Array:
        matrix = (left @ right.T).ravel()
        return np.asarray((self.gram @ matrix).reshape(self.shape))

    def left_by(self, left: Array, right: Array) -> Array:
        return np.asarray(self.seen - self.times(left, right))

    def contracted(self, block: int, pairs: Array) -> Array:
        """``sum_i vec(A_i R) vec(A_i R)^T``, given ``vec(R) vec(R)^T`` or its mean.

        Parameters
        ----------
        block : {0, 1}
            The side that the result is of; R is the other.
        pairs : ndarray of shape (m, r, m, r)

        Returns
        -------
        ndarray of shape (n r, n r)
        """
        m, r = pairs.shape[:2]
        n = self.shape[block]
        flat = pairs.transpose(0, 2, 1, 3).reshape(m * m, r * r)
        summed = (self._of_pairs[block] @ flat).reshape(n, n, r, r)
        return np.asarray(summed.transpose(0, 2, 1, 3).reshape(n * r, n * r))

    def expected(self, block: int, other: Gaussian) -> Array:
        """The mean of `contracted` over another, uncertain side."""
        assert isinstance(other.spread, FullSpread)
        mean = other.mean
        pairs = other.spread.pairs + mean[:, :, None, None] * mean[None, None]
        return self.contracted(block, pairs)

    def spread_squares(self, side: Gaussian) -> float:
        assert isinstance(side.spread, FullSpread)
        pairs, flat = side.spread.pairs, side.mean.ravel()
        system = self.contracted(0, pairs)
        own = float(np.sum(system * pairs.reshape(system.shape)))
        return 4.0 * float(flat @ system @ flat) + 2.0 * own

    def joint(self, sides: tuple[Gaussian, ...], noise: float) -> JointCovariance:
        return JointCovariance.of_precision(self._joint_precision(sides, noise))

    def _joint_precision(self, sides: tuple[Gaussian, ...], noise: float) -> Array:
        if len(sides) == 1:
            return self.precision(0, sides[0], sides[0].prior, noise, 4.0)
        left, right = sides
        crossed = self.crossed(left.mean, right.mean) / noise
        rows = self.precision(0, right, left.prior, noise, 1.0)
        columns = self.precision(1, left, right.prior, noise, 1.0)
        return np.block([[rows, crossed], [crossed.T, columns]])

    def crossed(self, left: Array, right: Array) -> Array:
        """``sum_i vec(A_i R) vec(A_i^T L)^T``, shape (n_rows r, n_columns r)."""
        n_rows, n_columns = self.shape
        r = left.shape[1]
        pairs = self.gram.reshape(n_rows, n_columns, n_rows, n_columns)
        half = np.tensordot(pairs, left, (2, 0))
        both = np.tensordot(half, right, (1, 0))
        return both.transpose(0, 3, 1, 2).reshape(n_rows * r, n_columns * r)

    def unknown(self, n: int) -> Gaussian:
        nothing = FullSpread.none(n, 0)
        return Gaussian(np.zeros((n, 0)), nothing, 0.0, np.ones(0))

    def system(
        self, block: int, other: Gaussian, prior: Array, noise: float, factor: float
    ) -> System:
        n, r = self.shape[block], len(prior)
        return DenseSystem(self.precision(block, other, prior, noise, factor), (n, r))

    def precision(
        self, block: int, other: Gaussian, prior: Array, noise: float, factor: float
    ) -> Array:
        """The matrix of `system`."""
        n, r = self.shape[block], len(prior)
        matrix = self.expected(block, other) * (factor / noise)
        matrix[np.diag_indices(n * r)] += np.tile(1.0 / prior, n)
        return matrix
