"""Products that users' own code computes are checked where they enter.

LAPACK may never return from numbers that are not finite, and a wrong adjoint looks like
a solution: the gradient that it gives is zero or points uphill.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import working_dtype
from skprecgd._runtime.typing import Array

# Up to so many numbers, a temporary costs less than the bookkeeping to do without.
_FEW = 1 << 12


def all_finite(array: Array) -> bool:
    """Whether every entry is finite, without a temporary of the array's size."""
    if array.size <= _FEW:
        return bool(np.isfinite(array).all())
    # The sum of finite numbers may overflow: then the exact test decides.
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    return bool(np.isfinite(total) or np.all(np.isfinite(array)))


def check_finite(
    product: Array, factors: Iterable[Any], name: str, operator: Any
) -> None:
    """Refuse a product of finite numbers that holds NaN or infinity.

    Parameters
    ----------
    product : ndarray
    factors : iterable of array-like
        What was multiplied. Where it is not finite, or so large that the product
        overflows, as in a fit that diverges, the product is not to blame.
    name : str
        The method that computed the product.
    operator : object
        Whose method it is; it has to have a `repr`.
    """
    if all_finite(product) or _overflows(factors):
        return
    raise ValueError(
        f"{name} of {operator!r} returned NaN or infinity for finite numbers; every "
        "product must be finite."
    )


def missing_product(operator: Any, name: str) -> str:
    """The message where a method of a LinearOperator is not implemented."""
    return (
        f"{operator!r} has no {name}; give a LinearOperator that implements both "
        "matvec and rmatvec, its adjoint."
    )


def check_adjoint(
    inner: Array,
    adjoint_inner: Array,
    size: float,
    names: tuple[str, str],
    operator: Any,
) -> None:
    """Refuse an adjoint for which ``<A x, y>`` and ``<x, A* y>`` differ.

    Parameters
    ----------
    inner, adjoint_inner : ndarray of shape (n_probes,)
        ``<A x, y>`` and ``<x, A* y>`` for random x and y.
    size : float
        How large the first of them typically are.
    names : tuple of str
        The methods of the operator that compute A x and A* y.
    operator : object with `dtype`
        Its adjoint may be as imprecise as the fourth root of the resolution of its
        dtype: 1e-4 in double and 2e-2 in single precision. Rounding (also of single
        precision inside) and inner iterations stay below that; a wrong sign, order or
        scale does not.
    """
    size = max(size, float(np.max(np.abs(adjoint_inner))))
    with np.errstate(over="ignore", invalid="ignore"):
        differences = (inner - adjoint_inner) / (size or 1.0)
        mismatch = float(np.sqrt(np.mean(differences**2)))
    resolution = float(np.finfo(working_dtype(np.dtype(operator.dtype))).eps)
    # Numbers that overflow say nothing.
    if not resolution**0.25 < mismatch < np.inf:
        return
    forward, adjoint = names
    raise ValueError(
        f"{adjoint} of {operator!r} is not the adjoint of its {forward}: for random x "
        f"and y, <A x, y> and <x, A* y> differ by {mismatch:.2g} of their size; check "
        f"the sign, the scale and the order of what {adjoint} returns."
    )


def _overflows(factors: Iterable[Any]) -> bool:
    """Whether factors are not finite, or large enough for their product not to be."""
    arrays = [np.asarray(factor) for factor in factors]
    sizes = [1.0 + float(np.max(np.abs(values), initial=0.0)) for values in arrays]
    single = any(values.dtype == np.float32 for values in arrays)
    largest = np.finfo(np.float32 if single else np.float64).max
    with np.errstate(over="ignore"):
        return not float(np.prod(sizes)) < float(np.sqrt(largest))
