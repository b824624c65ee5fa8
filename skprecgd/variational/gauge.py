"""Draws of factors without the part that turns them and leaves their product as it is.

To first order ``L R^H`` stays the same if L moves by ``L K`` and R by ``-R K^H``. What
is measured says nothing of K, so that draws hold as much of it as the prior allows; and
to second order it does change the product.
"""

from __future__ import annotations

import numpy as np

from skprecgd._runtime.typing import Array


def without_turns(
    left: Array, right: Array, d_left: Array, d_right: Array
) -> tuple[Array, Array]:
    """Moves of the factors at right angles to all that leave their product.

    Parameters
    ----------
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
        Of full column rank; one array if they are one factor.
    d_left, d_right : ndarray of shape (n_draws, n_rows, r), (n_draws, n_columns, r)
        The same array if they are one factor.

    Returns
    -------
    tuple of ndarray
        ``d_left - L K`` and ``d_right + R K^H`` of least size, where
        ``L^H L K + K R^H R = L^H d_left - d_right^H R``.
    """
    back, ahead = left.conj().T, right.conj().T
    target = back @ d_left - d_right.conj().transpose(0, 2, 1) @ right
    of_left, u = np.linalg.eigh(back @ left)
    of_right, v = np.linalg.eigh(ahead @ right)
    inner = u.conj().T @ target @ v / (of_left[:, None] + of_right)
    turn = u @ inner @ v.conj().T
    moved = d_left - left @ turn
    if right is left:
        return moved, moved
    return moved, d_right + right @ turn.conj().transpose(0, 2, 1)
