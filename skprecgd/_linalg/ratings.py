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
    ones; indicators are all the same; hashed counts have both signs.

    Attributes
    ----------
    max_share : float
        Share of the cells that is stored at most: people rate few things.
    max_values : int
        Different values at most: of half-stars there are 10.
    sample : int
        Stored values that are looked at, at most: enough to see which one of 20 is the
        most frequent, and no work beside a fit.
    certainty : float
        Standard deviations of its estimate by which the most frequent value must lead.
    """

    max_share: float = 0.1
    max_values: int = 20
    sample: int = 1 << 10
    certainty: float = 3.0


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
    each : float
        How many values one of the sample stands for; 1 if all were counted.
    """

    n_cells: int
    n_stored: float
    values: Array
    counts: Array
    each: float = 1.0

    @classmethod
    def of(cls, X: Any) -> StoredValues:
        """The values of one sparse matrix."""
        data = _spread(X.data, TUNING.sample)
        values, seen = np.unique(data, return_counts=True)
        each = len(X.data) / max(1, len(data))
        found = cls._without_zeros(X.shape[0] * X.shape[1], values, seen * each)
        return found._replace(each=each)

    @classmethod
    def together(cls, parts: Iterable[StoredValues]) -> StoredValues:
        """The values of several matrices, taken as one."""
        n_cells, n_stored, values, counts, each = zip(*parts, strict=True)
        different, number = np.unique(np.concatenate(values), return_inverse=True)
        sums = np.bincount(number.ravel(), np.concatenate(counts), len(different))
        found = cls._without_zeros(sum(n_cells), different, sums)
        return found._replace(n_stored=sum(n_stored), each=max(each))

    @classmethod
    def _without_zeros(cls, n_cells: int, values: Array, counts: Array) -> StoredValues:
        values, counts = values[values != 0], counts[values != 0]
        few = slice(TUNING.max_values + 1)
        return cls(n_cells, float(np.sum(counts)), values[few], counts[few])

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
        if not 0 < len(self.values) <= TUNING.max_values or self.values[0] < 0:
            return False
        most, smallest = np.max(self.counts), self.counts[0]
        error = 0.0
        if self.each > 1.0:
            error = TUNING.certainty * np.sqrt(self.each * (most + smallest))
        return bool(self.share < TUNING.max_share and most - smallest > error)


def _spread(data: Array, n: int) -> Array:
    """At most `n` of the numbers, the same at every call, spread over all of them.

    Their positions are multiples of the golden section, in step with no regular order
    of the numbers. (A random generator takes ten times as long to set up.)
    """
    if len(data) <= n:
        return data
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    return np.asarray(data[(np.arange(n) * golden % 1.0 * len(data)).astype(np.intp)])
