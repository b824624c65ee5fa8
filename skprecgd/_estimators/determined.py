"""Whether entries that a matrix explains say that it is this one.

Any numbers are explained by a matrix of sufficient rank. That a matrix of low rank
explains entries is a proof of it where there are more of them than unknowns; but
entries that say nothing must not be counted: those of lines that have no part in the
components (constant columns), of lines with no more entries than unknowns, and the
equal numbers of columns that are all but constant. And columns in small units are not
explained by what explains the sum of the squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import EntryData
from skprecgd._linalg.numerics import largest_sizes
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.kernels import sampled_product


@dataclass(frozen=True)
class ProofTuning:
    """When a matrix is taken for the one that entries are of.

    Attributes
    ----------
    no_part : float
        Length of a line of the factors, relative to the longest, below which it has no
        part in them: far above rounding, and far below any signal.
    plenty : float
        Entries for each unknown from which on equal numbers need not be looked for.
    explained : float
        What may be left of a column in its own unit, relative to its spread.
    """

    no_part: float = 1e-6
    plenty: float = 2.0
    explained: float = 1e-3


PROOF = ProofTuning()


def is_determined(
    data: EntryData,
    factors: Factors,
    offsets: Offsets,
    center: str | None,
    tuning: ProofTuning = PROOF,
) -> bool:
    """Whether entries determine the matrix by which they are explained.

    Parameters
    ----------
    data : EntryData
    factors : Factors
        With the offsets of rows as a component, if these have any.
    offsets : Offsets
    center : {None, "mean", "columns", "both"}
    tuning : ProofTuning
    """
    low_rank = offsets.without_rows(factors)
    rows, columns = data.rows, data.columns
    rank = low_rank.rank
    own = rank + (center == "both"), rank + (center in ("columns", "both"))
    kept = _with_part(low_rank.left, tuning)[rows]
    kept &= _with_part(low_rank.right, tuning)[columns]
    kept = _core((rows, columns), kept, data.shape, own)
    n_rows, n_columns = (
        int(np.count_nonzero(np.bincount(side[kept], minlength=n)))
        for side, n in zip((rows, columns), data.shape, strict=True)
    )
    count = int(np.count_nonzero(kept))
    unknowns = _unknowns(n_rows, n_columns, rank, center)
    if 0 < count < tuning.plenty * unknowns:
        count -= _repeated(columns[kept], data.values[kept])
    return rank == 0 or count > max(unknowns, 0)


def explains_columns(
    data: EntryData,
    factors: Factors,
    offsets: Offsets,
    center: str | None,
    tuning: ProofTuning = PROOF,
) -> bool:
    """Whether hardly anything is left of each column, in units of its own spread.

    Parameters
    ----------
    data, factors, offsets, center, tuning
        See `is_determined`.
    """
    columns, values, n = data.columns, data.values.astype(np.float64), data.shape[1]
    counts = np.maximum(np.bincount(columns, minlength=n), 1)
    # Squares of numbers in the unit of their column neither overflow nor vanish.
    unit = largest_sizes(columns, values, n)
    unit[unit == 0] = 1.0
    left = values - sampled_product(factors.left, factors.right, data.rows, columns)
    left = (left - offsets.columns[columns]) / unit[columns]
    values = values / unit[columns]
    if center is not None:
        values = values - (np.bincount(columns, values, n) / counts)[columns]
    spread = np.bincount(columns, values**2, n) / counts
    rounding = np.finfo(data.values.dtype).eps ** 2 * counts
    remaining = np.bincount(columns, left**2, n) / counts
    return bool(np.all(remaining <= tuning.explained**2 * spread + rounding))


def _with_part(block: Array, tuning: ProofTuning) -> Array:
    lengths = np.sqrt(np.sum(block.astype(np.float64) ** 2, axis=1))
    return lengths > tuning.no_part * np.max(lengths, initial=0.0)


def _core(
    sides: tuple[Array, Array],
    kept: Array,
    shape: tuple[int, int],
    own: tuple[int, int],
) -> Array:
    """Entries of the lines that have more of them than unknowns, whatever others do.

    A line with no more entries than unknowns of its own is explained by any others.
    """
    while True:
        before = np.count_nonzero(kept)
        for side, n, unknowns in zip(sides, shape, own, strict=True):
            more = np.bincount(side[kept], minlength=n) > unknowns
            kept = kept & more[side]
        if np.count_nonzero(kept) in (0, before):
            return kept


def _unknowns(n_rows: int, n_columns: int, rank: int, center: str | None) -> int:
    """Degrees of freedom of a matrix of a rank beside its offsets."""
    if center == "both":
        return rank * (n_rows + n_columns - 2 - rank) + n_rows + n_columns - 1
    if center == "columns":
        return rank * (n_rows + n_columns - 1 - rank) + n_columns
    return rank * (n_rows + n_columns - rank) + (center == "mean")


def _repeated(columns: Array, values: Array) -> int:
    """How often the commonest number of each column is there beyond once."""
    order = np.lexsort((values, columns))
    columns, values = columns[order], values[order]
    first = np.append(True, (np.diff(columns) != 0) | (np.diff(values) != 0))
    starts = np.flatnonzero(first)
    times = np.diff(np.append(starts, len(values)))
    most = np.zeros(columns[-1] + 1, dtype=int)
    np.maximum.at(most, columns[starts], times)
    return int(np.sum(np.maximum(most - 1, 0)))
