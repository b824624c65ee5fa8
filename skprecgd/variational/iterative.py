"""Noisy measurements by their products alone, where there are too many pairs of cells.

Systems are solved by conjugate gradients. They are close to those of measurements that
see all cells alike: these precondition them, and traces are those of the simple system
plus what a few fixed probes make of the difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import linalg

from skprecgd._linalg.numerics import as_operator
from skprecgd._runtime.typing import Array
from skprecgd.variational.gaussian import Gaussian, PooledSpread, Spread
from skprecgd.variational.measured import (
    DenseSystem,
    JointCovariance,
    JointSpread,
    NoisyMeasurements,
    Observed,
    System,
)
from skprecgd.variational.tuning import ITERATIVE, IterativeTuning


class Products(Observed):
    """The measurements by their products.

    Parameters
    ----------
    data : NoisyMeasurements
    tuning : IterativeTuning

    Attributes
    ----------
    each : ndarray of shape (n_measurements,)
        Factors of the squared residuals.
    """

    def __init__(
        self, data: NoisyMeasurements, tuning: IterativeTuning = ITERATIVE
    ) -> None:
        self.data, self.tuning = data, tuning
        self.shape, self.count, self.squares = data.shape, data.count, data.squares
        each = np.ones(len(data.targets)) if data.weights is None else data.weights
        self.each = each
        sizes = data.measurements.sizes() / data.measurements.size
        n_cells = self.shape[0] * self.shape[1]
        self.mean_square = float(each @ sizes.astype(np.float64) ** 2) / n_cells
        self.seen = self.adjoint(each * data.targets)
        self._probed: dict[tuple[int, int], tuple[Any, int]] = {}

    def measured(self, left: Array, right: Array) -> Array:
        """The measurements of the matrix, or of its symmetric part."""
        if self.data.symmetric and left is not right:
            left, right = np.hstack([left, right]), np.hstack([0.5 * right, 0.5 * left])
        a = self.data.measurements
        dtype = a.dtype
        values = a.forward(left.astype(dtype), right.astype(dtype))
        return values.astype(np.float64) / a.size

    def back(self, values: Array) -> Any:
        """The adjoint of the weighted values."""
        return self.adjoint(self.each * values)

    def adjoint(self, values: Array) -> Any:
        """The adjoint of the values, its symmetric part where only that counts."""
        a = self.data.measurements
        matrix = a.adjoint((values / a.size).astype(a.dtype))
        transposed = matrix.T

        def times(block: Array) -> Array:
            found = np.asarray(matrix @ block.astype(a.dtype))
            if self.data.symmetric:
                found = 0.5 * (found + np.asarray(transposed @ block.astype(a.dtype)))
            return found.astype(np.float64)

        def transposed_times(block: Array) -> Array:
            if self.data.symmetric:
                return times(block)
            return np.asarray(transposed @ block.astype(a.dtype), np.float64)

        return as_operator(self.shape, np.dtype(np.float64), times, transposed_times)

    def times(self, left: Array, right: Array) -> Any:
        return self.back(self.measured(left, right))

    def at_spread(self, spread: Spread) -> Array:
        # Rows that are alike and independent add a multiple of the identity.
        return np.asarray(np.trace(spread.total()) / self.shape[0] * self._at_identity)

    @cached_property
    def _at_identity(self) -> Array:
        unit = np.eye(self.shape[0])
        return np.asarray(self.times(unit, unit) @ unit)

    def left_by(self, left: Array, right: Array) -> Any:
        return self.back(self.data.targets - self.measured(left, right))

    def unknown(self, n: int) -> Gaussian:
        return Gaussian(np.zeros((n, 0)), PooledSpread.none(n), 0.0, np.ones(0))

    def system(
        self, block: int, other: Gaussian, prior: Array, noise: float, factor: float
    ) -> System:
        alike = Alike.of(self, block, other, prior, factor / noise)
        if self._forms(alike.n * alike.rank):
            return DesignSystem(alike, self.design(block, other.mean))
        return IterativeSystem(self, block, other, alike)

    def _forms(self, n_unknowns: int) -> bool:
        """Whether systems of so many unknowns are formed, and solved exactly."""
        tuning = self.tuning
        few = n_unknowns <= tuning.most_unknowns
        small = n_unknowns * len(self.each) <= tuning.most_numbers
        return self.data.measurements.has_design and few and small

    def design(self, block: int, other: Array) -> Array:
        """What the entries of a side add to the measurements, (n_measurements, n r)."""
        a = self.data.measurements
        factor = other.astype(a.dtype)
        design = a.design(factor, block)
        if self.data.symmetric:
            design = 0.5 * (design + a.design(factor, 1 - block))
        weights = np.sqrt(self.each) / a.size
        return np.asarray(design.reshape(len(design), -1) * weights[:, None])

    def probed(
        self, block: int, shape: tuple[int, int], white: Callable[[Array], Array]
    ) -> tuple[Array, float]:
        """How a system differs from the simple one, which is the identity.

        That changes little from step to step, and is found anew every few of them.

        Parameters
        ----------
        block : {0, 1}
        shape : tuple of int
        white : callable
            The system.

        Returns
        -------
        own : ndarray of shape (r, r)
            The mean covariance of a row.
        log : float
            Logarithm of the determinant.
        """
        found, age = self._probed.get((block, shape[1]), (None, 0))
        if found is None or age >= self.tuning.every:
            found, age = _probed(white, shape, self.tuning), 0
        self._probed[block, shape[1]] = found, age + 1
        return found

    def spread_squares(self, side: Gaussian) -> float:
        total = side.spread.total()
        square = float(np.sum((side.mean @ side.spread.seen()) * side.mean))
        # Half of the cells that a row sees are in its own column, if it is symmetric.
        seen = 0.5 * self.mean_square
        return seen * (4.0 * square + 2.0 * float(np.sum(total * total)))

    def joint(self, sides: tuple[Gaussian, ...], noise: float) -> JointSpread:
        if not self._forms_all(sides):
            return JointDraws.of(self, sides, noise)
        factor = 4.0 if len(sides) == 1 else 1.0
        designs, diagonal = [], []
        for block, side in enumerate(sides):
            other = sides[len(sides) - 1 - block]
            designs.append(self.design(block, other.mean))
            alike = Alike.of(self, block, other, side.prior, factor / noise)
            diagonal.append(np.kron(np.eye(side.n), alike.own))
        design = np.hstack(designs)
        precision = design.T @ design * (factor / noise) + linalg.block_diag(*diagonal)
        return JointCovariance.of_precision(precision)

    def dependence(self, sides: tuple[Gaussian, ...], noise: float) -> float:
        return super().dependence(sides, noise) if self._forms_all(sides) else 0.0

    def _forms_all(self, sides: tuple[Gaussian, ...]) -> bool:
        return all(self._forms(side.mean.size) for side in sides)


@dataclass(frozen=True)
class Alike:
    """The system of a side if the measurements saw all cells alike, row by row.

    Attributes
    ----------
    n : int
        Rows.
    of_mean, of_spread : ndarray of shape (r, r)
        What the mean and the spread of the other side add to the system of a row.
    precision : ndarray of shape (r,)
        That of the prior.
    scale : float
        What the system of the data is multiplied by.
    """

    n: int
    of_mean: Array
    of_spread: Array
    precision: Array
    scale: float

    @classmethod
    def of(
        cls, data: Products, block: int, other: Gaussian, prior: Array, scale: float
    ) -> Alike:
        # Half of what a symmetric matrix shows of a row is in its own column.
        seen = scale * data.mean_square * (0.5 if data.data.symmetric else 1.0)
        of_mean = seen * other.mean.T @ other.mean
        of_spread = seen * other.spread.seen()
        return cls(data.shape[block], of_mean, of_spread, 1.0 / prior, scale)

    @property
    def rank(self) -> int:
        return len(self.precision)

    @property
    def own(self) -> Array:
        """What is known of a row without the mean of the other side."""
        return self.of_spread + np.diag(self.precision)

    def pooled(self, row: Array) -> PooledSpread:
        """The spread, given the mean covariance of a row.

        The trace of a system times its inverse is known, and so is what the
        measurements see of the spread.
        """
        known = len(row) - np.diag(row) @ self.precision
        known -= np.sum(self.of_spread * row)
        alike = float(np.sum(self.of_mean * row))
        share = min(1.0, max(float(known) / alike, 0.0)) if alike > 0 else 1.0
        return PooledSpread(row, self.n, share)


class DesignSystem(DenseSystem):
    """A system that is formed from the design.

    Parameters
    ----------
    alike : Alike
    design : ndarray of shape (n_measurements, n r)
    """

    def __init__(self, alike: Alike, design: Array) -> None:
        self._alike = alike
        matrix = design.T @ design * alike.scale
        matrix += np.kron(np.eye(alike.n), alike.own)
        super().__init__(matrix, (alike.n, alike.rank))

    def spread(self) -> tuple[Spread, float]:
        full, log = super().spread()
        return self._alike.pooled(full.total() / self._alike.n), log


class IterativeSystem(System):
    """A system by its products.

    Parameters
    ----------
    data : Products
    block : {0, 1}
        The side of the solution.
    other : Gaussian
    alike : Alike
    """

    def __init__(
        self, data: Products, block: int, other: Gaussian, alike: Alike
    ) -> None:
        self._data, self._block, self._other = data, block, other
        self._alike = alike
        whole = alike.of_mean + alike.own
        self._root = linalg.cholesky(whole, lower=True, check_finite=False)

    def times(self, factor: Array) -> Array:
        other, data = self._other.mean, self._data
        pair = (other, factor) if self._block else (factor, other)
        back = data.back(data.measured(*pair))
        product = (back.T if self._block else back) @ other
        return self._alike.scale * np.asarray(product) + factor @ self._alike.own

    def solve(self, target: Array) -> Array:
        tuning = self._data.tuning
        return self._from_white(
            _solved(self._white, self._to_white(target), tuning.tol, tuning.steps)[0]
        )

    def spread(self) -> tuple[Spread, float]:
        n, rank = self._alike.n, self._alike.rank
        white, log = self._data.probed(self._block, (n, rank), self._white)
        back = linalg.solve_triangular(self._root.T, np.eye(rank), lower=False)
        log_root = 2.0 * float(np.sum(np.log(np.diag(self._root))))
        return self._alike.pooled(back @ white @ back.T), -n * log_root - log

    def _white(self, factor: Array) -> Array:
        """The system where the simple one is the identity."""
        return self._to_white(self.times(self._from_white(factor)))

    def _to_white(self, target: Array) -> Array:
        return np.asarray(linalg.solve_triangular(self._root, target.T, lower=True).T)

    def _from_white(self, factor: Array) -> Array:
        return np.asarray(linalg.solve_triangular(self._root.T, factor.T).T)


@dataclass(frozen=True)
class JointDraws(JointSpread):
    """Draws of all factors around their means.

    Attributes
    ----------
    drawn : ndarray of shape (n_draws, n)
        All entries of the factors, row by row, those of the left one first.
    """

    drawn: Array

    @classmethod
    def of(
        cls, data: Products, sides: tuple[Gaussian, ...], noise: float
    ) -> JointDraws:
        """Draws from the posterior, by systems with perturbed right-hand sides."""
        joint, rng = _JointSystem(data, sides, noise), np.random.default_rng(0)
        if not sides[0].rank:
            return cls(np.zeros((1, 0)))
        draws = [joint.draw(rng) for _ in range(data.tuning.draws)]
        return cls(np.array(draws))

    def variances(self, design: Array) -> Array:
        return np.asarray(np.mean((design @ self.drawn.T) ** 2, axis=1))

    def draws(self, count: int, rng: np.random.RandomState) -> Array:
        # Sums with Gaussian weights have the covariances of the draws that are there.
        weights = rng.standard_normal((count, len(self.drawn)))
        return np.asarray(weights @ self.drawn / np.sqrt(len(self.drawn)))

    def in_units(self, unit: float) -> JointDraws:
        return JointDraws(np.sqrt(unit) * self.drawn)


class _JointSystem:
    """The inverse covariances of all factors at once."""

    def __init__(
        self, data: Products, sides: tuple[Gaussian, ...], noise: float
    ) -> None:
        self._data, self._sides = data, sides
        self._scale = 1.0 / np.sqrt(noise)
        seen = data.mean_square / noise * (2.0 if len(sides) == 1 else 1.0)
        self._own, self._alike = [], []
        for side, other in zip(sides, sides[::-1], strict=True):
            prior = np.diag(1.0 / side.prior)
            own = seen * other.spread.seen() + prior
            alike = own + seen * other.mean.T @ other.mean
            self._own.append(linalg.cholesky(own, lower=True))
            self._alike.append(linalg.cholesky(alike, lower=True))

    def draw(self, rng: np.random.Generator) -> Array:
        target = self._back(rng.normal(size=self._data.data.targets.shape))
        for block, (side, root) in enumerate(zip(self._sides, self._own, strict=True)):
            target[block] += rng.normal(size=side.mean.shape) @ root.T
        tuning = self._data.tuning
        white, _ = _solved(
            self._white, self._to_white(target), tuning.tol, tuning.steps
        )
        return np.concatenate([each.ravel() for each in self._from_white(white)])

    def _times(self, factors: list[Array]) -> list[Array]:
        data, sides = self._data, self._sides
        if len(sides) == 1:
            seen = 2.0 * data.measured(factors[0], sides[0].mean)
        else:
            seen = data.measured(factors[0], sides[1].mean)
            seen = seen + data.measured(sides[0].mean, factors[1])
        each = np.sqrt(data.each)
        found = self._back(each * seen * self._scale)
        return [
            own + factor @ root @ root.T
            for own, factor, root in zip(found, factors, self._own, strict=True)
        ]

    def _back(self, values: Array) -> list[Array]:
        data, sides = self._data, self._sides
        matrix = data.adjoint(np.sqrt(data.each) * values * self._scale)
        if len(sides) == 1:
            return [2.0 * np.asarray(matrix @ sides[0].mean)]
        left, right = (side.mean for side in sides)
        return [np.asarray(matrix @ right), np.asarray(matrix.T @ left)]

    def _white(self, packed: Array) -> Array:
        return self._to_white(self._times(self._from_white(packed)))

    def _to_white(self, factors: list[Array]) -> Array:
        parts = [
            linalg.solve_triangular(root, factor.T, lower=True).T
            for root, factor in zip(self._alike, factors, strict=True)
        ]
        return np.vstack(parts)

    def _from_white(self, packed: Array) -> list[Array]:
        ends = np.cumsum([side.n for side in self._sides])[:-1]
        return [
            linalg.solve_triangular(root.T, part.T).T
            for root, part in zip(self._alike, np.split(packed, ends), strict=True)
        ]


def _probed(
    white: Callable[[Array], Array], shape: tuple[int, int], tuning: IterativeTuning
) -> tuple[Array, float]:
    """See `Products.probed`."""
    rng = np.random.default_rng(0)
    own, logs = np.zeros((shape[1], shape[1])), []
    for _ in range(tuning.probes):
        probe = rng.choice([-1.0, 1.0], shape)
        found, log = _solved(white, probe, tuning.probe_tol, tuning.steps)
        own += 0.5 * (probe.T @ found + found.T @ probe)
        logs.append(log)
    return own / (tuning.probes * shape[0]), float(np.mean(logs))


def _solved(
    operator: Any, target: Array, tol: float, most_steps: int
) -> tuple[Array, float]:
    """Conjugate gradients, and what they tell of the logarithm of the determinant.

    The steps are those of the Lanczos iteration from the target, whose tridiagonal
    matrix gives the mean of the logarithms of the eigenvalues (Gauss quadrature). It is
    that for random signs.
    """
    solution, residual = np.zeros_like(target), target.copy()
    search = residual.copy()
    square = first = float(np.sum(residual * residual))
    lengths, ratios = [], []
    for _ in range(most_steps):
        if not square > tol**2 * first:
            break
        image = operator(search)
        length = square / float(np.sum(search * image))
        solution += length * search
        residual -= length * image
        square, old = float(np.sum(residual * residual)), square
        lengths.append(length)
        ratios.append(square / old)
        search = residual + ratios[-1] * search
    if not lengths:
        return solution, 0.0
    inverse = 1.0 / np.array(lengths)
    ratio = np.array(ratios[:-1])
    diagonal = inverse + np.concatenate([[0.0], ratio * inverse[:-1]])
    off = np.sqrt(ratio) * inverse[:-1]
    values, vectors = linalg.eigh_tridiagonal(diagonal, off)
    return solution, target.size * float(vectors[0] ** 2 @ np.log(values))
