"""From an estimator's parameters and its data to the objective of the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import Data
from skprecgd._estimators.measured import Measured
from skprecgd._estimators.parameters import (
    looks_for_outliers,
    needs_each_entry,
    ridge_of,
)
from skprecgd.distributed.graph import in_memory
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.distributed.objective import ChunkedObjective
from skprecgd.distributed.weights import chunked_weights
from skprecgd.losses import make_loss
from skprecgd.measurements import FullObservation, Measurements
from skprecgd.objective import Objective, Weights, make_objective
from skprecgd.objective.make import check_scaling, make_penalty
from skprecgd.objective.weights import ONCE
from skprecgd.robust import TrimmedObjective


def subtracted_first(
    estimator: Any, data: Data | Measured, center: str | None
) -> Offsets:
    """The offsets that are subtracted before a fit: means, or medians beside outliers.

    Nothing is subtracted from labels and counts, whose offsets pass through a link.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
    data : Data or Measured
    center : {None, "mean", "columns", "both"}
    """
    if looks_for_outliers(estimator):
        return data.medians(center)
    if make_loss(estimator.loss).generalized:
        return replace(data.offsets(None), of_rows=center == "both")
    return data.offsets(center)


def objective_of(
    estimator: Any, measurements: Measurements, targets: Any, weights: Weights = ONCE
) -> Objective:
    """The objective of a fit, given the measurements and their targets.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
        Its `loss`, `alpha`, `alpha_scaling` and `outlier_fraction` are read.
    measurements : Measurements
    targets : ndarray, dask array or list by chunk
        The targets of `FullObservation` may be the matrix itself, in any form.
    weights : Weights, default=ONCE
        Their arrays may be lazy like the targets.
    """
    check_scaling(estimator.alpha_scaling, measurements)
    by_products = needs_each_entry(estimator) is None
    if by_products and isinstance(measurements, ChunkedMeasurements):
        penalty = make_penalty(
            ridge_of(estimator),
            estimator.alpha_scaling,
            measurements,
            weights,
            symmetric=estimator.symmetric,
        )
        return ChunkedObjective(
            measurements,
            measurements.targets(targets),
            penalty,
            chunked_weights(measurements, weights),
        )
    # Targets and weights must be in memory, because all residuals are compared.
    if isinstance(measurements, ChunkedMeasurements):
        targets = measurements.values(targets)
    targets, often, precision = in_memory(targets, weights.frequency, weights.precision)
    weights = Weights(often, precision, weights.unit_variance)
    if looks_for_outliers(estimator):
        fraction = estimator.outlier_fraction
        return TrimmedObjective(measurements, targets, fraction, weights)
    if isinstance(measurements, FullObservation) and targets.ndim == 1:
        targets = targets.reshape(measurements.matrix_shape)
    return make_objective(
        measurements,
        targets,
        make_loss(estimator.loss),
        ridge_of(estimator),
        alpha_scaling=estimator.alpha_scaling,
        weights=weights,
        symmetric=estimator.symmetric,
    )
