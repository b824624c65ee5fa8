"""The row space of a fitted factorization."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product


@dataclass(frozen=True, eq=False)
class RowSpace:
    """The space in which rows have coordinates: row i is ``basis @ z_i + offsets``.

    Attributes
    ----------
    basis : ndarray of shape (n_columns, r)
        Orthonormal columns.
    offsets : ndarray of shape (n_columns,)
    rank : int, default=None
        The leading columns of the basis that stand for more than rounding. The others
        say nothing about the missing entries of a row. None is all of them.
    """

    basis: Array
    offsets: Array
    rank: int | None = None

    @cached_property
    def determined(self) -> RowSpace:
        """The space of the leading columns that stand for more than rounding."""
        if self.rank is None or self.rank >= self.basis.shape[1]:
            return self
        return RowSpace(self.basis[:, : self.rank], self.offsets)

    def padded(self, z: Array) -> Array:
        """Coordinates in `determined`, with zeros for the other columns."""
        missing = self.basis.shape[1] - z.shape[1]
        return np.pad(z, ((0, 0), (0, missing))) if missing else z

    def coordinates(self, X: Array) -> Array:
        """Least-squares coordinates of complete rows, shape (n_rows, r)."""
        z = np.asarray(X @ self.basis)
        return z - self.offsets @ self.basis if self.offsets.any() else z

    def entries(self, z: Array, rows: Array, columns: Array) -> Array:
        """Entries of the rows with coordinates `z`, one for each row and column."""
        return sampled_product(z, self.basis, rows, columns) + self.offsets[columns]
