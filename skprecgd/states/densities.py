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
        A ket or a vector is a pure state. It is divided by its trace, a vector by its
        norm.

    Raises
    ------
    ValueError
        If it is neither a vector nor a square matrix, not Hermitian, has eigenvalues
        below zero by more than rounding, or no positive trace.
    """
    x = factor(rho)
    return np.asarray(x @ x.conj().T)


def factor(rho: Any) -> Array:
    """A factor X of the density matrix ``X X^H``, shape (n, r).

    Parameters and errors are those of `density_matrix`.
    """
    numbers = _numbers(rho)
    x = numbers[:, None] if numbers.ndim == 1 else _root(numbers)
    norm = np.linalg.norm(x)
    # The comparisons are false for nan, too.
    if not 0.0 < norm < np.inf:
        raise ValueError(
            "A state is finite and has a positive trace; the one given has not."
        )
    return np.asarray(x / norm)


def _root(rho: Array) -> Array:
    """A factor X of a matrix ``X X^H``, which it is up to rounding."""
    close = np.sqrt(np.finfo(rho.dtype).eps)
    if not np.linalg.norm(rho - rho.conj().T) <= close * np.linalg.norm(rho):
        raise ValueError("A density matrix is Hermitian, and the one given is not.")
    values, vectors = np.linalg.eigh(rho)
    if values[0] < -close * np.max(np.abs(values)):
        raise ValueError(
            "A density matrix has no negative eigenvalues; the one given has "
            f"{values[0]:.2g}."
        )
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _numbers(rho: Any) -> Array:
    """A vector or a square matrix of floating-point numbers."""
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
    return rho.astype(np.result_type(rho, np.float32))
