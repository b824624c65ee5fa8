"""The leading eigenpairs of a small symmetric matrix, by LAPACK."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skprecgd._runtime.typing import Array


def top_eigenpairs(square: Array, rank: int) -> tuple[Array, Array]:
    """Largest eigenvalues, descending, and their vectors.

    A part of all eigenpairs takes a third of the time of all, but LAPACK may return
    fewer than it was asked for if the eigenvalues lie close together.

    Parameters
    ----------
    square : ndarray of shape (n, n)
        Symmetric.
    rank : int

    Returns
    -------
    values, vectors : ndarray of shape (rank,), (n, rank)
    """
    n = len(square)
    values, vectors = linalg.eigh(
        square, subset_by_index=[n - rank, n - 1], check_finite=False
    )
    if len(values) < rank:
        values, vectors = (part[..., n - rank :] for part in np.linalg.eigh(square))
    return values[::-1], vectors[:, ::-1]
