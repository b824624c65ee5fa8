"""The search of the CV estimators: candidates, their scores, the choice, the refit."""

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
from sklearn.utils.parallel import delayed

from skprecgd._estimators.base import OF_NOISE, BasePrecGD
from skprecgd._estimators.candidates import (
    Candidate,
    LearnedRanks,
    RanksOnPath,
    RidgesAtRank,
    Route,
)
from skprecgd._estimators.cross_validation import Samples, Visited
from skprecgd._estimators.folds import (
    check_not_rows,
    check_sizes,
    warn_about_hidden_lines,
)
from skprecgd._estimators.labels import store_labels
from skprecgd._estimators.learned import NO_ENTRIES, NO_TAIL
from skprecgd._estimators.parameters import (
    SHARED_CONSTRAINTS,
    check_together,
    draws_posterior,
    looks_for_outliers,
    ridge_of,
    tolerance_of,
)
from skprecgd._estimators.reports import TellingParallel, report_of
from skprecgd._estimators.scoring import (
    explained_share,
    explained_share_of_parts,
    without_largest,
)
from skprecgd._estimators.search_rank import AUTO
from skprecgd._estimators.sensing import regressor_of
from skprecgd._estimators.weighting import is_number
from skprecgd._runtime.compat import Interval, StrOptions, validate_params
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.losses import Loss, make_loss
from skprecgd.measurements import Measurements
from skprecgd.measurements.real_numbers import RealParts
from skprecgd.objective import Weights
from skprecgd.optim import SOLVERS, Solver
from skprecgd.optim.path.result import PathResult
from skprecgd.robust import upper_bound


@dataclass(frozen=True)
class GridTuning:
    """The default candidates.

    Attributes
    ----------
    ranks : int
        Numbers of components from 1, unless the matrix is smaller.
    ridges : int
        Number of ridges: with so many a step is about half, finer than folds can tell.
    span : float
        The least ridge as a share of the largest, which leaves nothing. Noise of that
        share of the largest singular value hardly needs one.
    """

    ranks: int = 10
    ridges: int = 10
    span: float = 1e-3


_TUNING = GridTuning()

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
    "alpha": [None, *SHARED_CONSTRAINTS["alpha"], "array-like"],
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


# Fitted attributes that a refit may lack.
_NOT_ALWAYS_SET = ("alpha_max_", "certificate_", *OF_NOISE)


@dataclass(frozen=True)
class PathScores:
    """The scores of one route in a fold; nan where it diverged or a scorer failed.

    Attributes
    ----------
    scores, train_errors, fit_seconds, score_seconds : ndarray of shape (n_values,)
        A training error is the share of the training loss that a candidate left.
    n_components : ndarray of shape (n_values,)
        How many components each candidate uses.
    diverged, is_cut : bool
        See `Visited`.
    failure : str or None
        The last error that a scorer raised.
    """

    scores: Array
    train_errors: Array
    fit_seconds: Array
    score_seconds: Array
    n_components: Array
    diverged: bool
    is_cut: bool
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
        elif isinstance(measurements, RealParts):
            return explained_share_of_parts(loss, targets, z, often)
        return explained_share(loss, targets, z, often)


@running_fit()
def score_route(
    samples: Samples,
    route: Route,
    split: tuple[Array, Array],
    held_out: HeldOut,
    random_state: int,
) -> PathScores:
    """One route on the training samples of a split, scored on the others."""
    train, test = split
    training = route.training(samples, train, random_state)
    visited = training.visited()
    measurements, targets = samples.measurements.fold(test), samples.targets[test]
    weights = samples.weights.at(test)

    def score(factors: Factors) -> float:
        return held_out.score(factors, training.loss, measurements, targets, weights)

    return _scored(visited, route.values, score)


def _scored(
    visited: Visited, values: Sequence[float], score: Callable[[Factors], float]
) -> PathScores:
    """The scores of the candidates of a route."""
    scores, train_errors, fit_seconds, score_seconds = np.full((4, len(values)), np.nan)
    failure = None
    for k, value in enumerate(values):
        fit_seconds[k] = visited.seconds(value)
        started = perf_counter()
        train_errors[k] = visited.train_error(value)
        if not np.isnan(train_errors[k]):
            try:
                scores[k] = score(visited.matrix(value))
            except Exception as error:
                # As in scikit-learn's searches, the other candidates keep their scores.
                failure = f"{type(error).__name__}: {error}"
        score_seconds[k] = perf_counter() - started
    return PathScores(
        scores,
        train_errors,
        fit_seconds,
        score_seconds,
        np.array([visited.n_components(value) for value in values]),
        visited.diverged,
        visited.is_cut,
        failure,
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
        if is_number(grid.get("alpha")):
            # Only a prior that is learned has a posterior to draw from, or a tail.
            shared["inference"], shared["noise_tail"] = "variational", "auto"
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
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        candidates = self._candidates(samples, seed)
        routes = list(dict.fromkeys(candidate.route for candidate in candidates))
        splits = self._splits(samples)
        held_out = HeldOut(self._scorer(), self.outlier_fraction)
        if held_out.scorer is None:
            check_sizes(self.cv, splits)
        # Workers are given the whole arrays, which joblib lets them share, and the
        # positions of training and test samples.
        prefer = "threads" if samples.suits_threads else None
        report = report_of(self)
        paths = TellingParallel(
            report, len(routes) * len(splits), n_jobs=self.n_jobs, prefer=prefer
        )(
            delayed(score_route)(samples, route, split, held_out, seed)
            for route in routes
            for split in splits
        )
        scored = {
            route: paths[k * len(splits) : (k + 1) * len(splits)]
            for k, route in enumerate(routes)
        }
        self.cv_results_ = _results(candidates, scored, len(splits))
        self.train_error_path_ = _by_candidate(candidates, scored, "train_errors")
        used = _by_candidate(candidates, scored, "n_components")
        self.n_components_path_ = used
        self._warn_about(paths)
        self.best_index_ = _best(self.cv_results_, used, self.refit_rule)
        self.best_params_ = self.cv_results_["params"][self.best_index_]
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self._warn_if_useless(samples)
        report.scores(self.cv_results_, self.best_index_)
        self.step_size_ = self.best_params_["step_size"]
        self.alpha_ = self.best_params_["alpha"]

    def _candidates(self: Any, samples: Samples, random_state: int) -> list[Candidate]:
        """All candidates, in the order of `ParameterGrid`: alpha, rank, step size.

        Those of the default that find their rank themselves, the learned prior and the
        ridges, are given the largest alone: as a bound of it, it does no harm.
        """
        self._check_learned(samples)
        ranks = self._ranks(samples)
        steps = _values(self.step_size, "step_size")
        if self.alpha is not None:
            return self._on_paths(samples, _values(self.alpha, "alpha"), ranks, steps)
        bound = ranks[-1]
        prior = [AUTO] if self._learns(samples) else []
        ridges = self._ridges(samples, random_state)
        return [
            *self._on_paths(samples, prior, [bound], steps),
            *self._on_paths(samples, [0.0], ranks, steps),
            *self._on_ridges(ridges, bound, steps),
        ]

    def _check_learned(self: Any, samples: Samples) -> None:
        """Refuse draws, and a tail, where no candidate learns what they need."""
        if not draws_posterior(self) and self.noise_tail != "t":
            return
        alphas = [AUTO] if self.alpha is None else _values(self.alpha, "alpha")
        wanted = AUTO if any(isinstance(alpha, str) for alpha in alphas) else alphas[0]
        model = self._model(n_components=1, step_size="auto", alpha=wanted)
        model.set_params(inference=self.inference, noise_tail=self.noise_tail)
        check_together(model)
        if not samples.are_learned_by(model):
            raise ValueError(NO_ENTRIES if draws_posterior(self) else NO_TAIL)

    def _learns(self: Any, samples: Samples) -> bool:
        """Whether candidates of the default that learn a prior differ from others."""
        model = self._model(n_components=1, step_size="auto", alpha=AUTO)
        return self.alpha_scaling == 0 and samples.are_learned_by(model)

    def _on_paths(
        self: Any,
        samples: Samples,
        alphas: list[Any],
        ranks: list[int],
        steps: list[Any],
    ) -> list[Candidate]:
        """Every combination; where no prior can be learned, "auto" is no ridge."""
        routes: dict[Any, Route] = {}
        candidates = []
        for alpha in alphas:
            own = [self._checked_model(step, alpha) for step in steps]
            learned = isinstance(alpha, str) and samples.are_learned_by(own[0])
            kind = LearnedRanks if learned else RanksOnPath
            key = alpha if learned else ridge_of(own[0])
            for k, model in enumerate(own):
                routes.setdefault((key, k), kind(model, ranks))
            candidates += [
                _candidate(alpha, rank, step, routes[key, k], rank)
                for rank in ranks
                for k, step in enumerate(steps)
            ]
        return candidates

    def _on_ridges(
        self: Any, ridges: list[float], rank: int, steps: list[Any]
    ) -> list[Candidate]:
        """Descending ridges at one rank; each starts from the one before."""
        routes = [
            RidgesAtRank([self._checked_model(step, alpha) for alpha in ridges], rank)
            for step in steps
        ]
        return [
            _candidate(alpha, rank, step, route, alpha)
            for alpha in ridges
            for step, route in zip(steps, routes, strict=True)
        ]

    def _checked_model(self: Any, step_size: Any, alpha: Any) -> Any:
        model = self._model(n_components=1, step_size=step_size, alpha=alpha)
        validate_params(model)
        check_together(model)
        return model

    def _ridges(self: Any, samples: Samples, random_state: int) -> list[float]:
        """The ridges of the default, from the one that leaves nothing down."""
        if looks_for_outliers(self):
            return []
        model = self._checked_model("auto", 1.0)
        largest = samples.largest_ridge(model, random_state)
        if largest == 0.0:
            return []
        shares = np.geomspace(1.0, _TUNING.span, _TUNING.ridges)
        return [float(largest * share) for share in shares]

    def _ranks(self: Any, samples: Samples) -> list[int]:
        """The numbers of components to try, ascending."""
        shape, ranks = samples.measurements.matrix_shape, self.n_components
        if ranks is None:
            ranks = range(1, min(_TUNING.ranks, *shape) + 1)
        most = samples.highest_determined(symmetric=self.symmetric)
        checked = (
            most if rank == AUTO else _checked_rank(rank, shape)
            for rank in _values(ranks, "n_components")
        )
        return sorted(set(checked))

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
        diverged = sum(path.diverged for path in paths)
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
                "they did, their scores are nan. Leave large numbers out of step_size, "
                "and 'polyak' where the loss cannot be brought to zero.",
                FitFailedWarning,
                stacklevel=5,
            )
        cut = sum(path.is_cut for path in paths)
        if cut and tolerance_of(self) > 0:
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
        loss = make_loss(self.loss)
        # The candidates of the default have all the ridges that could help.
        advice = [] if self.alpha is None else ["a larger alpha"]
        entries = samples.measurements.single_entries
        if entries and samples.center is None and not loss.generalized:
            advice.append("a center")
        constant = "their mean" if loss.least_squares else "the best constant"
        warnings.warn(
            f"The best candidate predicts the samples held out worse than {constant} "
            f"(best_score_={self.best_score_:.3g}); try "
            f"{' or '.join([*advice, 'more data'])}.",
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


def _candidate(
    alpha: Any, rank: int, step_size: Any, route: Route, value: float
) -> Candidate:
    params = {"alpha": alpha, "n_components": rank, "step_size": step_size}
    return Candidate(params, route, value)


def _results(
    candidates: list[Candidate], paths: dict[Route, list[PathScores]], n_splits: int
) -> dict[str, Any]:
    """The table of all candidates, with the keys of `GridSearchCV`."""
    params = [candidate.params for candidate in candidates]
    results: dict[str, Any] = {}
    for key, name in (("fit_time", "fit_seconds"), ("score_time", "score_seconds")):
        times = _by_candidate(candidates, paths, name)
        results[f"mean_{key}"] = times.mean(axis=1)
        results[f"std_{key}"] = times.std(axis=1)
    for name in sorted(params[0]):
        values = [candidate[name] for candidate in params]
        column = np.ma.MaskedArray(np.empty(len(values), dtype=object), mask=False)
        column[:] = values
        named = any(isinstance(value, str) for value in values)
        results[f"param_{name}"] = (
            column if named else column.astype(np.array(values).dtype)
        )
    results["params"] = params
    scores = _by_candidate(candidates, paths, "scores")
    for k in range(n_splits):
        results[f"split{k}_test_score"] = scores[:, k]
    results["mean_test_score"] = scores.mean(axis=1)
    results["std_test_score"] = scores.std(axis=1)
    means = np.nan_to_num(results["mean_test_score"], nan=-np.inf)
    results["rank_test_score"] = rankdata(-means, method="min").astype(np.int32)
    return results


def _by_candidate(
    candidates: list[Candidate], paths: dict[Route, list[PathScores]], name: str
) -> Array:
    """A number of every candidate in every fold, shape (n_candidates, n_splits)."""
    rows = []
    for candidate in candidates:
        position = list(candidate.route.values).index(candidate.value)
        rows.append([getattr(path, name)[position] for path in paths[candidate.route]])
    return np.array(rows)


def _best(results: dict[str, Any], used: Array, rule: str) -> int:
    """The index of the candidate that the rule chooses.

    Parameters
    ----------
    results : dict
        The table of the candidates.
    used : ndarray of shape (n_candidates, n_splits)
        How many components each uses: the number that it may use says nothing of those
        that choose it themselves.
    rule : {"best", "one_standard_error"}
    """
    best = int(np.argmin(results["rank_test_score"]))
    if rule == "best":
        return best
    mean = results["mean_test_score"]
    # std_test_score divides by n; the standard error of a mean takes n - 1 instead.
    error = results["std_test_score"][best] / np.sqrt(max(1, used.shape[1] - 1))
    good = np.flatnonzero(mean >= mean[best] - error)
    return int(good[np.lexsort((-mean[good], np.median(used[good], axis=1)))[0]])
