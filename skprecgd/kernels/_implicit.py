"""What the kernels for rows beside many zeros take and give."""

from __future__ import annotations

from typing import NamedTuple

from skprecgd._runtime.typing import Array


class Others(NamedTuple):
    """The factor of the other side, turned so that its columns are orthogonal.

    Attributes
    ----------
    basis : ndarray of shape (n_others, r)
    squares : ndarray of shape (r,)
        The squared norms of its columns: all that is left of ``basis.T @ basis``.
    weight : float
        Of each cell that the pattern does not store, whose target is zero.
    """

    basis: Array
    squares: Array
    weight: float


class Solved(NamedTuple):
    """Rows after some steps of conjugate gradients.

    Attributes
    ----------
    values : ndarray of shape (n_rows, r)
    losses : ndarray of shape (n_rows,)
        What is minimised for each, see `rows_beside_zeros`, in float64.
    """

    values: Array
    losses: Array


class Leading(NamedTuple):
    """The largest numbers of each row.

    Attributes
    ----------
    positions : ndarray of int, shape (n_rows, n)
        The largest first; of equal numbers that of the lower position.
    values : ndarray of shape (n_rows, n)
        ``-inf`` where a row has no more numbers; the position there means nothing.
    """

    positions: Array
    values: Array
