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


def without_rows(center: str | None) -> str | None:
    """The `center` that has no row offsets, and otherwise the same meaning.

    Entries of different groups do not tell how their row offsets compare.
    """
    return "columns" if center == "both" else center


def components_taken(center: str | None) -> int:
    """How many of the `n_components` the offsets take: one with ``center="both"``."""
    return int(center == "both")


def search_rank(n_components: int, n_taken: int) -> int:
    """The rank to search for, at least 1.

    The row offsets may take the only component, but a path starts at rank one.
    """
    return max(1, n_components - n_taken)


@dataclass(frozen=True)
class Offsets:
    """Offsets of rows and columns, taken off the data before the fit.

    Column offsets are added to predictions. Row offsets are put back as a component,
    times a constant row, so that coordinates of rows remain linear in the rows: that
    component is one of the `n_components`.

    Attributes
    ----------
    rows : ndarray of shape (n_rows,)
    columns : ndarray of shape (n_columns,)
    n_taken : {0, 1}
        Components that the row offsets take: one with ``center="both"``.
    """

    rows: Array
    columns: Array
    n_taken: int = 0

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Self:
        """Offsets that are all zero."""
        n_rows, n_columns = shape
        return cls(np.zeros(n_rows), np.zeros(n_columns))

    @classmethod
    def of(cls, center: str | None, offsets: tuple[Array, Array]) -> Self:
        """The offsets that `center` stands for, given those of rows and columns."""
        return cls(*offsets, components_taken(center))

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

    def search_rank(self, n_components: int) -> int:
        """The rank to search for; see the function of that name."""
        return search_rank(n_components, self.n_taken)

    def within(self, factors: Factors, n_components: int) -> Factors:
        """The factors, truncated to the components that the row offsets leave."""
        room = n_components - self.n_taken
        return factors if factors.rank <= room else factors.truncated(room)

    def at(self, block: Block) -> Offsets:
        """The offsets of some rows and columns."""
        return Offsets(self.rows[block.rows], self.columns[block.columns], self.n_taken)

    @property
    def of_columns(self) -> Offsets:
        """The column offsets alone."""
        return Offsets(np.zeros_like(self.rows), self.columns)

    def subtracted(self, values: Array, rows: Array, columns: Array) -> Array:
        """Values of entries without the offsets of their rows and columns."""
        centred = values
        for offset, index in ((self.rows, rows), (self.columns, columns)):
            if offset.any():
                centred = centred - offset[index]
        return centred.astype(values.dtype, copy=False)

    def with_rows(self, factors: Factors) -> Factors:
        """The factors with the component that the row offsets take."""
        if not self.n_taken:
            return factors
        return _joined(factors, self.rows, np.ones(len(self.columns)))

    def without_rows(self, factors: Factors) -> Factors:
        """The factors that `with_rows` was given; at least one column is left."""
        if not self.n_taken:
            return factors
        both = _joined(factors, -self.rows, np.ones(len(self.columns)))
        return both.truncated(max(1, factors.rank - 1))

    def with_all(self, factors: Factors) -> Factors:
        """Factors of the whole matrix, both kinds of offsets included."""
        if self.are_zero:
            return factors
        both = _joined(factors, self.rows, np.ones(len(self.columns)))
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
    return Offsets(rows, columns, own[0].n_taken)


def _joined(factors: Factors, left: Array, right: Array) -> FactorPair:
    """The factors with one more column each."""
    columns = (column[:, None].astype(factors.dtype) for column in (left, right))
    pairs = zip(factors.blocks, columns, strict=True)
    return FactorPair(*(np.hstack(pair) for pair in pairs))
