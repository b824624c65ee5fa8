"""What both estimators share: parameters, constraints, fitted attributes, warnings."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from skprecgd._estimators.fitting import iteration_callback
from skprecgd._runtime.compat import CallbackSupportMixin, Interval, StrOptions
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.typing import Array
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.distributed.objective import ChunkedObjective
from skprecgd.factors import Factors
from skprecgd.losses import LOSSES, Loss, SquaredLoss, make_loss
from skprecgd.measurements import FullObservation, Measurements
from skprecgd.objective import Objective, make_objective
from skprecgd.optim import (
    DAMPING_RULES,
    RANK_SEARCHES,
    SOLVERS,
    STEP_RULES,
    Damping,
    Solver,
    StepRule,
)
from skprecgd.optim.path.rank_path import recover
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.result import Status
from skprecgd.robust import TrimmedObjective

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
    "noise_variance": [
        None,
        StrOptions({"auto"}),
        Interval(Real, 0, None, closed="left"),
    ],
    "init": [StrOptions({"spectral", "nystrom", "random"}), tuple, list],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "outlier_fraction": [Interval(Real, 0, 0.5, closed="left"), StrOptions({"auto"})],
    "early_stopping": [StrOptions({"auto"}), "boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "random_state": ["random_state"],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
}

# What a search for a rank takes from an estimator as it is; see `PathSettings`.
_PATH_PARAMETERS = (
    "symmetric",
    "solver",
    "rank_search",
    "damping",
    "step_size",
    "noise_variance",
    "early_stopping",
    "validation_fraction",
    "n_iter_no_change",
    "max_iter",
)
# Share of the norm of a matrix that no one misses.
_NEGLIGIBLE = 1e-6
# What a fit that is explained to tol leaves in spare columns, in units of tol: at most,
# and where as much as that would be missed.
_SPARE, _SPARE_LOOSE = 10.0, 3.0
# Most that an entry left out of a finished fit still misses, in units of its tol.
_UNFINISHED = 1e3
# So such a fit is taken further than asked for, by this factor, if digits allow.
_FURTHER = 1e-2


class BasePrecGD(CallbackSupportMixin, BaseEstimator):
    """Shared machinery; see the two estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED_CONSTRAINTS
    # A parameter where the matrix may be symmetric; a data matrix is taken as it comes.
    symmetric: bool = False

    def _objective(self, measurements: Measurements, targets: Any) -> Objective:
        """What is minimised, given the measurements and their targets."""
        loss = make_loss(self.loss)
        plain = self.outlier_fraction == 0 and isinstance(loss, SquaredLoss)
        if plain and isinstance(measurements, ChunkedMeasurements):
            by_chunk = measurements.targets(targets)
            return ChunkedObjective(measurements, by_chunk, self.alpha)
        if is_dask(targets):
            # These compare all residuals: one number a measurement is here.
            targets = targets.compute()
        if self.outlier_fraction != 0:
            given = f"outlier_fraction={self.outlier_fraction!r}"
            if not isinstance(loss, SquaredLoss):
                raise ValueError(
                    f"{given} needs loss='squared', got loss={loss.name!r}: errors are "
                    "told by their residuals, or met by a robust loss, not both."
                )
            if self.noise_variance == "auto":
                raise ValueError(
                    f"{given} needs noise_variance=None or a number, got 'auto': the "
                    "noise of the measurements left out is not there to be estimated."
                )
            if self.alpha != 0:
                raise ValueError(
                    f"outlier_fraction={self.outlier_fraction!r} needs alpha=0, got "
                    f"alpha={self.alpha!r}: what a ridge takes off large entries would "
                    "count as outliers; loss='huber' takes a ridge."
                )
            return TrimmedObjective(measurements, targets, self.outlier_fraction)
        if isinstance(measurements, FullObservation) and targets.ndim == 1:
            targets = targets.reshape(measurements.matrix_shape)
        return make_objective(measurements, targets, loss, self.alpha)

    def _recover(self, objective: Objective, max_rank: int) -> PathResult:
        """Search for the rank with this estimator's parameters."""
        settings = self._path_settings(objective, max_rank)
        callback = iteration_callback(self)
        result = recover(objective, max_rank, settings, self.random_state, callback)
        self._warn(result)
        return result

    def _path_settings(self, objective: Objective, max_rank: int) -> PathSettings:
        """How to search for a rank: the one place where parameters become settings."""
        given = {name: getattr(self, name) for name in _PATH_PARAMETERS}
        return PathSettings(
            **given,
            init=self._start(objective, max_rank),
            tol=fit_tol(objective, self.tol),
        )

    def _start(self, objective: Objective, max_rank: int) -> Any:
        """The `init` parameter, or the last solution with ``warm_start=True``."""
        if not (self.warm_start and hasattr(self, "left_")):
            return self.init
        left, right = self.left_, self.right_
        shape = (left.shape[0], right.shape[0])
        if shape != objective.matrix_shape or left.shape[1] > max_rank:
            return self.init
        return left, right

    def _store(self, result: PathResult, factors: Factors) -> None:
        """Set the fitted attributes from the recovered `factors`."""
        self._store_matrix(factors)
        self.n_iter_ = result.n_iter
        self.converged_ = result.converged
        self.stop_reason_ = result.message
        self.history_ = result.history
        # Set anew by every fit: of an earlier one it would be wrong.
        self.__dict__.pop("noise_variance_", None)
        if result.noise_variance is not None:
            self.noise_variance_ = result.noise_variance
        if result.status is Status.INTERRUPTED:
            # The iterate is kept (warm_start goes on from it), the interruption
            # stays an interruption.
            raise KeyboardInterrupt

    def _store_matrix(self, factors: Factors) -> None:
        u, s, v = signed_svd(factors)
        balanced = type(factors).from_svd(u, s, v)
        self.n_components_ = len(s)
        self.singular_values_ = s
        self.components_ = np.ascontiguousarray(v.T)
        self.left_, self.right_ = balanced.left, balanced.right

    def _warn(self, result: PathResult) -> None:
        if result.converged or self.tol == 0:
            return
        if result.status in (Status.INTERRUPTED, Status.CALLBACK):
            return
        advice = "increase max_iter or tol"
        if result.status is Status.DIVERGED:
            advice = "use step_size='auto' or a smaller number"
        warnings.warn(
            f"{type(self).__name__} did not converge: {result.message} Relative "
            f"residual {result.relative_residual:.3g}, tol={self.tol:g} after "
            f"{result.n_iter} iterations; {advice}. The best iterate is kept.",
            ConvergenceWarning,
            stacklevel=3,
        )


def fit_tol(objective: Objective, tol: float) -> float:
    """The `tol` to fit with, so that all of the matrix is as accurate as asked for.

    The residual says nothing about the entries that are left out, which miss a hundred
    times as much: a fit with a loose `tol` would leave out what it has not fitted yet.
    """
    if not isinstance(objective, TrimmedObjective):
        return tol
    half_the_digits = float(np.sqrt(np.finfo(objective.dtype).eps))
    return max(_FURTHER * tol, min(tol, half_the_digits))


def error_level(
    objective: TrimmedObjective, factors: Factors, result: PathResult, tol: float
) -> float:
    """The size above which residuals are reported as gross errors.

    Entries left out of the fit until it ended keep larger residuals than the others:
    where those reach `tol`, up to some hundreds of it.
    """
    tol = fit_tol(objective, tol)
    explained = result.relative_residual <= 10 * tol
    return objective.error_level(factors, _UNFINISHED * tol if explained else 0.0)


def found_factors(objective: Objective, result: PathResult, tol: float) -> Factors:
    """The factors without the columns that hold only unfinished convergence.

    A fit that explains the data to `tol` leaves errors of a few `tol` in its spare
    columns, so trailing singular values count as zero while together they stay
    below ten times that (three times, if that is no longer negligible). Where noise
    or a ridge keeps the residual up, a loose `tol` says nothing of that kind, and only
    what is negligible anyway goes.
    """
    tol = fit_tol(objective, tol)
    factors = result.factors
    s = factors.singular_values().astype(np.float64)
    eps = np.finfo(factors.dtype).eps
    explained = result.relative_residual <= 10 * tol
    spare = min(_SPARE * tol, max(_SPARE_LOOSE * tol, _NEGLIGIBLE))
    unfinished = spare if explained else min(tol, _NEGLIGIBLE)
    level = max(unfinished, max(factors.matrix_shape) * eps) * np.linalg.norm(s)
    tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]
    return factors.truncated(max(1, int(np.sum(tails > level))))


def signed_svd(factors: Factors) -> tuple[Array, Array, Array]:
    """``U, s, V`` with scikit-learn's signs: the largest loading is positive."""
    u, s, v = factors.svd()
    largest = np.argmax(np.abs(v), axis=0)
    signs = np.where(v[largest, np.arange(v.shape[1])] < 0, -1, 1).astype(v.dtype)
    return u * signs, s, v * signs


def check_y_scale(y: Any) -> None:
    """Refuse targets that carry no information about a matrix."""
    if is_dask(y) and len(y) > 1:
        y = np.array([y.min().compute(), y.max().compute()])
    if y is not None and len(y) > 1 and np.all(y == y[0]):
        raise ValueError(
            f"All {len(y)} targets are equal ({y[0]:g}); they do not determine a "
            "matrix. Check that y holds the measured values."
        )
