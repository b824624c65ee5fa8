"""Leading singular triplets and eigenpairs of whatever can be multiplied, by ARPACK."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, svds
from sklearn.utils import check_random_state

from skprecgd._linalg.matrices import Matrix, as_matrix
from skprecgd._linalg.numerics import adjoint_of
from skprecgd._linalg.products import all_finite
from skprecgd._linalg.svd_tuning import ARPACK, ArpackTuning
from skprecgd._runtime.typing import Array, RandomState

Triplets = tuple[Array, Array, Array]


def leading_triplets(
    matrix: Any,
    rank: int,
    random_state: RandomState = None,
    *,
    tol: float = 0.0,
    tuning: ArpackTuning = ARPACK,
) -> Triplets:
    """Leading singular triplets of an array, sparse array or LinearOperator.

    Parameters
    ----------
    matrix : Matrix, array, sparse array or LinearOperator of shape (n_rows, n_columns)
        The eigenvectors of ``S^T S`` are computed by `Matrix.gram_operator` where there
        is one, and n_columns is not the larger side.
    rank : int
        Number of triplets.
    random_state : int, RandomState instance or None, default=None
        Draws the start vector of the iterative decomposition.
    tol : float, default=0.0
        Relative error allowed in the squared singular values; 0 is machine precision,
        and takes two or three times as many products as 0.1.
    tuning : ArpackTuning

    Returns
    -------
    u, s, v : ndarray of shape (n_rows, rank), (rank,), (n_columns, rank)
        s descending.
    """
    matrix = as_matrix(matrix)
    n_rows, n_columns = matrix.shape
    smaller = min(n_rows, n_columns)
    if _is_direct(matrix, rank, tuning):
        u, s, vt = np.linalg.svd(_finite(matrix.formed()), full_matrices=False)
        return _descending(u, s, vt, rank)
    rng = check_random_state(random_state)
    if _is_zero(matrix, rng):
        return np.eye(n_rows, rank), np.zeros(rank), np.eye(n_columns, rank)
    v0 = rng.standard_normal(smaller).astype(matrix.dtype)
    ncv = min(max(tuning.rough_basis, 2 * rank + 1), smaller - 1) if tol > 0 else None
    gram = matrix.gram_operator() if smaller == n_columns else None

    def iterate(tol: float, maxiter: int) -> Triplets:
        how = {"tol": tol, "maxiter": maxiter, "v0": v0, "ncv": ncv}
        if gram is not None:
            return _svds_by_gram(matrix, gram, rank, how)
        u, s, vt = svds(matrix, k=rank, **how)
        return _descending(u, s, vt, rank)

    return _tolerant(iterate, tol, tuning)


def leading_right(
    matrix: Any,
    rank: int,
    random_state: RandomState = None,
    *,
    tol: float,
    tuning: ArpackTuning = ARPACK,
) -> tuple[Array, Array]:
    """Leading singular values and right vectors, to a few digits.

    Where LAPACK finds them, a Gram matrix shows them three times as fast as a singular
    value decomposition does.

    Parameters
    ----------
    matrix, rank, random_state, tol
        As of `leading_triplets`.

    Returns
    -------
    s, v : ndarray of shape (rank,), (n_columns, rank)
        s descending.
    """
    matrix = as_matrix(matrix)
    if matrix.shape[1] > matrix.shape[0]:
        return leading_triplets(matrix, rank, random_state, tol=tol, tuning=tuning)[1:]
    if _is_direct(matrix, rank, tuning):
        squares, v = np.linalg.eigh(_finite(matrix.gram()))
        return np.sqrt(np.maximum(squares[::-1][:rank], 0.0)), v[:, ::-1][:, :rank]
    gram = matrix.gram_operator()
    if gram is None:
        return leading_triplets(matrix, rank, random_state, tol=tol, tuning=tuning)[1:]
    return _right_by_gram(gram, rank, random_state, tol, tuning)


def _right_by_gram(
    gram: LinearOperator,
    rank: int,
    random_state: RandomState,
    tol: float,
    tuning: ArpackTuning,
) -> tuple[Array, Array]:
    """`leading_right` where nothing as long as the longer side is to be formed.

    The iteration is that of `leading_triplets`.
    """
    n, rng = gram.shape[0], check_random_state(random_state)
    if not np.any(_finite(gram @ rng.standard_normal(n))):
        return np.zeros(rank), np.eye(n, rank)
    v0 = rng.standard_normal(n)
    ncv = min(max(tuning.rough_basis, 2 * rank + 1), n - 1)

    def iterate(tol: float, maxiter: int) -> Array:
        how = {"tol": tol**2, "maxiter": maxiter, "v0": v0, "ncv": ncv}
        return np.asarray(eigsh(gram, k=rank, which="LM", **how)[1])

    basis = np.linalg.qr(_tolerant(iterate, tol, tuning))[0]
    squares, turn = np.linalg.eigh(basis.T @ (gram @ basis))
    turned = basis @ turn[:, ::-1]
    return np.sqrt(np.maximum(squares[::-1], 0.0)), turned


def leading_eigenpairs(
    matrix: Any,
    rank: int,
    random_state: RandomState = None,
    *,
    tol: float = 0.0,
    tuning: ArpackTuning = ARPACK,
) -> tuple[Array, Array]:
    """Largest eigenvalues of the Hermitian part, descending, and their vectors.

    Parameters
    ----------
    matrix : Matrix, array, sparse array or LinearOperator of shape (n, n)
    rank : int
        Number of eigenpairs.
    random_state : int, RandomState instance or None, default=None
        Draws the start vector of the iterative decomposition.
    tol : float, default=0.0
        Relative error allowed in the eigenvalues; 0 is machine precision.
    tuning : ArpackTuning

    Returns
    -------
    values, vectors : ndarray of shape (rank,), (n, rank)
    """
    matrix = as_matrix(matrix)
    n = matrix.shape[0]
    if n <= tuning.direct_size or rank >= n // 2:
        dense = _finite(matrix.formed())
        values, vectors = np.linalg.eigh(0.5 * (dense + dense.conj().T))
    else:
        rng = check_random_state(random_state)
        if _is_zero(matrix, rng):
            return np.zeros(rank), np.eye(n, rank)
        v0 = rng.standard_normal(n).astype(matrix.dtype)
        even = 0.5 * (matrix + adjoint_of(matrix))

        def iterate(tol: float, maxiter: int) -> tuple[Array, Array]:
            return eigsh(even, k=rank, which="LA", v0=v0, tol=tol, maxiter=maxiter)

        values, vectors = _tolerant(iterate, tol, tuning)
    order = np.argsort(values)[::-1][:rank]
    return values[order], vectors[:, order]


def _is_direct(matrix: Matrix, rank: int, tuning: ArpackTuning) -> bool:
    """Whether LAPACK decomposes the matrix."""
    n_rows, n_columns = matrix.shape
    small = n_rows * n_columns <= tuning.direct_size**2
    return small or rank >= min(n_rows, n_columns) // 2


def _svds_by_gram(
    matrix: Matrix, gram: LinearOperator, rank: int, how: dict[str, Any]
) -> Triplets:
    """`svds` for a matrix whose product with ``S^T S`` costs less than two with S."""
    how = {**how, "tol": how["tol"] ** 2}
    basis = np.linalg.qr(np.asarray(eigsh(gram, k=rank, which="LM", **how)[1]))[0]
    u, s, vt = np.linalg.svd(matrix.times(basis), full_matrices=False)
    return u, s, basis @ vt.conj().T


def _descending(u: Array, s: Array, vt: Array, rank: int) -> Triplets:
    order = np.argsort(s)[::-1][:rank]
    return u[:, order], s[order], vt[order].conj().T


def _tolerant(
    iterate: Callable[[float, int], Any], tol: float, tuning: ArpackTuning
) -> Any:
    """An iterative decomposition, to a lower accuracy where the full one is far.

    At the optimum of a problem with a ridge, the leading singular values of the
    gradient are all equal to it, and no iteration tells them apart.
    """
    try:
        return iterate(tol, tuning.max_restarts)
    except ArpackNoConvergence:
        return iterate(max(tol, tuning.low_accuracy), tuning.max_restarts)


def _is_zero(matrix: Matrix, rng: np.random.RandomState) -> bool:
    """Whether the matrix is zero (almost surely); ARPACK cannot start there."""
    probe = rng.standard_normal(matrix.shape[1]).astype(matrix.dtype)
    return not np.any(_finite(matrix.times(probe)))


def _finite(product: Array) -> Array:
    """Refuse what LAPACK and ARPACK may never return from."""
    if not all_finite(product):
        raise ValueError(
            "A matrix whose leading singular vectors are needed, such as the gradient, "
            "holds NaN or infinity; data and the gradient of the loss must be finite."
        )
    return product
