"""The base class of the estimators: rank search, fitted attributes, warnings."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from skprecgd._estimators.centre import Offsets, Seen
from skprecgd._estimators.fitted import signed_svd
from skprecgd._estimators.fitting import iteration_callback
from skprecgd._estimators.groups import start_of_group, within
from skprecgd._estimators.learned import NoiseFound
from skprecgd._estimators.parameters import SHARED_CONSTRAINTS, tolerance_of
from skprecgd._estimators.uncertain import UncertainEntries
from skprecgd._estimators.weighting import has_variances
from skprecgd._linalg.containers import marked
from skprecgd._linalg.groups import Block
from skprecgd._runtime.compat import CallbackSupportMixin
from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.optim.path.rank_path import recover
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.settings import NoiseJudge, PathSettings
from skprecgd.optim.result import History, Kept, Status
from skprecgd.unknown.base import Unknown, unknown_of
from skprecgd.unknown.offsets import WithOffsets

# Parameters of the estimators that `PathSettings` takes over unchanged.
_PATH_PARAMETERS = (
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

# Fitted attributes that stand for what a fit has learned of the noise.
OF_NOISE = (
    "factor_scales_",
    "lower_bound_",
    "n_signal_",
    "noise_df_",
    "noise_variance_",
)


class BasePrecGD(UncertainEntries, CallbackSupportMixin, BaseEstimator):
    """Methods that both estimators share."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED_CONSTRAINTS
    # `PrecGDMatrixSensing` has this as a parameter; a data matrix is never symmetric.
    symmetric: bool = False
    center: str | None

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Fits of earlier versions lack what transform and warm starts read, and their
        # centres and components had another meaning.
        if "n_components_" in state and "_noise" not in state:
            raise ValueError(
                f"This {type(self).__name__} was fitted and stored by an earlier "
                "version of skprecgd; fit it again."
            )
        super().__setstate__(state)

    @property
    def _components(self) -> Unknown:
        """The kind of matrix that the components are."""
        return unknown_of(self.symmetric)

    def _unknown(self, objective: Objective, seen: Seen) -> Unknown:
        """What is searched for once means are subtracted.

        Of complete data means are the best offsets there are, whatever the components.

        Parameters
        ----------
        objective : Objective
            Of the data without their means.
        seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
            Rows and columns with an observed entry.
        """
        if objective.of_complex:
            return unknown_of(self.symmetric, of_complex=True)
        if self.center is None or objective.has_closed_form:
            return self._components
        return WithOffsets(self.center, seen)

    def _recover(
        self,
        objective: Objective,
        max_rank: int,
        unknown: Unknown,
        block: Block | None = None,
        last: Factors | None = None,
        judge: NoiseJudge | None = None,
    ) -> PathResult:
        """Search for the rank with this estimator's parameters.

        The objective is that of a group if its `block` in the whole matrix is given;
        `last` are the factors that the last fit ended with.
        """
        settings = self._path_settings(objective, max_rank, unknown, block)
        settings = replace(settings, judge=judge)
        if last is not None:
            if last.rank > max_rank:
                last = last.truncated(max_rank)
            solved = self._solved if block is None else None
            settings = replace(settings, init=last, solved=solved)
        callback = iteration_callback(self)
        return recover(objective, max_rank, settings, self.random_state, callback)

    def _path_settings(
        self,
        objective: Objective,
        max_rank: int,
        unknown: Unknown,
        block: Block | None = None,
    ) -> PathSettings:
        """Settings of the rank search: the only place that makes them of parameters."""
        given = {name: getattr(self, name) for name in _PATH_PARAMETERS}
        if has_variances(self.noise_variance):
            given["noise_variance"] = objective.known_variance
        init = self.init
        if block is not None:
            init = start_of_group(init, block, max_rank)
        tol = objective.working_tol(tolerance_of(self, objective.dtype))
        return PathSettings(**given, unknown=unknown, init=init, tol=tol)

    def _last_solution(
        self, unknown: Unknown, means: Offsets, block: Block | None
    ) -> Factors | None:
        """The factors that the last fit ended with, or None to start afresh.

        They are points of the unknown beside the means that are subtracted now, and
        those of a group if its `block` in the whole matrix is given.
        """
        last = self._last_factors(unknown, block) if self.warm_start else None
        # What is left by another centre is another matrix, perhaps of lower rank.
        if last is None or self._centred[0] != self.center:
            return None
        offsets = self._centred[1] if block is None else self._centred[1].at(block)
        last = offsets.without_rows(last)
        if last.matrix_shape != (len(means.rows), len(means.columns)):
            return None
        return unknown.of_parts(last, *offsets.without(means).pair)

    def _last_factors(self, unknown: Unknown, block: Block | None) -> Factors | None:
        """The factors that the last fit ended with, None if there are none."""
        if not hasattr(self, "left_"):
            return None
        left, right = self.left_, self.right_
        if block is not None:
            if (len(left), len(right)) != block.whole_shape:
                return None
            left, right = within((left, right), block)
        if left.shape[1] == 0 or (left.dtype.kind == "c") != unknown.of_complex:
            return None
        try:
            kind = unknown_of(self.symmetric, of_complex=unknown.of_complex)
            return kind.of_pair(left, right)
        except ValueError:
            # The last fit was one of another kind of matrix.
            return None

    def _store(self, result: PathResult, factors: Factors, offsets: Offsets) -> None:
        """Set the fitted attributes from the recovered `factors` and offsets."""
        self._store_matrix(factors)
        self.center_ = offsets.columns.astype(factors.dtype)
        self._centred = self.center, offsets
        self.n_iter_ = result.n_iter
        self.converged_ = result.converged
        self.stop_reason_ = result.message
        kept = Kept(self.n_components_, float(result.relative_residual))
        self.history_ = History(result.history.records, kept)
        self._solved = result.solved
        # The values of an earlier fit would be wrong now.
        self.__dict__.pop("alpha_max_", None)
        if result.largest_multiple is not None:
            self.alpha_max_ = result.largest_multiple * float(self.alpha)

    def _store_noise(self, noise: NoiseFound | None) -> None:
        """Set what is known of the noise, in place of what an earlier fit knew."""
        for name in OF_NOISE:
            self.__dict__.pop(name, None)
        self._noise = noise
        given = self.noise_variance
        if has_variances(given):
            self.noise_variance_: Any = np.array(
                marked(given, np.nan).matrix, np.float64
            )
        elif given is not None and not isinstance(given, str):
            self.noise_variance_ = given
        elif noise is not None:
            self.noise_variance_ = noise.variance
        if noise is not None and noise.lower_bound is not None:
            self.noise_df_ = noise.freedom
            self.factor_scales_ = noise.factor_scales
            self.lower_bound_ = noise.lower_bound
            self.n_signal_ = noise.n_signal

    def _store_matrix(self, factors: Factors) -> None:
        known = factors.svd()
        u, s, v = signed_svd(factors)
        balanced = factors
        if u is not known[0] or not factors.is_balanced:
            balanced = factors.with_svd(u, s, v)
        self.n_components_ = len(s)
        self.singular_values_ = s
        self.components_ = np.ascontiguousarray(v.conj().T)
        self.left_, self.right_ = balanced.left, balanced.right

    def _warn(self, result: PathResult) -> None:
        if result.converged or tolerance_of(self) == 0:
            return
        if result.status in (Status.INTERRUPTED, Status.CALLBACK):
            return
        advice = "increase max_iter or tol"
        if result.status is Status.DIVERGED:
            advice = "use step_size='auto' or a smaller number"
        if result.status is Status.WORSE_THAN_ZERO:
            advice = "use another init or rank_search='path'"
        warnings.warn(
            f"{type(self).__name__} did not converge: {result.message} With "
            f"tol={tolerance_of(self):g}, after {result.n_iter} iterations; {advice}. "
            "The best iterate is kept.",
            ConvergenceWarning,
            stacklevel=3,
        )
