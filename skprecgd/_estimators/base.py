"""The base class of the estimators: rank search, fitted attributes, warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from skprecgd._estimators.fitted import signed_svd
from skprecgd._estimators.fitting import iteration_callback
from skprecgd._estimators.groups import start_of_group, within
from skprecgd._estimators.parameters import SHARED_CONSTRAINTS
from skprecgd._estimators.weighting import has_variances
from skprecgd._linalg.containers import marked
from skprecgd._linalg.groups import Block
from skprecgd._runtime.compat import CallbackSupportMixin
from skprecgd.factors import FactorPair, Factors, SymmetricFactor
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

    def _recover(
        self,
        objective: Objective,
        max_rank: int,
        block: Block | None = None,
        signal_in_noise: Callable[[Factors], int | None] | None = None,
    ) -> PathResult:
        """Search for the rank with this estimator's parameters.

        The objective is that of a group if its `block` in the whole matrix is given.
        """
        settings = self._path_settings(objective, max_rank, block)
        settings = replace(settings, signal_in_noise=signal_in_noise)
        callback = iteration_callback(self)
        return recover(objective, max_rank, settings, self.random_state, callback)

    def _path_settings(
        self, objective: Objective, max_rank: int, block: Block | None = None
    ) -> PathSettings:
        """Settings of the rank search: the only place that makes them of parameters."""
        given = {name: getattr(self, name) for name in _PATH_PARAMETERS}
        if has_variances(self.noise_variance):
            given["noise_variance"] = objective.known_variance
        init = self.init
        if block is not None:
            init = start_of_group(init, block, max_rank, symmetric=self.symmetric)
        settings = PathSettings(**given, init=init, tol=objective.working_tol(self.tol))
        last = self._last_solution(block) if self.warm_start else None
        if last is None or last.matrix_shape != objective.matrix_shape:
            return settings
        if last.rank > max_rank:
            last = last.truncated(max_rank)
        solved = self._solved if block is None else None
        return replace(settings, init=(last.left, last.right), solved=solved)

    def _last_solution(self, block: Block | None) -> Factors | None:
        """The factors that the last fit ended with, None if there are none.

        They are those of a group if its `block` in the whole matrix is given.
        """
        if not hasattr(self, "left_"):
            return None
        left, right = self.left_, self.right_
        if block is not None:
            if (len(left), len(right)) != block.whole_shape:
                return None
            left, right = within((left, right), block)
        if left.shape[1] == 0:
            return None
        if not self.symmetric:
            return FactorPair(left, right)
        return SymmetricFactor(left) if np.array_equal(left, right) else None

    def _store(self, result: PathResult, factors: Factors) -> None:
        """Set the fitted attributes from the recovered `factors`."""
        self._store_matrix(factors)
        self.n_iter_ = result.n_iter
        self.converged_ = result.converged
        self.stop_reason_ = result.message
        self.history_ = result.history
        self._solved = result.solved
        # The value of an earlier fit would be wrong now.
        self.__dict__.pop("noise_variance_", None)
        if has_variances(self.noise_variance):
            self.noise_variance_: Any = np.array(
                marked(self.noise_variance, np.nan).matrix, np.float64
            )
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
        if result.status is Status.WORSE_THAN_ZERO:
            advice = "use another init or rank_search='path'"
        warnings.warn(
            f"{type(self).__name__} did not converge: {result.message} Relative "
            f"residual {result.relative_residual:.3g}, tol={self.tol:g} after "
            f"{result.n_iter} iterations; {advice}. The best iterate is kept.",
            ConvergenceWarning,
            stacklevel=3,
        )
