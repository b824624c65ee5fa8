"""softImpute: nuclear norm with a path of penalties, each the start of the next.

Mazumder, Hastie, Tibshirani, Spectral regularization algorithms for learning large
incomplete matrices, JMLR 11 (2010). Hidden entries are filled from the last estimate,
the singular values of the filled matrix lowered by lambda, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from _common import Array


def shrink(Z: Array, penalty: float) -> Array:
    """Soft-threshold the singular values of `Z`, by the Gram matrix of a tall one."""
    if Z.shape[0] < Z.shape[1]:
        return shrink(Z.T, penalty).T
    squares, V = np.linalg.eigh(Z.T @ Z)
    sizes = np.sqrt(np.maximum(squares, 0))
    kept = sizes > penalty
    V, sizes = V[:, kept], sizes[kept]
    return (Z @ (V * (1 - penalty / sizes))) @ V.T


def penalties(X: Array, observed: Array, count: int, smallest: float) -> Array:
    """From the one that gives zero down to `smallest` times it."""
    top = np.linalg.norm(np.where(observed, X, 0), 2)
    return np.geomspace(top, smallest * top, count)


def path(
    X: Array, observed: Array, lambdas: Array, *, tol: float = 1e-7, max_iter: int = 500
) -> Iterator[Array]:
    """The estimate for each of `lambdas`; `tol` of the relative squared change."""
    M = np.zeros(X.shape)
    for penalty in lambdas:
        for _ in range(max_iter):
            before, M = M, shrink(np.where(observed, X, M), penalty)
            if np.sum((M - before) ** 2) <= tol * np.sum(M**2):
                break
        yield M


def by_hold_out(
    X: Array,
    observed: Array,
    rng: np.random.Generator,
    *,
    count: int = 30,
    smallest: float = 1e-3,
    patience: int = 3,
) -> Array:
    """The penalty chosen on a tenth of the observed entries, then fitted to all."""
    kept = observed & (rng.random(X.shape) >= 0.1)
    tested = observed & ~kept
    lambdas = penalties(X, kept, count, smallest)
    errors: list[float] = []
    for M in path(X, kept, lambdas):
        errors.append(float(np.sum((X - M)[tested] ** 2)))
        if len(errors) - np.argmin(errors) > patience:
            break
    chosen = lambdas[: np.argmin(errors) + 1]
    *_, M = path(X, observed, chosen)
    return M
