"""Where the entries of triples stand: ids as rows and columns of a matrix."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import as_shape
from skprecgd.measurements.entries import EntryMeasurements
from skprecgd.measurements.in_memory import check_any_observed
from skprecgd.measurements.labels import encoded, joined
from skprecgd.measurements.triples import Triples

# Fewer of the integers up to the largest one are rarely positions, but ids.
_FEW = 0.1


class Axis(NamedTuple):
    """The rows or the columns of a matrix, as the ids of its entries show them.

    Attributes
    ----------
    size : int
    labels : ndarray of shape (size,) or None
        The sorted ids; None where ids are positions.
    positions : list of ndarray of int
        Of the ids, part by part.
    """

    size: int
    labels: Array | None
    positions: list[Array]

    @classmethod
    def of(
        cls, parts: list[Array], what: str, are_labels: bool, size: int | None
    ) -> Axis:
        """The axis of ids in several parts.

        Parameters
        ----------
        parts : list of ndarray
            As `as_ids` returns them, together not empty.
        what : str
            What they are, as the first words of messages.
        are_labels : bool
            Whether they are labels where no size is given.
        size : int or None
            Ids are positions below it; None takes it from them.
        """
        ids = joined(parts)
        labels = None
        if are_labels and size is None:
            labels, ids = encoded(ids, what)
            size = len(labels)
        else:
            size = _size_of(ids, what, size)
        return cls(size, labels, np.split(ids, np.cumsum([len(p) for p in parts])[:-1]))


def _size_of(ids: Array, what: str, size: int | None) -> int:
    """The number of rows or columns, of which the ids are positions."""
    if ids.dtype.kind not in "iu":
        raise ValueError(
            f"{what} must hold integers, because with matrix_shape ids are positions, "
            f"got {ids[0]!r}; leave matrix_shape out to have the ids encoded."
        )
    first, last = int(ids.min()), int(ids.max())
    if first < 0 or (size is not None and last >= size):
        limit = "not be negative" if size is None else f"lie in 0..{size - 1}"
        raise ValueError(
            f"{what} holds positions from {first} to {last}, which must {limit}."
        )
    if size is None:
        size = last + 1
        _warn_of_gaps(ids, what, size)
    return size


def _warn_of_gaps(ids: Array, what: str, size: int) -> None:
    """Say so where most of the rows or columns have no entry."""
    if len(ids) >= _FEW * size:
        seen = np.zeros(size, dtype=bool)
        seen[ids] = True
        n_seen = int(np.count_nonzero(seen))
    else:
        # The positions are too far apart for an array of all of them.
        n_seen = len(np.unique(ids))
    if n_seen < _FEW * size:
        warnings.warn(
            f"{what} holds {n_seen} different integers up to {size - 1}, which are "
            "positions: all others have no entry. If they are ids, give a data frame "
            "and name its columns, observed_entries(frame, row=..., column=..., "
            "value=...); if they are positions, give matrix_shape.",
            UserWarning,
            stacklevel=2,
        )


def entries_of(
    triples: Triples, matrix_shape: tuple[int, int] | None
) -> tuple[EntryMeasurements, Array]:
    """Measurements and targets of triples in memory, in their order."""
    rows, columns = axes_of([triples], matrix_shape)
    shape = rows.size, columns.size
    (i,), (j,) = rows.positions, columns.positions
    entries = EntryMeasurements(i, j, shape, triples.values.dtype)
    entries.row_labels, entries.column_labels = rows.labels, columns.labels
    warn_of_duplicates(n_repeated(i, j, shape), len(i))
    return entries, triples.values


def axes_of(
    parts: list[Triples], matrix_shape: tuple[int, int] | None
) -> tuple[Axis, Axis]:
    """The rows and the columns of the matrix that triples in several parts are of."""
    check_any_observed([value for part in parts for value in part.values[:1]])
    sizes = (None, None) if matrix_shape is None else as_shape(matrix_shape)
    ids = [part.rows for part in parts], [part.columns for part in parts]
    rows, columns = (
        Axis.of(
            ids[k], parts[0].names[k], any(part.are_labels[k] for part in parts), size
        )
        for k, size in enumerate(sizes)
    )
    return rows, columns


def n_repeated(rows: Array, columns: Array, shape: tuple[int, int]) -> int:
    """Number of entries at cells that an earlier one has already."""
    if shape[0] * shape[1] < 2**63:
        cells = np.sort(rows.astype(np.int64) * shape[1] + columns)
        return int(np.count_nonzero(cells[1:] == cells[:-1]))
    order = np.lexsort((columns, rows))
    return n_equal_neighbours(rows[order], columns[order])


def n_equal_neighbours(rows: Array, columns: Array) -> int:
    """Number of entries, sorted by cells, at the cell of the one before."""
    same = (rows[1:] == rows[:-1]) & (columns[1:] == columns[:-1])
    return int(np.count_nonzero(same))


def warn_of_duplicates(n_repeating: int, n_entries: int) -> None:
    """Say how many entries repeat a cell, if any do."""
    if n_repeating:
        warnings.warn(
            f"{n_repeating} of {n_entries} entries repeat the row and column of an "
            "earlier one; each counts as a measurement of its own. If that is not "
            "meant, drop or average them first.",
            UserWarning,
            stacklevel=2,
        )
