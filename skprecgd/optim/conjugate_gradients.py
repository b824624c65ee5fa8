"""Linear systems whose unknown is a pair of factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from skprecgd.factors import Factors

F = TypeVar("F", bound=Factors)


def conjugate_gradients(
    operator: Callable[[F], F],
    residual: F,
    precondition: Callable[[F], F],
    start: F,
    *,
    max_steps: int,
    tolerance: float,
) -> F:
    """Preconditioned conjugate gradients for a symmetric semidefinite system.

    The operator may be singular (turning one factor against the other changes no
    matrix): a consistent system keeps the iteration in ``start`` plus its range.

    Parameters
    ----------
    operator : callable
        The system's matrix times factors.
    residual : Factors
        Right-hand side minus the operator at `start`.
    precondition : callable
        Symmetric positive definite, an approximate inverse of the operator.
    start : Factors
    max_steps : int
        Products with the operator, at most.
    tolerance : float
        Stop at this share of the first residual, both in the norm of `precondition`.

    Returns
    -------
    solution : Factors
    """
    solution = start
    search = preconditioned = precondition(residual)
    square = first = residual.inner(preconditioned)
    for _ in range(max_steps):
        if not square > tolerance**2 * first:
            break
        image = operator(search)
        curvature = search.inner(image)
        if not curvature > 0:
            break
        length = square / curvature
        solution = solution.moved(search, length)
        residual = residual.moved(image, -length)
        preconditioned = precondition(residual)
        square, old = residual.inner(preconditioned), square
        search = preconditioned.moved(search, square / old)
    return solution
