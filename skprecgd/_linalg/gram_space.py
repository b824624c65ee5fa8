"""A Krylov space of ``X^T X`` that keeps one number for each line of the shorter side.

Block Lanczos tridiagonalisation. Against the bidiagonalisation of `krylov_bases`, which
keeps a basis on either side, only the shorter side is made orthogonal and held in
memory; a matrix can form ``X^T (X V)`` in one pass. The price is that squares of the
singular values are what is seen: values below the root of the machine precision, as a
share of the largest, are hidden.
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.orthogonal import largest_column, orthogonalised
from skprecgd._linalg.svd_tuning import RoundingLevels
from skprecgd._linalg.symmetric import top_eigenpairs
from skprecgd._runtime.typing import Array

# A column that kept this share of its size when it was made orthogonal to others has
# lost at most two digits of orthogonality.
_SHRUNK = 1e-2
# Columns this close to rounding, as a multiple of it, are looked at one by one.
_MARGIN = 10.0


class GramSpace:
    """An orthonormal basis V of the Krylov space, and ``T = V^T X^T X V``.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
        With fewer columns than rows, best.
    width : int
        Columns of a block.
    rng : RandomState
        Draws the first block, and more wherever the space is exhausted.
    rounding : RoundingLevels

    Attributes
    ----------
    n_blocks : int
        Products with ``X^T X``.
    eps : float
        Machine precision of the products.
    """

    def __init__(
        self,
        X: Matrix,
        width: int,
        rng: np.random.RandomState,
        rounding: RoundingLevels,
    ) -> None:
        self._X, self._rng, self._rounding = X, rng, rounding
        self._n = X.shape[1]
        single = X.dtype == np.float32
        self._dtype = np.dtype(np.float32 if single else np.float64)
        self.eps = float(np.finfo(np.float32 if single else np.float64).eps)
        self.width = width
        # Columns of the basis are rows of the buffer, which grows.
        self._buffer = np.empty((0, self._n), self._dtype)
        self._T = np.empty((0, 0))
        self.size = self._stored = self._last = 0
        self.n_blocks = 0
        self._next = self._fresh(width)
        self._put(self._next)
        self._largest = 0.0

    @property
    def _V(self) -> Array:
        """The basis, and the next block if there is one."""
        return self._buffer[: self._stored].T

    @property
    def exhausted(self) -> bool:
        """Whether the basis spans the whole space, and all values are exact."""
        return self.size >= self._n

    def expand(self) -> None:
        """Take in the next block: one product with ``X^T X``."""
        V, block = self._V, self._next
        width, size = block.shape[1], self.size
        back = self._X.gram_times(block)
        scale = largest_column(back)
        self._largest = max(self._largest, scale)
        # The large coefficients first: what they leave by rounding goes with the rest.
        near = max(0, size - self._last)
        rest, large = orthogonalised(back, V[:, near:])
        rest, coefficients = orthogonalised(rest, V)
        coefficients[near:] += large
        self._last = width
        self._couple(coefficients, width)
        self.size = size + width
        self.n_blocks += 1
        self._take_next(rest, scale)

    def values(self) -> Array:
        """Ritz values, descending: squares of singular values, seen from below."""
        values = np.linalg.eigvalsh(self._T)[::-1]
        return np.maximum(values, 0.0)

    def vectors(self, rank: int) -> Array:
        """Leading Ritz vectors, orthonormal up to the rounding of the products."""
        coordinates = top_eigenpairs(self._T, rank)[1].astype(self._dtype)
        return np.asarray(coordinates.T @ self._buffer[: self.size]).T

    def widen(self) -> None:
        """Let as many random directions as it has columns join the next block.

        A block of b columns sees a singular value at most b times, however often it
        is there.
        """
        columns = min(self.width, self._n - self.size - self._next.shape[1])
        if columns > 0:
            fresh = self._fresh(columns)
            self._put(fresh)
            self._next = np.hstack([self._next, fresh])
        self.width *= 2

    def _couple(self, coefficients: Array, width: int) -> None:
        """Enter the coefficients of the last product, which T is made of."""
        size = self.size
        T = np.zeros((size + width, size + width))
        T[:size, :size] = self._T
        T[:size, size:] = coefficients[:size]
        T[size:, :size] = coefficients[:size].T
        square = coefficients[size : size + width]
        T[size:, size:] = 0.5 * (square + square.T)
        self._T = T

    def _take_next(self, rest: Array, scale: float) -> None:
        """Make what is new in a product the next block."""
        if self.exhausted:
            self._next = np.empty((self._n, 0), self._dtype)
            return
        rounding = self._rounding.direction * self.eps * self._largest
        block, smallest = self._orthonormal(rest)
        room = self._n - self.size
        if smallest <= _MARGIN * rounding or rest.shape[1] > room:
            block = self._independent(rest, rounding)
        if smallest <= _SHRUNK * scale:
            # A visible remainder of the basis may be left, so it is removed again.
            basis = self._buffer[: self.size].T
            block = self._orthonormal(orthogonalised(block, basis)[0])[0]
        self._next = block
        self._put(block)

    def _orthonormal(self, block: Array) -> tuple[Array, float]:
        """QR by the Cholesky factor of the Gram matrix, or by LAPACK where it fails.

        Also the smallest number on the diagonal of R.
        """
        exact = block.astype(np.float64)
        try:
            triangle = linalg.cholesky(exact.T @ exact, check_finite=False)
        except linalg.LinAlgError:
            q, triangle = linalg.qr(exact, mode="economic", check_finite=False)
        else:
            q = linalg.solve_triangular(
                triangle, exact.T, trans="T", check_finite=False
            ).T
        smallest = float(np.min(np.abs(np.diag(triangle)), initial=np.inf))
        return q.astype(self._dtype), smallest

    def _independent(self, rest: Array, rounding: float) -> Array:
        """Orthonormal columns for what is no rounding; fresh ones if there is none."""
        q, r, _ = linalg.qr(rest, mode="economic", pivoting=True, check_finite=False)
        kept = int(np.sum(np.abs(np.diag(r)) > rounding))
        kept = min(kept, self._n - self.size)
        return q[:, :kept] if kept else self._fresh(self.width)

    def _fresh(self, width: int) -> Array:
        """Random orthonormal columns, orthogonal to all there are."""
        width = min(width, self._n - self.size)
        block = self._rng.standard_normal((self._n, width)).astype(self._dtype)
        if not self._stored:
            return self._orthonormal(block)[0]
        for _ in range(2):
            block = orthogonalised(block, self._V)[0]
            block = self._orthonormal(block)[0]
        return block

    def _put(self, block: Array) -> None:
        start, stop = self._stored, self._stored + block.shape[1]
        if stop > len(self._buffer):
            longer = min(self._n, max(stop, 3 * len(self._buffer) // 2))
            buffer = np.empty((longer, self._n), self._dtype)
            buffer[:start] = self._buffer[:start]
            self._buffer = buffer
        self._buffer[start:stop] = block.T
        self._stored = stop
