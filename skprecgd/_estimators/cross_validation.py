"""Cross-validation along rank paths: what the two CV estimators share.

One path per fold and per pair of step size and ridge serves for every rank: its stages
are scored on the samples held out. All workers share the samples; a task gets the
positions of its training and test samples.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed

from skprecgd._estimators.base import BasePrecGD
from skprecgd._estimators.centre import (
    Offsets,
    Seen,
    joined_offsets,
    search_rank,
    without_rows,
)
from skprecgd._estimators.folds import (
    check_not_rows,
    check_sizes,
    read_splits,
    warn_about_hidden_lines,
)
from skprecgd._estimators.groups import n_fitted
from skprecgd._estimators.labels import store_labels
from skprecgd._estimators.measured import Measured, MeasuredPart
from skprecgd._estimators.objectives import objective_of
from skprecgd._estimators.parameters import (
    SHARED_CONSTRAINTS,
    check_together,
)
from skprecgd._estimators.scoring import explained_share, without_largest
from skprecgd._estimators.search_rank import AUTO
from skprecgd._estimators.sensing import regressor_of
from skprecgd._estimators.weighting import positive
from skprecgd._linalg.groups import Block
from skprecgd._runtime.compat import Interval, StrOptions, validate_params
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors, of_blocks
from skprecgd.kernels import are_compiled
from skprecgd.losses import Loss, make_loss
from skprecgd.measurements import Measurements
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.optim import SOLVERS, Solver
from skprecgd.optim.path.freedom import highest_determined
from skprecgd.optim.path.groups import relative_size
from skprecgd.optim.path.rank_path import recover, visit_ranks, walk_to
from skprecgd.optim.path.result import PathResult, Stage
from skprecgd.optim.result import Status
from skprecgd.robust import upper_bound
from skprecgd.unknown.base import unknown_of

# From this many single entries on, a compiled pass takes so long that it hardly matters
# that threads wait for one another between two passes.
_MANY_ENTRIES = 1 << 19
# Largest rank of the default grid, unless the matrix is smaller.
_DEFAULT_RANKS = 10

# What is said of a fold whose groups ended differently.
_WORST = (Status.DIVERGED, Status.MAX_ITER)

# Parameters without meaning here: the folds choose the rank, every path starts at rank
# one, and no fit continues an earlier one.
_REPLACED = ("rank_search", "early_stopping", "warm_start")

CV_CONSTRAINTS: dict[str, list[Any]] = {
    **{k: v for k, v in SHARED_CONSTRAINTS.items() if k not in _REPLACED},
    "n_components": [
        None,
        Interval(Integral, 1, None, closed="left"),
        StrOptions({AUTO}),
        "array-like",
    ],
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

    def splits(self, cv: Any, random_state: Any) -> list[tuple[Array, Array]]:
        """Training and test samples of each fold, without those of weight zero."""
        splits = read_splits(
            cv,
            self.measurements,
            self.targets,
            self.groups,
            random_state=random_state,
        )
        counts = positive(self.weights)
        if counts is None:
            return splits
        return [(train[counts[train]], test[counts[test]]) for train, test in splits]

    def highest_determined(self, *, symmetric: bool) -> int:
        """The highest rank with fewer unknowns than there are samples; at least 1."""
        n, unknown = self.weights.count(len(self.targets)), unknown_of(symmetric)
        shape = self.measurements.matrix_shape
        return max(1, highest_determined(unknown, shape, n))

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
    ) -> Training | TrainingInGroups:
        """The path on which `model` visits the ranks, for the samples at `index`."""
        part, weights = self.measurements.fold(index), self.weights.at(index)
        samples = Measured(part, self.targets[index], weights).in_natural_order()
        groups = samples.measurements.groups(symmetric=model.symmetric)
        if groups.n_groups < 2:
            return self._training(model, samples, groups.seen, ranks, random_state)
        parts = samples.parts(groups, n_fitted(groups, ranks[-1]))

        def path(part: MeasuredPart) -> Training:
            seen = part.block.all_seen()
            return self._training(model, part.measured, seen, ranks, random_state)

        return TrainingInGroups(
            [path(part) for part in parts],
            [part.block for part in parts],
            samples.means(without_rows(self.center)),
        )

    def _training(
        self,
        model: BasePrecGD,
        samples: Measured,
        seen: Seen,
        ranks: Sequence[int],
        random_state: int,
    ) -> Training:
        """The path for samples that are one group."""
        measurements = samples.measurements
        offsets = samples.means(self.center)
        targets = samples.without(offsets).targets
        objective = objective_of(model, measurements, targets, samples.weights)
        shape, center = measurements.matrix_shape, self.center
        search_ranks = sorted({search_rank(rank, center, shape) for rank in ranks})
        unknown = model._unknown(objective, seen)
        settings = model._path_settings(objective, search_ranks[-1], unknown)
        loss, size = objective.loss, objective.data_norm
        centred = Centred(offsets, center, seen)
        if objective.has_closed_form:
            path = recover(objective, search_ranks[-1], settings, random_state)
            return Training(partial(_of_one_rank, path), loss, centred, size)
        # The walk has targets of unit scale; the objective with the original targets is
        # not kept beside them.
        walk = walk_to(objective, search_ranks, settings, random_state)
        return Training(partial(visit_ranks, walk), loss, centred, size)


class Visited(ABC):
    """The stages of one fold's path, for searches of any `n_components`.

    Attributes
    ----------
    status : Status
        How the path ended.
    """

    status: Status

    @abstractmethod
    def seconds(self, n_components: int) -> float:
        """From the start of the path to the end of such a search."""

    @abstractmethod
    def train_error(self, n_components: int) -> float:
        """Share of the training loss that such a search leaves; nan if it diverged."""

    @abstractmethod
    def matrix(self, n_components: int) -> Factors:
        """Factors of the whole matrix that it finds, offsets included."""


@dataclass(frozen=True)
class Centred:
    """What was subtracted from the targets of one fold.

    Attributes
    ----------
    means : Offsets
    center : str or None
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
        Rows and columns with an observed entry.
    """

    means: Offsets
    center: str | None
    seen: Seen

    def search_rank(self, n_components: int) -> int:
        """The rank that is searched for; see the function of that name."""
        shape = len(self.means.rows), len(self.means.columns)
        return search_rank(n_components, self.center, shape)

    def found(self, factors: Factors) -> tuple[Factors, Offsets]:
        """The components of a stage, and all offsets."""
        within = self.means.within(factors)
        return within, self.means.with_found(within, self.seen)


@dataclass(frozen=True)
class Training:
    """The path of one fold, and what was subtracted from its targets."""

    path: Callable[[], PathResult]
    loss: Loss
    centred: Centred
    data_norm: float

    def visited(self) -> VisitedPath:
        """The path, walked to its end."""
        path = self.path()
        if path.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        return VisitedPath(path, self.centred)


def _of_one_rank(path: PathResult) -> PathResult:
    """The closed form of a matrix of one row or column, as a path that is visited."""
    stage = replace(path.stages[0], factors=path.factors, seconds=0.0)
    return replace(path, stages=(stage,))


@dataclass(frozen=True)
class VisitedPath(Visited):
    """The path of samples that are one group."""

    path: PathResult
    centred: Centred

    @property
    def status(self) -> Status:  # type: ignore[override]
        return self.path.status

    def seconds(self, n_components: int) -> float:
        return self._stage(n_components).seconds

    def train_error(self, n_components: int) -> float:
        stage = self._stage(n_components)
        if self.status is Status.DIVERGED and stage is self.path.stages[-1]:
            return np.nan
        return stage.relative_residual**2

    def matrix(self, n_components: int) -> Factors:
        factors, offsets = self.found(n_components)
        return offsets.with_all(factors)

    def found(self, n_components: int) -> tuple[Factors, Offsets]:
        """The components and the offsets."""
        factors = self._stage(n_components).factors
        assert factors is not None
        return self.centred.found(factors)

    def _stage(self, n_components: int) -> Stage:
        return self.path.stage(self.centred.search_rank(n_components))


@dataclass(frozen=True)
class TrainingInGroups:
    """The paths of one fold whose samples fall into groups.

    Attributes
    ----------
    groups : list of Training
    blocks : list of Block
    elsewhere : Offsets
        Those of rows and columns in none of the groups.
    """

    groups: list[Training]
    blocks: list[Block]
    elsewhere: Offsets

    @property
    def loss(self) -> Loss:
        """The loss of the largest group."""
        return self.groups[0].loss

    def visited(self) -> VisitedGroups:
        """The paths, walked to their ends."""
        return VisitedGroups(
            [group.visited() for group in self.groups],
            self.blocks,
            self.elsewhere,
            np.array([group.data_norm for group in self.groups]),
        )


@dataclass(frozen=True)
class VisitedGroups(Visited):
    """The paths of groups; `n_components` bounds the rank of each."""

    paths: list[VisitedPath]
    blocks: list[Block]
    elsewhere: Offsets
    data_norms: Array

    @property
    def status(self) -> Status:  # type: ignore[override]
        found = [path.status for path in self.paths]
        worst = (status for status in _WORST if status in found)
        return next(worst, found[0])

    def seconds(self, n_components: int) -> float:
        return sum(path.seconds(n_components) for path in self.paths)

    def train_error(self, n_components: int) -> float:
        shares = [path.train_error(n_components) for path in self.paths]
        return relative_size(np.sqrt(shares), self.data_norms) ** 2

    def matrix(self, n_components: int) -> Factors:
        found = [path.found(n_components) for path in self.paths]
        own = [offsets for _, offsets in found]
        parts = [offsets.with_rows(factors) for factors, offsets in found]
        factors, _ = of_blocks(self.blocks, parts, self.blocks[0].whole_shape)
        columns = joined_offsets(self.elsewhere, self.blocks, own).of_columns
        return columns.with_all(factors)


# Fitted attributes that a refit may lack.
_NOT_ALWAYS_SET = ("alpha_max_", "certificate_", "noise_variance_")


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
            store_labels(model, measurements)
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
    visited = training.visited()
    measurements, targets = samples.measurements.fold(test), samples.targets[test]
    weights = samples.weights.at(test)

    def score(factors: Factors) -> float:
        return held_out.score(factors, training.loss, measurements, targets, weights)

    return _scored(visited, ranks, score)


def _scored(
    visited: Visited, ranks: Sequence[int], score: Callable[[Factors], float]
) -> PathScores:
    """The scores that searches with each of the ranks as `n_components` end with."""
    scores, train_errors, fit_seconds, score_seconds = np.full((4, len(ranks)), np.nan)
    failure = None
    for k, rank in enumerate(ranks):
        fit_seconds[k] = visited.seconds(rank)
        started = perf_counter()
        train_errors[k] = visited.train_error(rank)
        if not np.isnan(train_errors[k]):
            try:
                scores[k] = score(visited.matrix(rank))
            except Exception as error:
                # As in scikit-learn's searches, the other candidates keep their scores.
                failure = f"{type(error).__name__}: {error}"
        score_seconds[k] = perf_counter() - started
    return PathScores(
        scores, train_errors, fit_seconds, score_seconds, visited.status, failure
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
        grid = self._grid(samples)
        models = [
            self._model(n_components=1, step_size=step_size, alpha=alpha)
            for alpha in grid["alpha"]
            for step_size in grid["step_size"]
        ]
        for model in models:
            validate_params(model)
            check_together(model)
        splits = self._splits(samples)
        held_out = HeldOut(self._scorer(), self.outlier_fraction)
        if held_out.scorer is None:
            check_sizes(self.cv, splits)
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
        self._warn_if_useless(samples)
        self.step_size_ = self.best_params_["step_size"]
        self.alpha_ = self.best_params_["alpha"]

    def _grid(self: Any, samples: Samples) -> dict[str, list[Any]]:
        """The values to try of each parameter, ranks ascending."""
        shape, ranks = samples.measurements.matrix_shape, self.n_components
        if ranks is None:
            ranks = range(1, min(_DEFAULT_RANKS, *shape) + 1)
        most = samples.highest_determined(symmetric=self.symmetric)
        ranks = [
            most if rank == AUTO else _checked_rank(rank, shape)
            for rank in _values(ranks, "n_components")
        ]
        return {
            "n_components": sorted(set(ranks)),
            "step_size": _values(self.step_size, "step_size"),
            "alpha": _values(self.alpha, "alpha"),
        }

    def _splits(self: Any, samples: Samples) -> list[tuple[Array, Array]]:
        cv = 5 if self.cv is None else self.cv
        splits = samples.splits(cv, self.random_state)
        for train, test in splits:
            if not (len(train) and len(test)):
                raise ValueError(
                    f"cv={self.cv!r} gave a split with {len(train)} training and "
                    f"{len(test)} test samples that count; each needs at least one."
                )
        check_not_rows(cv, samples.measurements, splits)
        warn_about_hidden_lines(cv, samples.measurements, splits)
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

    def _warn_if_useless(self: Any, samples: Samples) -> None:
        """Warn where the mean predicts the samples held out better than the best rank.

        Scores of the user's own have no such zero.
        """
        if self.scoring is not None or self.best_score_ >= 0:
            return
        loss, advice = make_loss(self.loss), "a larger alpha"
        entries = samples.measurements.single_entries
        if entries and samples.center is None and not loss.generalized:
            advice += ", a center"
        constant = "their mean" if loss.least_squares else "the best constant"
        warnings.warn(
            f"The best candidate predicts the samples held out worse than {constant} "
            f"(best_score_={self.best_score_:.3g}); try {advice} or more data.",
            UserWarning,
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


def _checked_rank(rank: Any, shape: tuple[int, int]) -> int:
    whole = isinstance(rank, Integral) and not isinstance(rank, bool)
    if not whole or not 1 <= int(rank) <= min(shape):
        raise ValueError(
            f"n_components={rank!r} must be an integer from 1 to {min(shape)}, the "
            f"shorter side of the matrix of shape {shape}, or 'auto'."
        )
    return int(rank)


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
