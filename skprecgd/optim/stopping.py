"""When to stop a descent."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from skprecgd.objective import Evaluation, Objective
from skprecgd.optim.result import Status


@dataclass(frozen=True)
class StopTuning:
    """When a descent counts as diverging, and when as standing still.

    Attributes
    ----------
    divergence : float
        Growth of the objective, as a multiple of its start, past which a fixed step
        does not come back; less than that it may overshoot for a while.
    still_window : int
        Iterations that must all stand still before working precision is blamed.
    value_rounding, residual_rounding : float
        Rounding of a loss, and of a relative residual, in machine epsilons.
    """

    divergence: float = 1e4
    still_window: int = 10
    value_rounding: float = 16
    residual_rounding: float = 100


_TUNING = StopTuning()


@dataclass(frozen=True)
class Progress:
    """When progress is slow: a quantity fell by too little over some iterations.

    Attributes
    ----------
    window : int, default=5
        Iterations over which the fall is measured.
    share : float, default=0.2
        Progress is slow if the quantity fell by less than this share of itself.
    of_gradient : bool, default=False
        Whether the quantity is the gradient's norm. If it is the loss, the test
        replaces that of the gradient: a stationary point of too low a rank is no
        solution, while one on the way to a solution still makes progress.
    removable : float, default=0.0
        Progress also ends when moving the factors could remove less than this share of
        the loss, as the gradient's dual norm tells.
    of_decrease : float, default=None
        The quantity must also have fallen by less than this share of its whole fall
        since the start. This is for losses of which much remains in the best of fits.
    patience : int, default=None
        Progress also ends after this number of iterations without a lower held-out
        loss.
    chance : float, default=infinity
        Mean loss of a measurement up to which chance may be all that is left. Above it
        the patience does not wear out: the steps do not fit chance yet, and on the way
        a few large measurements may raise the held-out loss for a while.
    """

    window: int = 5
    share: float = 0.2
    of_gradient: bool = False
    removable: float = 0.0
    of_decrease: float | None = None
    patience: int | None = None
    chance: float = np.inf


class Watch:
    """The stop rules of one descent.

    Parameters
    ----------
    objective : Objective
    start : Evaluation
    tol : float
        0 only watches for divergence.
    progress : Progress, default=None
        Also stop when progress gets slow.
    descends : bool, default=True
        Whether the method goes downhill. Where it need not, standing still proves
        nothing.
    tuning : StopTuning, default=StopTuning()
    """

    def __init__(
        self,
        objective: Objective,
        start: Evaluation,
        tol: float,
        progress: Progress | None = None,
        *,
        descends: bool = True,
        tuning: StopTuning = _TUNING,
    ) -> None:
        self._tuning = tuning
        self._objective = objective
        self._data_norm = objective.data_norm
        at_zero = 0.5 * self._data_norm**2
        self._ceiling = tuning.divergence * max(start.value, at_zero)
        self._resolution = objective.resolution
        self._eps = float(np.finfo(start.factors.dtype).eps)
        self._tol = tol
        self._progress = progress
        self._descends = descends
        self._watched: list[float] = []
        self._recent: deque[tuple[float, float]] = deque(maxlen=tuning.still_window)
        self._lowest_gradient = np.inf
        self._since_lower_gradient = 0
        self._lowest_held_out = np.inf
        self._since_lower_held_out = 0

    @property
    def by_held_out(self) -> bool:
        """Whether the held-out loss says which point is the best."""
        return self._progress is not None and self._progress.patience is not None

    def lower_held_out(self, validation_loss: float) -> bool:
        """Whether the held-out loss is lower than ever since the start."""
        lower = validation_loss < self._lowest_held_out
        if lower:
            self._lowest_held_out = validation_loss
        self._since_lower_held_out = 0 if lower else self._since_lower_held_out + 1
        return lower

    def diverged(self, evaluation: Evaluation) -> bool:
        """Whether the objective grew beyond any recovery."""
        return not evaluation.value <= self._ceiling

    def status(self, evaluation: Evaluation, gradient_norm: float) -> Status | None:
        """Why to stop here, or None."""
        if gradient_norm == 0.0 or (evaluation.loss == 0.0 and self._resolution == 0):
            return Status.PRECISION
        status = self._converged(evaluation, gradient_norm) if self._tol > 0 else None
        if status is not None:
            return status
        settled = self._descends and not self._exploring
        if settled and self._stands_still(evaluation, gradient_norm):
            return Status.PRECISION if self._tol > 0 else None
        if self._progress is None:
            return None
        slow = self._gains_little(evaluation, gradient_norm, self._progress)
        return Status.SLOW if slow else None

    def _gains_little(
        self, evaluation: Evaluation, gradient_norm: float, progress: Progress
    ) -> bool:
        """Whether a stage ends here, because others promise more."""
        patience = progress.patience
        if self._objective.mean_loss(evaluation) > progress.chance:
            self._since_lower_held_out = 0
        if patience is not None and self._since_lower_held_out >= patience:
            return True
        if 0.5 * gradient_norm**2 < progress.removable * evaluation.loss:
            return True
        watched = evaluation.value if self._exploring else gradient_norm
        return self._slow(watched, progress)

    @property
    def _exploring(self) -> bool:
        """Whether this is a stage on the way, where only the loss counts."""
        return self._progress is not None and not self._progress.of_gradient

    def _converged(self, evaluation: Evaluation, gradient_norm: float) -> Status | None:
        # A residual below what the objective can resolve proves nothing.
        resolved = 0 < self._tol >= self._resolution
        if resolved and evaluation.relative_residual <= self._tol:
            return Status.RESIDUAL
        if not self._exploring and gradient_norm <= self._tol * self._data_norm:
            return Status.STATIONARY
        return None

    def _stands_still(self, evaluation: Evaluation, gradient_norm: float) -> bool:
        """Whether the last iterations changed nothing beyond rounding."""
        self._recent.append((evaluation.value, evaluation.relative_residual))
        if gradient_norm < 0.9 * self._lowest_gradient:
            self._lowest_gradient, self._since_lower_gradient = gradient_norm, 0
        else:
            self._since_lower_gradient += 1
        tuning = self._tuning
        if self._since_lower_gradient < tuning.still_window:
            return False
        values, residuals = (
            np.array(column) for column in zip(*self._recent, strict=True)
        )
        rounding = tuning.value_rounding * self._eps * np.max(values)
        floor = max(self._resolution, tuning.residual_rounding * self._eps)
        return bool(np.ptp(values) <= rounding or np.max(residuals) <= floor)

    def _slow(self, watched: float, progress: Progress) -> bool:
        self._watched.append(watched)
        if len(self._watched) <= progress.window:
            return False
        before = self._watched[-1 - progress.window]
        if progress.of_decrease is not None:
            whole = self._watched[0] - watched
            if before - watched > progress.of_decrease * whole:
                return False
        return watched > (1 - progress.share) * before
