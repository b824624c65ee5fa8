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
from skprecgd._linalg.offsets import at_least_something
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.variational.given import GivenEntries


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
    given: GivenEntries,
    factors: Factors,
    offsets: Offsets,
    center: str | None,
    tuning: ProofTuning = PROOF,
) -> bool:
    """Whether entries determine the matrix by which they are explained.

    Parameters
    ----------
    given : GivenEntries
    factors : Factors
        With the offsets of rows as a component, if these have any.
    offsets : Offsets
    center : {None, "mean", "columns", "both"}
    tuning : ProofTuning
    """
    low_rank = offsets.without_rows(factors)
    rank = low_rank.rank
    own = rank + (center == "both"), rank + (center in ("columns", "both"))
    rows, columns = (_with_part(block, tuning) for block in low_rank.blocks)
    rows, columns, counts = _core(given, rows, columns, own)
    n_rows, n_columns = (int(np.count_nonzero(each)) for each in counts)
    count = int(counts[0].sum())
    unknowns = _unknowns(n_rows, n_columns, rank, center)
    if 0 < count < tuning.plenty * unknowns:
        # How often the commonest number of each column is there beyond once.
        most = given.most_frequent(rows, columns)
        count -= int(np.sum(np.maximum(most - 1, 0)))
    return rank == 0 or count > max(unknowns, 0)


def explains_columns(
    given: GivenEntries,
    factors: Factors,
    offsets: Offsets,
    center: str | None,
    rounding: float,
    tuning: ProofTuning = PROOF,
) -> bool:
    """Whether hardly anything is left of each column, in units of its own spread.

    Parameters
    ----------
    given, factors, offsets, center, tuning
        See `is_determined`.
    rounding : float
        Machine epsilon of the entries.
    """
    # Squares of numbers in the unit of their column neither overflow nor vanish.
    unit = given.largest()
    unit[unit == 0] = 1.0
    shift = np.zeros(len(unit))
    weight, first = given.sums(shift, unit, (0, 1))
    counts = at_least_something(weight)
    if center is not None:
        shift = unit * first / counts
    spread = given.sums(shift, unit, (2,))[0] / counts
    left = given.squares_left(factors.left, factors.right, offsets.columns, unit)
    least = rounding**2 * counts
    return bool(np.all(left / counts <= tuning.explained**2 * spread + least))


def _with_part(block: Array, tuning: ProofTuning) -> Array:
    lengths = np.sqrt(np.sum(block.astype(np.float64) ** 2, axis=1))
    return lengths > tuning.no_part * np.max(lengths, initial=0.0)


def _core(
    given: GivenEntries, rows: Array, columns: Array, own: tuple[int, int]
) -> tuple[Array, Array, tuple[Array, Array]]:
    """The lines that have more entries among them than unknowns, whatever others do.

    A line with no more entries than unknowns of its own is explained by any others.

    Returns
    -------
    rows, columns : ndarray of bool, shape (n_rows,), (n_columns,)
    counts : tuple of ndarray
        How many entries these have among them.
    """
    counts = given.line_counts(rows, columns)
    while True:
        before = counts[0].sum()
        rows = rows & (counts[0] > own[0])
        counts = given.line_counts(rows, columns)
        columns = columns & (counts[1] > own[1])
        counts = given.line_counts(rows, columns)
        if counts[0].sum() in (0, before):
            return rows, columns, counts


def _unknowns(n_rows: int, n_columns: int, rank: int, center: str | None) -> int:
    """Degrees of freedom of a matrix of a rank beside its offsets."""
    if center == "both":
        return rank * (n_rows + n_columns - 2 - rank) + n_rows + n_columns - 1
    if center == "columns":
        return rank * (n_rows + n_columns - 1 - rank) + n_columns
    return rank * (n_rows + n_columns - rank) + (center == "mean")
