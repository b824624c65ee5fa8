"""The singular triplets of a matrix within a subspace that is known already."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.numerics import slabs, working_dtype
from skprecgd._linalg.orthogonal import loading_signs
from skprecgd._runtime.typing import Array

# Share of the largest singular value below which the roots of squares lose too many
# digits: left vectors are orthogonal to the machine precision over its square.
_LEAST = 1e-3

Triplets = tuple[Array, Array, Array]


def triplets_within(X: Matrix, basis: Array, *, transposed: bool = False) -> Triplets:
    """Singular triplets of X restricted to the span of a basis of its row space.

    One product with X. The squares of its numbers must be numbers.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
    basis : ndarray of shape (n_columns, rank)
        Orthonormal up to the rounding of single precision.
    transposed : bool, default=False
        Whether X is the transpose of the data, so that u are the components.

    Returns
    -------
    u, s, v : ndarray of shape (n_rows, rank), (rank,), (n_columns, rank)
        In the precision of X, s descending. The largest entry of each component is
        positive, and components are contiguous.
    """
    dtype = working_dtype(np.dtype(X.dtype))
    basis = basis.astype(dtype, copy=False)
    image = X.times(basis).astype(dtype, copy=False)
    # The basis is made orthonormal and turned at once, by a small matrix.
    triangle = linalg.cholesky(_gram(basis), check_finite=False)
    half = _solved(triangle, _gram(image))
    squares, turn = np.linalg.eigh(_solved(triangle, half.T))
    s = np.sqrt(np.maximum(squares[::-1], 0.0))
    if s[-1] < _LEAST * s[0]:
        u, s, v = _by_qr(_solved(triangle, image.T).T, _solved(triangle, basis.T).T)
        signs = loading_signs(u if transposed else v)
        return u * signs, s, v * signs
    turn = linalg.solve_triangular(triangle, turn[:, ::-1], check_finite=False)
    scaled, turn = (turn / s).astype(dtype), turn.astype(dtype)
    if transposed:
        u = (scaled.T @ image.T).T
        signs = loading_signs(u)
        u *= signs
        return u, s, basis @ (turn * signs)
    v = (turn.T @ basis.T).T
    signs = loading_signs(v)
    v *= signs
    return image @ (scaled * signs), s, v


def _gram(block: Array) -> Array:
    """``block^T block`` in float64, without a copy of the block."""
    if block.dtype == np.float64:
        return np.asarray(block.T @ block)
    total = np.zeros((block.shape[1], block.shape[1]))
    for rows in slabs(block.shape):
        part = block[rows].astype(np.float64)
        total += part.T @ part
    return total


def _solved(triangle: Array, right: Array) -> Array:
    return np.asarray(
        linalg.solve_triangular(triangle, right, trans="T", check_finite=False)
    )


def _by_qr(image: Array, basis: Array) -> Triplets:
    """The triplets by those of the triangle of the image, to the last digit."""
    q, r = np.linalg.qr(image)
    u, s, vt = np.linalg.svd(r)
    return q @ u, s, (vt @ basis.T).T
