"""Golub-Kahan-Lanczos: a few leading singular triplets, as exactly as they are needed.

ARPACK looks at its answer only when its basis is full, and it has to know beforehand
how many triplets are wanted. Here the answer is looked at after every pair of products,
so a direction that stands out costs three or four of them. A small array is decomposed
at once, because that takes less time than a few calls (see `svd_tuning`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from skprecgd._linalg.matrices import as_matrix
from skprecgd._linalg.numerics import adjoint_of
from skprecgd._linalg.svd_tuning import BIDIAGONAL, BidiagonalTuning
from skprecgd._runtime.typing import Array


class _Basis:
    """Orthonormal vectors, the rows of an array that grows.

    Parameters
    ----------
    n : int
        Length of the vectors.
    dtype : dtype
    rng : RandomState
        Draws the directions that take the place of rounding.
    rounding : float
        As in `BidiagonalTuning`.
    """

    def __init__(
        self, n: int, dtype: np.dtype, rng: np.random.RandomState, rounding: float
    ) -> None:
        self._rows = np.empty((8, n), dtype)
        self._rng, self._least = rng, rounding * np.finfo(dtype).eps
        self.size = 0

    @property
    def rows(self) -> Array:
        return self._rows[: self.size]

    def add(self, vector: Array, scale: float) -> float:
        """Take up what is new in a vector, and return how long that is.

        Where it is only rounding beside `scale`, a random direction takes its place and
        the length is 0.
        """
        vector, length = self._rest(vector)
        fresh = length
        if length <= self._least * scale:
            vector = self._rng.standard_normal(len(vector)).astype(vector.dtype)
            vector, length = self._rest(vector)
            fresh = 0.0
        if self.size == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        np.divide(vector, vector.dtype.type(length), out=self._rows[self.size])
        self.size += 1
        return fresh

    def _rest(self, vector: Array) -> tuple[Array, float]:
        # A vector that was made orthogonal twice is so to machine precision.
        for _ in range(2):
            vector = vector - (self.rows.conj() @ vector) @ self.rows
        return vector, float(np.linalg.norm(vector))


def spectrum(
    matrix: Any, rng: np.random.RandomState, tuning: BidiagonalTuning = BIDIAGONAL
) -> Spectrum:
    """The leading triplets of a matrix, to be known as well as they are needed.

    Parameters
    ----------
    matrix : Matrix, array, sparse array or LinearOperator of shape (n_rows, n_columns)
    rng : RandomState
        Draws the start of an iteration.
    tuning : BidiagonalTuning
    """
    matrix = as_matrix(matrix)
    array = matrix.in_memory()
    if array is not None and max(array.shape) <= tuning.direct_size:
        return Decomposition(array)
    return Bidiagonalization(matrix, rng, tuning)


class Spectrum(ABC):
    """The leading singular triplets of a matrix."""

    @abstractmethod
    def until(self, enough: Callable[[Array, Array], bool]) -> None:
        """Go on until the values will do.

        Parameters
        ----------
        enough : callable
            Called with the values so far, descending, and for each the norm by which
            its vectors miss a singular pair; returns whether that is enough.
        """

    @property
    @abstractmethod
    def values(self) -> Array:
        """The singular values so far, descending."""

    @abstractmethod
    def triplets(self, count: int) -> tuple[Array, Array, Array]:
        """The `count` leading u, s, v, of shape (n_rows, k), (k,), (n_columns, k)."""


class Decomposition(Spectrum):
    """All triplets of a small array, as exactly as can be.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
    """

    def __init__(self, matrix: Array) -> None:
        self._u, self._s, self._vt = np.linalg.svd(matrix, full_matrices=False)

    def until(self, enough: Callable[[Array, Array], bool]) -> None:
        return None

    @property
    def values(self) -> Array:
        return self._s

    def triplets(self, count: int) -> tuple[Array, Array, Array]:
        return self._u[:, :count], self._s[:count], self._vt[:count].conj().T


class Bidiagonalization(Spectrum):
    """Singular values of a matrix as seen from a Krylov space that grows by the step.

    Parameters
    ----------
    matrix : Matrix, array, sparse array or LinearOperator of shape (n_rows, n_columns)
    rng : RandomState
        Draws the start.
    tuning : BidiagonalTuning
    """

    def __init__(
        self,
        matrix: Any,
        rng: np.random.RandomState,
        tuning: BidiagonalTuning = BIDIAGONAL,
    ) -> None:
        matrix = as_matrix(matrix)
        n_rows, n_columns = matrix.shape
        self._turned = n_rows < n_columns
        self._matrix = adjoint_of(matrix) if self._turned else matrix
        dtype = np.dtype(matrix.dtype)
        self._left = _Basis(max(n_rows, n_columns), dtype, rng, tuning.rounding)
        self._right = _Basis(min(n_rows, n_columns), dtype, rng, tuning.rounding)
        self._most = min(n_rows, n_columns)
        self._diagonal: list[float] = []
        self._above: list[float] = []
        start = rng.standard_normal(self._most).astype(dtype)
        self._right.add(start, 0.0)

    def until(self, enough: Callable[[Array, Array], bool]) -> None:
        while len(self._diagonal) < self._most:
            self._step()
            left, values, _ = self._small()
            beyond = self._above[-1] if len(self._above) == len(values) else 0.0
            if enough(values, beyond * np.abs(left[-1])):
                return

    @property
    def values(self) -> Array:
        return self._small()[1]

    def triplets(self, count: int) -> tuple[Array, Array, Array]:
        left, values, right = self._small()
        k = len(values)
        u = self._left.rows.T @ left[:, :count].astype(self._left.rows.dtype)
        v = self._right.rows[:k].T @ right[:count].T.astype(self._right.rows.dtype)
        return (v, values[:count], u) if self._turned else (u, values[:count], v)

    def _step(self) -> None:
        """One product with the matrix and one with its transpose."""
        scale = max(self._diagonal + self._above, default=0.0)
        image = self._matrix.times(self._right.rows[-1])
        scale = max(scale, float(np.linalg.norm(image)))
        self._diagonal.append(self._left.add(image, scale))
        if len(self._diagonal) < self._most:
            back = self._matrix.transposed_times(self._left.rows[-1])
            self._above.append(self._right.add(back, scale))

    def _small(self) -> tuple[Array, Array, Array]:
        """The SVD of the bidiagonal matrix."""
        k = len(self._diagonal)
        bidiagonal = np.diag(self._diagonal) + np.diag(self._above[: k - 1], 1)
        left, values, right = np.linalg.svd(bidiagonal)
        return left, values, right
