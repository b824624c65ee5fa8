"""How well the spread of a column is known, which is the unit it is measured in."""

from __future__ import annotations

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.tuning import SPREAD, SpreadTuning


def trust_in_columns(entries: NoisyEntries, tuning: SpreadTuning = SPREAD) -> Array:
    """How much the entries of each column are to count, at most one.

    The variance of N numbers of kurtosis K is known as well as that of 2 N / (K - 1)
    normal ones. Where these are few, the column is all but constant, and its spread is
    that of a few entries, tens of standard deviations from the rest. One factor for
    the row of such an entry leaves no noise in all the others (a Heywood case), and
    extrapolates this row in every other column. So such a column counts no more than
    those few.

    Parameters
    ----------
    entries : NoisyEntries
        Each column in its own unit.
    tuning : SpreadTuning

    Returns
    -------
    ndarray of shape (n_columns,)
    """
    n_columns, columns = entries.shape[1], entries.columns
    counts = entries.counts[0 if entries.columns_are_long else 1]
    each = entries.weights.of_losses
    weights = np.ones(len(columns)) if each is None else each
    total = np.bincount(columns, weights, n_columns)
    mean = np.bincount(columns, weights * entries.values, n_columns) / total
    squares = (entries.values - mean[columns]) ** 2
    second = np.bincount(columns, weights * squares, n_columns)
    fourth = np.bincount(columns, weights * squares**2, n_columns)
    # 2 N / (K - 1) with K = fourth * total / second**2.
    excess = fourth * total - second**2
    normal = np.divide(
        2.0 * counts * second**2, excess, out=counts.copy(), where=excess > 0
    )
    return np.minimum(1.0, normal / np.minimum(counts, tuning.enough))
