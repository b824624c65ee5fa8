"""Complete data: alternating unit steps in the metric, previous blocks kept.

With every entry observed, the unit step in the metric, ``L = X R (R^T R)^-1`` and
back, is a block power iteration. Keeping the previous blocks turns it into a block
Krylov method, and the Rayleigh-Ritz step in their span is the exact minimiser over
all of them: the conjugate directions of this problem. One product with X and one
with its transpose a block, and nothing else touches the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import check_random_state

from skprecgd._linalg.numerics import is_mapped, norm, slabs
from skprecgd._runtime.typing import Array, RandomState

# A dense decomposition is cheaper than iterating up to this size, or when a
# large share of all triplets is wanted and the data are dense anyway.
_DENSE_SIZE = 256
_DENSE_SHARE = 0.2
# Columns added at a time. Few, because a Krylov space of given dimension reaches
# further with more blocks; more than one, so that the work is matrix products. Dense
# data are read from memory once a block, which takes as long for 8 columns as for 16:
# there half the rank, up to so many.
_BLOCK, _DENSE_BLOCK = 8, 24
# A column that kept this share of its size lost at most two digits of
# orthogonality.
_SHRUNK = 1e-2
# Residuals are not told from zero below so many units of rounding.
_ROUNDING = 4
# From this tolerance on, the iteration may run in single precision.
_SINGLE_TOL = 1e-2
# So many numbers are copied in single precision; of more, this many at a time, as stay
# in the cache.
_SINGLE_COPY, _SINGLE_SLAB = 1 << 26, 1 << 18
# Sizes within two to this power and its inverse are far from its limits.
_SINGLE_RANGE = 30


@dataclass(frozen=True)
class SubspaceResult:
    """Leading triplets ``u, s, v``; `error` estimates that of the vectors."""

    u: Array
    s: Array
    v: Array
    n_blocks: int
    error: float
    converged: bool


def truncated_svd(
    X: Any,
    rank: int,
    *,
    tol: float = 1e-7,
    max_blocks: int = 1000,
    random_state: RandomState = None,
    size: float | None = None,
) -> SubspaceResult:
    """Leading singular triplets of a matrix.

    Where `tol` is loose, X a float64 array and its singular values far enough apart,
    the products are computed in single precision, which takes half the time. The
    vectors are orthonormal to double precision anyway.

    Parameters
    ----------
    X : ndarray, sparse array or LinearOperator of shape (n_rows, n_columns)
    rank : int
        How many triplets, at most ``min(X.shape)``.
    tol : float, default=1e-7
        Error of each singular vector, estimated by the residual of its triplet
        over the gap to the other singular values. The singular values are then
        accurate to its square.
    max_blocks : int, default=1000
        Most products with X and its transpose, unless `rank` vectors take more.
    random_state : int, RandomState instance or None, default=None
        Of the first block.
    size : float or None, default=None
        Frobenius norm of X, where it is known.

    Returns
    -------
    SubspaceResult
    """
    if _is_small(X, rank):
        u, s, vt = linalg.svd(X, full_matrices=False, check_finite=False)
        return SubspaceResult(u[:, :rank], s[:rank], vt[:rank].T, 1, 0.0, True)
    if X.shape[0] < X.shape[1]:
        # The basis lives in the smaller dimension.
        found = truncated_svd(
            X.T,
            rank,
            tol=tol,
            max_blocks=max_blocks,
            random_state=random_state,
            size=size,
        )
        return replace(found, u=found.v, v=found.u)
    if tol >= _SINGLE_TOL and _can_be_single(X):
        if size is None:
            size = norm(X.data if sparse.issparse(X) else X)
        factor = _single_factor(size)
        scaled = _in_single(X, factor)
        found = _iterate(scaled, rank, tol, max_blocks, random_state, rough=True)
        if np.isfinite(found.error):
            return _in_double(found, factor)
    return _iterate(X, rank, tol, max_blocks, random_state)


def _iterate(
    X: Any,
    rank: int,
    tol: float,
    max_blocks: int,
    random_state: RandomState,
    *,
    rough: bool = False,
) -> SubspaceResult:
    """Expand the bases, restart with the wanted part kept, until accurate.

    Where the result is `rough`, rounding counts as an error: it ends, not converged and
    of infinite error, when that hides `tol`.
    """
    n_columns = X.shape[1]
    width = _BLOCK
    if isinstance(X, np.ndarray | _Single):
        width = min(max(_BLOCK, rank // 2), _DENSE_BLOCK)
    limit = min(n_columns, max(2 * rank + 4 * width, rank + 10 * width))
    span = _Bases(X, width, limit, check_random_state(random_state))
    # Judging costs a small SVD, so it is done a few times per restart only.
    every = max(1, (limit - rank) // (8 * width))
    previous = np.inf
    while True:
        span.expand()
        full = span.size + span.next_size > limit or span.size >= n_columns
        due = span.n_blocks % every == 0 and span.size > rank
        last = span.n_blocks >= max_blocks and span.size >= rank
        if not (full or due or last):
            continue
        ritz = span.ritz()
        error, rounding = _vector_error(ritz, rank, span.eps)
        if rough:
            hidden = _ROUNDING * span.eps * ritz.values[0] > tol * _gaps(ritz, rank)
            if np.any(hidden) or (error > tol and (rounding or span.size >= n_columns)):
                error, last = np.inf, True
            done = error <= tol
        else:
            if rounding and error > 0.5 * previous:
                # Working precision is reached.
                error = 0.0
            done = error <= tol or span.size >= n_columns
        if done or last:
            return SubspaceResult(*span.triplets(rank), span.n_blocks, error, done)
        previous = error
        if full:
            span.restart(ritz, min(rank + width, span.size - 1))


class _Single:
    """A float64 array times a factor; products with it in single precision.

    The numbers are converted a slab at a time, for every product anew: no copy of the
    array is made, and converting what has to be read anyway is cheap.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, X: Array, factor: float) -> None:
        self._X, self._factor = X, factor
        self.shape = X.shape

    @property
    def T(self) -> _Single:
        return _Single(self._X.T, self._factor)

    def __matmul__(self, block: Array) -> Array:
        X = self._X
        product = np.zeros((block.shape[1], X.shape[0]), self.dtype)
        if abs(X.strides[0]) >= abs(X.strides[1]):
            for rows, slab in self._slabs(X):
                product[:, rows] = block.T @ slab.T
        else:
            for rows, slab in self._slabs(X.T):
                product += block[rows].T @ slab
        return product.T

    def _slabs(self, X: Array) -> Iterator[tuple[slice, Array]]:
        parts = list(slabs(X.shape, _SINGLE_SLAB))
        buffer = np.empty((parts[0].stop, X.shape[1]), self.dtype)
        for rows in parts:
            yield rows, _cast(X[rows], self._factor, buffer[: rows.stop - rows.start])


def _can_be_single(X: Any) -> bool:
    matrix = isinstance(X, np.ndarray) or (
        sparse.issparse(X) and X.format in ("csr", "csc")
    )
    return matrix and X.dtype == np.float64


def _single_factor(size: float) -> float:
    """By what to multiply numbers of that size before they are cast."""
    exponent = int(np.frexp(size)[1])
    if abs(exponent) <= _SINGLE_RANGE:
        return 1.0
    # A power of two: nothing is rounded.
    return float(np.ldexp(1.0, -min(max(exponent, -1000), 1000)))


def _cast(values: Array, factor: float, out: Array) -> Array:
    if factor == 1.0:
        out[...] = values
    else:
        np.multiply(values, factor, out=out, casting="same_kind")
    return out


def _in_single(X: Any, factor: float) -> Any:
    """``factor * X`` for products in single precision."""
    if sparse.issparse(X):
        values = _cast(X.data, factor, np.empty(X.data.shape, np.float32))
        return type(X)((values, X.indices, X.indptr), shape=X.shape)
    if is_mapped(X) or X.size > _SINGLE_COPY:
        return _Single(X, factor)
    return _cast(X, factor, np.empty_like(X, dtype=np.float32, subok=False))


def _in_double(found: SubspaceResult, factor: float) -> SubspaceResult:
    """Triplets of X from those of ``factor * X`` in single precision.

    The vectors are made orthonormal to double precision; the matrix stays the same.
    """
    u, s, v = (part.astype(np.float64) for part in (found.u, found.s, found.v))
    # They are nearly so: a Cholesky factor is all it takes.
    left, right = (linalg.cholesky(side.T @ side) for side in (u, v))
    inner_left, s, inner_right = linalg.svd((left * s) @ right.T)
    u = u @ linalg.solve_triangular(left, inner_left)
    v = v @ linalg.solve_triangular(right, inner_right.T)
    return replace(found, u=u, s=s / factor, v=v)


@dataclass(frozen=True)
class _Ritz:
    """SVD of the small matrix, and the residual norm of each triplet."""

    left: Array
    values: Array
    right: Array
    residuals: Array


class LeftBasis:
    """Orthonormal columns U in the space of the rows, and the products that add some.

    A matrix that offers a method `left_basis(capacity)` keeps its own: one whose rows
    are spread over machines has U spread with them.
    """

    def __init__(self, X: Any, capacity: int) -> None:
        self._X = X
        dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        self._buffer = np.empty((X.shape[0], capacity), dtype, order="F")
        self.size = 0

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
        basis = self._buffer[:, : self.size]
        image = _product(self._X, block)
        scale = _largest_column(image)
        # Between two restarts only the last columns are coupled.
        coupled = np.flatnonzero(known.any(axis=1))
        if len(coupled):
            last = slice(int(coupled[0]), None)
            image = image - basis[:, last] @ known[last].astype(basis.dtype)
        image, correction = _orthogonalise(image, basis)
        new, triangle = _orthonormal(image, basis, scale)
        self._buffer[:, self.size : self.size + new.shape[1]] = new
        self.size += new.shape[1]
        return known + correction, triangle, _product(self._X.T, new)

    def times(self, small: Array) -> Array:
        """``U @ small``, shape (n_rows, k)."""
        basis = self._buffer[:, : self.size]
        return np.asarray(basis @ small.astype(basis.dtype))

    def restart(self, small: Array) -> None:
        """Replace U by ``U @ small``."""
        self._buffer[:, : small.shape[1]] = self.times(small)
        self.size = small.shape[1]


class _Bases:
    """Orthonormal bases U, V with ``X V = U B``; V grows by one block a time.

    ``X^T U`` lies in the span of V and of the next block, coupled by C:
    ``X^T U = V B^T + V_next C``. That gives the residual of every Ritz triplet
    without touching a long vector (block Golub-Kahan bidiagonalization with full
    reorthogonalisation; after a thick restart B has a dense block column).
    """

    def __init__(
        self, X: Any, width: int, capacity: int, rng: np.random.RandomState
    ) -> None:
        self._width, self._rng = width, rng
        n_columns = X.shape[1]
        single = X.dtype == np.float32
        self._dtype = np.dtype(np.float32 if single else np.float64)
        self.eps = float(np.finfo(np.float32 if single else np.float64).eps)
        make_basis = getattr(X, "left_basis", None)
        self._left = make_basis(capacity) if make_basis else LeftBasis(X, capacity)
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
    def next_size(self) -> int:
        """Columns of the next block."""
        return int(self._next.shape[1])

    def expand(self) -> None:
        """Take in the next block: one product with X, one with its transpose."""
        block, size = self._next, self.size
        column, triangle, back = self._left.expand(block, self._coupling.T)
        back = back - block @ triangle.T.astype(self._dtype)
        self._append(block, column, triangle)
        back, _ = _orthogonalise(back, self._V)
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

    def ritz(self) -> _Ritz:
        left, values, right = linalg.svd(self._B, check_finite=False)
        residuals = np.linalg.norm(self._coupling @ left, axis=0)
        return _Ritz(left, values, right.T, residuals)

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

    def restart(self, ritz: _Ritz, kept: int) -> None:
        """Cut the bases back to the leading Ritz vectors."""
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
        # What is left of a column at rounding level is no new direction.
        kept = int(np.sum(np.abs(np.diag(r)) > 10 * self.eps * largest))
        kept = min(kept, self._V.shape[0] - self.size)
        if kept == 0:
            # An invariant subspace: what is still missing has singular values
            # below rounding, any further directions will do.
            block = self._random_block()
            return block, np.zeros((block.shape[1], back.shape[1]))
        smallest = float(np.abs(r[kept - 1, kept - 1]))
        q = _orthonormal(q[:, :kept], self._V, largest / smallest)[0]
        coefficients = np.empty((kept, back.shape[1]))
        coefficients[:, order] = r[:kept]
        return q, coefficients

    def _random_block(self) -> Array:
        n_columns = self._V.shape[0]
        width = min(self._width, n_columns - self.size)
        block = self._rng.standard_normal((n_columns, width)).astype(self._dtype)
        if width == 0:
            return block
        return _orthonormal(_orthogonalise(block, self._V)[0], self._V, np.inf)[0]


def _product(X: Any, block: Array) -> Array:
    """``X @ block``."""
    if isinstance(X, np.ndarray):
        # BLAS reads a large matrix faster from this side of a thin one.
        return np.asarray(block.T @ X.T).T
    return np.asarray(X @ block)


def _largest_column(block: Array) -> float:
    return float(np.sqrt(np.max(np.einsum("ij,ij->j", block, block), initial=0.0)))


def _orthogonalise(block: Array, basis: Array) -> tuple[Array, Array]:
    """`block` less its part in the span of the basis, and the coefficients."""
    coefficients = basis.T @ block
    return block - basis @ coefficients, coefficients.astype(np.float64)


def _orthonormal(block: Array, basis: Array, scale: float) -> tuple[Array, Array]:
    """QR of a block whose Q is orthogonal to the basis even where R is singular.

    `scale` is the size the columns had before they were made orthogonal: only what
    shrank a lot since carries a visible remainder of the basis.
    """
    q, r = linalg.qr(block, mode="economic", check_finite=False)
    if is_independent(r, scale):
        return q, r.astype(np.float64)
    q, _ = _orthogonalise(q, basis)
    q, again = linalg.qr(q, mode="economic", check_finite=False)
    return q, again.astype(np.float64) @ r.astype(np.float64)


def is_independent(triangle: Array, scale: float) -> bool:
    """Whether no column of a QR shrank so much that a remainder of others shows."""
    return bool(np.min(np.abs(np.diag(triangle))) > _SHRUNK * scale)


def _vector_error(ritz: _Ritz, rank: int, eps: float) -> tuple[float, bool]:
    """Largest residual-over-gap among the wanted triplets.

    Also whether the residuals are so small that rounding may be all they are.
    """
    largest = ritz.values[0]
    if largest == 0.0:
        return 0.0, True
    sizes, gaps = ritz.residuals[:rank].copy(), _gaps(ritz, rank)
    # Vectors of (nearly) equal singular values are not determined, and no
    # iteration changes that: a residual at rounding level counts as zero.
    sizes[sizes <= _ROUNDING * eps * largest] = 0.0
    errors = np.divide(
        sizes, gaps, out=np.where(sizes > 0, np.inf, 0.0), where=gaps > 0
    )
    rounding = bool(np.all(sizes <= 50 * eps * largest))
    return float(np.max(errors, initial=0.0)), rounding


def _gaps(ritz: _Ritz, rank: int) -> Array:
    """Distance of each wanted value to its nearest neighbour."""
    gaps = np.full(rank, ritz.values[0])
    neighbours = np.abs(np.diff(ritz.values[: rank + 1]))
    gaps[: len(neighbours)] = np.minimum(gaps[: len(neighbours)], neighbours)
    gaps[1:] = np.minimum(gaps[1:], neighbours[: rank - 1])
    return gaps


def _is_small(X: Any, rank: int) -> bool:
    """Whether to hand X to LAPACK, which copies it, and would want it dense."""
    smaller = min(X.shape)
    few = smaller <= _DENSE_SIZE or rank > _DENSE_SHARE * smaller
    return isinstance(X, np.ndarray) and few and not is_mapped(X)
