"""Sparse matrices that look like ratings, whose entries not stored are no zeros."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class RatingsTuning:
    """When stored values look like ratings, and not like counts or indicators.

    Of counts, the smallest is the most frequent; tf-idf weights are many different
    ones; indicators are all the same.

    Attributes
    ----------
    max_share : float
        Share of the cells that is stored at most: people rate few things.
    max_values : int
        Different values at most: of half-stars there are 10.
    sample : int
        Stored values that are looked at, at most: enough to see which one of 20 is the
        most frequent, and no work beside a fit.
    """

    max_share: float = 0.1
    max_values: int = 20
    sample: int = 1 << 10


TUNING = RatingsTuning()


class StoredValues(NamedTuple):
    """The values that sparse matrices store, and how often, estimated from samples.

    A stored zero counts as not stored: where entries not stored are zeros, it is none.

    Attributes
    ----------
    n_cells : int
    n_stored : float
    values, counts : ndarray of shape (n_values,)
        Ascending; the smallest ones, if there are more than `max_values`.
    """

    n_cells: int
    n_stored: float
    values: Array
    counts: Array

    @classmethod
    def of(cls, X: Any) -> StoredValues:
        """The values of one sparse matrix."""
        data = X.data
        if len(data) > TUNING.sample:
            # The same values at every fit, and in no step with the rows.
            data = data[np.random.RandomState(0).randint(len(data), size=TUNING.sample)]
        counts = np.full(len(data), len(X.data) / max(1, len(data)))
        return cls._counted(X.shape[0] * X.shape[1], data, counts)

    @classmethod
    def together(cls, parts: Iterable[StoredValues]) -> StoredValues:
        """The values of several matrices, taken as one."""
        n_cells, n_stored, values, counts = zip(*parts, strict=True)
        found = cls._counted(
            sum(n_cells), np.concatenate(values), np.concatenate(counts)
        )
        return found._replace(n_stored=sum(n_stored))

    @classmethod
    def _counted(cls, n_cells: int, values: Array, counts: Array) -> StoredValues:
        different, number = np.unique(values, return_inverse=True)
        counts = np.bincount(number.ravel(), counts, minlength=len(different))
        counts, different = counts[different != 0], different[different != 0]
        few = slice(TUNING.max_values + 1)
        return cls(n_cells, float(np.sum(counts)), different[few], counts[few])

    @property
    def share(self) -> float:
        """The share of the cells that is stored."""
        return self.n_stored / self.n_cells

    @property
    def most_frequent(self) -> float:
        """The most frequent value, of equally frequent ones the smallest."""
        return float(self.values[np.argmax(self.counts)])

    def look_like_ratings(self) -> bool:
        """Whether few different values are stored, the smallest not most often."""
        if not 0 < len(self.values) <= TUNING.max_values:
            return False
        return self.share < TUNING.max_share and self.most_frequent > self.values[0]
