"""Gross errors: one or two entries that make most of the spread of their column.

A slip of the decimal point leaves the spread of a column without a meaning, and all of
its other numbers look alike in units of it. The unit is therefore taken without such
entries, which are only then plain to see for noise with heavy tails.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.variational.entries import NoisyEntries, Units, Within
from skprecgd.variational.given import GivenEntries
from skprecgd.variational.spread import trust_in_columns
from skprecgd.variational.tuning import GROSS, GrossTuning


def are_gross(trust: Array, counts: Array, tuning: GrossTuning = GROSS) -> Array:
    """In which columns one or two entries make most of the spread.

    Parameters
    ----------
    trust : ndarray of shape (n_columns,)
        See `trust_in_columns`.
    counts : ndarray of shape (n_columns,)
        Entries of each column.
    tuning : GrossTuning

    Returns
    -------
    ndarray of bool, shape (n_columns,)
    """
    return np.asarray((trust < tuning.trust) & (counts >= tuning.many))


def are_one_number(
    entries: NoisyEntries, counts: Array, tuning: GrossTuning = GROSS
) -> Array:
    """Which columns are mostly one number: others are then events, and no errors.

    Parameters
    ----------
    entries : NoisyEntries
    counts : ndarray of shape (n_columns,)
        How many each column has.
    tuning : GrossTuning

    Returns
    -------
    ndarray of bool, shape (n_columns,)
    """
    most = entries.lines.most_frequent(of_long=entries.columns_are_long)
    return np.asarray(most > tuning.one_number * counts)


def range_without_errors(
    given: GivenEntries,
    center: str | None,
    gross: Array,
    units: Units,
    tuning: GrossTuning = GROSS,
) -> Within:
    """The numbers of each column that are no gross errors.

    Parameters
    ----------
    given : GivenEntries
    center : {None, "columns"}
    gross : ndarray of bool, shape (n_columns,)
        Columns that have such errors.
    units : Units
        With them, of all columns.
    tuning : GrossTuning

    Returns
    -------
    low, high : ndarray of shape (n_columns,)
        Infinite for other columns.
    """
    low, high = np.full(len(gross), -np.inf), np.full(len(gross), np.inf)
    for _ in range(tuning.rounds):
        reach = tuning.reach * units.scale[gross]
        low[gross] = units.shift[gross] - reach
        high[gross] = units.shift[gross] + reach
        sums = partial(given.sums, within=(low, high))
        units = Units.of(given.largest(), sums, center)
        trust = trust_in_columns(units, given.column_counts, sums)
        gross = gross & are_gross(trust, given.column_counts)
        if not gross.any():
            break
    return low, high
