"""What the degrees of freedom of a rank say of its fit and of its noise."""

from __future__ import annotations

from bisect import bisect_left
from functools import partial

from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.unknown.base import Unknown


def highest_determined(
    unknown: Unknown,
    matrix_shape: tuple[int, int],
    n_measurements: float,
    most: int | None = None,
) -> int:
    """The highest rank up to `most` with more measurements than unknowns, or 0."""
    ranks = range(1, (min(matrix_shape) if most is None else most) + 1)
    unknowns = partial(unknown.degrees_of_freedom, matrix_shape)
    return bisect_left(ranks, n_measurements, key=unknowns)


def residual_variance(
    objective: Objective, loss: float, factors: Factors, unknown: Unknown
) -> float:
    """Variance of the noise of one measurement, from what a fit leaves over.

    The sum of squared residuals is divided by the number of measurements less the
    degrees of freedom of the fit; 0 where those are as many.
    """
    freedom = unknown.degrees_of_freedom(factors.matrix_shape, factors.rank)
    n_measurements = objective.n_measurements
    if n_measurements <= freedom:
        return 0.0
    per_measurement = 2 * loss / objective.noise_share(1.0)
    return per_measurement * n_measurements / (n_measurements - freedom)
