"""Ratings beside features, or more of them: what is learned, without a path before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skprecgd._estimators.data import EntryData
from skprecgd._estimators.fitted import signed_svd
from skprecgd._estimators.interactions import Interactions
from skprecgd._estimators.learned import Learner
from skprecgd._estimators.preferences import Preferences, RatingsMatrix
from skprecgd._estimators.weighting import read_weights
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair
from skprecgd.variational.informed_model import SideInformation
from skprecgd.variational.predictive import EntryDistributions, Predictive
from skprecgd.variational.prior_means import NewLines
from skprecgd.variational.warm import Start

# Singular values below this share of the largest are rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class InformedPreferences(Preferences):
    """Those that ratings and features tell.

    Attributes
    ----------
    entries : EntryDistributions or None
        What is known of each entry; None where nothing of the data is kept.
    new_lines : NewLines
        What features add to new rows and columns.
    of_entries : NewLines
        The same in the coordinates of the entries' distributions.
    known : tuple of int
        Shape of the matrix whose entries have one, its last row and column unknown.
    """

    entries: EntryDistributions | None
    new_lines: NewLines
    of_entries: NewLines
    known: tuple[int, int]

    def std(self, rows: Array, columns: Array) -> Array:
        if self.entries is None:
            raise ValueError(
                "How sure predictions are depends on which pairs were seen, and "
                "store_pattern=False keeps no record of that; fit with "
                "store_pattern=True."
            )
        n_rows, n_columns = (n - 1 for n in self.known)
        if np.any(rows >= n_rows) or np.any(columns >= n_columns):
            raise ValueError(
                "How sure predictions are is known of the ids that the fit knows, and "
                "without draws (inference='gibbs') of new rows; give the features of "
                "other ids to fit, which need no pair there."
            )
        cells = rows % (n_rows + 1), columns % (n_columns + 1)
        return np.asarray(self.entries.at(*cells).std, self.left.dtype)

    def _vectors(self) -> Array:
        # What all columns have in common is the rows' offset, and no likeness.
        return self.right[:-1] - np.mean(self.right[:-1], axis=0)

    def extended(self, rows: Any, columns: Any) -> InformedPreferences:
        """With new rows and columns before the last, by their features.

        Parameters
        ----------
        rows, columns : array or csr_array of shape (n_new, n_features), or None
        """
        new = self.new_lines
        return replace(
            self,
            **self._known_with(rows),
            left=_with_new(self.left, rows, new.rows),
            right=_with_new(self.right, columns, new.columns),
            center=_with_new(self.center, columns, new.offsets),
        )

    def _known_with(self, rows: Any) -> dict[str, Any]:
        """What is known of entries, those of new rows included where that can be."""
        own, entries = self.of_entries, self.entries
        if rows is None or own.row_map is None or not isinstance(entries, Predictive):
            return {}
        means, variances = np.asarray(rows @ own.rows), own.row_map.variances(rows)
        n_rows, n_columns = self.known
        entries = entries.with_rows(n_rows - 1, means, variances)
        return {"entries": entries, "known": (n_rows + len(means), n_columns)}


def _with_new(lines: Array, features: Any, weights: Array | None) -> Array:
    """Lines, of which the last is one that nothing is known of, with new ones."""
    if features is None:
        return lines
    new = np.repeat(lines[-1:], features.shape[0], axis=0)
    if weights is not None:
        new = (new + features @ weights).astype(lines.dtype)
    return np.concatenate([lines[:-1], new, lines[-1:]])


class InformedLearner(Learner):
    """The posterior of ratings beside features, or of more ratings than a fit has seen.

    Parameters
    ----------
    data : EntryData
    rank : int
    estimator : RatingsMatrix
    features : SideInformation or None
    start : Start or None
        Where to go on from.
    """

    def __init__(
        self,
        data: EntryData,
        rank: int,
        estimator: Any,
        features: SideInformation | None,
        start: Start | None,
    ) -> None:
        super().__init__(data, rank, estimator)
        self.features = features
        self.start = start


@dataclass(frozen=True)
class InformedFit:
    """Preferences beside features, and how they were found.

    Attributes
    ----------
    preferences : InformedPreferences
    n_components : int
        Offsets of the rows included.
    n_iter : int
        Steps of the iteration.
    reason : str
        What was found, in one sentence.
    start : Start or None
        Where to go on from with more ratings.
    """

    preferences: InformedPreferences
    n_components: int
    n_iter: int
    reason: str
    start: Start | None


def learned_directly(
    given: Interactions,
    model: RatingsMatrix,
    rank: int,
    features: SideInformation | None,
    start: Start | None,
) -> InformedFit:
    """The posterior means of ratings beside features, or from where a fit has ended.

    Parameters
    ----------
    given : Interactions
        With values.
    model : RatingsMatrix
        Its parameters are read.
    rank : int
        Factors at most.
    features : SideInformation or None
        Of all rows and columns, and a last one of each, which is not known.
    start : Start or None
        Of all columns, in their order.
    """
    assert given.values is not None
    shape = given.shape[0] + 1, given.shape[1] + 1
    weights = read_weights(given.weights, None, len(given.values))
    cells = given.rows, given.columns, given.values
    data = EntryData(*cells, shape, weights).in_order()
    learner = InformedLearner(data, rank, model, features, start)
    factors, found, posterior = learner.factors, learner.found(), learner.answer
    assert found is not None
    to_left, to_right = _balancing(factors.left, factors.right)
    new = _turned(posterior.new_lines, to_left, to_right)
    left, right = factors.left @ to_left, factors.right @ to_right
    center = learner.offsets.columns.astype(left.dtype)
    known = found.entries, new, posterior.new_lines, shape
    preferences = InformedPreferences(left, right, center, *known)
    steps = 0 if posterior.model is None else posterior.model.n_steps
    start, reason = learner.posterior.start, learner.in_words()
    return InformedFit(preferences, left.shape[1], steps, reason, start)


def _balancing(left: Array, right: Array) -> tuple[Array, Array]:
    """The matrices that make factors balanced, with orthogonal columns."""
    u, s, v = signed_svd(FactorPair(left, right))
    kept = s > _ROUNDING * np.max(s, initial=0.0)
    if not kept.any():
        return np.zeros((left.shape[1], 1)), np.zeros((right.shape[1], 1))
    roots = np.sqrt(s[kept])
    to_left, to_right = right.T @ (v[:, kept] / roots), left.T @ (u[:, kept] / roots)
    return to_left.astype(left.dtype), to_right.astype(left.dtype)


def _turned(new: NewLines, to_left: Array, to_right: Array) -> NewLines:
    rows = None if new.rows is None else new.rows @ to_left
    columns = None if new.columns is None else new.columns @ to_right
    return NewLines(rows, columns, new.offsets)
