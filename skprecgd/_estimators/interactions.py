"""What a recommender is fitted to: positions of pairs, their targets and weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._estimators.weighting import checked_numbers, is_number
from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.typing import Array
from skprecgd.measurements import EntryMeasurements
from skprecgd.measurements.labels import joined
from skprecgd.measurements.pairs import Ids, Pairs

_FLOATS = [np.float64, np.float32]


@dataclass(frozen=True)
class Interactions:
    """Pairs of a row and a column, each with a target and a weight.

    Attributes
    ----------
    rows, columns : ndarray of int, shape (n,)
    values : ndarray of shape (n,) or None
        The targets; None is one for all.
    weights : ndarray of shape (n,) or None
        Positive; None is one for all.
    row_ids, column_ids : Ids
    """

    rows: Array
    columns: Array
    values: Array | None
    weights: Array | None
    row_ids: Ids
    column_ids: Ids

    @classmethod
    def read(
        cls,
        pairs: Pairs,
        y: Any,
        sample_weight: Any,
        more: tuple[Array | None, Array | None] = (None, None),
    ) -> Interactions:
        """Checked interactions; pairs of weight zero are left out.

        Parameters
        ----------
        pairs : Pairs
        y, sample_weight
            As the user gives them.
        more : tuple of ndarray or None
            Ids of rows and columns that have a place whether they have a pair or not.

        Raises
        ------
        ValueError
            If a length is wrong, a target not finite or a weight negative.
        """
        n = len(pairs)
        values = None if y is None else _checked(y, n, "y")
        weights = _weights(sample_weight, n)
        if weights is not None and not np.all(weights):
            kept = np.flatnonzero(weights)
            pairs, weights = pairs.at(kept), weights[kept]
            values = None if values is None else values[kept]
        row_ids, rows = _placed(pairs.rows, more[0])
        column_ids, columns = _placed(pairs.columns, more[1])
        kind = np.int32 if max(len(row_ids), len(column_ids)) < 2**31 else np.int64
        places = rows.astype(kind, copy=False), columns.astype(kind, copy=False)
        return cls(*places, values, weights, row_ids, column_ids)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.row_ids), len(self.column_ids)

    def with_more(self, more: Interactions, *, replace: bool) -> Interactions:
        """These and others, with the places of all.

        Parameters
        ----------
        more : Interactions
            With values if these have some.
        replace : bool
            Whether pairs of others take the place of the same pairs among these.
        """
        row_ids, rows, new_rows = _together(self.row_ids, more.row_ids)
        column_ids, columns, new_columns = _together(self.column_ids, more.column_ids)
        places = rows[self.rows], columns[self.columns]
        news = new_rows[more.rows], new_columns[more.columns]
        kept: Any = slice(None)
        if replace:
            old, new = (
                i.astype(np.int64) * len(column_ids) + j for i, j in (places, news)
            )
            kept = ~np.isin(old, new)
        values, weights = (
            _joined(ours, theirs, kept, (len(self.rows), len(more.rows)))
            for ours, theirs in (
                (self.values, more.values),
                (self.weights, more.weights),
            )
        )
        kind = np.int32 if max(len(row_ids), len(column_ids)) < 2**31 else np.int64
        rows, columns = (
            np.concatenate([ours[kept], theirs]).astype(kind)
            for ours, theirs in zip(places, news, strict=True)
        )
        return Interactions(rows, columns, values, weights, row_ids, column_ids)

    @property
    def n_groups(self) -> int:
        """How many groups of rows and columns share no pair."""
        return EntryMeasurements(self.rows, self.columns, self.shape).groups().n_groups

    def pattern(self) -> sparse.csr_array:
        """Which cells have an interaction, as a sparse array of truth values."""
        seen = np.ones(len(self.rows), dtype=bool)
        pattern = sparse.csr_array((seen, (self.rows, self.columns)), self.shape)
        pattern.sum_duplicates()
        return pattern

    def cells(self) -> tuple[sparse.csr_array, Array | None]:
        """Targets and weights of cells: weights of pairs that repeat add up.

        The target of a cell is the weighted mean of its pairs', whose weights are None
        if all of them are one. Without targets and weights single precision will do.
        """
        given = [part for part in (self.values, self.weights) if part is not None]
        dtype = np.result_type(*given) if given else np.dtype(np.float32)
        often = np.ones(len(self.rows), dtype)
        if self.weights is not None:
            often = self.weights.astype(dtype, copy=False)
        weights = self._summed(often)
        targets = with_values(weights, np.ones_like(weights.data))
        if self.values is not None:
            targets = self._summed(often * self.values.astype(dtype, copy=False))
            targets.data /= weights.data
        plain = np.all(weights.data == 1.0)
        return targets, None if plain else weights.data

    def _summed(self, numbers: Array) -> sparse.csr_array:
        cells = sparse.coo_array((numbers, (self.rows, self.columns)), self.shape)
        return cells.tocsr()


def _placed(ids: Array, more: Array | None) -> tuple[Ids, Array]:
    """All different ids, and the positions of the first."""
    if more is None:
        return Ids.of(ids)
    known, positions = Ids.of(joined([ids, more]))
    return known, positions[: len(ids)]


def _together(first: Ids, second: Ids) -> tuple[Ids, Array, Array]:
    """The ids of both, and the positions of the first and of the second."""
    both, positions = Ids.of(joined([first.labels, second.labels]))
    return both, positions[: len(first)], positions[len(first) :]


def _joined(
    ours: Array | None, theirs: Array | None, kept: Any, counts: tuple[int, int]
) -> Array | None:
    """Numbers of both; None is one for all."""
    if ours is None and theirs is None:
        return None
    ours = np.ones(counts[0]) if ours is None else ours
    theirs = np.ones(counts[1]) if theirs is None else theirs
    return np.concatenate([ours[kept], theirs])


def _checked(values: Any, n: int, name: str) -> Array:
    numbers = np.asarray(checked_numbers(values, name, dtype=_FLOATS))
    if numbers.shape != (n,):
        raise ValueError(
            f"{name} must hold one number for each of the {n} pairs, got shape "
            f"{numbers.shape}."
        )
    return numbers


def _weights(sample_weight: Any, n: int) -> Array | None:
    if sample_weight is None:
        return None
    if is_number(sample_weight):
        sample_weight = np.full(n, sample_weight, dtype=np.float64)
    weights = _checked(sample_weight, n, "sample_weight")
    if np.any(weights < 0) or not np.any(weights > 0):
        raise ValueError(
            "sample_weight must not be negative, nor zero everywhere; it runs from "
            f"{np.min(weights):g} to {np.max(weights):g}."
        )
    return weights
