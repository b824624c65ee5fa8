"""From measurements, targets and a loss to an objective."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprecgd._linalg.containers import unmasked
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.measurements import FullObservation, Measurements
from skprecgd.measurements.real_numbers import RealParts, real_numbers_of
from skprecgd.objective.base import Objective
from skprecgd.objective.full import FullObjective
from skprecgd.objective.penalty import Penalty, as_penalty, scaled_penalty
from skprecgd.objective.sampled import SampledObjective
from skprecgd.objective.weights import ONCE, Weights


def make_objective(
    measurements: Measurements,
    targets: Any,
    loss: Loss | None = None,
    alpha: float = 0.0,
    *,
    alpha_scaling: float = 0.0,
    weights: Weights = ONCE,
    symmetric: bool = False,
) -> Objective:
    """The objective of a recovery problem.

    Parameters
    ----------
    measurements : Measurements
        The measurements.
    targets : array-like of shape (n_measurements,)
        The measured numbers. For `FullObservation` the data matrix itself: dense,
        sparse or a LinearOperator of shape ``(n_rows, n_columns)``. Those of complex
        measurements may be complex: each is two real numbers then.
    loss : Loss, default=None
        None is the squared loss. Constants of the loss that depend on the scale of the
        data are computed from the targets.
    alpha : float, default=0.0
        Ridge on both factors: beside the sum of the (weighted) losses, `alpha` times
        the nuclear norm of the matrix. The objective itself is that times a number, so
        that its curvature is about one.
    alpha_scaling : float, default=0.0
        See `make_penalty`.
    weights : Weights, default=ONCE
        How often each measurement was made, and how precisely.
    symmetric : bool, default=False
        Whether the matrix is ``X X^T``. `alpha_scaling` asks, and complex measurements
        do: Hermitian ones of a Hermitian matrix are real numbers.

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
    penalty = make_penalty(
        alpha, alpha_scaling, measurements, weights, symmetric=symmetric
    )
    loss = SquaredLoss() if loss is None else loss
    if measurements.dtype.kind == "c":
        targets = np.asarray(targets).ravel()
        numbers = real_numbers_of(measurements, targets, loss, hermitian=symmetric)
        if isinstance(numbers, RealParts):
            weights = weights.at(np.repeat(np.arange(len(targets)), 2))
        measurements, targets = numbers, numbers.read(targets)
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


def make_penalty(
    alpha: float,
    alpha_scaling: float,
    measurements: Measurements,
    weights: Weights = ONCE,
    *,
    symmetric: bool = False,
) -> Penalty:
    """The penalty that goes with the sum of the weighted losses.

    Parameters
    ----------
    alpha : float
        See `make_objective`.
    alpha_scaling : float
        The ridge of a row of a factor takes the count of its observed entries, relative
        to the mean over all rows (columns), to this power. Needs single entries, unless
        it is 0.
    measurements : Measurements
    weights : Weights, default=ONCE
        Frequencies count. They may be in any form that the measurements take.
    symmetric : bool, default=False
        Whether row i and column i of the matrix have one row of the factor.

    Raises
    ------
    ValueError
        If one of the numbers is negative or not finite, or see `check_scaling`.

    Examples
    --------
    >>> from skprecgd.measurements import EntryMeasurements
    >>> from skprecgd.objective.make import make_penalty
    >>> entries = EntryMeasurements([0, 0, 0, 1], [0, 1, 2, 0], (2, 3))
    >>> make_penalty(0.5, 1.0, entries).of_lines(0)
    array([0.75, 0.25])
    """
    check_scaling(alpha_scaling, measurements)
    penalty = as_penalty(alpha)
    if penalty.shrinks and alpha_scaling > 0:
        counts = measurements.line_counts(weights.frequency)
        penalty = scaled_penalty(alpha, alpha_scaling, counts, symmetric=symmetric)
    return penalty.times(weights.losses_divided_by)


def check_scaling(alpha_scaling: float, measurements: Measurements) -> None:
    """Refuse to count the entries of rows where measurements are no single entries.

    Parameters
    ----------
    alpha_scaling : float
        See `make_penalty`.
    measurements : Measurements
    """
    if not 0 <= alpha_scaling < np.inf:
        raise ValueError(
            f"alpha_scaling must be a finite number >= 0, got {alpha_scaling!r}."
        )
    if alpha_scaling > 0 and not measurements.single_entries:
        raise ValueError(
            f"alpha_scaling={alpha_scaling!r} needs measurements of single entries, "
            f"got {measurements!r}: there is no number of entries of a row; use "
            "alpha_scaling=0."
        )
