"""Scores of lists: how much of what was held out a recommender lists, and how early."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.measurements.pairs import Ids, Pairs

__all__ = ["ndcg_scorer", "recall_scorer"]


def ndcg_scorer(k: int = 10, *, relevant: float | None = None) -> ListScorer:
    """Make a scorer: normalised discounted cumulative gain of lists of k.

    Parameters
    ----------
    k : int, default=10
        Length of the lists.
    relevant : float, default=None
        The least target of a pair that is to be found; None is all pairs that are
        scored.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)``, for `scoring` in scikit-learn's searches and
        in `PrecGDRecommenderCV`. Its value is the mean over the rows that have a
        relevant pair in X: a hit at place p of a list gains ``1 / log2(p + 1)``, and
        the sum is divided by that of the best list there is. What the estimator has
        seen in `fit` is in no list.

    Raises
    ------
    ValueError
        If `k` is below 1 or `relevant` no number.

    Examples
    --------
    >>> from skprecgd import PrecGDRecommender
    >>> from skprecgd.metrics import ndcg_scorer
    >>> clicks = [("ann", "tea"), ("ann", "jam"), ("bob", "tea"), ("bob", "jam"),
    ...           ("bob", "bread"), ("eve", "nails"), ("eve", "glue"), ("joe", "nails")]
    >>> model = PrecGDRecommender(n_components=2, random_state=0).fit(clicks)
    >>> ndcg_scorer(3)(model, [("ann", "bread"), ("joe", "glue")])
    1.0
    """
    return NDCG(*_checked(k, relevant))


def recall_scorer(k: int = 10, *, relevant: float | None = None) -> ListScorer:
    """Make a scorer: the share of what was held out that lists of k hold.

    Parameters
    ----------
    k : int, default=10
        Length of the lists.
    relevant : float, default=None
        The least target of a pair that is to be found; None is all pairs that are
        scored.

    Returns
    -------
    scorer : callable
        As `ndcg_scorer` returns it. Its value is the mean, over the rows that have a
        relevant pair in X, of the share of these pairs that their lists hold.

    Raises
    ------
    ValueError
        If `k` is below 1 or `relevant` no number.

    Examples
    --------
    >>> from skprecgd import PrecGDRecommender
    >>> from skprecgd.metrics import recall_scorer
    >>> clicks = [("ann", "tea"), ("ann", "jam"), ("bob", "tea"), ("bob", "jam"),
    ...           ("bob", "bread"), ("eve", "nails"), ("eve", "glue"), ("joe", "nails")]
    >>> model = PrecGDRecommender(n_components=2, random_state=0).fit(clicks)
    >>> recall_scorer(1)(model, [("ann", "bread"), ("joe", "bread")])
    0.5
    """
    return Recall(*_checked(k, relevant))


@dataclass(frozen=True)
class ListScorer(ABC):
    """Scores the lists of an estimator by pairs that it has not seen.

    Attributes
    ----------
    k : int
    relevant : float or None
    """

    k: int
    relevant: float | None

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """The mean score of the rows that have a relevant pair in X."""
        pairs = self._wanted(Pairs.read(X), y)
        if not len(pairs):
            raise ValueError(
                f"No pair of X is relevant: y >= {self.relevant!r} in none."
            )
        rows, of_pair = Ids.of(pairs.rows)
        columns, which = Ids.of(pairs.columns)
        wanted = np.unique(of_pair * len(columns) + which)
        lists = estimator.recommend(rows.labels, n=self.k)
        row, column = rows.positions(lists.rows), columns.positions(lists.columns)
        found = (column >= 0) & np.isin(row * len(columns) + column, wanted)
        starts = np.searchsorted(row, np.arange(len(rows)))
        places = np.arange(len(row)) - starts[row]
        n_wanted = np.bincount(wanted // len(columns), minlength=len(rows))
        return float(np.mean(self._scores(row[found], places[found], n_wanted)))

    def _wanted(self, pairs: Pairs, y: Any) -> Pairs:
        if self.relevant is None:
            return pairs
        if y is None:
            raise ValueError(f"relevant={self.relevant!r} needs targets y, got None.")
        return pairs.at(np.flatnonzero(np.asarray(y) >= self.relevant))

    @abstractmethod
    def _scores(self, rows: Array, places: Array, n_wanted: Array) -> Array:
        """The score of each row.

        Parameters
        ----------
        rows, places : ndarray of int, shape (n_hits,)
            In which row's list a hit is, and where in it, from 0.
        n_wanted : ndarray of int, shape (n_rows,)
            How many there are to be found.
        """


class NDCG(ListScorer):
    """Normalised discounted cumulative gain."""

    def _scores(self, rows: Array, places: Array, n_wanted: Array) -> Array:
        gains = 1.0 / np.log2(np.arange(self.k) + 2.0)
        best = np.cumsum(gains)[np.minimum(n_wanted, self.k) - 1]
        return np.bincount(rows, gains[places], len(n_wanted)) / best


class Recall(ListScorer):
    """The share that was found."""

    def _scores(self, rows: Array, places: Array, n_wanted: Array) -> Array:
        return np.bincount(rows, minlength=len(n_wanted)) / n_wanted


def _checked(k: Any, relevant: Any) -> tuple[int, float | None]:
    if not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}.")
    if relevant is not None and not isinstance(relevant, Real):
        raise ValueError(f"relevant must be a number or None, got {relevant!r}.")
    return int(k), None if relevant is None else float(relevant)


SCORERS: dict[str, ListScorer] = {"ndcg": ndcg_scorer(), "recall": recall_scorer()}
"""What `PrecGDRecommenderCV` takes by name."""
