"""The row space of a fitted factorization."""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    basis: Array
    offsets: Array

    def coordinates(self, X: Array) -> Array:
        """Least-squares coordinates of complete rows, shape (n_rows, r)."""
        return np.asarray(X @ self.basis) - self.offsets @ self.basis

    def entries(self, z: Array, rows: Array, columns: Array) -> Array:
        """Entries of the rows with coordinates `z`, one for each row and column."""
        return sampled_product(z, self.basis, rows, columns) + self.offsets[columns]
