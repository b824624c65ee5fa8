"""The offsets that the parameter `center` subtracts, and how they are added back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors


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
        return cls(*offsets, int(center == "both"))

    @property
    def pair(self) -> tuple[Array, Array]:
        """The offsets of the rows, and those of the columns."""
        return self.rows, self.columns

    @property
    def are_zero(self) -> bool:
        """Whether the data stay as they are."""
        return not (self.rows.any() or self.columns.any())

    def search_rank(self, n_components: int) -> int:
        """The rank to search for, at least 1.

        The row offsets may take the only component, but a path starts at rank one.
        """
        return max(1, n_components - self.n_taken)

    def within(self, factors: Factors, n_components: int) -> Factors:
        """The factors, truncated to the components that the row offsets leave."""
        room = n_components - self.n_taken
        return factors if factors.rank <= room else factors.truncated(room)

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


def _joined(factors: Factors, left: Array, right: Array) -> FactorPair:
    """The factors with one more column each."""
    columns = (column[:, None].astype(factors.dtype) for column in (left, right))
    pairs = zip(factors.blocks, columns, strict=True)
    return FactorPair(*(np.hstack(pair) for pair in pairs))
