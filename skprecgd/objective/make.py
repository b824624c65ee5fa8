"""From measurements, targets and a loss to an objective."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.containers import unmasked
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.measurements import FullObservation, Measurements
from skprecgd.objective.base import Objective
from skprecgd.objective.full import FullObjective
from skprecgd.objective.penalty import Penalty, as_penalty
from skprecgd.objective.sampled import SampledObjective
from skprecgd.objective.weights import ONCE, Weights


def make_objective(
    measurements: Measurements,
    targets: Any,
    loss: Loss | None = None,
    alpha: float | Penalty = 0.0,
    *,
    weights: Weights = ONCE,
) -> Objective:
    """The objective of a recovery problem.

    Parameters
    ----------
    measurements : Measurements
        The measurements.
    targets : array-like of shape (n_measurements,)
        The measured numbers. For `FullObservation` the data matrix itself: dense,
        sparse or a LinearOperator of shape ``(n_rows, n_columns)``.
    loss : Loss, default=None
        None is the squared loss. Constants of the loss that depend on the scale of the
        data are computed from the targets.
    alpha : float or Penalty, default=0.0
        Ridge on both factors, that is a nuclear-norm penalty on the matrix, in
        units of the singular values of the matrix.
    weights : Weights, default=ONCE
        How often each measurement was made, and how precisely.

    Returns
    -------
    Objective

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> make_objective(FullObservation((2, 2)), np.diag([3.0, 4.0])).data_norm
    5.0
    """
    targets = unmasked(targets, "targets")
    penalty = as_penalty(alpha).times(weights.losses_divided_by)
    loss = SquaredLoss() if loss is None else loss
    plain = loss.least_squares and weights.of_losses is None
    if isinstance(measurements, FullObservation) and plain:
        if tuple(targets.shape) != measurements.matrix_shape:
            raise ValueError(
                f"The data have shape {tuple(targets.shape)}, but the measurements "
                f"are of a matrix of shape {measurements.matrix_shape}."
            )
        objective = FullObjective(targets, penalty)
        objective.X.check_adjoint()
        return objective
    targets = np.asarray(targets).ravel()
    loss.target_check(targets)
    loss = loss.relative_to(targets, weights.frequency)
    return SampledObjective(measurements, targets, loss, penalty, weights)
