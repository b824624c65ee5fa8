"""Leading singular triplets and eigenpairs of whatever can be multiplied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import (
    ArpackNoConvergence,
    LinearOperator,
    aslinearoperator,
    eigsh,
    svds,
)
from sklearn.utils import check_random_state

from skprecgd._linalg.numerics import as_operator
from skprecgd._runtime.typing import Array, RandomState

# Up to this size a dense decomposition is cheaper than an iterative one.
_DENSE_SIZE = 200
# Lanczos vectors where a rough answer will do; SciPy takes at least twenty.
_ROUGH_BASIS = 10
# Restarts of an iterative decomposition to full accuracy, and the relative accuracy to
# be content with where they do not suffice.
_MAX_RESTARTS = 300
_LOW_ACCURACY = 1e-3


def leading_triplets(
    matrix: Any, rank: int, random_state: RandomState = None, *, tol: float = 0.0
) -> tuple[Array, Array, Array]:
    """Leading singular triplets of an array, sparse array or LinearOperator.

    Parameters
    ----------
    matrix : array, sparse array or LinearOperator of shape (n_rows, n_columns)
    rank : int
        How many.
    random_state : int, RandomState instance or None, default=None
        Start vector of the iterative decomposition.
    tol : float, default=0.0
        Relative error of the squared singular values that will do; 0 is machine
        precision, and takes two or three times as many products as 0.1.

    Returns
    -------
    u, s, v : ndarray of shape (n_rows, rank), (rank,), (n_columns, rank)
        s descending.
    """
    n_rows, n_columns = matrix.shape
    smaller = min(n_rows, n_columns)
    few_cells = n_rows * n_columns <= _DENSE_SIZE**2
    if few_cells or rank >= smaller // 2:
        u, s, vt = np.linalg.svd(_dense(matrix), full_matrices=False)
    else:
        rng = check_random_state(random_state)
        if _is_zero(matrix, rng):
            return np.eye(n_rows, rank), np.zeros(rank), np.eye(n_columns, rank)
        v0 = rng.standard_normal(smaller).astype(matrix.dtype)
        ncv = min(max(_ROUGH_BASIS, 2 * rank + 1), smaller - 1) if tol > 0 else None
        gram = matrix.gram_operator() if hasattr(matrix, "gram_operator") else None
        if gram is not None and smaller == n_columns:
            return _by_gram(matrix, gram, rank, v0, ncv, tol)
        operator = _iterable(matrix)
        u, s, vt = _tolerant(
            lambda **how: svds(operator, k=rank, v0=v0, ncv=ncv, **how), tol
        )
    order = np.argsort(s)[::-1][:rank]
    return u[:, order], s[order], vt[order].T


def _by_gram(
    matrix: Any, gram: Any, rank: int, v0: Array, ncv: int | None, tol: float
) -> tuple[Array, Array, Array]:
    """What `svds` does, where the product with ``S^T S`` costs less than two."""

    def iterate(*, tol: float, maxiter: int) -> Array:
        how = {"tol": tol**2, "maxiter": maxiter, "v0": v0, "ncv": ncv}
        return np.asarray(eigsh(gram, k=rank, which="LM", **how)[1])

    basis = np.linalg.qr(_tolerant(iterate, tol))[0]
    u, s, vt = np.linalg.svd(np.asarray(matrix @ basis), full_matrices=False)
    return u, s, basis @ vt.T


def leading_eigenpairs(
    matrix: Any, rank: int, random_state: RandomState = None
) -> tuple[Array, Array]:
    """Largest eigenvalues of the symmetric part, descending, and their vectors."""
    n = matrix.shape[0]
    if n <= _DENSE_SIZE or rank >= n // 2:
        dense = _dense(matrix)
        values, vectors = np.linalg.eigh(0.5 * (dense + dense.T))
    else:
        rng = check_random_state(random_state)
        if _is_zero(matrix, rng):
            return np.zeros(rank), np.eye(n, rank)
        operator = aslinearoperator(matrix)
        v0 = rng.standard_normal(n).astype(matrix.dtype)
        even = 0.5 * (operator + operator.T)
        values, vectors = _tolerant(
            lambda **how: eigsh(even, k=rank, which="LA", v0=v0, **how)
        )
    order = np.argsort(values)[::-1][:rank]
    return values[order], vectors[:, order]


def _tolerant(iterate: Callable[..., Any], tol: float = 0.0) -> Any:
    """An iterative decomposition, to a lower accuracy where the full one is far.

    At the optimum of a problem with a ridge, the leading singular values of the
    gradient are all equal to it, and no iteration tells them apart.
    """
    try:
        return iterate(tol=tol, maxiter=_MAX_RESTARTS)
    except ArpackNoConvergence:
        return iterate(tol=max(tol, _LOW_ACCURACY))


def _is_zero(matrix: Any, rng: np.random.RandomState) -> bool:
    """Whether the matrix is zero (almost surely); ARPACK cannot start there."""
    probe = rng.standard_normal(matrix.shape[1]).astype(matrix.dtype)
    return not np.any(matrix @ probe)


def _dense(matrix: Any) -> Array:
    if isinstance(matrix, np.ndarray):
        return matrix
    if sparse.issparse(matrix):
        return np.asarray(matrix.toarray())
    return np.asarray(matrix @ np.eye(matrix.shape[1], dtype=matrix.dtype))


def _iterable(matrix: Any) -> LinearOperator:
    if not sparse.issparse(matrix):
        return aslinearoperator(matrix)
    # SciPy would copy the matrix to conjugate it.
    products = matrix.__matmul__, matrix.T.__matmul__
    return as_operator(matrix.shape, matrix.dtype, *products)
