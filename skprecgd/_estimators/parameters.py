"""Allowed values of the estimators' parameters, one by one and together."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from skprecgd._estimators.weighting import is_number
from skprecgd._runtime.compat import Interval, Options, StrOptions
from skprecgd.losses import LOSSES, Loss, make_loss
from skprecgd.measurements.validation import as_number_array, as_real_array
from skprecgd.optim import (
    DAMPING_RULES,
    RANK_SEARCHES,
    SOLVERS,
    STEP_RULES,
    Damping,
    Solver,
    StepRule,
)
from skprecgd.variational.working import has_parabolas

# What ``tol="auto"`` is wherever steps lead to the factors.
_AUTO_TOL = 1e-9
# The relative residual that rounding may leave, in machine epsilons.
_ROUNDED = 4.0

SHARED_CONSTRAINTS: dict[str, list[Any]] = {
    "loss": [StrOptions(set(LOSSES)), Loss],
    "solver": [StrOptions({"auto", *SOLVERS}), Solver],
    "rank_search": [StrOptions(set(RANK_SEARCHES))],
    "step_size": [
        StrOptions(set(STEP_RULES)),
        Interval(Real, 0, None, closed="neither"),
        StepRule,
    ],
    "damping": [
        StrOptions(set(DAMPING_RULES)),
        Interval(Real, 0, None, closed="left"),
        Damping,
    ],
    "inference": [StrOptions({"variational", "gibbs"})],
    "noise": [StrOptions({"auto", "uniform", "columns"})],
    "noise_tail": [StrOptions({"auto", "normal", "t"})],
    "noise_variance": [
        None,
        StrOptions({"auto"}),
        Interval(Real, 0, None, closed="left"),
        "array-like",
    ],
    "init": [StrOptions({"spectral", "nystrom", "random"}), tuple, list],
    "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    "alpha_scaling": [Interval(Real, 0, None, closed="left")],
    "outlier_fraction": [Interval(Real, 0, 0.5, closed="left"), StrOptions({"auto"})],
    "early_stopping": [StrOptions({"auto"}), "boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state"],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
}


class MissingMarker(Options):
    """The allowed value of `missing_values` beside nan, and what to do about others."""

    def __init__(self) -> None:
        super().__init__(Real, {0})

    def __str__(self) -> str:
        return "0 (replace another marker first: np.where(X == marker, np.nan, X))"


def tolerance_of(estimator: Any, dtype: Any = np.float64) -> float:
    """The tolerance of steps: "auto" asks for all that the precision gives.

    Numbers of single precision are rounded, which leaves a residual of their own.
    """
    if isinstance(estimator.tol, str):
        return max(_AUTO_TOL, _ROUNDED * float(np.finfo(dtype).eps))
    return float(estimator.tol)


def looks_for_outliers(estimator: Any) -> bool:
    """Whether measurements may be left out of the fit as gross errors."""
    return bool(estimator.outlier_fraction != 0)


def ridge_of(estimator: Any) -> float:
    """The ridge of the objective: a prior that is learned is no part of it."""
    return 0.0 if isinstance(estimator.alpha, str) else float(estimator.alpha)


def learns_prior(estimator: Any) -> bool:
    """Whether noise and prior are learned where noise is left."""
    learns = isinstance(estimator.alpha, str)
    return learns and make_loss(estimator.loss).least_squares


def learns_prior_of_loss(estimator: Any) -> bool:
    """Whether a prior is learned of entries whose loss is not the squared one.

    A loss that does not say how it is bent is followed by its gradient alone; and held-
    out entries choose the rank of a path if they are asked to.
    """
    loss = make_loss(estimator.loss)
    learns = isinstance(estimator.alpha, str) and not loss.least_squares
    return learns and has_parabolas(loss) and estimator.early_stopping is not True


def draws_posterior(estimator: Any) -> bool:
    """Whether draws are made of the posterior that is learned."""
    return bool(estimator.inference == "gibbs")


def check_together(estimator: Any) -> None:
    """Refuse parameters that do not go with one another.

    Parameters
    ----------
    estimator : PrecGDFactorization or PrecGDMatrixSensing
    """
    loss, center = make_loss(estimator.loss), estimator.center
    if center is not None and estimator.symmetric:
        raise ValueError(
            f"center={center!r} needs symmetric=False: offsets of the columns alone "
            "leave no symmetric matrix."
        )
    if looks_for_outliers(estimator):
        _check_beside_outliers(estimator, loss)
    if draws_posterior(estimator):
        _check_draws(estimator, loss)
    elif estimator.noise_tail == "t" and not looks_for_outliers(estimator):
        given = f"noise_tail={estimator.noise_tail!r}"
        _check_noise_is_learned(estimator, loss, given, "noise_tail='auto'")
    if isinstance(estimator.alpha, str) and estimator.alpha_scaling != 0:
        raise ValueError(
            f"alpha_scaling={estimator.alpha_scaling!r} needs a number for alpha, got "
            f"alpha={estimator.alpha!r}, whose prior is learned; use alpha_scaling=0."
        )


def _check_draws(estimator: Any, loss: Loss) -> None:
    given, cure = f"inference={estimator.inference!r}", "inference='variational'"
    if looks_for_outliers(estimator):
        raise ValueError(
            f"{given} needs outlier_fraction=0, got {estimator.outlier_fraction!r}: "
            f"which entries are not trusted is found and not drawn; use {cure}."
        )
    _check_noise_is_learned(estimator, loss, given, cure)


def _check_noise_is_learned(estimator: Any, loss: Loss, given: str, cure: str) -> None:
    """Refuse what needs learned noise beside parameters with which none is."""
    if not loss.least_squares:
        raise ValueError(
            f"{given} needs loss='squared', got loss={loss.name!r}: with another loss "
            f"no noise is learned; use {cure}."
        )
    if not isinstance(estimator.alpha, str):
        raise ValueError(
            f"{given} needs alpha='auto', got alpha={estimator.alpha!r}, beside which "
            f"no noise is learned; use {cure}."
        )
    if is_number(estimator.noise_variance) and estimator.noise_variance == 0:
        raise ValueError(
            f"{given} needs noise, got noise_variance=0, which says that there is "
            f"none; use {cure}."
        )


def check_beside_prior(estimator: Any) -> None:
    """Refuse what does not go with a prior that is learned."""
    if estimator.early_stopping is True:
        raise ValueError(
            "early_stopping=True needs a number for alpha, got alpha='auto', which "
            "learns from all entries how many columns to keep; use alpha=0."
        )


def _check_beside_outliers(estimator: Any, loss: Loss) -> None:
    given = f"outlier_fraction={estimator.outlier_fraction!r}"
    if not loss.least_squares:
        raise ValueError(
            f"{given} needs loss='squared', got loss={loss.name!r}: errors are "
            "told by their residuals, or met by a robust loss, not both."
        )
    if estimator.noise_tail == "t":
        raise ValueError(
            f"{given} needs noise_tail='auto' or 'normal', got 't': large residuals "
            "are errors, or a heavy tail, not both."
        )
    if isinstance(estimator.noise_variance, str):
        raise ValueError(
            f"{given} needs noise_variance=None or a number, got "
            f"{estimator.noise_variance!r}: the noise of the measurements left out is "
            "not there to be estimated."
        )
    if ridge_of(estimator) != 0:
        raise ValueError(
            f"{given} needs alpha=0, got alpha={estimator.alpha!r}: what a ridge takes "
            "off large entries would count as outliers; loss='huber' takes a ridge."
        )


def needs_each_entry(estimator: Any) -> str | None:
    """The parameter, as given, that needs the residual of each single entry.

    None if products of the data with factors are all that a fit needs, so that a sparse
    matrix of zeros or one in chunks will do.
    """
    if looks_for_outliers(estimator):
        return f"outlier_fraction={estimator.outlier_fraction!r}"
    loss = make_loss(estimator.loss)
    return None if loss.least_squares else f"loss={loss.name!r}"


def check_init(
    init: Any,
    matrix_shape: tuple[int, int],
    max_rank: int,
    *,
    of_complex: bool = False,
) -> None:
    """Refuse a given start that does not fit, also where none is needed."""
    if isinstance(init, str):
        return
    if len(init) != 2:
        raise ValueError(
            f"init as arrays must be a pair (left, right), got {len(init)} items."
        )
    checked = as_number_array if of_complex else as_real_array
    left, right = (checked(block, "init", (2,)).shape for block in init)
    n_rows, n_columns = matrix_shape
    rank = left[1]
    fits = (left, right) == ((n_rows, rank), (n_columns, rank))
    if not (fits and 1 <= rank <= max_rank):
        raise ValueError(
            f"init must hold arrays of shape ({n_rows}, r) and ({n_columns}, r) with r "
            f"from 1 to {max_rank}, got {left} and {right}."
        )
