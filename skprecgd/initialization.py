"""Where to start: spectral, Nystrom, random."""

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

from skprecgd._numerics import as_operator
from skprecgd._typing import Array, RandomState
from skprecgd.factors import FactorPair, Factors, SymmetricFactor
from skprecgd.measurements._validation import as_real_array
from skprecgd.objective import Objective

# Up to this size a dense decomposition is cheaper than an iterative one.
_DENSE_SIZE = 200
# Lanczos vectors where a rough answer will do; SciPy takes at least twenty.
_ROUGH_BASIS = 10
# Restarts of an iterative decomposition to full accuracy, and the relative accuracy to
# be content with where they do not suffice.
_MAX_RESTARTS = 300
_LOW_ACCURACY = 1e-3
# Columns that a Gaussian sketch has to spare, at least and as a share of the others: a
# square Gaussian matrix is badly conditioned one time in ten.
_SPARE_COLUMNS = 10
_SPARE_SHARE = 2
# Norm of a random start in units of the data norm: small, so that it hides no
# structure, but not so small that leaving the saddle at zero takes long.
_RANDOM_SCALE = 1e-2


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


def spectral(
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
) -> Factors:
    """Leading part of the back-projected data, ``P_r(A*(y))`` suitably scaled.

    Parameters
    ----------
    objective : Objective
    rank : int
        Search rank.
    symmetric : bool, default=False
        Return a `SymmetricFactor` (only positive eigenvalues are used; columns
        without one start at zero).
    random_state : int, RandomState instance or None, default=None
        Start vector of the iterative decomposition.

    Returns
    -------
    Factors

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import spectral
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    >>> bool(np.allclose(spectral(objective, 1).matrix(), 1.0))
    True
    """
    check_rank(rank, objective.matrix_shape)
    matrix = objective.matrix_gradient_at_zero()
    if symmetric:
        _check_square(objective)
        values, vectors = leading_eigenpairs(-1.0 * matrix, rank, random_state)
        values = np.maximum(values, 0.0)
        return _cast(SymmetricFactor.from_svd(vectors, values, vectors), objective)
    u, s, v = leading_triplets(matrix, rank, random_state)
    # The gradient at zero is minus the back-projection.
    return _cast(FactorPair.from_svd(-u, s, v), objective)


def nystrom(
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
) -> Factors:
    """Sketch of the back-projected data: ``X = B Omega``, or ``L = B Omega, R = 0``.

    One product with the back-projection B and no eigensolver. Every later iterate
    stays in the range of B where all entries are observed (Li et al., ICLR 2025).
    Omega are those `rank` combinations of some more Gaussian columns that show most of
    B: with no column to spare, a Gaussian sketch now and then almost misses a
    direction, and the first step of a constant size then overshoots a thousandfold.

    Parameters
    ----------
    objective : Objective
    rank : int
        Search rank.
    symmetric : bool, default=False
        Return a `SymmetricFactor`.
    random_state : int, RandomState instance or None, default=None
        Of the random numbers.

    Returns
    -------
    Factors

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import nystrom
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    >>> nystrom(objective, 1, random_state=0).right
    array([[0.],
           [0.]])
    """
    check_rank(rank, objective.matrix_shape)
    back_projection = -1.0 * objective.matrix_gradient_at_zero()
    rng = check_random_state(random_state)
    _n_rows, n_columns = objective.matrix_shape
    width = rank + max(_SPARE_COLUMNS, rank // _SPARE_SHARE)
    sketch = rng.standard_normal((n_columns, min(width, n_columns)))
    seen = np.asarray(back_projection @ sketch.astype(objective.dtype))
    u, s, _ = np.linalg.svd(seen, full_matrices=False)
    left = u[:, :rank] * s[:rank]
    # Only the range matters to the metric; the scale makes left of size sqrt(M).
    size = np.linalg.norm(left)
    if size > 0:
        left *= np.sqrt(objective.data_norm) / size
    if symmetric:
        _check_square(objective)
        return _cast(SymmetricFactor(left), objective)
    return _cast(FactorPair(left, np.zeros((n_columns, rank))), objective)


def random(
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
) -> Factors:
    """Small Gaussian factors, the norm of the matrix 1e-2 of the data norm.

    Parameters
    ----------
    objective : Objective
    rank : int
        Search rank.
    symmetric : bool, default=False
        Return a `SymmetricFactor`.
    random_state : int, RandomState instance or None, default=None
        Of the random numbers.

    Returns
    -------
    Factors

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import random
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    >>> start = random(objective, 1, random_state=0)
    >>> float(np.linalg.norm(start.matrix()) / objective.data_norm)
    0.01
    """
    check_rank(rank, objective.matrix_shape)
    rng = check_random_state(random_state)
    n_rows, n_columns = objective.matrix_shape
    left = rng.standard_normal((n_rows, rank)) / np.sqrt(n_rows)
    start: Factors
    if symmetric:
        _check_square(objective)
        start = SymmetricFactor(left)
    else:
        right = rng.standard_normal((n_columns, rank)) / np.sqrt(n_columns)
        start = FactorPair(left, right)
    size = float(np.linalg.norm(start.singular_values()))
    scale = _RANDOM_SCALE * objective.data_norm / size
    return _cast(start.scaled(scale), objective)


STARTS = {"spectral": spectral, "nystrom": nystrom, "random": random}


def make_start(
    init: str | tuple[Any, Any] | Any,
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
) -> Factors:
    """The start behind the value of the `init` parameter.

    Parameters
    ----------
    init : {"spectral", "nystrom", "random"} or pair of array-like
        A pair is ``(left, right)`` of shape (n_rows, rank), (n_columns, rank).
    objective : Objective
    rank : int
        Search rank; a given pair must have it.
    symmetric : bool, default=False
    random_state : int, RandomState instance or None, default=None
    """
    if isinstance(init, str):
        if init not in STARTS:
            raise ValueError(
                f"init must be one of {sorted(STARTS)} or a pair of arrays, "
                f"got {init!r}."
            )
        return STARTS[init](
            objective, rank, symmetric=symmetric, random_state=random_state
        )
    return _given(init, objective, rank, symmetric)


def _given(init: Any, objective: Objective, rank: int, symmetric: bool) -> Factors:
    if len(init) != 2:
        raise ValueError(
            f"init as arrays must be a pair (left, right), got {len(init)} items."
        )
    left, right = (as_real_array(block, "init", (2,)) for block in init)
    wanted = tuple((n, rank) for n in objective.matrix_shape)
    if (left.shape, right.shape) != wanted:
        raise ValueError(
            f"init must hold arrays of shape {wanted[0]} and {wanted[1]}, got "
            f"{left.shape} and {right.shape}."
        )
    if not symmetric:
        return _cast(FactorPair(left, right), objective)
    if not np.array_equal(left, right):
        raise ValueError("symmetric=True needs an init with left equal to right.")
    return _cast(SymmetricFactor(left), objective)


def check_rank(rank: int, matrix_shape: tuple[int, int]) -> None:
    """Raise ValueError unless 1 <= rank <= min(matrix_shape)."""
    if not 1 <= rank <= min(matrix_shape):
        raise ValueError(
            f"The search rank must be between 1 and min{matrix_shape} = "
            f"{min(matrix_shape)}, got n_components={rank}."
        )


def _check_square(objective: Objective) -> None:
    n_rows, n_columns = objective.matrix_shape
    if n_rows != n_columns:
        raise ValueError(
            f"symmetric=True needs a square matrix, got matrix_shape="
            f"{objective.matrix_shape}."
        )


def _cast(factors: Factors, objective: Objective) -> Factors:
    return type(factors)(*(b.astype(objective.dtype) for b in factors.blocks))


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
