"""The offsets that the parameter `center` subtracts, and how they are added back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from skprecgd._linalg.groups import Block
from skprecgd._linalg.numerics import norm
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors

Seen = tuple[Array, Array]

# Rounding errors of differences, in machine epsilons of the values.
_ROUNDING = 4.0


def without_rows(center: str | None) -> str | None:
    """The `center` that has no row offsets, and otherwise the same meaning.

    Entries of different groups do not tell how their row offsets compare.
    """
    return "columns" if center == "both" else center


def most_components(center: str | None, shape: tuple[int, int]) -> int:
    """How many components a matrix of that shape may have beside its offsets.

    Beside those of rows and columns they have no means, so that there is one less.
    """
    return min(shape) - (center == "both")


def search_rank(n_components: int, center: str | None, shape: tuple[int, int]) -> int:
    """The rank to search for, at least 1, because a path starts at rank one."""
    return max(1, min(n_components, most_components(center, shape)))


@dataclass(frozen=True)
class Offsets:
    """Offsets of rows and columns: before a fit those of means, then those found.

    Column offsets are added to predictions. Row offsets are put back as a component,
    times a constant row, so that coordinates of rows remain linear in the rows.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
    columns : ndarray of shape (n_columns,)
    of_rows : bool
        Whether rows have offsets, also where all of these are zero.
    """

    rows: Array
    columns: Array
    of_rows: bool = False

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Self:
        """Offsets that are all zero."""
        n_rows, n_columns = shape
        return cls(np.zeros(n_rows), np.zeros(n_columns))

    @classmethod
    def of(cls, center: str | None, offsets: tuple[Array, Array]) -> Self:
        """The offsets that `center` stands for, given those of rows and columns."""
        return cls(*offsets, center == "both")

    @property
    def pair(self) -> tuple[Array, Array]:
        """The offsets of the rows, and those of the columns."""
        return self.rows, self.columns

    @property
    def are_zero(self) -> bool:
        """Whether the data stay as they are."""
        return not (self.rows.any() or self.columns.any())

    @property
    def size(self) -> float:
        """Norm of the matrix that is subtracted from the data."""
        n_rows, n_columns = len(self.rows), len(self.columns)
        sides = np.sqrt([n_columns, n_rows]) * [norm(self.rows), norm(self.columns)]
        return norm(sides)

    def within(self, factors: Factors) -> Factors:
        """The factors, truncated to the components that the row offsets leave."""
        room = min(factors.matrix_shape) - self.of_rows
        return factors if factors.rank <= room else factors.truncated(room)

    def with_found(self, factors: Factors, seen: Seen) -> Offsets:
        """These offsets and those that were found with the factors.

        Parameters
        ----------
        factors : Factors
        seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
            Rows and columns with an observed entry. Row offsets sum to zero over these.
        """
        own_rows, own_columns = factors.offsets
        if not (own_rows.any() or own_columns.any()):
            return self
        rows, columns = self.rows + own_rows, self.columns + own_columns
        if self.of_rows:
            shift = np.average(rows, weights=seen[0])
            rows = np.where(seen[0], rows - shift, rows)
            columns = np.where(seen[1], columns + shift, columns)
        return Offsets(rows, columns, self.of_rows)

    def without(self, others: Offsets) -> Offsets:
        """The offsets by which these differ from others."""
        rows, columns = self.rows - others.rows, self.columns - others.columns
        return Offsets(rows, columns, self.of_rows)

    def at(self, block: Block) -> Offsets:
        """The offsets of some rows and columns."""
        return Offsets(self.rows[block.rows], self.columns[block.columns], self.of_rows)

    @property
    def of_columns(self) -> Offsets:
        """The column offsets alone."""
        return Offsets(np.zeros_like(self.rows), self.columns)

    def subtracted(self, values: Array, rows: Array, columns: Array) -> Array:
        """Values of entries without the offsets of their rows and columns.

        What is left where the values are nothing but offsets is rounding, and counts as
        zero, so that no component is looked for in it.
        """
        centred = values
        for offset, index in ((self.rows, rows), (self.columns, columns)):
            if offset.any():
                centred = centred - offset[index]
        rounding = _ROUNDING * float(np.finfo(values.dtype).eps)
        if centred is not values and norm(centred) <= rounding * norm(values):
            centred = np.zeros_like(values)
        return centred.astype(values.dtype, copy=False)

    def with_rows(self, factors: Factors) -> Factors:
        """The factors with one more component, that of the row offsets."""
        if not self.of_rows:
            return factors.low_rank
        return _joined(factors.low_rank, self.rows, np.ones(len(self.columns)))

    def without_rows(self, factors: Factors) -> Factors:
        """The factors that `with_rows` was given."""
        if not self.of_rows:
            return factors
        both = _joined(factors, -self.rows, np.ones(len(self.columns)))
        return both.truncated(factors.rank - 1)

    def with_all(self, factors: Factors) -> Factors:
        """Factors of the whole matrix, both kinds of offsets included."""
        if self.are_zero:
            return factors.low_rank
        both = _joined(factors.low_rank, self.rows, np.ones(len(self.columns)))
        return _joined(both, np.ones(len(self.rows)), self.columns)


def joined_offsets(
    elsewhere: Offsets, blocks: Sequence[Block], own: Sequence[Offsets]
) -> Offsets:
    """The offsets of a matrix whose groups have offsets of their own.

    Parameters
    ----------
    elsewhere : Offsets
        Those of rows and columns in none of the blocks.
    blocks : sequence of Block
    own : sequence of Offsets
        Those of each block.
    """
    rows, columns = elsewhere.rows.copy(), elsewhere.columns.copy()
    for block, offsets in zip(blocks, own, strict=True):
        rows[block.rows], columns[block.columns] = offsets.pair
    return Offsets(rows, columns, own[0].of_rows)


def _joined(factors: Factors, left: Array, right: Array) -> FactorPair:
    """The factors with one more column each."""
    columns = (column[:, None].astype(factors.dtype) for column in (left, right))
    pairs = zip(factors.blocks, columns, strict=True)
    return FactorPair(*(np.hstack(pair) for pair in pairs))
