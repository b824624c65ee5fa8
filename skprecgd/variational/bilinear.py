"""Variational Bayes of a matrix given by noisy measurements: one step, its evidence.

The model is ``y_i = <A_i, M> + noise``, with ``M = L R^T`` and Gaussian priors of the
factors' entries, one variance for each column of each factor; or ``M = X X^T``. The
noise is Gaussian, and has one variance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from skprecgd._linalg.cubic import cubic_roots
from skprecgd._linalg.leading import leading_eigenpairs, leading_triplets
from skprecgd._runtime.steps import tell_step
from skprecgd._runtime.typing import Array
from skprecgd.variational.gaussian import Gaussian
from skprecgd.variational.measured import JointSpread, Observed, System
from skprecgd.variational.tuning import SENSING, SensingTuning

# No prior variance falls below this share of the largest that the data can have.
_LEAST_VARIANCE = 1e-30


class FactorModel(ABC):
    """The posterior at one point of the iteration; a `step` goes on from it.

    Parameters
    ----------
    data : Observed
    noise : float, default=None
        The variance of the noise, if it is known.
    tuning : SensingTuning

    Attributes
    ----------
    noise : float
        Its variance.
    """

    def __init__(
        self,
        data: Observed,
        noise: float | None = None,
        tuning: SensingTuning = SENSING,
    ) -> None:
        self.data, self.tuning = data, tuning
        self.known = noise is not None
        self.mean_square = data.squares / data.count
        self.noise = self.mean_square if noise is None else noise

    @property
    @abstractmethod
    def sides(self) -> tuple[Gaussian, ...]:
        """The factors, each once."""

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

    def joint(self) -> JointSpread:
        """Covariances of all factors; see `Observed.joint`."""
        return self.data.joint(self.sides, self.noise)

    def dependence(self) -> float:
        """What the evidence misses; see `Observed.dependence`."""
        return self.data.dependence(self.sides, self.noise)

    def shares_known(self) -> Array:
        """How much of each column is known: root of squared means over squares."""
        if self.rank == 0:
            return np.zeros(0)
        shares = [
            np.sum(side.mean**2, axis=0) / np.diag(side.second()) for side in self.sides
        ]
        return np.asarray(np.sqrt(shares[0] * shares[-1]))

    def _left(self) -> Any:
        """The adjoint of what is left."""
        return self.data.left_by(self.sides[0].mean, self.sides[-1].mean)

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
        self,
        data: Observed,
        noise: float | None = None,
        tuning: SensingTuning = SENSING,
    ) -> None:
        super().__init__(data, noise, tuning)
        n_rows, n_columns = data.shape
        self.left, self.right = data.unknown(n_rows), data.unknown(n_columns)

    @property
    def sides(self) -> tuple[Gaussian, Gaussian]:
        return self.left, self.right

    def step(self, *, shared: bool = False) -> None:
        tell_step(self.rank)
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
        s = s / self.data.mean_square
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
        self,
        data: Observed,
        noise: float | None = None,
        tuning: SensingTuning = SENSING,
    ) -> None:
        super().__init__(data, noise, tuning)
        self.side = data.unknown(data.shape[0])
        # What the spread adds is as large, so that this may be in memory as well.
        self._seen = np.asarray(data.seen @ np.eye(data.shape[0]))

    @property
    def sides(self) -> tuple[Gaussian]:
        return (self.side,)

    def step(self, *, shared: bool = False) -> None:
        tell_step(self.rank)
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

    def _system(self, noise: float) -> System:
        return self.data.system(0, self.side, self.side.prior, noise, 4.0)

    def _move(self, noise: float) -> None:
        """A Gauss-Newton step of the mean, as long as suits the expected squares."""
        data, mean = self.data, self.side.mean
        system, at_spread = self._system(noise), data.at_spread(self.side.spread)

        def pull(factor: Array) -> Array:
            # The adjoint of the targets without what the spread adds, times a factor.
            return np.asarray(self._seen @ factor) - np.asarray(at_spread @ factor)

        seen = data.times(mean, mean)
        move = system.solve(2.0 * (pull(mean) + seen @ mean) / noise) - mean
        at_linear = data.times(np.hstack([mean, move]), np.hstack([move, mean]))
        at_square = data.times(move, move)
        # The bound times twice the noise is a polynomial. The system holds the squares
        # of the measured tangent as well.
        tangent = 2.0 * _inner(mean, at_linear, move)
        own = noise * np.vdot(move, system.times(mean))
        own -= 2.0 * _inner(mean, at_linear, mean)
        along = noise * np.vdot(move, system.times(move)) - tangent
        left = pull(move) - seen @ move
        slopes = [
            2.0 * _inner(move, at_square, move),
            3.0 * _inner(move, at_linear, move),
            tangent - 2.0 * float(np.vdot(move, left)) + along,
            own - 2.0 * float(np.vdot(mean, left)),
        ]
        self.side = replace(self.side, mean=mean + _lowest(*slopes) * move)

    def _expected_squares(self) -> float:
        data, mean = self.data, self.side.mean
        outer, whole = self.side.spread.outer(), data.times(mean, mean)
        spread = data.at_spread(self.side.spread)
        fit = _inner(mean, whole, mean) - 2.0 * _inner(mean, self._seen, mean)
        fit += 2.0 * _inner(mean, spread, mean)
        unit = np.eye(len(outer))
        fit += _inner(outer, spread, unit) - 2.0 * float(np.vdot(outer, self._seen))
        return data.squares + fit + data.spread_squares(self.side)

    def keep(self, columns: Array) -> None:
        self.side = self.side.kept(columns)

    def grow(self, count: int) -> None:
        n = self.data.shape[0]
        count = min(count, n - self.rank)
        s, u = leading_eigenpairs(self._left(), count, 0)
        s = s / self.data.mean_square
        size = float(np.max(np.abs(s), initial=0.0))
        prior = np.maximum(s, 1e-6 * size + self._least_variance()) / n
        self.side = self.side.grown(u * np.sqrt(n * prior), prior)


def _inner(left: Array, matrix: Any, right: Array) -> float:
    """The inner product of ``left @ right.T`` with a matrix."""
    return float(np.vdot(left, np.asarray(matrix @ right)))


def _lowest(c3: float, c2: float, c1: float, c0: float) -> float:
    """Where the quartic is lowest whose slope is ``c0 + c1 x + c2 x^2 + c3 x^3``."""

    def value(x: float) -> float:
        return x * (c0 + x * (c1 / 2 + x * (c2 / 3 + x * c3 / 4)))

    return min(cubic_roots(c0, c1, c2, c3), key=value, default=0.0)
