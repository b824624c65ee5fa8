"""Units in which a path sees columns that have units of their own.

A path ends when it has explained a share of all squares. Where columns differ in units
by orders of magnitude, these are the squares of a few columns: the others are hardly
seen, and a component that explains the last of the large ones may be anything in them.
"""

from __future__ import annotations

import numpy as np

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import Data, EntryData
from skprecgd._estimators.learned import PriorLearner
from skprecgd._linalg.numerics import largest_sizes
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors
from skprecgd.unknown.base import Unknown

# Ratio of the largest spread of a column to the least from which on a path has them in
# units of their own. Below it the answers agree to seven digits and more.
_RATIO = 100.0


def column_units(
    data: Data, offsets: Offsets, learner: PriorLearner | None
) -> Array | None:
    """Powers of two near the spread of each column; None if the data stay as they are.

    Parameters
    ----------
    data : Data
    offsets : Offsets
        What is subtracted first.
    learner : PriorLearner or None
        It knows whether columns have units of their own.

    Returns
    -------
    ndarray of shape (n_columns,) or None
    """
    if learner is None or not learner.own_units or not isinstance(data, EntryData):
        return None
    left = offsets.subtracted(data.values, data.rows, data.columns).astype(np.float64)
    n_columns = data.shape[1]
    sizes = largest_sizes(data.columns, left, n_columns)
    scaled = left / np.where(sizes > 0, sizes, 1.0)[data.columns]
    counts = np.maximum(np.bincount(data.columns, minlength=n_columns), 1)
    spread = sizes * np.sqrt(np.bincount(data.columns, scaled**2, n_columns) / counts)
    varied = spread[spread > 0]
    if not len(varied) or np.max(varied) <= _RATIO * np.min(varied):
        return None
    spread[spread == 0] = np.median(varied)
    # Nothing is rounded by a power of two.
    return np.asarray(np.exp2(np.round(np.log2(spread))))


def in_units(data: Data, units: Array) -> EntryData:
    """The data with each column divided by its unit, of which `column_units` told."""
    assert isinstance(data, EntryData)
    values = data.values / units.astype(data.dtype)[data.columns]
    return EntryData(data.rows, data.columns, values, data.shape, data.weights)


def offsets_in_units(offsets: Offsets, units: Array) -> Offsets:
    """Offsets of data whose columns are divided by their units."""
    return Offsets(offsets.rows, offsets.columns / units, offsets.of_rows)


def out_of_units(factors: Factors, units: Array, unknown: Unknown) -> Factors:
    """Factors of the data as they were, given those of `in_units`.

    Parameters
    ----------
    factors : Factors
    units : ndarray of shape (n_columns,)
    unknown : Unknown
        Of the data as they were.
    """
    pair, (rows, columns) = factors.low_rank, factors.offsets
    right = (pair.right * units[:, None]).astype(pair.dtype)
    return unknown.of_parts(FactorPair(pair.left, right), rows, columns * units)
