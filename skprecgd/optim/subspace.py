"""Complete data: alternating unit steps in the metric, previous blocks kept.

With every entry observed, the unit step in the metric, ``L = X R (R^T R)^-1`` and
back, is a block power iteration. Keeping the previous blocks turns it into a block
Krylov method, and the Rayleigh-Ritz step in their span is the exact minimiser over
all of them: the conjugate directions of this problem. One product with X and one
with its transpose a block, and nothing else touches the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import check_random_state

from skprecgd._typing import Array, RandomState

# A dense decomposition is cheaper than iterating up to this size, or when a
# large share of all triplets is wanted and the data are dense anyway.
_DENSE_SIZE = 256
_DENSE_SHARE = 0.2
_DENSE_CELLS = 1 << 25
# Columns beyond those wanted: they take up the slow end of the spectrum.
_EXTRA_COLUMNS = 8
# Blocks kept before the span is cut back to the wanted part (thick restart).
_MAX_BLOCKS = 6
_MAX_BASIS = 160


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
) -> SubspaceResult:
    """Leading singular triplets of a matrix.

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
        Most products with X and its transpose.
    random_state : int, RandomState instance or None, default=None
        Of the first block.

    Returns
    -------
    SubspaceResult
    """
    if _is_small(X, rank):
        u, s, vt = linalg.svd(_dense(X), full_matrices=False, check_finite=False)
        return SubspaceResult(u[:, :rank], s[:rank], vt[:rank].T, 1, 0.0, True)
    if X.shape[0] < X.shape[1]:
        # The basis lives in the smaller dimension.
        flipped = _iterate(X.T, rank, tol, max_blocks, random_state)
        return SubspaceResult(
            flipped.v,
            flipped.s,
            flipped.u,
            flipped.n_blocks,
            flipped.error,
            flipped.converged,
        )
    return _iterate(X, rank, tol, max_blocks, random_state)


def _iterate(
    X: Any, rank: int, tol: float, max_blocks: int, random_state: RandomState
) -> SubspaceResult:
    n_columns = X.shape[1]
    dtype = np.float32 if np.dtype(X.dtype) == np.float32 else np.float64
    width = min(rank + _EXTRA_COLUMNS, n_columns)
    rng = check_random_state(random_state)
    block = linalg.qr(
        rng.standard_normal((n_columns, width)).astype(dtype), mode="economic"
    )[0]
    # basis V, its image X V, and its return X^T X V, blocks side by side.
    basis = np.empty((n_columns, 0), dtype)
    image = np.empty((X.shape[0], 0), dtype)
    back = np.empty((n_columns, 0), dtype)
    n_blocks, error = 0, np.inf
    while True:
        new_image = np.asarray(X @ block)
        basis = np.hstack([basis, block])
        image = np.hstack([image, new_image])
        back = np.hstack([back, np.asarray(X.T @ new_image)])
        n_blocks += 1
        ritz, vectors = _rayleigh_ritz(image)
        previous, (error, rounding) = (
            error,
            _vector_error(basis, back, ritz, vectors, rank),
        )
        if rounding and error > 0.5 * previous:
            # Working precision is reached.
            error = 0.0
        complete = basis.shape[1] >= n_columns
        if error <= tol or complete or n_blocks >= max_blocks:
            break
        if basis.shape[1] + width > min(
            max(_MAX_BLOCKS * width, _MAX_BASIS), n_columns
        ):
            kept = vectors[:, :width].astype(dtype)
            basis, image, back = basis @ kept, image @ kept, back @ kept
            block = back - basis * (ritz[:width] ** 2).astype(dtype)
        else:
            block = back[:, -width:]
        block = _new_block(block, basis)
        if block.shape[1] == 0:
            # An invariant subspace: nothing outside the span couples to it.
            error = 0.0
            break
    u, s, zt = linalg.svd(
        image @ vectors[:, :rank].astype(dtype), full_matrices=False, check_finite=False
    )
    v = basis @ (vectors[:, :rank].astype(dtype) @ zt.T)
    done = error <= tol or basis.shape[1] >= n_columns
    return SubspaceResult(u, s, v, n_blocks, float(error), done)


def _rayleigh_ritz(image: Array) -> tuple[Array, Array]:
    """Singular values and right vectors of ``X`` restricted to the basis."""
    # By QR and not by the Gram matrix, which would square the condition number:
    # in float32 that costs every singular value below 1e-3 of the largest.
    r = linalg.qr(image, mode="r", check_finite=False)[0][: image.shape[1]]
    _, s, vt = linalg.svd(r.astype(np.float64), full_matrices=False)
    return s, vt.T


def _vector_error(
    basis: Array, back: Array, ritz: Array, vectors: Array, rank: int
) -> tuple[float, bool]:
    """Largest residual-over-gap among the wanted triplets.

    Also whether the residuals are so small that rounding may be all they are.
    """
    wanted = vectors[:, :rank].astype(basis.dtype)
    s = ritz[:rank]
    if ritz[0] == 0.0:
        return 0.0, True
    s = np.maximum(s, np.finfo(basis.dtype).eps * ritz[0])
    residual = (back @ wanted) / s.astype(basis.dtype) - (basis @ wanted) * s.astype(
        basis.dtype
    )
    sizes = np.linalg.norm(residual, axis=0).astype(np.float64)
    gaps = np.full(rank, s[0])
    neighbours = np.abs(np.diff(ritz[: rank + 1]))
    gaps[: len(neighbours)] = np.minimum(gaps[: len(neighbours)], neighbours)
    gaps[1:] = np.minimum(gaps[1:], neighbours[: rank - 1])
    # Vectors of (nearly) equal singular values are not determined, and no
    # iteration changes that: a residual at rounding level counts as zero there.
    eps = np.finfo(basis.dtype).eps
    sizes[sizes <= 4 * eps * s[0]] = 0.0
    errors = np.divide(
        sizes, gaps, out=np.where(sizes > 0, np.inf, 0.0), where=gaps > 0
    )
    # The image carries a rounding error of eps s_0, which X^T and the division by
    # s_i enlarge.
    rounding = bool(np.all(sizes <= 50 * eps * s[0] * (s[0] / s)))
    return float(np.max(errors, initial=0.0)), rounding


def _new_block(block: Array, basis: Array) -> Array:
    """The part of `block` outside the basis, orthonormal; dependent columns go."""
    size = np.linalg.norm(block, axis=0)
    block = block / np.where(size > 0, size, 1)
    for _ in range(2):
        # Twice is enough: the second pass removes what rounding left.
        block = block - basis @ (basis.T @ block)
    q, r, _ = linalg.qr(block, mode="economic", pivoting=True, check_finite=False)
    room = basis.shape[0] - basis.shape[1]
    diagonal = np.abs(np.diag(r))
    kept = min(int(np.sum(diagonal > 100 * np.finfo(block.dtype).eps)), room)
    q = q[:, :kept]
    q = q - basis @ (basis.T @ q)
    return linalg.qr(q, mode="economic", check_finite=False)[0] if kept else q


def _is_small(X: Any, rank: int) -> bool:
    smaller = min(X.shape)
    if isinstance(X, np.ndarray):
        return bool(smaller <= _DENSE_SIZE or rank > _DENSE_SHARE * smaller)
    few_cells = X.shape[0] * X.shape[1] <= _DENSE_CELLS
    return bool(few_cells and (smaller <= _DENSE_SIZE or rank > _DENSE_SHARE * smaller))


def _dense(X: Any) -> Array:
    if isinstance(X, np.ndarray):
        return X
    if sparse.issparse(X):
        return np.asarray(X.toarray())
    return np.asarray(X @ np.eye(X.shape[1], dtype=X.dtype))
