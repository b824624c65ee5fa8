"""Cross-validation along rank paths: what the two CV estimators share.

One path per fold and per pair of step size and ridge serves for every rank: its stages
are scored on the samples held out. All workers share the samples; a task gets the
positions of its training and test samples.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skprecgd._estimators.base import BasePrecGD
from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.data import EntryData
from skprecgd._estimators.measured import Measured
from skprecgd._estimators.objectives import objective_of
from skprecgd._estimators.parameters import (
    SHARED_CONSTRAINTS,
    check_together,
)
from skprecgd._estimators.scoring import explained_share, without_largest
from skprecgd._estimators.sensing import regressor_of
from skprecgd._estimators.weighting import positive
from skprecgd._runtime.compat import Interval, StrOptions, validate_params
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.kernels import are_compiled
from skprecgd.losses import Loss, make_loss
from skprecgd.measurements import Measurements
from skprecgd.objective import Objective, Weights
from skprecgd.objective.weights import ONCE
from skprecgd.optim import SOLVERS, Solver
from skprecgd.optim.path.rank_path import visit_ranks, walk_to
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.path.walk import Walk
from skprecgd.optim.result import Status
from skprecgd.robust import upper_bound

# From this many single entries on, a compiled pass takes so long that it hardly matters
# that threads wait for one another between two passes.
_MANY_ENTRIES = 1 << 19
# Largest rank of the default grid, unless the matrix is smaller.
_DEFAULT_RANKS = 10

# Parameters without meaning here: the folds choose the rank, every path starts at rank
# one, and no fit continues an earlier one.
_REPLACED = ("rank_search", "early_stopping", "warm_start")

CV_CONSTRAINTS: dict[str, list[Any]] = {
    **{k: v for k, v in SHARED_CONSTRAINTS.items() if k not in _REPLACED},
    "n_components": [None, Interval(Integral, 1, None, closed="left"), "array-like"],
    "step_size": [*SHARED_CONSTRAINTS["step_size"], "array-like"],
    "alpha": [*SHARED_CONSTRAINTS["alpha"], "array-like"],
    "solver": [
        StrOptions({"auto", *(name for name in SOLVERS if SOLVERS[name].descends)}),
        Solver,
    ],
    "init": [StrOptions({"spectral", "nystrom", "random"})],
    "cv": ["cv_object"],
    "scoring": [None, str, callable],
    "refit_rule": [StrOptions({"best", "one_standard_error"})],
    "n_jobs": [None, Integral],
}


@dataclass(frozen=True)
class Samples:
    """All samples, as every worker gets them.

    Attributes
    ----------
    measurements : Measurements
    targets : ndarray of shape (n,)
    center : str or None, default=None
        The offsets that each fold subtracts from its own training samples; only for
        entries.
    weights : Weights, default=ONCE
        Samples of weight zero are in no fold.
    groups : array-like of shape (n,), default=None
        The groups of the samples, for splitters that keep groups together.
    """

    measurements: Measurements
    targets: Array
    center: str | None = None
    weights: Weights = ONCE
    groups: Any = None

    def splits(self, cv: Any) -> list[tuple[Array, Array]]:
        """Training and test samples of each fold, without those of weight zero."""
        splits = cv.split(self.measurements, self.targets, self.groups)
        counts = positive(self.weights)
        if counts is None:
            return list(splits)
        numbers = np.arange(len(self.targets))
        folds = ((numbers[part] for part in split) for split in splits)
        return [tuple(part[counts[part]] for part in fold) for fold in folds]

    @property
    def suits_threads(self) -> bool:
        """Whether the paths of the folds had better run on threads than in processes.

        Threads need no copies of the samples, but run side by side only during passes
        over the samples, which release the interpreter lock; so these must be long.
        """
        if self.measurements.single_entries:
            n = len(self.targets)
            return n >= _MANY_ENTRIES and are_compiled(n)
        return self.measurements.folds_share

    def training(
        self,
        model: BasePrecGD,
        index: Array,
        ranks: Sequence[int],
        random_state: int,
    ) -> Training:
        """The path on which `model` visits the ranks, for the samples at `index`."""
        objective, offsets = self._objective(model, index)
        search_ranks = sorted({offsets.search_rank(rank) for rank in ranks})
        settings = model._path_settings(objective, search_ranks[-1])
        # The walk has targets of unit scale; the objective with the original targets is
        # not kept beside them.
        walk = walk_to(objective, search_ranks, settings, random_state)
        return Training(walk, objective.loss, offsets)

    def _objective(self, model: BasePrecGD, index: Array) -> tuple[Objective, Offsets]:
        """The objective of some of the samples, and what was subtracted from them."""
        part, weights = self.measurements.fold(index), self.weights.at(index)
        samples = Measured(part, self.targets[index], weights).in_natural_order()
        measurements, targets = samples.measurements, samples.targets
        weights = samples.weights
        shape = measurements.matrix_shape
        if self.center is None:
            objective = objective_of(model, measurements, targets, weights)
            return objective, Offsets.none(shape)
        cells = measurements.cells()
        assert cells is not None
        offsets = EntryData(*cells, targets, shape, weights).offsets(self.center)
        centred = offsets.subtracted(targets, *cells)
        return objective_of(model, measurements, centred, weights), offsets


@dataclass(frozen=True)
class Training:
    """The path of one fold, and what was subtracted from its targets."""

    walk: Walk
    loss: Loss
    offsets: Offsets

    def matrix(self, factors: Factors, n_components: int) -> Factors:
        """Factors of the whole matrix with `n_components`, offsets included."""
        return self.offsets.with_all(self.offsets.within(factors, n_components))


# Fitted attributes that a refit may lack.
_NOT_ALWAYS_SET = ("certificate_", "noise_variance_")


@dataclass(frozen=True)
class PathScores:
    """The scores of one path, rank by rank; nan where it diverged or a scorer failed.

    Attributes
    ----------
    scores, train_errors, fit_seconds, score_seconds : ndarray of shape (n_ranks,)
        A training error is the share of the training loss that the stage left.
    status : Status
    failure : str or None
        The last error that a scorer raised.
    """

    scores: Array
    train_errors: Array
    fit_seconds: Array
    score_seconds: Array
    status: Status
    failure: str | None


@dataclass(frozen=True)
class HeldOut:
    """How stages are scored: by a scorer of scikit-learn, or if None by R^2 or D^2."""

    scorer: Any
    outlier_fraction: float | str

    def score(
        self,
        factors: Factors,
        loss: Loss,
        measurements: Measurements,
        targets: Array,
        weights: Weights,
    ) -> float:
        often = weights.frequency
        if self.scorer is not None:
            given = {} if often is None else {"sample_weight": often}
            model = regressor_of(factors, loss)
            return float(self.scorer(model, measurements, targets, **given))
        z = measurements.forward(factors.left, factors.right)
        if self.outlier_fraction != 0:
            share = upper_bound(self.outlier_fraction)
            targets, z, often = without_largest(targets, z, share, often)
        return explained_share(loss, targets, z, often)


@running_fit()
def score_path(
    samples: Samples,
    model: BasePrecGD,
    split: tuple[Array, Array],
    ranks: Sequence[int],
    held_out: HeldOut,
    random_state: int,
) -> PathScores:
    """One path on the training samples of a split, its stages scored on the others."""
    train, test = split
    training = samples.training(model, train, ranks, random_state)
    path = visit_ranks(training.walk)
    if path.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    measurements, targets = samples.measurements.fold(test), samples.targets[test]
    weights = samples.weights.at(test)

    def score(factors: Factors) -> float:
        return held_out.score(factors, training.loss, measurements, targets, weights)

    return _scored(path, training, ranks, score)


def _scored(
    path: PathResult,
    training: Training,
    ranks: Sequence[int],
    score: Callable[[Factors], float],
) -> PathScores:
    """The scores that searches with each of the ranks as `n_components` end with."""
    scores, train_errors, fit_seconds, score_seconds = np.full((4, len(ranks)), np.nan)
    failure = None
    for k, rank in enumerate(ranks):
        stage = path.stage(training.offsets.search_rank(rank))
        factors = stage.factors
        assert factors is not None
        fit_seconds[k] = stage.seconds
        started = perf_counter()
        if path.status is not Status.DIVERGED or stage is not path.stages[-1]:
            train_errors[k] = stage.relative_residual**2
            try:
                scores[k] = score(training.matrix(factors, rank))
            except Exception as error:
                # As in scikit-learn's searches, the other candidates keep their scores.
                failure = f"{type(error).__name__}: {error}"
        score_seconds[k] = perf_counter() - started
    return PathScores(
        scores, train_errors, fit_seconds, score_seconds, path.status, failure
    )


class RankPathCV:
    """Mixin of the CV estimators: the grid, the paths, the choice and the refit."""

    _estimator: ClassVar[type[BasePrecGD]]

    def _model(self: Any, **grid: Any) -> Any:
        """The estimator without cross-validation, with the parameters of this one."""
        names = inspect.signature(self._estimator).parameters
        shared = {name: getattr(self, name) for name in names if hasattr(self, name)}
        # Labels and counts can be fitted ever better at any rank, so the refit, too,
        # needs held-out samples that end it.
        early_stopping = "auto" if make_loss(self.loss).generalized else False
        return self._estimator(
            **{**shared, "early_stopping": early_stopping, "verbose": 0, **grid}
        )

    def _choose(self: Any, samples: Samples) -> None:
        """Score the grid; set `cv_results_` and what is known of the best candidate."""
        if isinstance(self.solver, Solver) and not self.solver.descends:
            raise ValueError(
                f"solver={self.solver!r} cannot follow a path of ranks, which grows by "
                "the gradient: its directions need not descend."
            )
        grid = self._grid(samples.measurements.matrix_shape)
        models = [
            self._model(n_components=1, step_size=step_size, alpha=alpha)
            for alpha in grid["alpha"]
            for step_size in grid["step_size"]
        ]
        for model in models:
            validate_params(model)
            check_together(model, samples.center)
        splits = self._splits(samples)
        held_out = HeldOut(self._scorer(), self.outlier_fraction)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        # Workers are given the whole arrays, which joblib lets them share, and the
        # positions of training and test samples.
        prefer = "threads" if samples.suits_threads else None
        paths = Parallel(n_jobs=self.n_jobs, verbose=self.verbose, prefer=prefer)(
            delayed(score_path)(
                samples, model, split, grid["n_components"], held_out, seed
            )
            for model in models
            for split in splits
        )
        self.cv_results_ = _results(grid, paths, len(splits))
        self.train_error_path_ = _by_candidate(grid, paths, "train_errors")
        self._warn_about(paths)
        self.best_index_ = _best(self.cv_results_, self.refit_rule, len(splits))
        self.best_params_ = self.cv_results_["params"][self.best_index_]
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.step_size_ = self.best_params_["step_size"]
        self.alpha_ = self.best_params_["alpha"]

    def _grid(self: Any, shape: tuple[int, int]) -> dict[str, list[Any]]:
        """The values to try of each parameter, ranks ascending."""
        ranks = self.n_components
        if ranks is None:
            ranks = range(1, min(_DEFAULT_RANKS, *shape) + 1)
        ranks = _values(ranks, "n_components")
        for rank in ranks:
            whole = isinstance(rank, Integral) and not isinstance(rank, bool)
            if not whole or not 1 <= int(rank) <= min(shape):
                raise ValueError(
                    f"n_components={rank!r} must be an integer from 1 to {min(shape)}, "
                    f"the shorter side of the matrix of shape {shape}."
                )
        return {
            "n_components": sorted({int(rank) for rank in ranks}),
            "step_size": _values(self.step_size, "step_size"),
            "alpha": _values(self.alpha, "alpha"),
        }

    def _splits(self: Any, samples: Samples) -> list[tuple[Array, Array]]:
        # Imported here and below because sklearn.model_selection loads other packages.
        from sklearn.model_selection import check_cv

        from skprecgd.model_selection import EntryKFold

        cv = 5 if self.cv is None else self.cv
        if isinstance(cv, Integral) and samples.measurements.single_entries:
            cv = EntryKFold(int(cv), random_state=self.random_state)
        splits = samples.splits(check_cv(cv))
        if not splits:
            raise ValueError(
                f"cv={self.cv!r} gave no split. An iterator gives its splits but once: "
                "use a list or a splitter."
            )
        for train, test in splits:
            if not (len(train) and len(test)):
                raise ValueError(
                    f"cv={self.cv!r} gave a split with {len(train)} training and "
                    f"{len(test)} test samples that count; each needs at least one."
                )
        return splits

    def _scorer(self: Any) -> Any:
        if self.scoring is None or callable(self.scoring):
            return self.scoring
        from sklearn.metrics import check_scoring

        return check_scoring(self, scoring=self.scoring)

    def _warn_about(self: Any, paths: list[PathScores]) -> None:
        diverged = sum(path.status is Status.DIVERGED for path in paths)
        failures = [path.failure for path in paths if path.failure is not None]
        scoring = f"scoring={self.scoring!r} gave nan"
        if failures:
            scoring = (
                f"scoring={self.scoring!r} failed in {len(failures)} of {len(paths)} "
                f"paths, the last time with {failures[-1]}"
            )
        if np.all(np.isnan(self.cv_results_["mean_test_score"])):
            steps = (
                f"{diverged} of {len(paths)} paths diverged with step_size="
                f"{self.step_size!r}. Use step_size='auto' or smaller numbers"
            )
            raise ValueError(
                f"No candidate has a score: {steps if diverged else scoring}."
            )
        if failures:
            warnings.warn(
                f"{scoring}; these scores are nan.", UserWarning, stacklevel=5
            )
        if diverged:
            warnings.warn(
                f"{diverged} of {len(paths)} paths diverged; from the rank on where "
                "they did, their scores are nan. Leave large numbers out of step_size.",
                FitFailedWarning,
                stacklevel=5,
            )
        cut = sum(path.status is Status.MAX_ITER for path in paths)
        if cut and self.tol > 0:
            warnings.warn(
                f"{cut} of {len(paths)} paths ended after max_iter={self.max_iter} "
                "iterations; the ranks they did not reach are scored as the last that "
                "they did. Increase max_iter.",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _refitted(self: Any, fitted: Any, path: PathResult) -> None:
        """Take over the fitted attributes of the refit."""
        for name in _NOT_ALWAYS_SET:
            # That of an earlier fit would be wrong now.
            vars(self).pop(name, None)
        parameters = fitted.get_params(deep=False)
        for name, value in vars(fitted).items():
            if name not in parameters:
                setattr(self, name, value)
        self.rank_path_ = path


def check_in_memory(estimator: Any, X: Any) -> None:
    """Refuse what cannot be split into folds of samples."""
    if is_dask(X):
        raise ValueError(
            f"{type(estimator).__name__} needs X in memory, to split it into folds; "
            "got a dask collection."
        )


def _values(values: Any, name: str) -> list[Any]:
    """The grid of a parameter: a list, or a single value."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, str) or np.ndim(values) == 0:
        return [values]
    values = list(values)
    if not values:
        raise ValueError(f"{name} is an empty list; give at least one value.")
    return values


def _results(
    grid: dict[str, list[Any]], paths: list[PathScores], n_splits: int
) -> dict[str, Any]:
    """The table of all candidates, with the keys of `GridSearchCV`."""
    from sklearn.model_selection import ParameterGrid

    params = list(ParameterGrid(grid))
    results: dict[str, Any] = {}
    for key, name in (("fit_time", "fit_seconds"), ("score_time", "score_seconds")):
        times = _by_candidate(grid, paths, name)
        results[f"mean_{key}"] = times.mean(axis=1)
        results[f"std_{key}"] = times.std(axis=1)
    for name in sorted(grid):
        values = [candidate[name] for candidate in params]
        column = np.ma.MaskedArray(np.empty(len(values), dtype=object), mask=False)
        column[:] = values
        named = any(isinstance(value, str) for value in values)
        results[f"param_{name}"] = (
            column if named else column.astype(np.array(values).dtype)
        )
    results["params"] = params
    scores = _by_candidate(grid, paths, "scores")
    for k in range(n_splits):
        results[f"split{k}_test_score"] = scores[:, k]
    results["mean_test_score"] = scores.mean(axis=1)
    results["std_test_score"] = scores.std(axis=1)
    means = np.nan_to_num(results["mean_test_score"], nan=-np.inf)
    results["rank_test_score"] = rankdata(-means, method="min").astype(np.int32)
    return results


def _by_candidate(
    grid: dict[str, list[Any]], paths: list[PathScores], name: str
) -> Array:
    """Shape (n_candidates, n_splits), in the order of `ParameterGrid`."""
    n_ranks, n_models = len(grid["n_components"]), len(grid["alpha"])
    n_splits = len(paths) // (n_models * len(grid["step_size"]))
    sizes = n_models, len(grid["step_size"]), n_splits, n_ranks
    values = np.reshape([getattr(path, name) for path in paths], sizes)
    return np.reshape(np.transpose(values, (0, 3, 1, 2)), (-1, n_splits))


def _best(results: dict[str, Any], rule: str, n_splits: int) -> int:
    """The index of the candidate that the rule chooses."""
    best = int(np.argmin(results["rank_test_score"]))
    if rule == "best":
        return best
    mean = results["mean_test_score"]
    # std_test_score divides by n; the standard error of a mean takes n - 1 instead.
    error = results["std_test_score"][best] / np.sqrt(max(1, n_splits - 1))
    good = np.flatnonzero(mean >= mean[best] - error)
    ranks = results["param_n_components"][good].astype(int)
    return int(good[np.lexsort((-mean[good], ranks))[0]])
