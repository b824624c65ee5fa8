"""How far states are apart, and how pure they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.states.state import State


def fidelity(rho: Any, sigma: Any) -> float:
    """Fidelity of two states, ``(tr sqrt(sqrt(rho) sigma sqrt(rho)))^2``.

    Parameters
    ----------
    rho, sigma : State, or array-like of shape (n, n) or (n,)
        A vector is a pure state, of which the fidelity is ``psi^H rho psi``. Nothing is
        divided by its trace.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a matrix is not Hermitian, or shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import fidelity
    >>> fidelity(np.eye(2) / 2, [1, 0])
    0.5
    """
    first, second = _root(rho), _root(sigma)
    _check_alike(first, second)
    overlaps = np.linalg.svd(first.conj().T @ second, compute_uv=False)
    return float(overlaps.sum() ** 2)


def trace_distance(rho: Any, sigma: Any) -> float:
    """Half the sum of the sizes of the eigenvalues of a difference.

    Parameters
    ----------
    rho, sigma : State, or array-like of shape (n, n) or (n,)
        A vector is a pure state.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a matrix is not Hermitian, or shapes do not match.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import trace_distance
    >>> trace_distance(np.eye(2) / 2, [1, 0])
    0.5
    """
    first, second = _matrix(rho), _matrix(sigma)
    _check_alike(first, second)
    return float(0.5 * np.sum(np.abs(np.linalg.eigvalsh(first - second))))


def purity(rho: Any) -> float:
    """``tr rho^2``: one for pure states, ``1 / n`` for the most mixed one.

    Parameters
    ----------
    rho : State, or array-like of shape (n, n) or (n,)
        A vector is a pure state.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a matrix is not Hermitian.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.states import purity
    >>> purity(np.eye(4) / 4)
    0.25
    """
    return float(np.linalg.norm(_matrix(rho)) ** 2)


def _matrix(rho: Any) -> Array:
    """The density matrix of a state, however it is given."""
    if isinstance(rho, State):
        return rho.density_matrix
    rho = np.asarray(rho)
    if rho.ndim == 1:
        return np.outer(rho, rho.conj())
    if rho.ndim != 2 or rho.shape[0] != rho.shape[1]:
        raise ValueError(
            f"A state is a square matrix or a vector, got shape {rho.shape}."
        )
    close = np.sqrt(np.finfo(np.result_type(rho, np.float32)).eps)
    # The comparison is false for nan, too.
    if not np.linalg.norm(rho - rho.conj().T) <= close * np.linalg.norm(rho):
        raise ValueError("A density matrix is Hermitian, and the one given is not.")
    return rho


def _root(rho: Any) -> Array:
    """A factor X of ``X X^H``."""
    if np.ndim(rho) == 1:
        return np.asarray(rho)[:, None]
    values, vectors = np.linalg.eigh(_matrix(rho))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _check_alike(first: Array, second: Array) -> None:
    if len(first) != len(second):
        raise ValueError(
            f"Both states must have one size, got {len(first)} and {len(second)}."
        )
