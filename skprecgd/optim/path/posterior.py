"""Completion from scarce entries: least squares that knows how uncertain it is.

Close to the least number of entries that determine a matrix, every descent on the
factors ends in a wrong local optimum: a row with hardly more entries than unknowns is
fitted to whatever the columns happen to be, and the columns then to that row. Here a
row of a factor is not a point but a Gaussian. The model is

``y_ij = <u_i, v_j> + noise``,   ``u_ik, v_jk ~ N(0, c_k)``,   noise ``~ N(0, nu)``,

and each half of a step solves the expected least-squares problem of all rows of one
factor, given mean and covariance of the other's: a row that is not known yet counts
little. Covariances of the left factor are used up within a step, and are not kept. nu
and c follow from the moments, so that the noise falls as far as the entries can be
explained (variational Bayes: Lim and Teh, KDD Cup 2007; with c_k for each column:
Babacan, Luessi, Molina, Katsaggelos, IEEE TSP 60, 2012).

Three things are ours. c_k stays above a share of the noise; otherwise columns would be
switched off for good while larger ones still hide them. A column may be added to what
was found so far. And where a few lines hold most of the residual, they are forgotten
and the noise is raised again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from skprecgd._linalg.leading import leading_triplets
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair
from skprecgd.kernels import (
    Learned,
    Others,
    Pattern,
    Unknown,
    packed_index,
    packed_of,
    sampled_product,
    uncertain_lines,
    uncertain_rows,
    unpacked,
)
from skprecgd.objective import Objective
from skprecgd.optim.path.tuning import PosteriorTuning

# nu may not fall below what is left of sums of squares in float64.
_LEAST_NOISE = 16 * float(np.finfo(float).eps)


@dataclass
class Rows:
    """Gaussian rows of one factor.

    Attributes
    ----------
    mean : ndarray of shape (n, k)
    second : ndarray of shape (n, k (k + 1) / 2)
        Second moments, the upper triangles of symmetric matrices.
    """

    mean: Array
    second: Array

    @classmethod
    def independent(cls, mean: Array, variances: Array) -> Rows:
        """Rows whose numbers have these variances, and no covariances."""
        return cls(mean, packed_of(_outer(mean) + np.diag(variances)))

    @property
    def covariance(self) -> Array:
        """Covariances of shape (n, k, k)."""
        at = packed_index(self.mean.shape[1])
        return unpacked(self.second, at) - _outer(self.mean)

    def with_column(self, column: Array, variance: float) -> Rows:
        """The rows with one more column, independent of the others."""
        rank = self.mean.shape[1]
        mean = np.hstack([self.mean, column])
        second = _outer(mean)
        second[:, :rank, :rank] = unpacked(self.second, packed_index(rank))
        second[:, rank, rank] += variance
        return Rows(mean, packed_of(second))

    def forget(self, lines: Array, prior: Array) -> None:
        """Reset lines to the prior."""
        self.mean[lines] = 0.0
        self.second[lines] = packed_of(np.diag(prior))


def _outer(vectors: Array) -> Array:
    """Products of each vector with itself, (n, k, k)."""
    return np.asarray(vectors[:, :, None] * vectors[:, None, :])


@dataclass(frozen=True)
class PosteriorState:
    """The posterior at one point of the iteration.

    Attributes
    ----------
    left : ndarray of shape (n_rows, k)
        The means of one factor of the matrix divided by `unit`.
    right : Rows
        The other.
    prior : ndarray of shape (k,)
        The variances c_k.
    unit : float
        Root mean square of the entries.
    """

    left: Array
    right: Rows
    prior: Array
    unit: float


class Posterior:
    """The iteration; a `step` updates both factors, the noise and the prior.

    Parameters
    ----------
    objective : Objective
        Squared loss of observed entries, no ridge.
    rank : int
        Number of columns.
    start : RandomState or None, default=None
        Draws the first means; None takes the leading singular vectors of the matrix of
        entries, with zeros where nothing was observed.
    tuning : PosteriorTuning, optional

    Attributes
    ----------
    noise : float
        Root of nu, relative to the root mean square of the entries.
    state : PosteriorState
    """

    def __init__(
        self,
        objective: Objective,
        rank: int,
        start: np.random.RandomState | None = None,
        tuning: PosteriorTuning | None = None,
    ) -> None:
        entries = objective.observed_entries()
        if entries is None:
            raise ValueError("The posterior needs observed entries.")
        self._objective = objective
        self._tuning = PosteriorTuning() if tuning is None else tuning
        self._count = objective.n_measurements
        values, weights = entries.values.astype(float), entries.weights
        squares = values**2 if weights is None else weights * values**2
        self._unit = float(np.sqrt(np.sum(squares) / self._count))
        order = np.argsort(entries.rows, kind="stable")
        self._indices = entries.rows[order], entries.columns[order]
        counts = np.bincount(entries.rows, minlength=objective.matrix_shape[0])
        self._pattern = Pattern(
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            self._indices[1].astype(np.int32),
            values[order] / self._unit,
            None if weights is None else weights[order],
        )
        # Entries have unit variance, to which every column contributes alike.
        self._prior = np.full(rank, 1 / np.sqrt(rank))
        self._nu = 1.0
        self._left, self._right = self._start(start)

    @property
    def noise(self) -> float:
        return float(np.sqrt(self._nu))

    @property
    def state(self) -> PosteriorState:
        return PosteriorState(self._left, self._right, self._prior, self._unit)

    def step(self) -> None:
        """Both halves, then the moments."""
        n_rows, n_columns = self._objective.matrix_shape
        rank = len(self._prior)
        at, free = packed_index(rank), np.arange(rank)
        unknown = Unknown(free, 1 / self._prior, np.zeros(rank), None, 1.0, at)
        precision = np.full(n_columns, 1 / self._nu)
        sweep = uncertain_rows(
            self._pattern,
            Others(self._right.mean, self._right.second, precision),
            unknown,
            np.ones(n_rows),
            Learned((-1.0, 0.0), np.ones(n_rows)),
        )
        right = uncertain_lines(sweep.grams, sweep.moments, precision, unknown)
        self._left, self._right = sweep.mean, Rows(right.mean, right.second)
        expected = float(np.sum(right.squares)) / self._count
        self._nu = max(expected, _LEAST_NOISE)
        squares = (sweep.totals.second + right.totals.second)[at[free, free]]
        self._prior = np.maximum(squares / (n_rows + n_columns), self._least_prior)

    def grow(self) -> None:
        """One more column: the leading singular pair of the residual."""
        matrix = csr_array(
            (self._weighted(self._residual()), self._pattern[1], self._pattern[0]),
            shape=self._objective.matrix_shape,
        )
        u, _, v = leading_triplets(matrix, 1, self._tuning.seed)
        # The new column is as large as what is not explained yet.
        prior = self.noise
        left, right = (np.sqrt(prior * len(basis)) * basis for basis in (u, v))
        self._left = np.hstack([self._left, left])
        self._right = self._right.with_column(right, prior)
        self._prior = np.append(self._prior, prior)

    def factors(self) -> FactorPair:
        """The means of the columns that stand out of the noise."""
        found = self._prior > 2 * self._least_prior
        if not found.any():
            found[np.argmax(self._prior)] = True
        dtype, size = self._objective.dtype, np.sqrt(self._unit)
        means = (self._left, self._right.mean)
        blocks = (size * mean[:, found] for mean in means)
        return FactorPair(*(block.astype(dtype) for block in blocks))

    def forget_worst_lines(self, raised: float) -> bool:
        """Where few lines hold most of the residual, start them afresh.

        The noise is multiplied by `raised`, so that the others may follow.
        """
        squares = self._weighted(self._residual() ** 2)
        concentrated = False
        worst = []
        for index, size in zip(
            self._indices, self._objective.matrix_shape, strict=True
        ):
            held = np.bincount(index, squares, size)
            count = max(1, round(self._tuning.forgotten * size))
            worst.append(np.argsort(held)[-count:])
            share = held[worst[-1]].sum() / max(held.sum(), np.finfo(float).tiny)
            concentrated |= bool(share > self._tuning.concentrated * count / size)
        if concentrated:
            # The next step finds the left factor from the right one alone.
            self._left[worst[0]] = 0.0
            self._right.forget(worst[1], self._prior)
            self._nu *= raised**2
        return concentrated

    def _residual(self) -> Array:
        """What the means leave of the entries, row by row."""
        fitted = sampled_product(self._left, self._right.mean, *self._indices)
        return np.asarray(self._pattern.values - fitted)

    def _weighted(self, numbers: Array) -> Array:
        """Numbers of the entries, each times the weight of its squared residual."""
        weights = self._pattern.weights
        return numbers if weights is None else weights * numbers

    @property
    def _least_prior(self) -> float:
        return float(np.sqrt(self._tuning.least_signal * self._nu))

    def _start(self, random: np.random.RandomState | None) -> tuple[Array, Rows]:
        """Means as large and as uncertain as the prior says."""
        rank, shape = len(self._prior), self._objective.matrix_shape
        if random is None:
            matrix = self._objective.matrix_gradient_at_zero()
            u, _, v = leading_triplets(matrix, rank, self._tuning.seed)
            # The gradient at zero is minus the back-projection.
            bases = [-np.sqrt(len(u)) * u, np.sqrt(len(v)) * v]
        else:
            bases = [random.standard_normal((size, rank)) for size in shape]
        left, right = (basis * np.sqrt(self._prior) for basis in bases)
        return left, Rows.independent(right, self._prior)
