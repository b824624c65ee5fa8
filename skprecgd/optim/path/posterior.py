"""Completion from scarce entries: least squares that knows how uncertain it is.

Close to the least number of entries that determine a matrix, every descent on the
factors ends in a wrong local optimum: a row with hardly more entries than unknowns is
fitted to whatever the columns happen to be, and the columns then to that row. Here a
row of a factor is not a point but a Gaussian. The model is

``y_ij = <u_i, v_j> + noise``,   ``u_ik, v_jk ~ N(0, c_k)``,   noise ``~ N(0, nu)``,

and each half of a step solves the expected least-squares problem of all rows of one
factor, given mean and covariance of the other's: a row that is not known yet counts
little. nu and c follow from the moments, so that the noise falls as far as the entries
can be explained (variational Bayes: Lim and Teh, KDD Cup 2007; with c_k for each
column: Babacan, Luessi, Molina, Katsaggelos, IEEE TSP 60, 2012). Covariances of the
left factor are used up within a step, and are not kept.

Offsets that the unknown has are coordinates of their own, `1 c^T` and `b 1^T`: a
constant on one side, Gaussian numbers with a prior of their own on the other.

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
from skprecgd.factors import FactorPair, Factors
from skprecgd.kernels import (
    Learned,
    Others,
    Pattern,
    Sweep,
    Totals,
    packed_index,
    packed_of,
    sampled_product,
    uncertain_lines,
    uncertain_rows,
    unpacked,
)
from skprecgd.kernels import Unknown as UnknownLine
from skprecgd.objective import Objective
from skprecgd.optim.path.tuning import PosteriorTuning
from skprecgd.unknown.base import GENERAL, Unknown
from skprecgd.unknown.coordinates import Coordinates, Side

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

    def with_column(self, k: int, column: Array, variance: float) -> Rows:
        """The rows with one more column, the k-th, independent of the others."""
        size = self.mean.shape[1]
        others = np.delete(np.arange(size + 1), k)
        mean = np.insert(self.mean, k, column, axis=1)
        second = _outer(mean)
        second[:, others[:, None], others] = unpacked(self.second, packed_index(size))
        second[:, k, k] += variance
        return Rows(mean, packed_of(second))

    def give(self, k: int, value: float) -> None:
        """Set a column, which is no random one, to a number."""
        self.mean[:, k] = value
        self.second[:, packed_index(self.mean.shape[1])[k]] = value * self.mean

    def forget(self, lines: Array, free: Array, prior: Array) -> None:
        """Reset the free columns of lines to the prior."""
        mean, variances = self.mean[lines], np.zeros(self.mean.shape[1])
        mean[:, free], variances[free] = 0.0, prior
        forgotten = Rows.independent(mean, variances)
        self.mean[lines], self.second[lines] = forgotten.mean, forgotten.second


def _outer(vectors: Array) -> Array:
    """Products of each vector with itself, (n, k, k)."""
    return np.asarray(vectors[:, :, None] * vectors[:, None, :])


@dataclass(frozen=True)
class PosteriorState:
    """The posterior at one point of the iteration.

    Attributes
    ----------
    left : ndarray of shape (n_rows, size)
        The means of one factor of the matrix divided by `unit`.
    right : Rows
        The other.
    coordinates : Coordinates
        Which columns of both are components, offsets and constants.
    prior : ndarray of shape (k,)
        The variances c_k of the components.
    offset_prior : ndarray of shape (2,)
        Those of the offsets of rows and of columns.
    unit : float
        Root mean square of the entries.
    """

    left: Array
    right: Rows
    coordinates: Coordinates
    prior: Array
    offset_prior: Array
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
    unknown : Unknown, default=GENERAL
        What is searched for; it says which offsets there are.

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
        unknown: Unknown = GENERAL,
    ) -> None:
        entries = objective.observed_entries()
        if entries is None:
            raise ValueError("The posterior needs observed entries.")
        self._objective, self._unknown = objective, unknown
        self._coordinates = Coordinates.of_unknown(unknown, rank)
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
        self._offset_prior = np.full(2, 1 / rank)
        # The one offset of all columns, if there is no other.
        self._offset = 0.0
        self._nu = 1.0
        self._left, self._right = self._start(start)

    @property
    def noise(self) -> float:
        return float(np.sqrt(self._nu))

    @property
    def state(self) -> PosteriorState:
        priors = self._prior, self._offset_prior.copy()
        return PosteriorState(
            self._left, self._right, self._coordinates, *priors, self._unit
        )

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self._coordinates.long, self._coordinates.short

    def _prior_of(self, side: int) -> Array:
        """The prior variance of each number that is found of a line of a side."""
        own = [] if self._sides[side].offset is None else [self._offset_prior[side]]
        return np.concatenate([self._prior, own])

    def _value_of(self, side: int) -> float:
        """What the coordinate is that is given on a side."""
        return self._offset if side == 1 and self._coordinates.flat else 1.0

    def _line_of(self, side: int) -> UnknownLine:
        """What is to be found of a line of a side."""
        own, precision = self._sides[side], 1 / self._prior_of(side)
        pull, at = np.zeros(len(precision)), self._coordinates.at
        value = self._value_of(side)
        return UnknownLine(own.free, precision, pull, own.fixed, value, at)

    def step(self) -> None:
        """Both halves, then the moments."""
        n_rows, n_columns = self._objective.matrix_shape
        precision, ones = np.full(n_columns, 1 / self._nu), np.ones(n_rows)
        sweep = uncertain_rows(
            self._pattern,
            Others(self._right.mean, self._right.second, precision),
            self._line_of(0),
            ones,
            Learned((-1.0, 0.0), ones),
        )
        right = uncertain_lines(sweep.grams, sweep.moments, precision, self._line_of(1))
        self._left, self._right = sweep.mean, Rows(right.mean, right.second)
        expected = float(np.sum(right.squares)) / self._count
        self._nu = max(expected, _LEAST_NOISE)
        self._update_priors(sweep.totals, right.totals)
        if self._coordinates.flat:
            self._move_offset(sweep)

    def _update_priors(self, *totals: Totals) -> None:
        shape, at = self._objective.matrix_shape, self._coordinates.at
        squares = [own.second[np.diag(at)] for own in totals]
        mean = sum(own[: len(self._prior)] for own in squares) / sum(shape)
        self._prior = np.maximum(mean, self._least_prior)
        for k, (side, own) in enumerate(zip(self._sides, squares, strict=True)):
            if side.offset is not None:
                least = self._tuning.least_signal * self._nu
                self._offset_prior[k] = max(own[side.offset] / shape[k], least)

    def _move_offset(self, sweep: Sweep) -> None:
        """The one offset of all columns takes the mean of what is left."""
        k = self._coordinates.size - 1
        # That coordinate is one in all rows, so that these are sums of the rows.
        rows = sweep.grams[:, self._coordinates.at[k]]
        left = np.sum(sweep.moments[:, k]) - np.vdot(self._right.mean, rows)
        self._offset += float(left) / self._count
        self._right.give(k, self._offset)

    def grow(self) -> None:
        """One more column: the leading singular pair of the residual."""
        pattern, shape = self._pattern, self._objective.matrix_shape
        numbers = self._weighted(self._residual())
        matrix = csr_array((numbers, pattern.indices, pattern.indptr), shape=shape)
        u, _, v = leading_triplets(matrix, 1, self._tuning.seed)
        # The new column is as large as what is not explained yet.
        prior, k = self.noise, len(self._prior)
        left, right = (np.sqrt(prior * len(basis)) * basis[:, 0] for basis in (u, v))
        self._left = np.insert(self._left, k, left, axis=1)
        self._right = self._right.with_column(k, right, prior)
        self._prior = np.append(self._prior, prior)
        self._coordinates = self._coordinates.with_rank(k + 1)

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left but rounding, which further steps would follow."""
        return self._nu <= _LEAST_NOISE

    def factors(self) -> Factors:
        """The means of the columns that stand out of the noise."""
        found = self._prior > 2 * self._least_prior
        if not found.any():
            found[np.argmax(self._prior)] = True
        means, size = (self._left, self._right.mean), np.sqrt(self._unit)
        pair = FactorPair(*(size * mean[:, : len(found)][:, found] for mean in means))
        rows, columns = (self._offsets_of(side, means[side]) for side in (0, 1))
        factors = self._unknown.of_parts(pair, rows, columns)
        return factors.in_precision(self._objective.dtype)

    def _offsets_of(self, side: int, mean: Array) -> Array:
        """The offsets of the lines of a side, in units of the entries."""
        own = self._sides[side]
        given = own.fixed if side == 1 and self._coordinates.flat else None
        at = given if own.offset is None else own.offset
        return np.zeros(len(mean)) if at is None else self._unit * mean[:, at]

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
            rows, columns = self._sides
            # The next step finds the left factor from the right one alone.
            self._left[np.ix_(worst[0], rows.free)] = 0.0
            self._right.forget(worst[1], columns.free, self._prior_of(1))
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
        left, right = (self._around(basis, side) for side, basis in enumerate(bases))
        variances = np.zeros(self._coordinates.size)
        variances[self._sides[1].free] = self._prior_of(1)
        return left, Rows.independent(right, variances)

    def _around(self, basis: Array, side: int) -> Array:
        """Means in a basis, constant columns, and offsets of zero."""
        mean = np.zeros((len(basis), self._coordinates.size))
        mean[:, : len(self._prior)] = basis * np.sqrt(self._prior)
        fixed = self._sides[side].fixed
        if fixed is not None:
            mean[:, fixed] = self._value_of(side)
        return mean
