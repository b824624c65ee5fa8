"""Directions that serve one row or one column of the matrix in particular.

A line with hardly more entries than unknowns converges late, and what it leaves is a
direction to itself in the gradient. And to a matrix that agrees with the entries, one
can be added that is zero but in one row, and there in the observed columns: a rank
more, and that row is arbitrary.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors, Triplets
from skprecgd.optim.path.tuning import ScarceTuning


def has_lone_line(factors: Factors, lone: float = ScarceTuning.lone) -> bool:
    """Whether a direction of the factors serves one row or one column in particular.

    Parameters
    ----------
    factors : Factors
    lone : float, default=0.25
        Leverage beyond the mean from which on a line is lone.
    """
    u, _, v = factors.svd()
    return any(
        np.max(np.sum(basis**2, axis=1)) > factors.rank / len(basis) + lone
        for basis in (u, v)
    )


def are_lone(triplets: Triplets, lone: float = ScarceTuning.lone) -> Array:
    """Which of some rank-one terms serve one row or one column in particular.

    Parameters
    ----------
    triplets : tuple of ndarray
        Unit vectors u and v in their columns, with lengths between.
    lone : float, default=0.25
        See `has_lone_line`.
    """
    return np.any([each.any(axis=0) for each in _lone_lines(triplets, lone)], axis=0)


class WithoutLines:
    """Matrices of one shape without the lines that some directions serve (trimming).

    Parameters
    ----------
    triplets : tuple of ndarray
        Rank-one terms, lone ones among them.
    lone : float, default=0.25
        See `has_lone_line`.
    """

    def __init__(self, triplets: Triplets, lone: float = ScarceTuning.lone) -> None:
        self._kept = [~each.any(axis=1) for each in _lone_lines(triplets, lone)]

    def of(self, matrix: sparse.csr_array) -> sparse.csr_array:
        """The matrix with zeros in these rows and columns."""
        rows, columns = (each.astype(matrix.dtype) for each in self._kept)
        scaled = matrix.multiply(rows[:, None]).multiply(columns[None, :])
        return sparse.csr_array(scaled)


def without_lone_lines(
    factors: Factors,
    gradient: sparse.csr_array,
    triplets: Triplets,
    lone: float = ScarceTuning.lone,
) -> Factors:
    """The matrix with zeros in lone lines, and in all lines that they meet.

    From there a Gauss-Newton step finds the latter by what others say of them, and the
    next one the former: an entry where two zero lines meet has no slope.

    Parameters
    ----------
    factors : Factors
    gradient : csr_array
        It stores the observed entries.
    triplets : tuple of ndarray
    lone : float, default=0.25
        See `has_lone_line`.
    """
    rows, columns = (np.any(each, axis=1) for each in _lone_lines(triplets, lone))
    stored = gradient.astype(bool)
    stored.data[:] = True
    meets_rows, meets_columns = stored @ columns, stored.T @ rows
    return factors.masked(~(rows | meets_rows), ~(columns | meets_columns))


def _lone_lines(triplets: Triplets, lone: float) -> tuple[Array, Array]:
    """Which rows are served in particular by each term, and which columns."""
    u, _, v = triplets
    rows, columns = (np.asarray(basis**2 > 1.0 / len(basis) + lone) for basis in (u, v))
    return rows, columns
