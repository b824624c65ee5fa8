"""The left side of a block bidiagonalisation: one number a row of the matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from skprecgd._linalg.orthogonal import largest_column, orthogonalised, orthonormal
from skprecgd._runtime.typing import Array


class Products(Protocol):
    """What a basis needs of its matrix."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def times(self, block: Array) -> Array: ...

    def transposed_times(self, block: Array) -> Array: ...


class LeftBasis(ABC):
    """Orthonormal columns U in the space of the rows, and the products that add some.

    A matrix makes its own, by `Matrix.left_basis`: one whose rows are spread over
    machines has U spread with them.

    Attributes
    ----------
    size : int
        Columns so far.
    """

    size: int = 0

    @abstractmethod
    def expand(self, block: Array, known: Array) -> tuple[Array, Array, Array]:
        """New columns from ``X @ block``, and the product of X^T with them.

        Parameters
        ----------
        block : ndarray of shape (n_columns, width)
        known : ndarray of shape (size, width)
            ``U^T X block`` as far as it is known beforehand.

        Returns
        -------
        column, triangle : ndarray of shape (size, width), (width, width)
            ``X @ block = U @ column + new @ triangle``.
        back : ndarray of shape (n_columns, width)
            ``X^T @ new``.
        """

    @abstractmethod
    def times(self, small: Array) -> Array:
        """``U @ small``, shape (n_rows, k), for `small` of shape (size, k)."""

    @abstractmethod
    def restart(self, small: Array) -> None:
        """Replace U by ``U @ small``, for `small` of shape (size, k)."""


class BasisInMemory(LeftBasis):
    """U in one array.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
    capacity : int
        Most columns.
    """

    def __init__(self, X: Products, capacity: int) -> None:
        self._X = X
        dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        self._buffer = np.empty((X.shape[0], capacity), dtype, order="F")

    def expand(self, block: Array, known: Array) -> tuple[Array, Array, Array]:
        basis = self._buffer[:, : self.size]
        image = self._image(block)
        scale = largest_column(image)
        # Between two restarts only the last columns are coupled.
        coupled = np.flatnonzero(known.any(axis=1))
        if len(coupled):
            last = slice(int(coupled[0]), None)
            image = image - basis[:, last] @ known[last].astype(basis.dtype)
        image, correction = orthogonalised(image, basis)
        new, triangle = orthonormal(image, basis, scale)
        self._buffer[:, self.size : self.size + new.shape[1]] = new
        self.size += new.shape[1]
        return known + correction, triangle, self._back(new)

    def times(self, small: Array) -> Array:
        basis = self._buffer[:, : self.size]
        return np.asarray(basis @ small.astype(basis.dtype))

    def restart(self, small: Array) -> None:
        self._buffer[:, : small.shape[1]] = self.times(small)
        self.size = small.shape[1]

    def _image(self, block: Array) -> Array:
        return self._X.times(block)

    def _back(self, new: Array) -> Array:
        return self._X.transposed_times(new)


class BasisOfArray(BasisInMemory):
    """The same for an array: BLAS reads a large one faster from the thin block's side.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
    numbers : ndarray of shape (n_rows, n_columns)
        The entries of X.
    capacity : int
    """

    def __init__(self, X: Products, numbers: Array, capacity: int) -> None:
        super().__init__(X, capacity)
        self._numbers = numbers

    def _image(self, block: Array) -> Array:
        return np.asarray(block.T @ self._numbers.T).T

    def _back(self, new: Array) -> Array:
        return np.asarray(new.T @ self._numbers).T
