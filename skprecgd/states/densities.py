"""Density matrices, in whatever form a state is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._runtime.quantum_objects import without_qobj
from skprecgd._runtime.typing import Array
from skprecgd.states.state import State


def density_matrix(rho: Any) -> Array:
    """The density matrix of a state, shape (n, n).

    Parameters
    ----------
    rho : State, Qobj, or array-like of shape (n, n), (n,) or (n, 1)
        A ket or a vector is a pure state.

    Raises
    ------
    ValueError
        If it is neither a vector nor a square matrix, or not Hermitian.
    """
    rho = _numbers(rho)
    if rho.ndim == 1:
        return np.outer(rho, rho.conj())
    close = np.sqrt(np.finfo(np.result_type(rho, np.float32)).eps)
    # The comparison is false for nan, too.
    if not np.linalg.norm(rho - rho.conj().T) <= close * np.linalg.norm(rho):
        raise ValueError("A density matrix is Hermitian, and the one given is not.")
    return rho


def factor(rho: Any) -> Array:
    """A factor X of the density matrix ``X X^H``, shape (n, r).

    Parameters and errors are those of `density_matrix`.
    """
    numbers = _numbers(rho)
    if numbers.ndim == 1:
        return numbers[:, None]
    values, vectors = np.linalg.eigh(density_matrix(numbers))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _numbers(rho: Any) -> Array:
    """A vector or a square matrix."""
    if isinstance(rho, State):
        return rho.density_matrix
    rho = np.asarray(without_qobj(rho))
    if rho.ndim == 2 and rho.shape[1] == 1:
        rho = rho[:, 0]
    square = rho.ndim == 2 and rho.shape[0] == rho.shape[1]
    if not (square or rho.ndim == 1) or rho.dtype.kind not in "fiubc" or not rho.size:
        raise ValueError(
            "A state is a square matrix or a vector of numbers, got shape "
            f"{rho.shape} of dtype {rho.dtype}."
        )
    return rho
