"""The singular triplets of a matrix within a subspace that is known already."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.orthogonal import loading_signs
from skprecgd._runtime.typing import Array

# Share of the largest singular value below which the roots of squares lose too many
# digits: left vectors are orthogonal to the machine precision over its square.
_LEAST = 1e-3

Triplets = tuple[Array, Array, Array]


def triplets_within(X: Matrix, basis: Array) -> Triplets:
    """Singular triplets of X restricted to the span of a basis of its row space.

    One product with X. The squares of its numbers must be numbers.

    Parameters
    ----------
    X : Matrix of shape (n_rows, n_columns)
    basis : ndarray of shape (n_columns, rank)
        Orthonormal up to the rounding of single precision.

    Returns
    -------
    u, s, v : ndarray of shape (n_rows, rank), (rank,), (n_columns, rank)
        In float64, s descending. The largest entry of each column of v is positive.
    """
    basis = basis.astype(np.float64, copy=False)
    image = X.times(basis.astype(X.dtype, copy=False)).astype(np.float64, copy=False)
    # The basis is made orthonormal and turned at once, by a small matrix.
    triangle = linalg.cholesky(basis.T @ basis, check_finite=False)
    half = _solved(triangle, image.T @ image)
    squares, turn = np.linalg.eigh(_solved(triangle, half.T))
    s = np.sqrt(np.maximum(squares[::-1], 0.0))
    if s[-1] < _LEAST * s[0]:
        return _by_qr(_solved(triangle, image.T).T, _solved(triangle, basis.T).T)
    turn = linalg.solve_triangular(triangle, turn[:, ::-1], check_finite=False)
    # Columns of the result are contiguous, as `components_` are.
    v = (turn.T @ basis.T).T
    signs = loading_signs(v)
    return image @ (turn * signs / s), s, v * signs


def _solved(triangle: Array, right: Array) -> Array:
    return np.asarray(
        linalg.solve_triangular(triangle, right, trans="T", check_finite=False)
    )


def _by_qr(image: Array, basis: Array) -> Triplets:
    """The triplets by those of the triangle of the image, to the last digit."""
    q, r = np.linalg.qr(image)
    u, s, vt = np.linalg.svd(r)
    v = (vt @ basis.T).T
    signs = loading_signs(v)
    return q @ (u * signs), s, v * signs
