"""Block Golub-Kahan-Lanczos bidiagonalisation, cut back by thick restarts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.orthogonal import orthogonalised, orthonormal
from skprecgd._linalg.svd_tuning import RoundingLevels
from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class RitzTriplets:
    """SVD of the small matrix, and by how much its triplets miss those of X.

    Attributes
    ----------
    left, right : ndarray of shape (size, size)
        Coordinates of the Ritz vectors in the bases.
    values : ndarray of shape (size,)
        Descending.
    residuals : ndarray of shape (size,)
        Norm of ``X^T u - s v`` for each triplet; ``X v - s u`` is zero.
    """

    left: Array
    values: Array
    right: Array
    residuals: Array


class KrylovBases:
    """Orthonormal bases U, V with ``X V = U B``; V grows by one block at a time.

    ``X^T U`` lies in the span of V and of the next block, coupled by C:
    ``X^T U = V B^T + V_next C``. That gives the residual of every Ritz triplet without
    touching a long vector. All vectors are reorthogonalised; after a thick restart B is
    diagonal with a dense block column.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
    width : int
        Columns a block.
    capacity : int
        Most columns of the bases.
    rng : RandomState
        Draws the first block, and one more wherever the space is exhausted.
    rounding : RoundingLevels

    Attributes
    ----------
    eps : float
        Machine precision of the products.
    n_blocks : int
        Blocks taken in: products with X, and with its transpose.
    """

    def __init__(
        self,
        X: Matrix,
        width: int,
        capacity: int,
        rng: np.random.RandomState,
        rounding: RoundingLevels,
    ) -> None:
        self._width, self._capacity = width, capacity
        self._rng, self._rounding = rng, rounding
        n_columns = X.shape[1]
        single = X.dtype == np.float32
        self._dtype = np.dtype(np.float32 if single else np.float64)
        self.eps = float(np.finfo(np.float32 if single else np.float64).eps)
        self._left = X.left_basis(capacity)
        self._V_buffer = np.empty((n_columns, capacity), self._dtype, order="F")
        self._B = np.empty((0, 0))
        self._next = self._random_block()
        self._coupling = np.empty((self._next.shape[1], 0))
        self.n_blocks = 0

    @property
    def size(self) -> int:
        """Dimension of the bases."""
        return len(self._B)

    @property
    def _V(self) -> Array:
        return self._V_buffer[:, : self.size]

    @property
    def exhausted(self) -> bool:
        """Whether the bases span the whole space, and the triplets are exact."""
        return self.size >= self._V_buffer.shape[0]

    @property
    def full(self) -> bool:
        """Whether there is no room for the next block."""
        return self.exhausted or self.size + self._next.shape[1] > self._capacity

    def expand(self) -> None:
        """Take in the next block: one product with X, one with its transpose."""
        block, size = self._next, self.size
        column, triangle, back = self._left.expand(block, self._coupling.T)
        back = back - block @ triangle.T.astype(self._dtype)
        self._append(block, column, triangle)
        back, _ = orthogonalised(back, self._V)
        self._next, coupling = self._next_block(back)
        self._coupling = np.zeros((coupling.shape[0], self.size))
        self._coupling[:, size:] = coupling
        self.n_blocks += 1

    def _append(self, v: Array, column: Array, triangle: Array) -> None:
        size, width = self.size, v.shape[1]
        self._V_buffer[:, size : size + width] = v
        B = np.zeros((size + width, size + width))
        B[:size, :size] = self._B
        B[:size, size:] = column
        B[size:, size:] = triangle
        self._B = B

    def ritz(self) -> RitzTriplets:
        """The Rayleigh-Ritz triplets in the span of the bases."""
        left, values, right = linalg.svd(self._B, check_finite=False)
        residuals = np.linalg.norm(self._coupling @ left, axis=0)
        return RitzTriplets(left, values, right.T, residuals)

    def triplets(self, rank: int) -> tuple[Array, Array, Array]:
        """Leading triplets of X projected on the span of U.

        The next block is known and coupled, so these are half a block further than
        the Ritz triplets, whose residuals it was needed for.
        """
        projected = np.hstack([self._B, self._coupling.T])
        left, s, right = linalg.svd(
            projected, full_matrices=False, check_finite=False, overwrite_a=True
        )
        right = right[:rank].T.astype(self._dtype)
        v = self._V @ right[: self.size] + self._next @ right[self.size :]
        return self._left.times(left[:, :rank]), s[:rank].astype(self._dtype), v

    def restart(self, ritz: RitzTriplets, kept: int) -> None:
        """Cut the bases back to the leading Ritz vectors (a thick restart)."""
        self._left.restart(ritz.left[:, :kept])
        right = ritz.right[:, :kept].astype(self._dtype)
        self._V_buffer[:, :kept] = self._V @ right
        self._B = np.diag(ritz.values[:kept])
        self._coupling = self._coupling @ ritz.left[:, :kept]

    def _next_block(self, back: Array) -> tuple[Array, Array]:
        """Orthonormal columns spanning `back`, and their coefficients."""
        q, r, order = linalg.qr(
            back, mode="economic", pivoting=True, check_finite=False
        )
        largest = np.max(np.abs(self._B), initial=0.0)
        least = self._rounding.direction * self.eps * largest
        kept = int(np.sum(np.abs(np.diag(r)) > least))
        kept = min(kept, self._V.shape[0] - self.size)
        if kept == 0:
            # The subspace is invariant. The singular values still missing are below
            # rounding, so any further directions will do.
            block = self._random_block()
            return block, np.zeros((block.shape[1], back.shape[1]))
        smallest = float(np.abs(r[kept - 1, kept - 1]))
        q = orthonormal(q[:, :kept], self._V, largest / smallest)[0]
        coefficients = np.empty((kept, back.shape[1]))
        coefficients[:, order] = r[:kept]
        return q, coefficients

    def _random_block(self) -> Array:
        n_columns = self._V.shape[0]
        width = min(self._width, n_columns - self.size)
        block = self._rng.standard_normal((n_columns, width)).astype(self._dtype)
        if width == 0:
            return block
        return orthonormal(orthogonalised(block, self._V)[0], self._V, np.inf)[0]
