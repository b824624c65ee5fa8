"""Tables of entries that were given as a matrix: what says so."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._runtime.typing import Array
from skprecgd.measurements.labels import encoded
from skprecgd.measurements.placing import n_repeated

# Numbers of columns of a table of entries: row, column and value, perhaps with a time
# and a weight.
_LONG = range(3, 6)
# Fewer rows than these may look like such a table by chance.
_LEAST_ROWS = 10
# The same for two columns of ids alone, which are hardly more than whole numbers.
_LEAST_IDS = 20
# Share of the pairs of ids that may repeat another one; those of features do often.
_MOST_REPEATED = 0.05


def looks_long(table: Array) -> bool:
    """Whether a complete matrix looks like row ids, column ids and values of entries.

    It does if it has so few columns as such a table, and the first two that hold whole
    numbers repeat them, but hardly a pair of them.

    Parameters
    ----------
    table : ndarray of shape (n_rows, n_columns)
    """
    if table.shape[1] not in _LONG or len(table) < _LEAST_ROWS:
        return False
    whole = [part for part in table.T if np.all(part == np.floor(part))]
    if len(whole) < 2:
        return False
    (rows, i), (columns, j) = (encoded(part, "") for part in whole[:2])
    shape = len(rows), len(columns)
    most = _MOST_REPEATED * len(table)
    return max(shape) < len(table) and n_repeated(i, j, shape) <= most


def warn_of_long_table(shape: tuple[int, int]) -> None:
    """Say that a table that looks like entries was read as a matrix."""
    warnings.warn(
        f"X is read as a matrix of shape {shape} in which nothing is missing, but "
        "looks like a table of row ids, column ids and values. If it is one, name its "
        "columns, observed_entries(frame, row=..., column=..., value=...), or give the "
        "tuple (rows, columns, values).",
        UserWarning,
        stacklevel=2,
    )


def warn_of_ids(rows: Any) -> None:
    """Say that two columns that look like ids are read as measurement matrices.

    Parameters
    ----------
    rows : ndarray or sparse array of shape (n, n_cells)
    """
    if sparse.issparse(rows) or rows.shape[1] != 2 or len(rows) < _LEAST_IDS:
        return
    if np.all(rows == np.floor(rows)) and np.min(rows) >= 0:
        warnings.warn(
            "X has two columns of whole numbers, which are read as measurements of a "
            "2 x 1 matrix. If they are ids of rows and columns, use observed_entries("
            "frame, row=..., column=..., value=...); if not, give matrix_shape=(2, 1).",
            UserWarning,
            stacklevel=7,
        )
