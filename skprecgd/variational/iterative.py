"""Noisy measurements by their products alone, where there are too many pairs of cells.

Systems are solved by conjugate gradients. They are close to those of measurements that
see all cells alike: these precondition them, and traces are those of the simple system
plus what a few fixed probes make of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from skprecgd._linalg.numerics import as_operator
from skprecgd._runtime.typing import Array
from skprecgd.variational.gaussian import Gaussian, PooledSpread, Spread
from skprecgd.variational.measured import (
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

    def left_by(self, left: Array, right: Array) -> Any:
        return self.back(self.data.targets - self.measured(left, right))

    def unknown(self, n: int) -> Gaussian:
        return Gaussian(np.zeros((n, 0)), PooledSpread.none(n), 0.0, np.ones(0))

    def system(
        self, block: int, other: Gaussian, prior: Array, noise: float, factor: float
    ) -> IterativeSystem:
        return IterativeSystem(self, block, other, prior, factor / noise)

    def spread_squares(self, side: Gaussian) -> float:
        total = side.spread.total()
        square = float(np.sum((side.mean @ side.spread.seen()) * side.mean))
        # Half of the cells that a row sees are in its own column, if it is symmetric.
        seen = 0.5 * self.mean_square
        return seen * (4.0 * square + 2.0 * float(np.sum(total * total)))

    def joint(
        self, sides: tuple[Gaussian, ...], noise: float
    ) -> tuple[JointSpread, float]:
        return JointDraws.of(self, sides, noise), 0.0


class IterativeSystem(System):
    """A system by its products.

    Parameters
    ----------
    data : Products
    block : {0, 1}
        The side of the solution.
    other : Gaussian
    prior : ndarray of shape (r,)
    scale : float
        What the system of the data is multiplied by.
    """

    def __init__(
        self, data: Products, block: int, other: Gaussian, prior: Array, scale: float
    ) -> None:
        self._data, self._block, self._other = data, block, other
        self._n, self._scale, self._precision = data.shape[block], scale, 1.0 / prior
        seen = data.mean_square * (0.5 if data.data.symmetric else 1.0)
        self._of_spread = scale * seen * other.spread.seen()
        self._of_mean = scale * seen * other.mean.T @ other.mean
        alike = self._of_mean + self._of_spread + np.diag(self._precision)
        self._root = linalg.cholesky(alike, lower=True, check_finite=False)

    def times(self, factor: Array) -> Array:
        other, data = self._other.mean, self._data
        pair = (other, factor) if self._block else (factor, other)
        back = data.back(data.measured(*pair))
        product = (back.T if self._block else back) @ other
        return (
            self._scale * np.asarray(product)
            + factor @ self._of_spread
            + factor * self._precision
        )

    def solve(self, target: Array) -> Array:
        tuning = self._data.tuning
        return self._from_white(
            _solved(self._white, self._to_white(target), tuning.tol, tuning.steps)[0]
        )

    def spread(self) -> tuple[Spread, float]:
        shape, tuning = (self._n, len(self._root)), self._data.tuning
        rng = np.random.default_rng(0)
        own, logs = np.zeros((shape[1], shape[1])), []
        for _ in range(tuning.probes):
            probe = rng.choice([-1.0, 1.0], shape)
            found, log = _solved(self._white, probe, tuning.probe_tol, tuning.steps)
            own += 0.5 * (probe.T @ found + found.T @ probe)
            logs.append(log)
        # Without probes this is one, and so is the mean for the simple system.
        white = own / (tuning.probes * self._n)
        back = linalg.solve_triangular(self._root.T, np.eye(len(white)), lower=False)
        log_root = 2.0 * float(np.sum(np.log(np.diag(self._root))))
        determinant = -self._n * log_root - float(np.mean(logs))
        row = back @ white @ back.T
        return PooledSpread(row, self._n, self._share_seen(row)), determinant

    def _share_seen(self, row: Array) -> float:
        """See `PooledSpread`: the trace of a system times its inverse is known."""
        known = len(row) - np.diag(row) @ self._precision
        known -= np.sum(self._of_spread * row)
        alike = float(np.sum(self._of_mean * row))
        return min(1.0, max(float(known) / alike, 0.0)) if alike > 0 else 1.0

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
    draws : ndarray of shape (n_draws, n)
        All entries of the factors, row by row, those of the left one first.
    """

    draws: Array

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
        return np.asarray(np.mean((design @ self.draws.T) ** 2, axis=1))

    def in_units(self, unit: float) -> JointDraws:
        return JointDraws(np.sqrt(unit) * self.draws)


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
