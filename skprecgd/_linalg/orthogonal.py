"""Columns made orthonormal, and orthogonal to others, in spite of rounding."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skprecgd._runtime.typing import Array


def largest_column(block: Array) -> float:
    """Norm of the largest column."""
    return float(np.sqrt(np.max(np.einsum("ij,ij->j", block, block), initial=0.0)))


def orthogonalised(block: Array, basis: Array) -> tuple[Array, Array]:
    """The block less its part in the span of the basis, and the coefficients of that.

    Parameters
    ----------
    block : ndarray of shape (n, width)
    basis : ndarray of shape (n, size)
        Orthonormal columns.

    Returns
    -------
    rest : ndarray of shape (n, width)
    coefficients : ndarray of shape (size, width)
        Numbers of type float64.
    """
    coefficients = basis.T @ block
    return block - basis @ coefficients, coefficients.astype(np.float64)


def orthonormal(block: Array, basis: Array, scale: float) -> tuple[Array, Array]:
    """QR decomposition whose Q is orthogonal to a basis even where R is singular.

    Parameters
    ----------
    block : ndarray of shape (n, width)
        Orthogonal to the basis up to rounding.
    basis : ndarray of shape (n, size)
        Orthonormal columns.
    scale : float
        Size the columns had before they were made orthogonal: only what shrank a lot
        since carries a visible remainder of the basis.

    Returns
    -------
    q, r : ndarray of shape (n, width), (width, width)
        R in float64.
    """
    q, r = linalg.qr(block, mode="economic", check_finite=False)
    if is_independent(r, scale):
        return q, r.astype(np.float64)
    q, _ = orthogonalised(q, basis)
    q, again = linalg.qr(q, mode="economic", check_finite=False)
    return q, again.astype(np.float64) @ r.astype(np.float64)


def is_independent(triangle: Array, scale: float, least: float = 1e-2) -> bool:
    """Whether no column shrank so much that a remainder of others shows in it.

    Parameters
    ----------
    triangle : ndarray of shape (width, width)
        R of a QR decomposition.
    scale : float
        Size of the columns before they were made orthogonal.
    least : float, default=1e-2
        A column that kept this share of its size has lost at most two digits of
        orthogonality.
    """
    return bool(np.min(np.abs(np.diag(triangle))) > least * scale)


def loading_signs(v: Array) -> Array:
    """Signs with which the largest entry of each column is positive.

    Those of complex columns are the phases that make it so.
    """
    if v.dtype.kind == "c":
        largest = np.take_along_axis(v, np.argmax(np.abs(v), axis=0)[None], axis=0)[0]
        sizes = np.abs(largest)
        phases = np.divide(
            largest.conj(), sizes, where=sizes > 0, out=np.ones_like(largest)
        )
        return phases
    smallest, largest = v.min(axis=0, initial=0.0), v.max(axis=0, initial=0.0)
    return np.where(largest < -smallest, -1, 1).astype(v.dtype)
