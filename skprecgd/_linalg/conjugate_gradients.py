"""Conjugate gradients for semidefinite systems."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skprecgd._linalg.numerics import dot
from skprecgd._runtime.typing import Array


def conjugate_gradients(
    operator: Callable[[Array], Array],
    target: Array,
    *,
    max_steps: int,
    tolerance: float,
) -> Array:
    """Solve a symmetric semidefinite system, from zero.

    The operator may be singular, as the Hessian in the factors is (turning one factor
    against the other changes no matrix). If the system is consistent, the iteration
    stays in the range of the operator.

    Parameters
    ----------
    operator : callable
        The system's matrix times a vector.
    target : ndarray of shape (n,)
        Right-hand side.
    max_steps : int
        Largest number of products with the operator.
    tolerance : float
        Stop when the residual is at most this share of the first one.

    Returns
    -------
    solution : ndarray of shape (n,)
    """
    kind = target.dtype.type
    solution, residual = np.zeros_like(target), target.copy()
    search = residual.copy()
    square = first = dot(residual, residual)
    for _ in range(max_steps):
        if not square > tolerance**2 * first:
            break
        image = operator(search)
        curvature = dot(search, image)
        if not curvature > 0:
            break
        length = kind(square / curvature)
        solution += length * search
        residual -= length * image
        square, old = dot(residual, residual), square
        search *= kind(square / old)
        search += residual
    return solution
