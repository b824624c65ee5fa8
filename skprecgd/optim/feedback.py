"""Fixed random feedback: descent with a random matrix in the place of a factor.

In ``f(L, R)`` the gradient with respect to R is ``S^T L``. Feedback replaces L there
by a random matrix that is drawn once and never learns (feedback alignment, FA). The
result is no descent direction, so there is nothing to search for along it; it is here
as a scientific control (Garg, Vempala, AISTATS 2022), not as a way to recover a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._linalg.numerics import adjoint_of, dot, norm
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.factors import Factors
from skprecgd.optim.directions import Direction, Local, solve_block


class Feedback(Direction):
    """``-(S R, S^T B)`` with B random and fixed, over a bound of its curvature.

    A unit step is then stable. Ridge terms are added as in the gradient. The history
    gets the column "alignment": the cosine between the left factor and B.

    Parameters
    ----------
    random_state : int, RandomState instance or None, default=None
        B is drawn with it.
    """

    def __init__(self, random_state: RandomState = None) -> None:
        # B is drawn from a stream of its own: where one seed serves for the start, too,
        # the two must not be the same numbers.
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        self._rng = np.random.RandomState(seed)
        self._feedback: Array | None = None

    def __call__(self, local: Local) -> Factors:
        return self._fed_back(local)

    def diagnostics(self, factors: Factors) -> Mapping[str, float]:
        left, feedback = factors.left, self._matrix(factors)
        size = norm(left) * norm(feedback)
        return {"alignment": dot(left, feedback) / size if size > 0 else np.nan}

    def _matrix(self, factors: Factors) -> Array:
        """B, drawn when the shape is first known; its columns have length one."""
        if self._feedback is None:
            n_rows, rank = factors.left.shape
            drawn = self._rng.standard_normal((n_rows, rank)) / np.sqrt(n_rows)
            self._feedback = drawn.astype(factors.dtype)
        return self._feedback

    def _fed_back(self, local: Local) -> Factors:
        factors, objective = local.evaluation.factors, local.objective
        left, right = factors.left, factors.right
        feedback = self._matrix(factors)
        gradient = objective.matrix_gradient(local.evaluation)
        direction = factors.joined(
            np.asarray(gradient @ right, left.dtype),
            np.asarray(adjoint_of(gradient) @ feedback, right.dtype),
        )
        direction = objective.penalty.added(direction, factors)
        # The linear part of the change of the matrix is E -> E R R^T + L B^T E, and
        # the square of B keeps the step finite where both factors are zero.
        size, sizes = _spectral(feedback), (_spectral(left), _spectral(right))
        ridge = max(np.max(objective.penalty.of_lines(block)) for block in (0, 1))
        bound = sizes[1] ** 2 + sizes[0] * size + size**2 + ridge
        return direction.times(-1.0 / bound)


class FeedbackStar(Feedback):
    """FA*: the best L for the present R, and a step of R, in turns."""

    def __init__(self, random_state: RandomState = None) -> None:
        super().__init__(random_state)
        self._left_is_next = True

    def restart(self) -> None:
        self._left_is_next = True

    def __call__(self, local: Local) -> Factors:
        solve, self._left_is_next = self._left_is_next, not self._left_is_next
        return solve_block(local, 0) if solve else self._fed_back(local).only(1)


def _spectral(block: Array) -> float:
    return float(np.linalg.norm(block, 2))
