"""Labels, counts and robust losses: which prior is fitted, and when."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import CompleteData, EntryData, VisibleRows
from skprecgd._estimators.learned import Learner, NoiseFound, PriorRows
from skprecgd._estimators.objectives import objective_of, subtracted_first
from skprecgd._estimators.row_space import RowSpace
from skprecgd._linalg.numerics import norm
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss, make_loss
from skprecgd.optim.path.rank_path import recover
from skprecgd.variational.prior_path import LossProblem, known_columns
from skprecgd.variational.rows import RowPosterior
from skprecgd.variational.tuning import PRIOR_PATH
from skprecgd.variational.working_columns import WorkingColumns

# Residual of entries that are explained at most, in units of the root mean square.
_EXPLAINED = 1e-5
# Standard errors by which offsets alone must be better than any prior of factors, and a
# prior than those that are learned more.
_CLEARLY, _HARDLY = 2.0, 1.0
# Loss of an entry whose own is beyond all numbers.
_FAR_OFF = 1e100
# Entries for each number of a matrix that it must explain so that it is no chance.
_PROVED = 1.2


@dataclass(frozen=True)
class PriorChoice:
    """Which prior predicts entries best that it has not seen.

    Attributes
    ----------
    rank : int
        Columns that the factors had.
    each : ndarray of shape (n_candidates, n_left_out)
        Losses of the entries left out, those of the offsets alone first.
    weights : ndarray of shape (n_left_out,)
        How much these count.
    n_signal : ndarray of int, shape (n_candidates,)
        Columns that have not vanished, at most.
    """

    rank: int
    each: Array
    weights: Array
    n_signal: Array

    @cached_property
    def losses(self) -> Array:
        """Mean losses."""
        return np.average(self.each, axis=1, weights=self.weights)

    def is_clearly_worse(self, one: int, other: int, errors: float) -> bool:
        """Whether a candidate is worse than another by so many standard errors."""
        more = self.each[one] - self.each[other]
        mean = float(np.average(more, weights=self.weights))
        square = float(np.average((more - mean) ** 2, weights=self.weights))
        return mean > errors * np.sqrt(square / len(more))

    @cached_property
    def best(self) -> int:
        """Position of the candidate that is taken.

        Where a few large counts hold most of the loss, it says little. So of those that
        are not clearly worse than the best, the prior is taken that is learned most;
        and offsets alone only if they are clearly better.
        """
        if len(self.losses) == 1:
            return 0
        lowest = 1 + int(np.argmin(self.losses[1:]))
        if self.is_clearly_worse(lowest, 0, _CLEARLY):
            return 0
        good = range(len(self.losses) - 1, lowest, -1)
        worse = partial(self.is_clearly_worse, other=lowest, errors=_HARDLY)
        return next((k for k in good if not worse(k)), lowest)

    @property
    def loss(self) -> float:
        """Mean loss of the candidate that is taken."""
        return float(self.losses[self.best])

    @property
    def is_crowded(self) -> bool:
        """Whether it uses most of its columns."""
        return bool(self.n_signal[self.best] > PRIOR_PATH.crowded * self.rank)


@dataclass(frozen=True)
class LossPosterior:
    """What was learned of a data matrix; the parts that a `Posterior` has, too.

    Attributes
    ----------
    columns : WorkingColumns
    rows : RowPosterior
    row_offset : bool
        Whether the last coordinate of rows is their offset.
    rank : int
        Number of factors.
    choice : PriorChoice
    """

    columns: WorkingColumns
    rows: RowPosterior
    row_offset: bool
    rank: int
    choice: PriorChoice
    exact: bool = False


class LossLearner(Learner):
    """The posterior of entries whose loss is not the squared one.

    Labels and counts are random draws, so that it is asked at once. With other targets
    a path may explain most of them, and is asked for first; where it does not explain
    all of them, entries that are left out say which predicts them better.

    Parameters
    ----------
    data : EntryData
    rank : int
        Columns of the factors at most.
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        Its `loss`, `center` and `validation_fraction` are read.
    """

    data: EntryData

    def __init__(self, data: EntryData, rank: int, estimator: Any) -> None:
        self.loss = make_loss(estimator.loss)
        super().__init__(data, rank, estimator)
        self._estimator = estimator

    def _common_frequency(self) -> float:
        # A label that was seen twice is two labels.
        return 1.0 if self.loss.generalized else super()._common_frequency()

    @cached_property
    def answers_at_once(self) -> bool:
        return self.loss.drawn(self.data.values)

    @property
    def has_learned(self) -> bool:
        # An earlier fit keeps nothing of what was learned but its factors.
        return True

    @property
    def n_iter(self) -> float:
        return np.inf

    def signal(self) -> int | None:
        return self.posterior.rank if self.answers_at_once else None

    def in_doubt(self) -> bool:
        return False

    @property
    def doubts_unfinished(self) -> bool:
        return True

    def doubts(self, factors: Factors, offsets: Offsets) -> bool:
        if self.answers_at_once or self._explains_most(factors, offsets):
            return False
        return self._path_loss > self.choice.loss

    def _explains_most(self, factors: Factors, offsets: Offsets) -> bool:
        """Whether a matrix explains more entries than any matrix of its rank could.

        A robust loss leaves others, which are wrong, as far off as they are.
        """
        data = self.data
        z = _entries_of(factors, offsets, data)
        size = _EXPLAINED * max(norm(data.values), norm(z)) / np.sqrt(len(z))
        explained = np.count_nonzero(np.abs(self.loss.mean(z) - data.values) <= size)
        n_rows, n_columns = data.shape
        numbers = (factors.rank + 1) * (n_rows + n_columns)
        return bool(explained > _PROVED * numbers or explained == len(z))

    def _rounds(self) -> Iterator[tuple[EntryData, EntryData]]:
        """What is seen and what is left out, the same at every call."""
        share, n = self._estimator.validation_fraction, len(self.data.values)
        drawn = self.answers_at_once
        judged = PRIOR_PATH.judged if drawn else PRIOR_PATH.judged_numbers
        often = np.ceil(judged / max(1.0, share * n))
        rounds = int(np.clip(often, 1, PRIOR_PATH.most_rounds))
        yield from islice(
            self.data.rounds(share, np.random.RandomState(self._rng_seed)), rounds
        )

    @cached_property
    def _rng_seed(self) -> int:
        return int(check_random_state(self._seed).randint(2**31 - 1))

    def _problem(self, data: EntryData) -> LossProblem:
        return LossProblem.of(data.given(self._often), self.loss, self.center)

    @cached_property
    def choice(self) -> PriorChoice:
        choosing = self.report.during("choosing a prior")
        with choosing, running_fit(one_blas_thread=True):
            return self._chosen_in_room()

    def _chosen_in_room(self) -> PriorChoice:
        """The choice with as many columns as it needs, up to the rank."""
        room = min(self.rank, PRIOR_PATH.first_room)
        choice = self._chosen(room)
        while room < self.rank and choice.is_crowded:
            room = min(self.rank, 2 * room)
            wider = self._chosen(room)
            if wider.loss >= choice.loss:
                break
            choice = wider
        return choice

    def _chosen(self, rank: int) -> PriorChoice:
        """The choice with so many columns."""
        losses, counts, weights = [], [], []
        for visible, hidden in self._rounds():
            problem, used = self._problem(visible), []
            for model in problem.candidates(rank):
                z = problem.predictions(model, hidden.rows, hidden.columns)
                losses.append(_losses(problem, z, hidden))
                used.append(len(known_columns(model)))
            counts.append(used)
            weights.append(_counted(hidden))
        n = len(counts[0])
        each = np.array([np.concatenate(losses[k::n]) for k in range(n)])
        most = np.max(counts, axis=0)
        return PriorChoice(rank, each, np.concatenate(weights), most)

    @cached_property
    def posterior(self) -> LossPosterior:  # type: ignore[override]
        choice, learning = self.choice, self.report.during("learning the prior")
        with learning, running_fit(one_blas_thread=True):
            problem = self._problem(self.data)
            *_, model = islice(problem.candidates(choice.rank), choice.best + 1)
            model.keep(known_columns(model))
            columns = problem.columns(model)
            rows = problem.rows(columns)
        both = self.center == "both"
        return LossPosterior(columns, rows, both, model.rank, choice)

    @property
    def answer(self) -> LossPosterior:  # type: ignore[override]
        return self.posterior

    def row_solver(self, loss: Loss, each_entry: str | None) -> PriorRows:
        learned = super().row_solver(loss, each_entry)
        return LossPriorRows(
            *(learned.columns, loss, learned.ridge, each_entry), often=self._often
        )

    def found(self) -> NoiseFound | None:
        return None

    def in_words(self) -> str:
        posterior = self.posterior
        if posterior.rank == 0:
            return "No column helps to predict entries that are left out."
        kept = f"{posterior.rank} of {self.rank} columns"
        share = _share_taken(posterior.choice)
        if share is None:
            return (
                f"{kept} are kept, though offsets alone predict entries that are left "
                "out as well."
            )
        return f"{kept} take {share} % off the loss of entries that are left out."

    @cached_property
    def _path_loss(self) -> float:
        """Mean loss of entries left out by a path, in the units of the learned ones."""
        losses, weights = [], []
        for visible, hidden in self._rounds():
            problem = self._problem(visible)
            z = problem.scaled(self._path(visible, hidden), hidden.columns)
            losses.append(_losses(problem, z, hidden))
            weights.append(_counted(hidden))
        return float(
            np.average(np.concatenate(losses), weights=np.concatenate(weights))
        )

    def _path(self, visible: EntryData, hidden: EntryData) -> Array:
        """What the path predicts of some entries, given others."""
        estimator, seen = self._estimator, visible.seen()
        means = subtracted_first(estimator, visible, self.center)
        objective = visible.objective(means, partial(objective_of, estimator))
        unknown = estimator._unknown(objective, seen)
        settings = estimator._path_settings(objective, self.rank, unknown)
        result = recover(objective, self.rank, settings, self._rng_seed)
        within = means.within(result.factors)
        offsets = means.with_found(within, seen)
        return _entries_of(offsets.with_rows(within), offsets, hidden)


class LossPriorRows(PriorRows):
    """Posterior means of rows whose entries have another loss than the squared one."""

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        self.loss.target_check(rows.entries().values)
        return super().coordinates(rows, space)


def _share_taken(choice: PriorChoice) -> str | None:
    """By how many per cent the loss is lower than that of the offsets, in words."""
    alone = float(choice.losses[0])
    if not choice.loss < alone:
        return None
    share = 100 * (1.0 - choice.loss / alone)
    if share < 1:
        return "less than 1"
    return "more than 99" if share > 99 else f"{share:.0f}"


def _losses(problem: LossProblem, z: Array, hidden: EntryData) -> Array:
    """The loss of each entry that was left out, in units of the spread."""
    targets = problem.scaled(hidden.values, hidden.columns)
    with np.errstate(over="ignore", invalid="ignore"):
        losses = problem.loss.pointwise(z, targets)
    return np.minimum(np.nan_to_num(losses, nan=_FAR_OFF), _FAR_OFF)


def _counted(hidden: EntryData) -> Array:
    """How much each entry that was left out counts."""
    each = hidden.weights.of_losses
    return np.ones(len(hidden.values)) if each is None else each


def _entries_of(factors: Factors, offsets: Offsets, data: EntryData) -> Array:
    """The entries of a matrix at the places of some data."""
    fitted = sampled_product(factors.left, factors.right, data.rows, data.columns)
    return np.asarray(fitted + offsets.columns[data.columns], dtype=np.float64)


def loss_learner_of(estimator: Any, data: Any, rank: int) -> LossLearner | None:
    """What learns the prior of entries of another loss; None where there are none.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        It learns the prior of a loss.
    data : Data, NoisyData or None
        See `learner_beside_outliers`.
    rank : int
        Columns of the factors at most.

    Warns
    -----
    UserWarning
        If labels or counts are in chunks, of which no prior is learned.
    """
    if isinstance(data, CompleteData):
        data = data.entries()
    if not isinstance(data, EntryData):
        if data is not None and make_loss(estimator.loss).generalized:
            warnings.warn(
                "No prior is learned of labels and counts in chunks, and factors are "
                "fitted with alpha=0, which follows chance where they are few; give a "
                "number for alpha, or entries in memory.",
                UserWarning,
                stacklevel=2,
            )
        return None
    return LossLearner(data, rank, estimator)
