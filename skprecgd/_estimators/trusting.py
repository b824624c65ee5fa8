"""Noisy data of which a share is not to be trusted: what is fitted to the rest."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import CompleteData, Data, EntryData, VisibleRows
from skprecgd._estimators.learned import Learner, PriorRows, learner_of
from skprecgd._estimators.learned_losses import loss_learner_of
from skprecgd._estimators.noisy_data import NoisyData
from skprecgd._estimators.parameters import learns_prior_of_loss, looks_for_outliers
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.scoring import without_largest
from skprecgd._linalg.numerics import most_frequent, norm
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss
from skprecgd.objective import GrossErrors
from skprecgd.robust import CorruptedTail
from skprecgd.variational.posterior import Posterior
from skprecgd.variational.signal import SIGNAL
from skprecgd.variational.trusted import Trusted
from skprecgd.variational.trusted_entries import SomeEntries, trust_entries
from skprecgd.variational.trusted_matrix import trust_matrix
from skprecgd.variational.trusted_rows import NewEntries, RowTrust, row_trust
from skprecgd.variational.tuning import RECIPE

# Residual of entries that are explained at most, in units of the root mean square of
# all, outliers included.
_EXPLAINED = 1e-4
# Numbers of an explanation, as a share of the entries, from which on it may be chance.
_BELIEVED = 0.7
# Share of the entries that are left out by which a table of zeros may yet be one.
_FEW = 0.05

# Rounds until it is clear whether noise is left; iterations of a path that the recipes
# for entries are worth.
_ROUNDS, _RECIPES = 8.0, 500.0


def learner_beside_outliers(
    estimator: Any, data: Data | NoisyData | None, rank: int
) -> Learner | None:
    """What learns the prior of noisy data, some of which may be gross errors.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
    data : Data, NoisyData or None
        None where there are no single entries of a matrix that is not symmetric.
    rank : int
        Columns of the factors at most.
    """
    if learns_prior_of_loss(estimator):
        return loss_learner_of(estimator, data, rank)
    if not looks_for_outliers(estimator):
        entries = data.noisy() if isinstance(data, Data) else data
        return learner_of(estimator, entries, rank)
    if isinstance(data, CompleteData) and min(data.shape) <= SIGNAL.gram_side:
        data = data.entries()
    # Which entries are wrong is told by all of them together.
    together = data if isinstance(data, EntryData) else None
    return learner_of(estimator, together, rank, TrustingLearner)


class TrustingLearner(Learner):
    """The posterior of those entries that are to be trusted.

    Parameters
    ----------
    data : EntryData
    rank : int
        Columns of the factors at most.
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        Its `outlier_fraction` is read, too.
    """

    def __init__(self, data: EntryData, rank: int, estimator: Any) -> None:
        super().__init__(data, rank, estimator)
        # Every measurement may be wrong by itself, also one of several of an entry.
        self.data: EntryData = data
        self._bound = estimator.outlier_fraction

    @property
    def _is_complete(self) -> bool:
        """Whether every entry was observed once, and all alike."""
        data = self.data
        n_rows, n_columns = data.shape
        if self.variance is not None or data.weights.of_losses is not None:
            return False
        if len(data.values) != n_rows * n_columns:
            return False
        return min(data.shape) <= SIGNAL.gram_side and bool(
            np.all(np.diff(data.rows * n_columns + data.columns) == 1)
        )

    @cached_property
    def trusted(self) -> Trusted:
        data, given = self.data, {"center": self.center, "noise": self.noise}
        measurements = data.measurements()
        corruption = CorruptedTail(self._bound, measurements, data.weights)
        telling = self.report.during("telling gross errors from noise")
        with telling, running_fit(one_blas_thread=True):
            if self._is_complete:
                matrix = data.values.reshape(data.shape)
                return trust_matrix(matrix, self.rank, corruption, **given)
            entries = SomeEntries(
                *(data.rows, data.columns, data.values, data.shape, self.rank),
                **given,
                noise_variance=self.variance,
                weights=self.data.weights.made_less_often(self._often),
            )
            return trust_entries(entries, corruption)

    @property
    def posterior(self) -> Posterior:
        return self.trusted.posterior

    @property
    def has_learned(self) -> bool:
        # What was left out is not kept beside the factors of an earlier fit.
        return True

    def signal(self) -> int | None:
        return self.posterior.n_signal if self.trusted.is_noise else None

    @property
    def answers_at_once(self) -> bool:
        # A path may still explain data in which no errors were found, or hardly noise.
        if not self._is_auto or not len(self.trusted.wrong):
            return False
        return self._is_complete or self.trusted.noise**2 >= RECIPE.little

    @property
    def n_iter(self) -> float:
        """An answer is some rounds or recipes, which path iterations compare with.

        A round has two products of the data with a square matrix of their shorter side;
        a path's iteration multiplies them four times with the factors.
        """
        if self._is_complete:
            return _ROUNDS * min(self.data.shape) / (2.0 * self.rank)
        return _RECIPES

    def in_doubt(self) -> bool:
        return False

    @property
    def doubts_unfinished(self) -> bool:
        return True

    def doubts(self, factors: Factors, offsets: Offsets) -> bool:
        """Whether a path explains no more than any would.

        What it takes to explain most of the entries, a matrix and two numbers for each
        of the others, must be clearly fewer numbers than there are entries: a search
        for which entries to leave out saves some by chance. If more than a few are left
        out, entries that are the same in their column do not count: most zeros of a
        table are explained by zeros.
        """
        data = self.data
        cells = data.rows, data.columns
        fitted = sampled_product(factors.left, factors.right, *cells)
        left = np.abs(data.values - fitted - offsets.columns[data.columns])
        # Without errors nothing but rounding is left.
        rounding = float(np.sqrt(np.finfo(left.dtype).eps)) * norm(data.values)
        least = max(_EXPLAINED * norm(left), rounding) / np.sqrt(len(left))
        others = np.count_nonzero(left > least)
        n_rows, n_columns = data.shape
        numbers = factors.rank * (n_rows + n_columns - factors.rank) + 2 * others
        told = len(left)
        if others > _FEW * len(left):
            same = most_frequent(data.columns, data.values, n_columns)
            told -= int(np.sum(same[same > 1]))
        return bool(numbers >= _BELIEVED * told)

    @cached_property
    def believed(self) -> EntryData:
        kept = np.ones(len(self.data.values), dtype=bool)
        kept[self.trusted.wrong] = False
        return self.data.where(kept)

    @cached_property
    def gross(self) -> GrossErrors:
        data, at, corruption = self.data, self.trusted.wrong, self._bound
        cells = data.rows[at], data.columns[at]
        factors, offsets = self.factors, self.offsets
        fitted = sampled_product(factors.left, factors.right, *cells)
        values = np.zeros_like(data.values)
        values[at] = data.values[at] - fitted - offsets.columns[cells[1]]
        measurements = data.measurements()
        bound = CorruptedTail(corruption, measurements).fraction
        return GrossErrors(values, self.trusted.level, bound, measurements)

    def row_solver(self, loss: Loss, each_entry: str | None) -> PriorRows:
        solver = super().row_solver(loss, each_entry)
        judge = row_trust(self.trusted, self.gross.fraction, complete=self._is_complete)
        return TrustingRows(solver, judge)

    def in_words(self) -> str:
        n = len(self.trusted.wrong)
        return f"{super().in_words()} {n} entries are not trusted (outliers_)."


class TrustingRows(PriorRows):
    """Posterior means of rows, given those of their entries that are to be trusted.

    Parameters
    ----------
    solver : PriorRows
    judge : RowTrust
    """

    def __init__(self, solver: PriorRows, judge: RowTrust) -> None:
        super().__init__(
            *(solver.columns, solver.loss, solver.ridge, solver.each_entry),
            unit_variance=solver.unit_variance,
            often=solver.often,
        )
        self.judge = judge

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        entries = rows.entries()
        cells = entries.rows, entries.columns, entries.values
        each = self._weights(entries).of_losses
        own, _ = self.judge.coordinates(NewEntries(*cells, entries.shape, each))
        return self._turned(own, space)

    def score(self, values: Array, predictions: Array, weight: Array | None) -> float:
        return super().score(
            *without_largest(values, predictions, self.judge.fraction, weight)
        )
