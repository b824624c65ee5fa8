"""Noisy entries of a data matrix: when noise is left, and what is then fitted."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import EntryData, VisibleRows
from skprecgd._estimators.determined import explains_columns, is_determined
from skprecgd._estimators.noisy_data import NoisyData
from skprecgd._estimators.parameters import (
    check_beside_prior,
    draws_posterior,
    learns_prior,
    looks_for_outliers,
)
from skprecgd._estimators.reports import Report, report_of
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.rows import RowSolver
from skprecgd._estimators.search_rank import SearchRank
from skprecgd._estimators.weighting import is_number
from skprecgd._linalg.groups import Block
from skprecgd._linalg.numerics import UNIT, square
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors
from skprecgd.losses import Loss, make_loss
from skprecgd.objective import GrossErrors, Objective, Weights
from skprecgd.optim.path.freedom import residual_variance
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.settings import NoiseJudge
from skprecgd.optim.result import Status
from skprecgd.unknown.base import GENERAL, Unknown
from skprecgd.variational.assumed import posterior_of
from skprecgd.variational.draws import ColumnDraws, sampled_posterior
from skprecgd.variational.in_groups import DistributionsInGroups
from skprecgd.variational.informed_model import SideInformation
from skprecgd.variational.posterior import Posterior
from skprecgd.variational.predictive import EntryDistributions
from skprecgd.variational.recipe import is_doubtful
from skprecgd.variational.rows import ColumnPosterior
from skprecgd.variational.sensing import KnownMeasurements
from skprecgd.variational.warm import Start
from skprecgd.variational.working_columns import WorkingColumns

# Evidence for each degree of freedom of one more column from which on it is missed.
_CLEARLY_MISSED = 2.0
# Degrees of freedom from which on a tail hardly matters: entries tell 1 % less.
_NEARLY_NORMAL = 25.0
# Degrees of freedom below which repeated numbers are likelier than tails: Cauchy's
# distribution has one.
_HARDLY_TAILS = 1.0
# Standard errors by which a mean must differ from zero to be one.
_CLEARLY_NOT_ZERO = 3.5

NO_TAIL = (
    "noise_tail='t' needs a table with holes that is not symmetric; of a complete or "
    "symmetric one, or of measurements that are no single entries, use "
    "outlier_fraction where some of the numbers are wrong, or noise_tail='auto'."
)

NO_ENTRIES = (
    "inference='gibbs' needs single entries in memory of which some are missing, more "
    "than one of them in a row or column, and not of a symmetric matrix; use "
    "inference='variational' for other data and measurements."
)


@dataclass(frozen=True)
class NoiseFound:
    """What is known of the noise after a fit, and of the prior if that was learned.

    Attributes
    ----------
    variance : float or ndarray of shape (n_columns,)
    factor_scales : ndarray of shape (n_factors,), default=None
    lower_bound : float, default=None
        None, as the scales, where nothing was learned.
    missed : float, default=0.0
        What one more column would add to the evidence, for each degree of freedom.
    entries : EntryDistributions, default=None
        What is known of each entry; None where nothing was learned, or where that is
        not to be kept.
    freedom : float, default=inf
        Degrees of freedom of the noise; infinite if it is normal.
    n_draws : int, default=0
        Of how many draws the matrix is the mean; 0 if it was found without.
    measured : KnownMeasurements, default=None
        What is known of measurements that are no single entries.
    n_signal : int, default=0
        Columns of the factors that carry signal.
    """

    variance: float | Array
    factor_scales: Array | None = None
    lower_bound: float | None = None
    missed: float = 0.0
    entries: EntryDistributions | None = None
    freedom: float = np.inf
    n_draws: int = 0
    measured: KnownMeasurements | None = None
    n_signal: int = 0

    @classmethod
    def left_by(
        cls, result: PathResult, objective: Objective, unknown: Unknown
    ) -> NoiseFound | None:
        """What the residual of a fit says; None for other losses than the squared."""
        if not objective.loss.least_squares:
            return None
        variance = result.noise_variance
        if variance is None:
            # The loss in units of the data may be no number.
            safe, _ = _in_safe_units(objective)
            left = square(result.relative_residual * safe.data_norm) / 2
            loss = result.loss if safe is objective else left
            with np.errstate(over="ignore", under="ignore"):
                variance = residual_variance(safe, loss, result.factors, unknown)
            size = safe.target_unit / objective.target_unit
            variance = variance * size * size
        return cls(variance)

    @classmethod
    def of_groups(
        cls,
        fits: Sequence[NoiseFound | None],
        blocks: Sequence[Block],
        counts: Sequence[float],
        means: Array,
    ) -> NoiseFound | None:
        """That of groups with so many entries each; None if it is known of none.

        Columns in none of the groups have the mean variance, and their own means.
        """
        known = [(*each,) for each in zip(fits, blocks, counts, strict=True) if each[0]]
        if not known:
            return None
        parts, where, often = zip(*known, strict=True)
        levels = [float(np.mean(part.variance)) for part in parts]
        variance: Any = float(np.average(levels, weights=often))
        if any(np.ndim(part.variance) for part in parts) or len(set(levels)) > 1:
            variance = np.full(blocks[0].whole_shape[1], variance)
            for part, block in zip(parts, where, strict=True):
                variance[block.columns] = part.variance
        learned = [part for part in parts if part.lower_bound is not None]
        if not learned:
            return cls(float(np.average(levels, weights=often)))
        scales = np.concatenate([part.factor_scales for part in learned])
        bound = sum(part.lower_bound for part in learned)
        missed = max(part.missed for part in learned)
        told = [
            (part.entries, block)
            for part, block in zip(parts, where, strict=True)
            if part.entries is not None
        ]
        entries = None
        if told:
            each, own = zip(*told, strict=True)
            entries = DistributionsInGroups(own, each, means)
        freedom = min(part.freedom for part in learned)
        draws = max(part.n_draws for part in learned)
        scales = np.sort(scales)[::-1]
        signal = sum(part.n_signal for part in learned)
        learned_of_all = variance, scales, bound, missed, entries, freedom, draws
        return cls(*learned_of_all, n_signal=signal)


class PriorLearner(NoiseJudge):
    """What learns noise and prior of data when a search first asks for it."""

    posterior: Any
    """What was learned; a cached property."""
    is_to_draw: bool = False
    """Whether the answer is a mean of draws."""
    report: Report
    """Who is told what begins, as it may take long."""
    own_units: bool = False
    """Whether columns have units of their own."""

    @property
    def has_learned(self) -> bool:
        """Whether anybody has asked."""
        return "posterior" in self.__dict__

    @property
    def gross(self) -> GrossErrors | None:
        """What is not believed of the data, if such was looked for."""
        return None

    @property
    @abstractmethod
    def factors(self) -> Factors:
        """The posterior means, offsets of rows included."""

    @property
    @abstractmethod
    def offsets(self) -> Offsets:
        """Those of the posterior."""

    @abstractmethod
    def doubts(self, factors: Factors, offsets: Offsets) -> bool:
        """Whether a matrix that explains the data may be another than theirs.

        Then the posterior is the better answer. It is not asked where the data prove
        the matrix.

        Parameters
        ----------
        factors : Factors
            With the offsets of rows.
        offsets : Offsets
        """

    @property
    def doubts_unfinished(self) -> bool:
        """Whether a path that has not converged is to be doubted as well."""
        return False

    @abstractmethod
    def found(self) -> NoiseFound | None:
        """What is known of the noise; None where the loss knows none."""

    @abstractmethod
    def in_words(self) -> str:
        """What was found, in one sentence."""


class Learner(PriorLearner):
    """The posterior of noisy entries, which is learned when first asked for.

    Parameters
    ----------
    data : EntryData
    rank : int
        Columns of the factors at most.
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        Its `center`, `noise`, `noise_tail` and `noise_variance` are read. With "auto"
        for `n_components`, what looks like noise counts as such.
    """

    # What moves the prior means of rows and columns.
    features: SideInformation | None = None

    def __init__(self, data: NoisyData, rank: int, estimator: Any) -> None:
        self.data, self.rank = data.without_repeats(), rank
        self.center, self.noise = estimator.center, estimator.noise
        self.noise_tail = estimator.noise_tail
        self._keeps_pattern = estimator.store_pattern
        self.is_to_draw = draws_posterior(estimator)
        self._seed = estimator.random_state
        self.start = self._start_of(estimator)
        self._is_auto = SearchRank(estimator.n_components).is_auto
        self._is_auto |= self.start is not None
        variance = estimator.noise_variance
        self.variance = variance if is_number(variance) else data.unit_variance
        self._often = self._common_frequency()
        self.report = report_of(estimator)

    def _start_of(self, estimator: Any) -> Start | None:
        """Where a fit of most of the data has ended; None if these are other columns.

        What learns of other losses, or beside outliers, begins anew.
        """
        start: Start | None = getattr(estimator, "_start", None)
        if start is None or type(self) is not Learner:
            return None
        return start if len(start.mean) == self.data.shape[1] else None

    def _common_frequency(self) -> float:
        """How often entries were made in the mean, if noise is to be learned.

        Entries that were made several times with the same result show no noise, and
        weights do not mean that: it counts how they compare.
        """
        return 1.0 if self.variance is not None else max(1.0, self.data.mean_frequency)

    def signal(self) -> int | None:
        return None if self.posterior.exact else self.posterior.n_signal

    @property
    def answers_at_once(self) -> bool:
        return self._is_auto

    def in_doubt(self) -> bool:
        return not self._is_auto and self._is_doubtful

    @cached_property
    def _is_doubtful(self) -> bool:
        model = self.posterior.model
        if model is None:
            return False
        with running_fit(one_blas_thread=True):
            return is_doubtful(model, self.rank, determined=self._is_determined)

    @property
    def _is_determined(self) -> bool:
        """Whether there are more entries than unknowns of the highest rank."""
        freedom = GENERAL.degrees_of_freedom(self.data.shape, self.rank)
        return self.data.n_entries > freedom

    @property
    def own_units(self) -> bool:  # type: ignore[override]
        of_columns = self.center in (None, "columns") and self.noise != "uniform"
        return of_columns and self.variance is None

    def doubts(self, factors: Factors, offsets: Offsets) -> bool:
        data, given = self.data, self.data.given(self._often)
        found = given, factors, offsets, self.center
        if data.n_entries < sum(data.shape):
            # Rows and columns hang together by hardly one entry each, which say nothing
            # of noise.
            return False
        rounding = float(np.finfo(data.dtype).eps)
        partly = self.own_units and not explains_columns(*found, rounding)
        if not partly and is_determined(*found):
            return False
        return self.signal() is not None or partly

    @cached_property
    def posterior(self) -> Posterior:
        learning = self.report.during("learning noise and prior")
        with learning, running_fit(one_blas_thread=True):
            return posterior_of(
                self.data.given(self._often),
                self.rank,
                center=self.center,
                noise=self.noise,
                noise_tail=self.noise_tail,
                noise_variance=self.variance,
                features=self.features,
                start=self.start,
            )

    @property
    def believed(self) -> NoisyData:
        """The entries that the posterior is learned from."""
        return self.data

    @cached_property
    def answer(self) -> Posterior:
        """The posterior that the estimator keeps: of draws, if it is to make some.

        Where no noise is left, there is nothing to draw.
        """
        learned = self.posterior
        if not self.is_to_draw or learned.exact:
            return learned
        seed = check_random_state(self._seed).randint(2**31 - 1)
        given = self.variance is not None
        drawing = self.report.during("drawing from the posterior")
        with drawing, running_fit(one_blas_thread=True):
            rng = np.random.default_rng(seed)
            return sampled_posterior(learned, self.noise, rng, is_given=given)

    @cached_property
    def factors(self) -> Factors:
        posterior, dtype = self.answer, self.data.dtype
        left, right = posterior.rows.mean, posterior.columns.basis
        if left.shape[1] == 0:
            left, right = (np.zeros((len(block), 1)) for block in (left, right))
        return FactorPair(left.astype(dtype), right.astype(dtype))

    @property
    def offsets(self) -> Offsets:
        posterior = self.answer
        rows = np.zeros(len(posterior.rows.mean))
        if posterior.row_offset:
            rows = posterior.rows.mean[:, -1] * posterior.columns.basis[0, -1]
        return Offsets(rows, posterior.columns.offsets, posterior.row_offset)

    def row_solver(self, loss: Loss, each_entry: str | None) -> PriorRows:
        """The solver for rows like these."""
        columns, unit = self.answer.columns, self.data.unit_variance
        ridge = np.zeros(self.factors.rank)
        return PriorRows(
            *(columns, loss, ridge, each_entry),
            unit_variance=unit,
            often=self._often,
        )

    def found(self) -> NoiseFound | None:
        posterior, entries = self.answer, None
        if self._keeps_pattern:
            differ = self.noise == "auto" and self.variance is None
            at = posterior, self._often
            entries = self.believed.distributions(*at, rows_differ=differ)
        return NoiseFound(
            posterior.noise_variance,
            posterior.factor_scales,
            posterior.evidence,
            posterior.missed,
            entries,
            posterior.columns.freedom,
            posterior.n_draws,
            n_signal=posterior.n_signal,
        )

    def in_words(self) -> str:
        posterior = self.answer
        variance = np.asarray(posterior.noise_variance)
        varies = posterior.columns.units.varies
        if variance.ndim and varies.any():
            # Columns of equal numbers have no noise, and say nothing of the others.
            variance = variance[varies]
        roots, size = np.sqrt(variance), float(np.sqrt(np.mean(variance)))
        sizes = f"{size:.2g}"
        if np.min(roots) < 0.8 * size:
            sizes = f"{np.min(roots):.2g} to {np.max(roots):.2g}"
        freedom = posterior.columns.freedom
        if np.isfinite(freedom):
            heavy = "heavy tails" if freedom < _NEARLY_NORMAL else "nearly normal tails"
            digits = ".2g" if freedom < 10.0 else ".0f"
            sizes += f" with {heavy} ({freedom:{digits}} degrees of freedom)"
        elif np.isfinite(posterior.columns.strength):
            sizes += ", more in loud rows,"
        if posterior.rank == 0:
            return f"Noise of about {sizes} was left; no column carries signal."
        means = f"; means of {posterior.n_draws} draws" if posterior.n_draws else ""
        return (
            f"Noise of about {sizes} was left; {posterior.n_signal} of "
            f"{self.rank} columns carry signal{means}."
        )


def warn_about_noise(noise: NoiseFound | None, estimator: Any) -> None:
    """Say that more components than were allowed carry signal, or that tails are none.

    Parameters
    ----------
    noise : NoiseFound or None
    estimator : object
        Its `n_components` and `noise_tail` are read.
    """
    if noise is None:
        return
    if estimator.noise_tail == "t" and noise.freedom < _HARDLY_TAILS:
        warnings.warn(
            f"noise_tail='t' found {noise.freedom:.2g} degrees of freedom, fewer than "
            "any noise has: numbers that repeat look like that, and all others then "
            "count for little. Use noise_tail='auto'.",
            UserWarning,
            stacklevel=5,
        )
    if noise.missed <= _CLEARLY_MISSED:
        return
    warnings.warn(
        f"n_components={estimator.n_components!r} leaves out what is no noise: one "
        "more component would raise the evidence by "
        f"{noise.missed:.2g} for each of its degrees of freedom, and chance by less "
        "than 1. Increase n_components.",
        UserWarning,
        stacklevel=5,
    )


def warn_about_worse(estimator: Any, result: PathResult) -> None:
    """Say that the matrix predicts entries worse than its offsets alone.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        Its data are single entries.
    result : PathResult
    """
    alpha, center = estimator.alpha, estimator.center
    if isinstance(alpha, str) or not result.worse_than_none:
        return
    if looks_for_outliers(estimator) or not make_loss(estimator.loss).least_squares:
        # There is no prior to be learned instead.
        return
    alone = "zeros" if center is None else f"the offsets of center={center!r} alone"
    warnings.warn(
        f"alpha={alpha!r} leads to a matrix that predicts held-out entries worse than "
        f"{alone}; use alpha='auto', which learns how much noisy entries can tell.",
        UserWarning,
        stacklevel=5,
    )


def warn_about_zero(estimator: Any, factors: Factors, data: NoisyData | None) -> None:
    """Say that entries are predicted by zero although they have a mean.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
    factors : Factors
    data : NoisyData or None
        None where there are no single entries.
    """
    if estimator.center is not None or not may_learn(estimator):
        return
    if factors.left.any() or data is None or data.n_entries < 2:
        return
    given = data.given()
    largest = float(np.max(given.largest()))
    if largest == 0.0:
        return
    zero, unit = np.zeros(data.shape[1]), np.full(data.shape[1], largest)
    count, total, squares = given.sums(zero, unit, (0, 1, 2)).sum(axis=1)
    mean = total / count
    variance = max(squares / count - mean**2, 0.0) / (data.n_entries - 1)
    if abs(mean) > _CLEARLY_NOT_ZERO * np.sqrt(variance):
        warnings.warn(
            "No component carries signal, so that the completed matrix is zero, though "
            "the entries have a mean that is not; use center='columns', or 'mean' if "
            "columns have one unit, to predict by means.",
            UserWarning,
            stacklevel=5,
        )


def may_learn(estimator: Any) -> bool:
    """Whether an estimator learns noise and prior of data that leave noise."""
    given = estimator.noise_variance
    known_exact = is_number(given) and float(given) == 0.0
    return learns_prior(estimator) and not known_exact


def learner_of(
    estimator: Any,
    data: NoisyData | None,
    rank: int,
    kind: type[Learner] = Learner,
) -> Learner | None:
    """What learns the prior of noisy data, or None where nothing is to be learned.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
    data : NoisyData or None
        None where there are no single entries of a matrix that is not symmetric.
    rank : int
        Columns of the factors at most.
    kind : type, default=Learner

    Raises
    ------
    ValueError
        If held-out entries are to choose the rank as well, or if draws are to be made
        where nothing is learned.
    """
    if draws_posterior(estimator) and not isinstance(data, EntryData):
        raise ValueError(NO_ENTRIES)
    if estimator.noise_tail == "t" and data is None:
        raise ValueError(NO_TAIL)
    if not learns_prior(estimator) or data is None:
        return None
    check_beside_prior(estimator)
    return kind(data, rank, estimator) if may_learn(estimator) else None


@dataclass(frozen=True)
class AtNoise:
    """The end of a search at the noise, which both estimators keep alike.

    Attributes
    ----------
    result : PathResult
    factors : Factors
        With the offsets of rows.
    offsets : Offsets
    noise : NoiseFound or None
    """

    result: PathResult
    factors: Factors
    offsets: Offsets
    noise: NoiseFound | None

    @classmethod
    def of(
        cls,
        estimator: Any,
        learner: PriorLearner,
        result: PathResult,
        objective: Objective,
        unknown: Unknown,
        means: Offsets,
    ) -> AtNoise:
        """What was learned, or what the last fit of the same data has learned.

        Parameters
        ----------
        estimator : PrecGDFactorization or PrecGDMatrixSensing
        learner : PriorLearner
            It has not been asked if the search ended where it started, which will do
            if that was found in the same way.
        result, objective, unknown, means
            See `ended_at_noise`.
        """
        last = estimator._noise if not learner.has_learned else None
        if last is None or bool(last.n_draws) != learner.is_to_draw:
            result = ended_at_noise(result, learner, objective, unknown, means)
            return cls(result, learner.factors, learner.offsets, learner.found())
        return cls(
            replace(result, message=estimator.stop_reason_),
            _stored_factors(estimator, unknown),
            estimator._centred[1],
            estimator._noise,
        )


def _stored_factors(estimator: Any, unknown: Unknown) -> Factors:
    """The factors that the last fit has kept, with the offsets of rows."""
    if unknown.has_two_factors:
        return FactorPair(estimator.left_, estimator.right_)
    return unknown.of_pair(estimator.left_, estimator.left_)


def mean_square_of_entries(
    data: NoisyData, factors: Factors, offsets: Offsets, unit: float
) -> float:
    """Mean squared residual of entries, in units of the square of `unit`.

    Parameters
    ----------
    data : NoisyData
    factors : Factors
        With the offsets of rows.
    offsets : Offsets
    unit : float
    """
    scale = np.full(data.shape[1], unit)
    both = factors.left, factors.right
    squares = data.given().squares_left(*both, offsets.columns, scale)
    return float(squares.sum()) / (data.n_entries * data.mean_frequency)


class PriorRows(RowSolver):
    """Posterior means: what a row shows, weighed against the prior of all rows.

    Parameters
    ----------
    columns : ColumnPosterior, ColumnDraws or WorkingColumns
    loss, ridge, each_entry
        See `RowSolver`.
    unit_variance : float, default=None
        Variance of the noise of an entry of precision one, where it was given.
    often : float, default=1.0
        By what the weights were divided.
    """

    def __init__(
        self,
        columns: ColumnPosterior | ColumnDraws | WorkingColumns,
        loss: Loss,
        ridge: Array,
        each_entry: str | None = None,
        *,
        unit_variance: float | None = None,
        often: float = 1.0,
    ) -> None:
        super().__init__(loss, ridge, each_entry)
        self.columns, self.unit_variance = columns, unit_variance
        self.often = often

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        entries = rows.entries()
        own = self.columns.means(entries.csr(), self._weights(entries))
        return self._turned(own, space)

    def _weights(self, entries: EntryData) -> Weights:
        """The weights of entries, as compared with those of the fit."""
        weights, unit = entries.weights, entries.weights.unit_variance
        precision, often = weights.precision, weights.frequency
        if unit is not None and self.unit_variance is not None:
            # A group of columns has a unit of its own.
            ratio = self.unit_variance / unit
            if often is not None and precision is None:
                precision = np.ones(len(often))
            precision = None if precision is None else precision * ratio
        if often is not None:
            often = often / self.often
        return Weights(often, precision)

    def _turned(self, own: Array, space: RowSpace) -> Array:
        """Coordinates in the basis of the row space."""
        turn = space.basis.T @ self.columns.basis
        return np.asarray(own @ turn.T).astype(space.basis.dtype)


def _in_safe_units(objective: Objective) -> tuple[Objective, float]:
    """The objective in units in which squares are numbers, and that of its matrix.

    It is the same one unless measurement matrices or targets are very small or large.
    """
    sizes = objective.noise_share(1.0), objective.data_norm
    if all(UNIT.is_ordinary(size) for size in sizes):
        return objective, 1.0
    return objective.normalised()


def ended_at_noise(
    result: PathResult,
    learner: PriorLearner,
    objective: Objective,
    unknown: Unknown,
    means: Offsets,
) -> PathResult:
    """The result of a path as that of the posterior.

    A warm start is recognised by the residual of where it starts.

    Parameters
    ----------
    result : PathResult
    learner : PriorLearner
    objective : Objective
        Of the data without their means.
    unknown : Unknown
    means : Offsets
    """
    low_rank = learner.offsets.without_rows(learner.factors)
    offsets = learner.offsets.without(means)
    point = unknown.of_parts(low_rank, *offsets.pair)
    safe, unit = _in_safe_units(objective)
    point = point if unit == 1.0 else point.scaled(1.0 / unit)
    residual = safe.evaluate(point).relative_residual
    solved = result.solved
    if solved is not None:
        solved = replace(solved, relative_residual=residual, status=Status.NOISE.name)
    return replace(
        result,
        status=Status.NOISE,
        message=learner.in_words(),
        relative_residual=residual,
        solved=solved,
    )
