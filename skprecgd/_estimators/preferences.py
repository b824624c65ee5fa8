"""What a recommender has found: how much every row likes every column."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skprecgd._estimators.fitted import signed_svd
from skprecgd._estimators.interactions import Interactions
from skprecgd._estimators.learned import PriorLearner
from skprecgd._estimators.measured import Measured
from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._linalg.numerics import norm
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair
from skprecgd.implicit import (
    WeightedCells,
    alternate,
    noise_edge,
    random_start,
    scaled_ridges,
)
from skprecgd.kernels import sampled_product
from skprecgd.measurements import EntryMeasurements
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.result import Status
from skprecgd.variational.predictive import EntryDistributions
from skprecgd.variational.warm import Start


@dataclass(frozen=True)
class Preferences:
    """Predictions of a matrix whose last row and last column stand for unknown ids.

    Attributes
    ----------
    left, right : ndarray of shape (n_rows + 1, r), (n_columns + 1, r)
    center : ndarray of shape (n_columns + 1,)
        Offsets of the columns.
    """

    left: Array
    right: Array
    center: Array

    @property
    def n_columns(self) -> int:
        """How many columns have an id."""
        return len(self.right) - 1

    def means(self, rows: Array, columns: Array) -> Array:
        """Predictions of entries; position -1 is that of an unknown id."""
        rows, columns = rows % len(self.left), columns % len(self.right)
        z = sampled_product(self.left, self.right, rows, columns)
        return np.asarray(z + self.center[columns], self.left.dtype)

    def std(self, rows: Array, columns: Array) -> Array:
        """Standard deviations of new targets of entries."""
        raise ValueError(
            "Nothing is known of how sure the predictions are where every cell counts; "
            "that takes ratings y and unobserved_weight=0."
        )

    def scores(self, rows: Array) -> Array:
        """Predictions of all columns with an id, shape (len(rows), n_columns)."""
        known = slice(self.n_columns)
        return self.left[rows] @ self.right[known].T + self.center[known]

    def lower(self, rows: Array) -> Array:
        """Predictions less their standard deviations, shape (len(rows), n_columns)."""
        each = np.repeat(rows, self.n_columns)
        every = np.tile(np.arange(self.n_columns), len(rows))
        std = self.std(each, every).reshape(len(rows), self.n_columns)
        return self.scores(rows) - std

    def directions(self) -> Array:
        """A unit vector for each column with an id, zero where nothing is known."""
        vectors = self._vectors().astype(np.float64)
        sizes = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(sizes > 0, sizes, 1.0)

    def _vectors(self) -> Array:
        return self.right[:-1]


@dataclass(frozen=True)
class RatedPreferences(Preferences):
    """Those that ratings tell, where cells without one say nothing.

    Attributes
    ----------
    model : PrecGDMatrixSensing or None
        What knows how sure they are; None where nothing of the data is kept.
    """

    model: PrecGDMatrixSensing | None

    def std(self, rows: Array, columns: Array) -> Array:
        if self.model is None:
            raise ValueError(
                "How sure predictions are depends on which pairs were seen, and "
                "store_pattern=False keeps no record of that; fit with "
                "store_pattern=True."
            )
        cells = rows % len(self.left), columns % len(self.right)
        return np.asarray(self.model.predict_entries(*cells, return_std=True)[1])

    def _vectors(self) -> Array:
        # What all columns have in common is the rows' offset, and no likeness.
        return self.right[:-1] - np.mean(self.right[:-1], axis=0)


class RatingsMatrix(PrecGDMatrixSensing):
    """A matrix of ratings, whose last row and column are empty on purpose.

    Its messages name what a recommender has.
    """

    _tells_unseen = False
    _between_groups = "the offsets"
    # Who was asked for the prior of the ratings, if one was.
    _asked: PriorLearner | None = None

    def _learner(self, measured: Measured, rank: int) -> PriorLearner | None:
        self._asked = super()._learner(measured, rank)
        return self._asked

    def taken_start(self) -> Start | None:
        """Where to go on from with more ratings; what it was found from is let go."""
        learner, self._asked = self._asked, None
        if learner is None or not learner.has_learned or self.groups_.n_groups > 1:
            return None
        if self._noise is None or self._noise.lower_bound is None:
            return None
        start: Start | None = learner.posterior.start
        return start

    def _warn(self, result: PathResult) -> None:
        if not result.converged:
            warnings.warn(
                f"The fit to ratings did not converge in max_iter={self.max_iter} "
                "iterations; increase it. What was found is kept.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _known_entries(self) -> EntryDistributions:
        if self._noise is None or self._noise.lower_bound is None:
            why = "these ratings show none"
            if not isinstance(self.alpha, str):
                why = f"got alpha={self.alpha!r}"
            raise ValueError(
                "Nothing is known of how sure the predictions are: that takes ratings "
                f"with noise, and alpha='auto', with which it is learned ({why})."
            )
        return super()._known_entries()


def learned_from_ratings(given: Interactions, model: RatingsMatrix) -> RatedPreferences:
    """The posterior means of a fit to ratings.

    Parameters
    ----------
    given : Interactions
        With values.
    model : RatingsMatrix
        Is fitted here.
    """
    assert given.values is not None
    n_rows, n_columns = given.shape
    # Nothing is observed of the last row and column: they are predicted by the offsets.
    shape = n_rows + 1, n_columns + 1
    entries = EntryMeasurements(given.rows, given.columns, shape, given.values.dtype)
    model.fit(entries, given.values, given.weights)
    kept = model if model.store_pattern else None
    return RatedPreferences(model.left_, model.right_, model.center_, kept)


@dataclass(frozen=True)
class ImplicitFit:
    """Preferences where every cell counts, and how they were found.

    Attributes
    ----------
    preferences : Preferences
    alpha : float
        The ridge.
    n_iter : int
    converged : bool
    vanished : bool
        Whether the ridge leaves no factor of targets that are not all zero.
    """

    preferences: Preferences
    alpha: float
    n_iter: int
    converged: bool
    vanished: bool

    @property
    def reason(self) -> str:
        """Why it ended, in one sentence."""
        if not self.converged:
            return Status.MAX_ITER.value
        if self.vanished:
            return "The ridge leaves no factor."
        return "The objective stopped falling."


# The usual ridge, as a share of the noise edge. With the usual weight of unobserved
# cells, the gain on MovieLens 100k is within 2 % of the best from 0.23 to 0.3, and
# generated tables, sparser by far, take 0.25 to 0.6. Lighter zeros take less on
# MovieLens, and heavier ones more.
_SHARE = 0.3


@dataclass(frozen=True)
class ScaledCells:
    """Cells whose targets are about one, and whose weights are at most that.

    Attributes
    ----------
    cells : WeightedCells
    target, weight : float
        The units.
    """

    cells: WeightedCells
    target: float
    weight: float

    @classmethod
    def of(cls, given: Interactions, unobserved_weight: float) -> Self:
        targets, weights = given.cells()
        # The typical target, which one that is far off does not set alone.
        size = norm(targets.data) / np.sqrt(len(targets.data))
        target = size or 1.0
        targets.data /= targets.dtype.type(target)
        weight = 1.0
        if weights is not None:
            weight = float(np.max(weights))
            weights = weights / weights.dtype.type(weight)
        cells = WeightedCells.of(targets, weights, unobserved_weight / weight)
        return cls(cells, target, weight)

    @property
    def unit(self) -> float:
        """That of a ridge: of squared residuals, over that of the matrix."""
        return self.weight * self.target


def usual_ridge(given: Interactions, unobserved_weight: float) -> float:
    """The ridge that `alpha="auto"` stands for where every cell counts."""
    scaled = ScaledCells.of(given, unobserved_weight)
    return _SHARE * noise_edge(scaled.cells) * scaled.unit


@dataclass(frozen=True)
class ImplicitModel:
    """The parameters of a fit in which cells without an interaction are zeros.

    Attributes
    ----------
    n_components : int
    unobserved_weight : float
    alpha : float or None
        The ridge; None is the usual one.
    alpha_scaling : float
    max_iter : int
    """

    n_components: int
    unobserved_weight: float
    alpha: float | None
    alpha_scaling: float
    max_iter: int

    @running_fit(one_blas_thread=True)
    def fit(
        self,
        given: Interactions,
        rng: np.random.RandomState,
        last: Array | None = None,
    ) -> ImplicitFit:
        """Sweeps from random factors, or from those of the last fit.

        Parameters
        ----------
        given : Interactions
        rng : RandomState
        last : ndarray of shape (n_columns, r), default=None
            Factors of the columns, of unknown ones zero.
        """
        scaled = ScaledCells.of(given, self.unobserved_weight)
        cells, unit = scaled.cells, scaled.unit
        alpha = _SHARE * noise_edge(cells)
        if self.alpha is not None:
            alpha = self.alpha / unit
        ridges = scaled_ridges(cells, alpha, self.alpha_scaling)
        start = random_start(cells, self.n_components, cells.rows.values.dtype, rng)
        if last is not None:
            start = _continued(start, last / np.sqrt(scaled.target))
        found = alternate(cells, ridges, start, self.max_iter)
        left, right = found.left, found.right
        if found.vanished:
            left, right = np.zeros_like(left), np.zeros_like(right)
        return ImplicitFit(
            _with_unknown(left, right, scaled.target),
            alpha * unit,
            len(found.objective) - 1,
            found.converged,
            found.vanished and bool(found.objective[0]),
        )


def _continued(start: Array, last: Array) -> Array:
    """Random factors of columns with those that are known in their place."""
    r = min(start.shape[1], last.shape[1])
    known = np.any(last[:, :r] != 0.0, axis=1)
    # Components that are zero would stay so.
    there = np.flatnonzero(np.any(last[:, :r] != 0.0, axis=0))
    start[np.ix_(known, there)] = last[np.ix_(known, there)]
    return start


def _with_unknown(left: Array, right: Array, unit: float) -> Preferences:
    """Balanced factors; an id that is not known is the mean of those that are."""
    u, s, v = signed_svd(FactorPair(left, right))
    size = np.sqrt(unit * s.astype(np.float64))
    left, right = ((part * size).astype(left.dtype) for part in (u, v))
    left, right = (
        np.vstack([part, np.mean(part, axis=0, dtype=np.float64)]).astype(part.dtype)
        for part in (left, right)
    )
    return Preferences(left, right, np.zeros(len(right), right.dtype))
