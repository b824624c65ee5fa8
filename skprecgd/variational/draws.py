"""What a chain of draws says of rows, columns and noise, in the units of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import sparse

from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair
from skprecgd.kernels import Drawn, OthersDrawn, Pattern, Prior, drawn_rows
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.chain import Chain, DrawnSide
from skprecgd.variational.entries import Units
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.posterior import Posterior, Problem
from skprecgd.variational.prior_means import (
    NewLines,
    Regression,
    of_all_lines,
    of_new_lines,
)
from skprecgd.variational.rows import ColumnPosterior, RowPosterior
from skprecgd.variational.tuning import CHAIN, ChainTuning

# Weight of features among the columns whose axes are found: they are carried along,
# and have no say in these.
_UNHEARD = 1e-6


class ColumnDraw(NamedTuple):
    """One draw of the columns, in units of the data's own spread.

    Attributes
    ----------
    basis : ndarray of shape (n_columns, f)
        What each coordinate of a row adds to its entries.
    shift, precision : ndarray of shape (n_columns,)
        The entries of a row whose coordinates are zero, and inverse variances of the
        noise: zero for columns that say nothing.
    variances : ndarray of shape (f,)
        Of the prior of a row.
    weights : ndarray of shape (q, f), default=None
        What turned features of a row add to its prior mean.
    own_variances : ndarray of shape (r + 1,), default=None
        Of the prior of the factors and the offset of a column; None without features
        of columns.
    """

    basis: Array
    shift: Array
    precision: Array
    variances: Array
    weights: Array | None = None
    own_variances: Array | None = None

    def solved(
        self,
        pattern: Pattern,
        features: Array | None = None,
        chance: Array | None = None,
    ) -> Drawn:
        """Rows given these columns; without chance, their means alone."""
        f = len(self.variances)
        if chance is None:
            chance = np.zeros((len(pattern.indptr) - 1, f))
        columns = OthersDrawn(*(np.asarray(part, np.float64) for part in self[:3]))
        pull = np.zeros(f)
        if features is not None and self.weights is not None:
            pull = features @ self.weights / self.variances
        prior = Prior(1.0 / self.variances, pull)
        return drawn_rows(pattern, columns, prior, np.ones(len(chance)), chance)


@dataclass(frozen=True)
class ColumnDraws:
    """What draws of the columns of a data matrix say of a row.

    Given a draw, a row is Gaussian. Its entries are the mean over the draws of the
    means given each, projected on the axes: the completed matrix has no more columns in
    its factors than a draw has.

    Attributes
    ----------
    units : Units
    draws : sequence of ColumnDraw
    axes : ndarray of shape (n_columns, r)
        Orthonormal, in units of the scale: they span what the draws have in common.
    row_offset : bool
        Whether the last coordinate of a row is its offset.
    signs : ndarray of shape (n_draws, f)
        Of the steps from the means at which squared residuals are taken, which have
        the mean of the squared residuals of draws.
    first : ColumnPosterior, default=None
        What tells the noise of rows and entries, if they have noise of their own.
    tuning : ChainTuning
    features : ndarray of shape (n_rows, q), default=None
        Turned features of the rows of the fit.
    """

    units: Units
    draws: Sequence[ColumnDraw]
    axes: Array
    row_offset: bool
    signs: Array
    first: ColumnPosterior | None = None
    tuning: ChainTuning = CHAIN
    features: Array | None = None

    @property
    def n_draws(self) -> int:
        return len(self.draws)

    @property
    def strength(self) -> float:
        return np.inf if self.first is None else self.first.strength

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the noise of an entry; infinite if it is normal."""
        return np.inf if self.first is None else self.first.freedom

    @property
    def knows_unseen(self) -> bool:
        """Whether features tell of columns without entries."""
        return self.draws[0].own_variances is not None

    @property
    def learns_of_rows(self) -> bool:
        """Whether rows, or entries, have noise of their own that is to be found."""
        return self.first is not None

    @cached_property
    def precision(self) -> Array:
        """Inverse variances of the noise of columns, in units of the scale."""
        return np.mean([draw.precision for draw in self.draws], axis=0, dtype=float)

    @property
    def trust(self) -> Array:
        """Which columns count, as numbers."""
        return (self.precision > 0).astype(np.float64)

    @property
    def basis(self) -> Array:
        """What each coordinate of a row adds to its entries, (n_columns, k)."""
        own = np.ones((len(self.axes), int(self.row_offset)))
        return self.units.scale[:, None] * np.hstack([self.axes, own])

    @property
    def offsets(self) -> Array:
        """The entries of a row whose coordinates are zero, (n_columns,)."""
        shift = np.mean([draw.shift for draw in self.draws], axis=0, dtype=float)
        return np.asarray(self.units.shift + self.units.scale * shift)

    @cached_property
    def _turns(self) -> list[Array]:
        """From the coordinates of a row given each draw to those along the axes."""
        turns = []
        for draw in self.draws:
            f, r = len(draw.variances), self.axes.shape[1]
            turn = np.zeros((f, r + self.row_offset))
            turn[: f - self.row_offset, :r] = (
                draw.basis[:, : f - self.row_offset].T @ self.axes
            )
            if self.row_offset:
                turn[-1, -1] = 1.0
            turns.append(turn)
        return turns

    def turn_of_features(self, regressions: Sequence[Regression]) -> Array | None:
        """What features that new rows may have add to coordinates along the axes."""
        first = 0
        for each in regressions:
            own, first = slice(first, first + len(each.mean)), first + len(each.mean)
            if each.features.turn is not None:
                pairs = zip(self.draws, self._turns, strict=True)
                total = sum(_weights_of(draw)[own] @ turn for draw, turn in pairs)
                return np.asarray(each.features.turn @ (total / len(self.draws)))
        return None

    def rows(self, entries: sparse.csr_array, weights: Weights = ONCE) -> RowPosterior:
        """The rows that show some entries, along the axes.

        Parameters
        ----------
        entries : csr_array of shape (n_rows, n_columns)
            The visible ones; explicit zeros are values.
        weights : Weights
            In the order of the stored values.

        Returns
        -------
        RowPosterior
            Its squared residuals are left out; see `squares`.
        """
        n = entries.shape[0]
        noise, share, each = np.ones(n), np.ones(entries.nnz), weights.of_losses
        if self.first is not None:
            known = self.first.rows(entries, weights)
            noise, share = known.noise, known.share
            own = share * np.repeat(noise, np.diff(entries.indptr))
            each = own if each is None else each * own
        pattern = self.pattern(entries, each)
        total = np.zeros((n, self.axes.shape[1] + self.row_offset))
        for draw, turn in zip(self.draws, self._turns, strict=True):
            total += draw.solved(pattern, self.features).mean @ turn
        return RowPosterior(total / len(self.draws), np.zeros(n), noise, share)

    def means(self, entries: sparse.csr_array, weights: Weights = ONCE) -> Array:
        """The means of `rows`."""
        return self.rows(entries, weights).mean

    def squares(self, entries: sparse.csr_array, weights: Weights = ONCE) -> Array:
        """Expected squared residuals of rows, in units of the noise; see `rows`."""
        pattern, n = self.pattern(entries, weights.of_losses), entries.shape[0]
        chosen = spread_out(len(self.draws), self.tuning.squares)
        total = np.zeros(n)
        for k in chosen:
            chance = np.tile(self.signs[k], (n, 1))
            total += self.draws[k].solved(pattern, self.features, chance).squares
        return total / len(chosen)

    def squares_of(
        self, rows: RowPosterior, entries: sparse.csr_array, weights: Weights
    ) -> Array:
        """`squares` of rows that were found, whose entries may have their own noise."""
        if np.isfinite(self.freedom):
            # An entry far out in the tail tells little of the noise of its row.
            precision = 1.0 if weights.precision is None else weights.precision
            weights = replace(weights, precision=precision * rows.share)
        return self.squares(entries, weights)

    def pattern(self, entries: sparse.csr_array, weights: Array | None) -> Pattern:
        """The entries in units of the scale."""
        columns = entries.indices
        values = (entries.data - self.units.shift[columns]) / self.units.scale[columns]
        return Pattern(entries.indptr, columns, np.asarray(values, np.float64), weights)


def _weights_of(draw: ColumnDraw) -> Array:
    assert draw.weights is not None
    return draw.weights


def spread_out(n: int, count: int) -> Array:
    """At most so many of n positions, spread over all of them."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int))


def sampled_posterior(
    posterior: Posterior,
    kind: str,
    rng: np.random.Generator,
    *,
    is_given: bool = False,
    tuning: ChainTuning = CHAIN,
) -> Posterior:
    """The posterior of the model of a variational one, by a chain of draws.

    Parameters
    ----------
    posterior : Posterior
        Where the chain starts.
    kind : {"uniform", "columns", "auto"}
        What differs in noise; see `precisions_of`.
    rng : Generator
    is_given : bool, default=False
        Whether the variance of the noise was given.
    tuning : ChainTuning

    Returns
    -------
    Posterior
        Its evidence, and what is said of signal, are those of the variational one.
    """
    problem, model = posterior.problem, posterior.model
    assert problem is not None
    assert model is not None
    entries = problem.given
    assert isinstance(entries, GivenInMemory)
    chain = Chain(model, kind, rng, is_given=is_given, tuning=tuning)
    found = _Collected.of(problem, chain, tuning)
    signs = rng.choice([-1.0, 1.0], (len(found.draws), len(chain.rows.side.free)))
    axes = np.zeros((problem.given.shape[1], chain.coordinates.rank))
    if len(axes.T):
        axes[found.columns] = found.axes
    first = posterior.columns if posterior.columns.learns_of_rows else None
    given = problem.units, found.draws, axes, posterior.row_offset, signs, first, tuning
    columns = ColumnDraws(*given, features=_turned_features(chain.rows))
    rows = columns.rows(entries.matrix, entries.weights)
    squares = columns.squares_of(rows, entries.matrix, entries.weights)
    freedom, equal = posterior.noise.freedom, posterior.noise.is_equal
    precision = np.full_like(found.precision, found.precision.mean())
    precision = precision if equal else found.precision
    return replace(
        posterior,
        columns=columns,
        rows=replace(rows, squares=squares),
        noise=problem.noise_of(precision, freedom, is_equal=equal),
        factor_scales=problem.spread * found.scales,
        new_lines=found.new_lines(columns, chain),
    )


def _turned_features(side: DrawnSide) -> Array | None:
    """Those of all lines of a side, of every kind."""
    if not side.regressions:
        return None
    return np.hstack([each.features.turned for each in side.regressions])


@dataclass(frozen=True)
class _Collected:
    """What is kept of a chain.

    Attributes
    ----------
    draws : list of ColumnDraw
        Of all columns.
    columns : ndarray of int, shape (n_told,)
        Those of which something is known.
    axes : ndarray of shape (n_told, rank)
        Leading right singular vectors of the mean over the draws, without offsets.
    precision : ndarray of shape (n_kept,)
        Mean inverse variances of the noise of the columns.
    scales : ndarray of shape (rank,)
        See `Posterior.factor_scales`; in units of the entries' own spread.
    of_features : tuple of ndarray or None
        What features that new columns may have add to the axes, and to the offsets;
        None without any.
    """

    draws: list[ColumnDraw]
    columns: Array
    axes: Array
    precision: Array
    scales: Array
    of_features: tuple[Array, Array] | None

    @classmethod
    def of(cls, problem: Problem, chain: Chain, tuning: ChainTuning) -> _Collected:
        f, r = len(chain.rows.side.free), chain.coordinates.rank
        numbers = tuning.kept * problem.given.shape[1] * (f + 2)
        every = min(-(-numbers // tuning.most_numbers), tuning.kept // tuning.fewest)
        every = max(1, every)
        mean, draws = _MeanProduct(r, tuning), []
        told = problem.useful.columns
        if chain.columns.regressions:
            told = np.append(told, _without_entries(problem))
        precision = np.zeros(len(problem.useful.columns))
        scales, offsets = np.zeros(r), np.zeros(())
        for is_kept in chain.swept(tuning, every):
            left, right = chain.factors()
            added = _expected_columns(problem, chain)
            weights = of_new_lines(chain.columns.regressions)
            if weights is not None:
                added = [*added, _UNHEARD * weights[:, :r]]
                offsets = offsets + weights[:, -1] / tuning.kept
            mean.add(left, np.vstack([right, *added]))
            precision += chain.precision_of_columns / tuning.kept
            products = chain.long.variances[:r] * chain.short.variances[:r]
            scales += np.sort(np.sqrt(products))[::-1] / tuning.kept
            if is_kept:
                draws.append(_of_all_columns(problem, chain))
        axes, of_features = mean.axes(), None
        if weights is not None:
            of_axes = axes[len(told) :] if r else np.zeros((len(weights), 0))
            of_features = of_axes / _UNHEARD, offsets
        axes = axes[: len(told)]
        return cls(draws, told, axes, precision, scales, of_features)

    def new_lines(self, columns: ColumnDraws, chain: Chain) -> NewLines:
        """What features tell of other rows and columns, in units of the data."""
        rows = columns.turn_of_features(chain.rows.regressions)
        if self.of_features is None:
            return NewLines(rows)
        scale = float(columns.units.scale[0])
        basis, offsets = (scale * np.asarray(part) for part in self.of_features)
        own = np.zeros((len(basis), int(columns.row_offset)))
        return NewLines(rows, np.hstack([basis, own]), offsets)


def _without_entries(problem: Problem) -> Array:
    """The columns that have no useful entry."""
    every = np.arange(problem.given.shape[1])
    return np.setdiff1d(every, problem.useful.columns)


def _expected_columns(problem: Problem, chain: Chain) -> list[Array]:
    """The factors to expect of columns without entries, by their features."""
    told = of_all_lines(chain.columns.regressions)
    if told is None:
        return []
    return [told[_without_entries(problem), : chain.coordinates.rank]]


def _of_all_columns(problem: Problem, chain: Chain) -> ColumnDraw:
    """The columns as they are drawn now, in single precision."""
    found, rows = chain.columns.seen_by(chain.rows), chain.rows.side
    n, kept, r = problem.given.shape[1], problem.useful.columns, chain.coordinates.rank
    basis = np.zeros((n, len(rows.free)), np.float32)
    if rows.offset is not None:
        basis[:, -1] = 1.0
    # Nothing is known of other columns but that they are like these.
    shift = np.full(n, chain.columns.centre if problem.units.are_one else 0.0)
    shift, precision = shift.astype(np.float32), np.zeros(n, np.float32)
    told = of_all_lines(chain.columns.regressions)
    if told is not None:
        basis[:, :r] = told[:, :r]
        shift += told[:, -1].astype(np.float32)
    basis[kept], shift[kept] = found.basis, found.shift
    precision[kept] = problem.useful.trust * chain.precision_of_columns
    own = chain.rows.regressions
    weights = None
    if own:
        weights = np.vstack([each.mean for each in own]).astype(np.float32)
    variances = chain.columns.variances if told is not None else None
    of_rows = chain.rows.variances, weights
    return ColumnDraw(basis, shift, precision, *of_rows, variances)


class _MeanProduct:
    """The mean of products of two factors, of which the leading part is kept.

    Parameters
    ----------
    rank : int
        Of each product.
    tuning : ChainTuning
    """

    def __init__(self, rank: int, tuning: ChainTuning) -> None:
        self.rank, self._room = rank, (1 + tuning.spare) * rank
        self._most = self._room + tuning.batch * rank
        self._sum: FactorPair | None = None

    def add(self, left: Array, right: Array) -> None:
        if self.rank == 0:
            return
        if self._sum is None:
            self._sum = FactorPair(left, right)
            return
        pairs = zip(self._sum.blocks, (left, right), strict=True)
        self._sum = FactorPair(*(np.hstack(pair) for pair in pairs))
        if self._sum.rank >= self._most:
            self._sum = self._sum.truncated(self._room)

    def axes(self) -> Array:
        """The leading right singular vectors."""
        if self._sum is None:
            return np.zeros((0, 0))
        return np.asarray(self._sum.svd()[2][:, : self.rank])
