"""The base class of the estimators: rank search, fitted attributes, warnings."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from skprecgd._estimators.fitted import signed_svd
from skprecgd._estimators.fitting import iteration_callback
from skprecgd._estimators.parameters import SHARED_CONSTRAINTS
from skprecgd._estimators.weighting import has_variances
from skprecgd._runtime.compat import CallbackSupportMixin
from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.optim.path.rank_path import recover
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.result import Status

# Parameters of the estimators that `PathSettings` takes over unchanged.
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


class BasePrecGD(CallbackSupportMixin, BaseEstimator):
    """Methods that both estimators share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED_CONSTRAINTS
    # `PrecGDMatrixSensing` has this as a parameter; a data matrix is never symmetric.
    symmetric: bool = False

    def _recover(self, objective: Objective, max_rank: int) -> PathResult:
        """Search for the rank with this estimator's parameters."""
        settings = self._path_settings(objective, max_rank)
        callback = iteration_callback(self)
        result = recover(objective, max_rank, settings, self.random_state, callback)
        self._warn(result)
        return result

    def _path_settings(self, objective: Objective, max_rank: int) -> PathSettings:
        """Settings of the rank search: the only place that makes them of parameters."""
        given = {name: getattr(self, name) for name in _PATH_PARAMETERS}
        if has_variances(self.noise_variance):
            given["noise_variance"] = objective.known_variance
        return PathSettings(
            **given,
            init=self._start(objective, max_rank),
            tol=objective.working_tol(self.tol),
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
        # The value of an earlier fit would be wrong now.
        self.__dict__.pop("noise_variance_", None)
        if has_variances(self.noise_variance):
            self.noise_variance_: Any = np.array(self.noise_variance, np.float64)
        elif result.noise_variance is not None:
            self.noise_variance_ = result.noise_variance

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
