"""Which numbers make up a row and a column, and which of them are to be found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import packed_index
from skprecgd.unknown.base import Unknown


@dataclass(frozen=True)
class Side:
    """The coordinates of the lines of one side: factors first, then offsets.

    Attributes
    ----------
    rank : int
        Number of factors.
    offset : int or None
        The coordinate that is the offset of a line, and one for the other side.
    fixed : int or None
        The coordinate that is one here, and the offset of a line of the other side.
    centred : bool
        Whether the prior of the offsets has a mean: those of the data's columns do.
    """

    rank: int
    offset: int | None
    fixed: int | None
    centred: bool = False

    @property
    def free(self) -> Array:
        """The coordinates that are found, factors first."""
        own = [] if self.offset is None else [self.offset]
        return np.array([*range(self.rank), *own], dtype=np.int64)


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of both sides: an entry is the product of its two lines.

    Attributes
    ----------
    rank : int
    long_offsets, short_offsets : bool
        Whether lines of the longer and of the shorter side have offsets.
    flat : bool
        Whether there is one offset for all entries.
    columns_are_long : bool
        Whether the longer side is that of the data's columns.
    """

    rank: int
    long_offsets: bool
    short_offsets: bool
    flat: bool = False
    columns_are_long: bool = False

    @classmethod
    def of(cls, center: str | None, columns_are_long: bool) -> Coordinates:
        """Those of a centre, without factors."""
        columns, rows = center in ("columns", "both"), center == "both"
        long, short = (columns, rows) if columns_are_long else (rows, columns)
        return cls(0, long, short, center == "mean", columns_are_long)

    @classmethod
    def of_unknown(cls, unknown: Unknown, rank: int) -> Coordinates:
        """Those of what is searched for, its rows being the longer side."""
        (rows, columns), flat = unknown.offsets, unknown.one_of_columns
        return cls(rank, rows, columns and not flat, flat)

    @property
    def size(self) -> int:
        """Number of coordinates of a line."""
        return self.rank + self.long_offsets + self.short_offsets + self.flat

    @property
    def long(self) -> Side:
        centred = self.columns_are_long and self.long_offsets
        return Side(self.rank, self._long_at, self._short_at, centred)

    @property
    def short(self) -> Side:
        # The one offset of all entries is a coordinate of each column that is given.
        if self.flat:
            return Side(self.rank, None, self._short_at)
        centred = self.short_offsets and not self.columns_are_long
        return Side(self.rank, self._short_at, self._long_at, centred)

    def with_rank(self, rank: int) -> Coordinates:
        return replace(self, rank=rank)

    @cached_property
    def at(self) -> Array:
        """Where the product of two coordinates is in a packed matrix."""
        return packed_index(self.size)

    @property
    def _long_at(self) -> int | None:
        return self.rank if self.long_offsets else None

    @property
    def _short_at(self) -> int | None:
        return self.size - 1 if self.short_offsets or self.flat else None
