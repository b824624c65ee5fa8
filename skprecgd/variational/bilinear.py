"""Variational Bayes of a matrix given by noisy measurements: one step, its evidence.

The model is ``y_i = <A_i, M> + noise``, with ``M = L R^T`` and Gaussian priors of the
factors' entries, one variance for each column of each factor; or ``M = X X^T``. The
noise is Gaussian, and has one variance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import replace

import numpy as np
from scipy import linalg

from skprecgd._linalg.leading import leading_eigenpairs, leading_triplets
from skprecgd._runtime.typing import Array
from skprecgd.variational.gaussian import Gaussian
from skprecgd.variational.measured import Normal, System
from skprecgd.variational.tuning import SENSING, SensingTuning

# No prior variance falls below this share of the largest that the data can have.
_LEAST_VARIANCE = 1e-30


class FactorModel(ABC):
    """The posterior at one point of the iteration; a `step` goes on from it.

    Parameters
    ----------
    data : Normal
    noise : float, default=None
        The variance of the noise, if it is known.
    tuning : SensingTuning

    Attributes
    ----------
    noise : float
        Its variance.
    """

    def __init__(
        self, data: Normal, noise: float | None = None, tuning: SensingTuning = SENSING
    ) -> None:
        self.data, self.tuning = data, tuning
        self.known = noise is not None
        self.mean_square = data.squares / data.count
        self.noise = self.mean_square if noise is None else noise

    @property
    @abstractmethod
    def sides(self) -> tuple[Gaussian, ...]:
        """The factors, each once."""

    @property
    @abstractmethod
    def matrix(self) -> Array:
        """The posterior mean of the matrix."""

    @abstractmethod
    def step(self, *, shared: bool = False) -> None:
        """Factors, noise and prior variances, in turn.

        Parameters
        ----------
        shared : bool, default=False
            Whether the columns have one prior variance, the mean of their own.
        """

    @abstractmethod
    def point_step(self, noise: float) -> None:
        """Factors alone, as if each were known exactly once it is found.

        Columns that this finds do not depend on how uncertain others are. A `step` has
        to follow.

        Parameters
        ----------
        noise : float
            Its variance, as a share of the mean squared target.
        """

    @abstractmethod
    def keep(self, columns: Array) -> None:
        """Leave out all columns but some; a step has to follow."""

    @abstractmethod
    def grow(self, count: int) -> None:
        """New columns: the leading ones of what is left; a step has to follow."""

    @property
    def rank(self) -> int:
        return self.sides[0].rank

    @property
    def exact(self) -> bool:
        """Whether the measurements are explained, so that no noise is left."""
        return (
            self.mean_square < self.tuning.exact * self.data.squares / self.data.count
        )

    @property
    def share_left(self) -> float:
        """The variance of the noise, as a share of the mean squared target."""
        return self.noise * self.data.count / self.data.squares

    def copied(self) -> FactorModel:
        """The same point, from which another way can be gone."""
        return copy(self)

    def evidence(self) -> float:
        """The lower bound of the log density of the targets."""
        likelihood = np.log(2 * np.pi * self.noise) + self.mean_square / self.noise
        cost = sum(side.divergence() for side in self.sides)
        return -0.5 * self.data.count * float(likelihood) - cost

    @abstractmethod
    def joint_precision(self) -> Array:
        """Inverse covariances of all entries of all factors, as the data link them.

        In the posterior, factors are independent. What a measurement says is known
        less well if it may be owed to either.
        """

    def dependence(self) -> float:
        """What the evidence misses, as the factors are taken as independent."""
        root = linalg.cholesky(self.joint_precision(), lower=True, check_finite=False)
        log = -2.0 * float(np.sum(np.log(np.diag(root))))
        return 0.5 * (log - sum(side.log_determinant for side in self.sides))

    def shares_known(self) -> Array:
        """How much of each column is known: root of squared means over squares."""
        if self.rank == 0:
            return np.zeros(0)
        shares = [
            np.sum(side.mean**2, axis=0) / np.diag(side.second()) for side in self.sides
        ]
        return np.asarray(np.sqrt(shares[0] * shares[-1]))

    def _left(self) -> Array:
        """The adjoint of what is left, in units of the matrix."""
        left = self.data.seen - self.data.times(self.matrix)
        return np.asarray(left / self.data.mean_square)

    @property
    def _entry_variance(self) -> float:
        """Prior variance of the factors' entries before anything is learned."""
        n_rows, n_columns = self.data.shape
        seen = self.data.mean_square * n_rows * n_columns
        return float(np.sqrt(self.data.squares / seen / max(1, self.rank)))

    def _learn_noise(self, squares: float) -> None:
        """From the expected sum of squares."""
        data = self.data
        floor = self.tuning.least * data.squares
        self.mean_square = max(squares, floor) / data.count
        if not self.known:
            self.noise = self.mean_square

    def _least_variance(self) -> float:
        return _LEAST_VARIANCE * float(np.sqrt(self.data.squares / self.data.count))


class PairModel(FactorModel):
    """``M = L R^T``: each factor in turn, given what is known of the other."""

    def __init__(
        self, data: Normal, noise: float | None = None, tuning: SensingTuning = SENSING
    ) -> None:
        super().__init__(data, noise, tuning)
        n_rows, n_columns = data.shape
        self.left, self.right = data.unknown(n_rows), data.unknown(n_columns)

    @property
    def sides(self) -> tuple[Gaussian, Gaussian]:
        return self.left, self.right

    @property
    def matrix(self) -> Array:
        return np.asarray(self.left.mean @ self.right.mean.T)

    def step(self, *, shared: bool = False) -> None:
        data = self.data
        self.left, _ = self._solved(0, data.seen @ self.right.mean)
        self.right, squares = self._solved(1, data.seen.T @ self.left.mean)
        self._learn_noise(squares)
        self._rotate()
        least = self._least_variance()
        self.left = self.left.with_prior(least, shared=shared)
        self.right = self.right.with_prior(least, shared=shared)

    def _solved(self, block: int, target: Array) -> tuple[Gaussian, float]:
        """A side given the other, and the expected sum of squares."""
        side, other = self.sides[block], self.sides[1 - block]
        system = self.data.system(block, other, side.prior, self.noise, 1.0)
        mean = system.solve(target / self.noise)
        spread, log = system.spread()
        # The expected square of the predictions is that of the system without prior.
        of_prior = (np.diag(spread.total()) + np.sum(mean**2, axis=0)) / side.prior
        explained = float(np.sum(mean * target))
        freedom = mean.size - float(np.sum(of_prior))
        squares = self.data.squares - explained + self.noise * freedom
        return replace(side, mean=mean, spread=spread, log_determinant=log), squares

    def joint_precision(self) -> Array:
        data, noise = self.data, self.noise
        crossed = data.crossed(self.left.mean, self.right.mean) / noise
        own = (
            data.precision(block, other, side.prior, noise, 1.0)
            for block, side, other in (
                (0, self.left, self.right),
                (1, self.right, self.left),
            )
        )
        rows, columns = own
        return np.block([[rows, crossed], [crossed.T, columns]])

    def point_step(self, noise: float) -> None:
        noise = noise * self.data.squares / self.data.count
        for block in (0, 1):
            side, other = self.sides[block], self.sides[1 - block]
            prior = np.full(self.rank, self._entry_variance)
            seen = self.data.seen.T if block else self.data.seen
            system = self.data.system(block, other, prior, noise, 1.0)
            mean = system.solve(seen @ other.mean / noise)
            side = replace(side, mean=mean, prior=prior)
            self.left, self.right = (other, side) if block else (side, other)
        self.noise = noise if not self.known else self.noise

    def _rotate(self) -> None:
        """Turn the factors so that both sides have equal, diagonal second moments.

        The product stays the same, and no other turn and stretch of the factors has a
        higher evidence (parameter expansion).
        """
        own, other = (side.second() / side.n for side in self.sides)
        values, vectors = np.linalg.eigh(own)
        roots = np.sqrt(np.maximum(values, values[-1] * 1e-15))
        root = vectors * roots
        squares, turn = np.linalg.eigh(root.T @ other @ root)
        squares, turn = squares[::-1], turn[:, ::-1]
        fourth = np.maximum(squares, squares[0] * 1e-30) ** 0.25
        self.left = self.left.turned(fourth[:, None] * ((vectors / roots) @ turn).T)
        self.right = self.right.turned((root @ turn).T / fourth[:, None])

    def keep(self, columns: Array) -> None:
        self.left, self.right = (side.kept(columns) for side in self.sides)

    def grow(self, count: int) -> None:
        n_rows, n_columns = self.data.shape
        count = min(count, min(n_rows, n_columns) - self.rank)
        u, s, v = leading_triplets(self._left(), count, 0)
        prior = s / np.sqrt(n_rows * n_columns)
        prior = np.maximum(prior, self._least_variance())
        self.left = self.left.grown(u * np.sqrt(n_rows * prior), prior)
        self.right = self.right.grown(v * np.sqrt(n_columns * prior), prior)


class SquareModel(FactorModel):
    """``M = X X^T``: a Gaussian X, whose mean makes damped Gauss-Newton steps.

    With the symmetric parts of the measurement matrices, the expected sum of squares is
    ``|y - A(m m^T + V)|^2 + 4 <m, C m> + 2 <C, S>``, where S are the covariances, V is
    what they add to the matrix, and C is the system of the measurements of S.
    """

    def __init__(
        self, data: Normal, noise: float | None = None, tuning: SensingTuning = SENSING
    ) -> None:
        super().__init__(data, noise, tuning)
        self.side = data.unknown(data.shape[0])

    @property
    def sides(self) -> tuple[Gaussian]:
        return (self.side,)

    @property
    def matrix(self) -> Array:
        mean = self.side.mean
        return np.asarray(mean @ mean.T + self.side.spread.outer())

    def step(self, *, shared: bool = False) -> None:
        self._move(self.noise)
        system = self._system(self.noise)
        spread, log = system.spread()
        self.side = replace(self.side, spread=spread, log_determinant=log)
        self._learn_noise(self._expected_squares())
        turn = np.linalg.eigh(self.side.second())[1][:, ::-1].T
        self.side = self.side.turned(turn)
        self.side = self.side.with_prior(self._least_variance(), shared=shared)

    def point_step(self, noise: float) -> None:
        noise = noise * self.data.squares / self.data.count
        prior = np.full(self.rank, self._entry_variance)
        self.side = replace(self.side, prior=prior)
        self._move(noise)
        self.noise = noise if not self.known else self.noise

    def joint_precision(self) -> Array:
        side = self.side
        return self.data.precision(0, side, side.prior, self.noise, 4.0)

    def _system(self, noise: float) -> System:
        return self.data.system(0, self.side, self.side.prior, noise, 4.0)

    def _move(self, noise: float) -> None:
        """A Gauss-Newton step of the mean, as long as suits the expected squares."""
        data, mean = self.data, self.side.mean
        system, outer = self._system(noise), mean @ mean.T
        seen = data.times(outer)
        left = data.seen - data.times(self.side.spread.outer())
        target = 2.0 * (left + seen) @ mean / noise
        move = system.solve(target) - mean
        linear, quadratic = mean @ move.T + move @ mean.T, move @ move.T
        at_linear = data.times(linear)
        # Twice the noise times the bound is a polynomial; the system holds the squares
        # of the measured tangent as well.
        own = noise * np.sum(move * system.times(mean)) - np.sum(at_linear * 2 * outer)
        along = noise * np.sum(move * system.times(move)) - np.sum(at_linear * linear)
        pull = left - seen
        slopes = [
            2.0 * np.sum(data.times(quadratic) * quadratic),
            3.0 * np.sum(at_linear * quadratic),
            np.sum(at_linear * linear) - 2.0 * np.sum(pull * quadratic) + along,
            own - np.sum(pull * linear),
        ]
        self.side = replace(self.side, mean=mean + _lowest(slopes) * move)

    def _expected_squares(self) -> float:
        data, matrix = self.data, self.matrix
        fit = np.sum(matrix * (data.times(matrix) - 2.0 * data.seen))
        return data.squares + float(fit) + data.spread_squares(self.side)

    def keep(self, columns: Array) -> None:
        self.side = self.side.kept(columns)

    def grow(self, count: int) -> None:
        n = self.data.shape[0]
        count = min(count, n - self.rank)
        s, u = leading_eigenpairs(self._left(), count, 0)
        size = float(np.max(np.abs(s), initial=0.0))
        prior = np.maximum(s, 1e-6 * size + self._least_variance()) / n
        self.side = self.side.grown(u * np.sqrt(n * prior), prior)


def _lowest(slopes: list[float]) -> float:
    """Where a quartic with these coefficients of its slope is lowest."""
    roots = np.roots(slopes)
    points = roots[np.abs(roots.imag) <= 1e-9 * np.abs(roots)].real
    values = np.polyval(np.polyint(slopes), points)
    return float(points[np.argmin(values)]) if len(points) else 0.0
