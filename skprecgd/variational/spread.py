"""How well the spread of a column is known, which is the unit it is measured in."""

from __future__ import annotations

import numpy as np

from skprecgd._linalg.offsets import at_least_something
from skprecgd._runtime.typing import Array
from skprecgd.variational.entries import ColumnSums, Units
from skprecgd.variational.tuning import SPREAD, SpreadTuning


def trust_in_columns(
    units: Units, counts: Array, sums: ColumnSums, tuning: SpreadTuning = SPREAD
) -> Array:
    """How much the entries of each column are to count, at most one.

    The variance of N numbers of kurtosis K is known as well as that of 2 N / (K - 1)
    normal ones. Where these are few, the column is all but constant, and its spread is
    that of a few entries, tens of standard deviations from the rest. One factor for
    the row of such an entry leaves no noise in all the others (a Heywood case), and
    extrapolates this row in every other column. So such a column counts no more than
    those few.

    Parameters
    ----------
    units : Units
        Each column has its own.
    counts : ndarray of shape (n_columns,)
        Entries of each column, as often as they were made.
    sums : callable
        See `column_sums`, of which the first arguments are given.
    tuning : SpreadTuning

    Returns
    -------
    ndarray of shape (n_columns,)
        One for columns without entries.
    """
    total, first = sums(units.shift, units.scale, (0, 1))
    mean = first / at_least_something(total)
    centre = units.shift + units.scale * mean
    second, fourth = sums(centre, units.scale, (2, 4))
    # 2 N / (K - 1) with K = fourth * total / second**2.
    excess = fourth * total - second**2
    normal = np.divide(
        2.0 * counts * second**2, excess, out=counts.copy(), where=excess > 0
    )
    few = np.minimum(counts, tuning.enough)
    return np.where(counts > 0, np.minimum(1.0, normal / at_least_something(few)), 1.0)
