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
column: Babacan, Luessi, Molina, Katsaggelos, IEEE TSP 60, 2012).

Offsets that the unknown has are columns of their own, `1 c^T` and `b 1^T`: a constant
on one side, Gaussian numbers with a prior of their own on the other.

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
from skprecgd.objective import Objective
from skprecgd.optim.path.tuning import PosteriorTuning
from skprecgd.unknown.base import GENERAL, Unknown

# nu may not fall below what float64 resolves.
_LEAST_NOISE = float(np.finfo(float).eps) ** 2


@dataclass
class Rows:
    """Gaussian rows of one factor: mean (n, k) and covariance (n, k, k)."""

    mean: Array
    covariance: Array

    @property
    def outer(self) -> Array:
        """Outer products of the means, (n, k^2)."""
        products = self.mean[:, :, None] * self.mean[:, None, :]
        return products.reshape(len(self.mean), -1)

    @property
    def spread(self) -> Array:
        """The covariances as rows, (n, k^2)."""
        return self.covariance.reshape(len(self.mean), -1)

    def squares(self) -> Array:
        """Expected sum of squares of each column."""
        own = np.einsum("nkk->k", self.covariance)
        return np.sum(self.mean**2, axis=0) + own

    def with_column(self, column: Array, variance: float) -> Rows:
        """The rows with one more column, independent of the others."""
        n_lines, rank = self.mean.shape
        covariance = np.zeros((n_lines, rank + 1, rank + 1))
        covariance[:, :rank, :rank] = self.covariance
        covariance[:, rank, rank] = variance
        return Rows(np.hstack([self.mean, column]), covariance)

    def forget(self, lines: Array, prior: Array, free: Array) -> None:
        """Reset the free columns of lines to the prior."""
        self.mean[np.ix_(lines, free)] = 0.0
        self.covariance[lines] = np.diag(np.where(free, prior, 0.0))


@dataclass(frozen=True)
class PosteriorState:
    """The posterior at one point of the iteration.

    Attributes
    ----------
    left, right : Rows
        The factors of the matrix divided by `unit`. The first columns are those of
        offsets, if there are any: a constant and the offsets of the columns, then the
        offsets of the rows and a constant.
    prior : ndarray of shape (k,)
        The variances c_k of the other columns.
    offset_prior : ndarray of shape (2,)
        Those of the offsets of rows and of columns.
    unit : float
        Root mean square of the entries.
    """

    left: Rows
    right: Rows
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
        self._tuning = PosteriorTuning() if tuning is None else tuning
        self._indices = (entries.rows, entries.columns)
        targets, self._weights = entries.values.astype(float), entries.weights
        self._count = objective.n_measurements
        self._unit = float(np.sqrt(np.sum(self._weighted(targets**2)) / self._count))
        self._targets = targets / self._unit
        pattern = self._matrix(np.ones(len(targets)))
        values = self._matrix(self._targets)
        self._patterns = (pattern, pattern.T.tocsr())
        self._values = (values, values.T.tocsr())
        # Entries have unit variance, to which every column contributes alike.
        self._prior = np.full(rank, 1 / np.sqrt(rank))
        self._offset_prior = np.full(2, 1 / rank)
        self._nu = 1.0
        self._rows = self._start(start)
        self._residual = self._targets

    @property
    def noise(self) -> float:
        return float(np.sqrt(self._nu))

    @property
    def state(self) -> PosteriorState:
        return PosteriorState(
            *self._rows, self._prior, self._offset_prior.copy(), self._unit
        )

    @property
    def _n_offsets(self) -> int:
        """The columns of offsets, which come first: those of columns, those of rows."""
        return sum(self._unknown.offsets)

    def _free(self, side: int) -> Array:
        """Which columns of a side are no constants."""
        free = np.ones(self._n_offsets + len(self._prior), dtype=bool)
        if self._n_offsets:
            free[: self._n_offsets] = [side == 1, side == 0][: self._n_offsets]
            free[0] &= not self._unknown.one_of_columns
        return free

    def _prior_of(self, side: int) -> Array:
        """The prior variance of each column of a side."""
        own = np.full(self._n_offsets, self._offset_prior[side])
        return np.concatenate([own, self._prior])

    def step(self) -> None:
        """Both halves, then the moments."""
        left = self._solve(0, self._rows[1])
        right = self._solve(1, left)
        self._rows = (left, right)
        at_rows, at_columns = self._indices
        predictions = np.sum(left.mean[at_rows] * right.mean[at_columns], axis=1)
        self._residual = self._targets - predictions
        # E (y - <u, v>)^2 = residual^2 + u' S_v u + v' S_u v + tr(S_u S_v)
        uncertain = np.vdot(left.outer + left.spread, self._patterns[0] @ right.spread)
        uncertain += np.vdot(right.outer, self._patterns[1] @ left.spread)
        total = float(self._weighted(self._residual) @ self._residual + uncertain)
        self._nu = max(total / self._count, _LEAST_NOISE)
        self._update_priors()
        if self._unknown.one_of_columns:
            right.mean[:, 0] += np.sum(self._weighted(self._residual)) / self._count

    def _update_priors(self) -> None:
        shape, first = self._objective.matrix_shape, self._n_offsets
        squares = [rows.squares() for rows in self._rows]
        mean = sum(own[first:] for own in squares) / sum(shape)
        self._prior = np.maximum(mean, self._least_prior)
        for side in range(2):
            # That of the columns comes first, and a constant has no prior.
            own = squares[side][1 - side] / shape[side] if first > 1 - side else 0.0
            least = self._tuning.least_signal * self._nu
            self._offset_prior[side] = max(own, least)

    def grow(self) -> None:
        """One more column: the leading singular pair of the residual."""
        residual = self._matrix(self._residual)
        u, _, v = leading_triplets(residual, 1, self._tuning.seed)
        # The new column is as large as what is not explained yet.
        prior = self.noise
        columns = (np.sqrt(prior * len(basis)) * basis for basis in (u, v))
        left, right = (
            rows.with_column(column, prior)
            for rows, column in zip(self._rows, columns, strict=True)
        )
        self._rows = (left, right)
        self._prior = np.append(self._prior, prior)

    def factors(self) -> Factors:
        """The means of the columns that stand out of the noise, balanced."""
        found = self._prior > 2 * self._least_prior
        if not found.any():
            found[np.argmax(self._prior)] = True
        size, first = np.sqrt(self._unit), self._n_offsets
        pair = FactorPair(
            *(size * rows.mean[:, first:][:, found] for rows in self._rows)
        )
        left, right = (self._unit * rows.mean for rows in self._rows)
        own_rows = left[:, 1] if first > 1 else np.zeros(len(left))
        own_columns = right[:, 0] if first > 0 else np.zeros(len(right))
        factors = self._unknown.of_parts(pair, own_rows, own_columns)
        return factors.in_precision(self._objective.dtype).balanced()

    def forget_worst_lines(self, raised: float) -> bool:
        """Where few lines hold most of the residual, start them afresh.

        The noise is multiplied by `raised`, so that the others may follow.
        """
        squares = self._weighted(self._residual**2)
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
            for side, lines in enumerate(worst):
                prior, free = self._prior_of(side), self._free(side)
                self._rows[side].forget(lines, prior, free)
            self._nu *= raised**2
        return concentrated

    def _weighted(self, numbers: Array) -> Array:
        """Numbers of the entries, each times the weight of its squared residual."""
        return numbers if self._weights is None else self._weights * numbers

    def _matrix(self, numbers: Array) -> csr_array:
        """The same where the entries stand."""
        shape = self._objective.matrix_shape
        return csr_array((self._weighted(numbers), self._indices), shape=shape)

    @property
    def _least_prior(self) -> float:
        return float(np.sqrt(self._tuning.least_signal * self._nu))

    def _start(self, random: np.random.RandomState | None) -> tuple[Rows, Rows]:
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
        return left, right

    def _around(self, basis: Array, side: int) -> Rows:
        """Rows with means in a basis, constant columns, and offsets of mean zero."""
        prior, free = self._prior_of(side), self._free(side)
        mean = np.zeros((len(basis), len(prior)))
        mean[:, self._n_offsets :] = basis * np.sqrt(self._prior)
        # The one offset of all columns is no constant: it starts at zero.
        mean[:, : self._n_offsets] = [side == 0, side == 1][: self._n_offsets]
        covariance = np.diag(np.where(free, prior, 0.0))
        return Rows(mean, np.tile(covariance, (len(basis), 1, 1)))

    def _solve(self, side: int, others: Rows) -> Rows:
        """The expected least-squares problems of all lines of one side."""
        rank = others.mean.shape[1]
        pattern, values = self._patterns[side], self._values[side]
        gram = (pattern @ (others.outer + others.spread)).reshape(-1, rank, rank)
        targets, free = values @ others.mean, self._free(side)
        if self._n_offsets:
            return self._solve_beside_constants(side, gram, targets, free)
        system = gram + np.diag(self._nu / self._prior)
        inverse = np.linalg.inv(system)
        mean = np.einsum("nij,nj->ni", inverse, targets)
        return Rows(mean, self._nu * inverse)

    def _solve_beside_constants(
        self, side: int, gram: Array, targets: Array, free: Array
    ) -> Rows:
        """The same where some columns are known, and their part of the entries too."""
        mean = self._rows[side].mean.copy()
        known = np.where(free, 0.0, mean)
        targets = (targets - np.einsum("nij,nj->ni", gram, known))[:, free]
        ridge = np.diag(self._nu / self._prior_of(side)[free])
        inverse = np.linalg.inv(gram[:, free][:, :, free] + ridge)
        mean[:, free] = np.einsum("nij,nj->ni", inverse, targets)
        covariance = np.zeros_like(gram)
        covariance[:, np.outer(free, free)] = self._nu * inverse.reshape(len(gram), -1)
        return Rows(mean, covariance)
