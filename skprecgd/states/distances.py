"""How far states are apart, and how pure they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.states.densities import density_matrix, factor


def fidelity(rho: Any, sigma: Any) -> float:
    """Fidelity of two states, ``(tr sqrt(sqrt(rho) sigma sqrt(rho)))^2``.

    Parameters
    ----------
    rho, sigma : State, Qobj, or array-like of shape (n, n) or (n,)
        A ket or a vector is a pure state, of which the fidelity is ``psi^H rho psi``.
        All are divided by their traces.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If one is no state, up to its trace, or shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import fidelity
    >>> fidelity(np.eye(2) / 2, [1, 0])
    0.5
    """
    first, second = factor(rho), factor(sigma)
    _check_alike(first, second)
    overlaps = np.linalg.svd(first.conj().T @ second, compute_uv=False)
    return float(overlaps.sum() ** 2)


def trace_distance(rho: Any, sigma: Any) -> float:
    """Half the sum of the sizes of the eigenvalues of a difference.

    Parameters
    ----------
    rho, sigma : State, Qobj, or array-like of shape (n, n) or (n,)
        A ket or a vector is a pure state. All are divided by their traces.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If one is no state, up to its trace, or shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import trace_distance
    >>> trace_distance(np.eye(2) / 2, [1, 0])
    0.5
    """
    first, second = density_matrix(rho), density_matrix(sigma)
    _check_alike(first, second)
    return float(0.5 * np.sum(np.abs(np.linalg.eigvalsh(first - second))))


def purity(rho: Any) -> float:
    """``tr rho^2``: one for pure states, ``1 / n`` for the most mixed one.

    Parameters
    ----------
    rho : State, Qobj, or array-like of shape (n, n) or (n,)
        A ket or a vector is a pure state. It is divided by its trace.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If it is no state, up to its trace.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import purity
    >>> purity(np.eye(4) / 4)
    0.25
    """
    return float(np.linalg.norm(density_matrix(rho)) ** 2)


def _check_alike(first: Array, second: Array) -> None:
    if len(first) != len(second):
        raise ValueError(
            f"Both states must have one size, got {len(first)} and {len(second)}."
        )
