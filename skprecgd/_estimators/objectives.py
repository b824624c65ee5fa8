"""From an estimator's parameters and its data to the objective of the fit."""

from __future__ import annotations

from typing import Any

from skprecgd._estimators.parameters import looks_for_outliers, needs_each_entry
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.distributed.objective import ChunkedObjective
from skprecgd.losses import make_loss
from skprecgd.measurements import FullObservation, Measurements
from skprecgd.objective import Objective, make_objective
from skprecgd.robust import TrimmedObjective


def objective_of(estimator: Any, measurements: Measurements, targets: Any) -> Objective:
    """What is minimised, given the measurements and their targets.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        Its `loss`, `alpha` and `outlier_fraction` count.
    measurements : Measurements
    targets : ndarray, dask array or list by chunk
        Of `FullObservation` the matrix itself will do, in any form.
    """
    by_products = needs_each_entry(estimator) is None
    if by_products and isinstance(measurements, ChunkedMeasurements):
        by_chunk = measurements.targets(targets)
        return ChunkedObjective(measurements, by_chunk, estimator.alpha)
    if is_dask(targets):
        # All residuals are compared: one number a measurement is here.
        targets = targets.compute()
    if looks_for_outliers(estimator):
        return TrimmedObjective(measurements, targets, estimator.outlier_fraction)
    if isinstance(measurements, FullObservation) and targets.ndim == 1:
        targets = targets.reshape(measurements.matrix_shape)
    return make_objective(
        measurements, targets, make_loss(estimator.loss), estimator.alpha
    )
