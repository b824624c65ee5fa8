"""The CV estimators: one path a fold, the table of scores, the choice, the refit."""

from __future__ import annotations

import gc
import os
import pickle
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, PredefinedSplit

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd._estimators import cross_validation as _rank_path_cv
from skprecgd._estimators.rank_path_cv import _best
from skprecgd.datasets import make_matrix_sensing
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import (
    DenseMeasurements,
    FullObservation,
    RankOneMeasurements,
    as_measurements,
)
from skprecgd.measurements.dense import DenseSelection
from skprecgd.model_selection import EntryKFold, EntryShuffleSplit
from skprecgd.objective import Evaluation, make_objective
from skprecgd.optim.path.rank_path import visit_ranks, walk_to
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.result import Status
from skprecgd.testing import check_measurements

RANK = 3
RANKS = [1, 2, 3, 4, 6]


def data_matrix(seed, *, missing=0.0, noise=0.5, shape=(45, 32)):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((shape[0], RANK)) @ rng.standard_normal((RANK, shape[1]))
    X += noise * rng.standard_normal(shape)
    X[rng.random(shape) < missing] = np.nan
    return X


def sensing(seed, **options):
    return make_matrix_sensing(
        20, 15, rank=2, n_measurements=400, noise=0.2, random_state=seed, **options
    )


def factorization_cv(**options):
    settings = {"n_components": RANKS, "cv": 3, "tol": 1e-3, "random_state": 0}
    settings |= {"alpha": 0.0}
    return PrecGDFactorizationCV(**{**settings, **options})


def sensing_cv(**options):
    # The rule leaves less to chance where folds are small.
    settings = {"n_components": [1, 2, 3, 4], "cv": 3, "tol": 1e-3}
    settings |= {"matrix_shape": (20, 15), "refit_rule": "one_standard_error"}
    settings |= {"alpha": 0.0}
    return PrecGDMatrixSensingCV(**{**settings, **options})


# -- the rank that is chosen ------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"missing": 0.3},
        {"missing": 0.3, "center": "columns"},
        {"center": "mean", "loss": "huber", "cv": 2, "n_components": [2, 3, 4]},
        {"outlier_fraction": 0.05},
        {"refit_rule": "one_standard_error"},
        {"scoring": "neg_median_absolute_error"},
        {"cv": EntryShuffleSplit(4, test_size=0.2, random_state=0)},
        {"cv": KFold(3, shuffle=True, random_state=0)},
    ],
    ids=str,
)
def test_rank_of_a_data_matrix(options, global_random_seed):
    options = dict(options)
    X = data_matrix(global_random_seed, missing=options.pop("missing", 0.0))
    if "outlier_fraction" in options:
        X[np.random.default_rng(0).random(X.shape) < 0.03] += 50.0
    model = factorization_cv(**options).fit(X)
    assert model.n_components_ == RANK
    assert model.best_params_ == {
        "alpha": 0.0,
        "n_components": RANK,
        "step_size": "auto",
    }
    assert model.transform(X).shape == (len(X), RANK)
    # The default score is a share of the (remaining) variance.
    if "scoring" not in options:
        assert 0.3 < model.best_score_ < 1


def test_a_component_for_the_rows_offsets(global_random_seed):
    X = data_matrix(global_random_seed)
    X += 5.0 * np.random.default_rng(1).standard_normal((len(X), 1))
    model = factorization_cv(center="both").fit(X)
    # Row offsets are a component of their own, which no grid counts.
    assert model.best_params_["n_components"] == RANK
    assert model.n_components_ == RANK + 1
    single = factorization_cv(center="both", n_components=1).fit(X)
    assert single.n_components_ == 2
    first = model.cv_results_["mean_test_score"][0]
    np.testing.assert_allclose(first, single.best_score_, rtol=1e-12)


def test_zeros_that_are_missing(global_random_seed):
    X = np.nan_to_num(data_matrix(global_random_seed, missing=0.3))
    dense = factorization_cv(missing_values=0).fit(X)
    stored = factorization_cv(missing_values=0).fit(sparse.csr_array(X))
    assert dense.n_components_ == stored.n_components_ == RANK
    np.testing.assert_allclose(
        dense.cv_results_["mean_test_score"], stored.cv_results_["mean_test_score"]
    )
    # Zeros that count as values leave less to predict.
    zeros = factorization_cv().fit(sparse.csr_array(X))
    assert zeros.best_score_ < dense.best_score_ - 0.1


def test_labels(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    logits = 3 * rng.standard_normal((90, 2)) @ rng.standard_normal((2, 60))
    X = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(float)
    X[rng.random(X.shape) < 0.1] = np.nan
    model = factorization_cv(loss="logistic", n_components=[1, 2, 3, 5]).fit(X)
    assert model.best_params_["n_components"] in (2, 3)
    scores = model.cv_results_["mean_test_score"]
    assert 0 < scores[0] < scores[1]
    # Ranks that are too large do harm, but not beyond all measure.
    assert 0 < scores[3] < scores.max()


@pytest.mark.parametrize(
    "options", [{}, {"loss": "absolute"}, {"outlier_fraction": 0.1}]
)
def test_rank_by_measurements(options, global_random_seed):
    A, y, truth = sensing(global_random_seed)
    if options:
        y = y.copy()
        y[::25] += 100 * np.std(y)
    model = sensing_cv(**options).fit(A, y)
    assert model.n_components_ == truth.rank
    assert truth.relative_error(model.matrix_) < 0.4
    assert model.predict(A).shape == y.shape
    assert model.transform(A).shape == (len(y), 2)


def test_symmetric(global_random_seed):
    A, y, _ = make_matrix_sensing(
        12,
        rank=2,
        n_measurements=250,
        noise=0.1,
        symmetric=True,
        random_state=global_random_seed,
    )
    model = sensing_cv(symmetric=True, matrix_shape=None).fit(A, y)
    assert model.n_components_ == 2
    np.testing.assert_array_equal(model.left_, model.right_)


def test_entries_as_samples(global_random_seed):
    A, y = observed_entries(data_matrix(global_random_seed, missing=0.3))
    model = PrecGDMatrixSensingCV(RANKS, cv=3, alpha=0, tol=1e-3, random_state=0).fit(
        A, y
    )
    assert model.n_components_ == RANK
    # An integer cv holds out entries so that every row keeps one.
    same = clone(model).set_params(cv=EntryKFold(3, random_state=0)).fit(A, y)
    np.testing.assert_array_equal(
        model.cv_results_["split0_test_score"], same.cv_results_["split0_test_score"]
    )


def test_all_entries_as_samples(global_random_seed):
    """Folds of entries, too, not of whole rows."""
    X = data_matrix(global_random_seed)
    A = FullObservation(X.shape)
    model = PrecGDMatrixSensingCV(RANKS, cv=3, alpha=0, tol=1e-3, random_state=0)
    assert model.fit(A, X.ravel()).n_components_ == RANK


def test_one_standard_error():
    # Standard error of the best: 0.2 / sqrt(4) = 0.1.
    results = {
        "mean_test_score": np.array([0.5, 0.91, 0.95, 1.0, 0.99]),
        "std_test_score": np.full(5, 0.2),
        "rank_test_score": np.array([5, 4, 3, 1, 2]),
    }
    used = np.repeat([[1], [2], [2], [3], [4]], 5, axis=1)
    assert _best(results, used, "best") == 3
    assert _best(results, used, "one_standard_error") == 2
    # What one fold uses more is chance.
    used[2, 0], used[1, :3] = 6, 3
    assert _best(results, used, "one_standard_error") == 2


# -- the table --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("alpha", [*np.logspace(-2, 0, 3), 0]),
        ("alpha", [np.int64(0), 0.5]),
        ("alpha", [np.float32(0.3), 0.7]),
        ("step_size", [np.float64(0.5), 1]),
        ("step_size", ["auto", 0.5]),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_grids_of_mixed_numbers(name, values):
    model = factorization_cv(n_components=[1, 2], cv=2, **{name: values})
    results = model.fit(data_matrix(0, missing=0.2)).cv_results_
    listed = [params[name] for params in results["params"]]
    assert results[f"param_{name}"].tolist() == listed


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_table_is_that_of_grid_search(global_random_seed):
    A, y, truth = sensing(global_random_seed)
    A = as_measurements(A, (20, 15))
    grid = {"n_components": [1, 2, 3], "step_size": ["auto", 0.5], "alpha": [0.0, 0.1]}
    cv = KFold(3, shuffle=True, random_state=global_random_seed)
    model = PrecGDMatrixSensingCV(**grid, cv=cv, tol=1e-3).fit(A, y)
    base = PrecGDMatrixSensing(tol=1e-3, early_stopping=False, solver="precgd-cg")
    search = GridSearchCV(base.set_params(max_iter=100), grid, cv=cv).fit(A, y)
    ours, theirs = model.cv_results_, search.cv_results_
    assert list(ours) == list(theirs)
    assert ours["params"] == theirs["params"]
    for key, column in theirs.items():
        assert len(ours[key]) == len(column), key
        if key.startswith("param_"):
            np.testing.assert_array_equal(ours[key], column)
    # A stage of a path is close to where a fit with that many components ends.
    true_rank = np.asarray(ours["param_n_components"]) == truth.rank
    for k in range(3):
        key = f"split{k}_test_score"
        np.testing.assert_allclose(
            ours[key][true_rank], theirs[key][true_rank], atol=0.01
        )
    best = ours["rank_test_score"] == 1
    assert ours["mean_test_score"][best].max() == model.best_score_
    assert model.best_params_ == ours["params"][model.best_index_]
    assert model.alpha_ == model.best_params_["alpha"]
    assert model.step_size_ == model.best_params_["step_size"]
    assert np.all(np.diff(ours["mean_fit_time"][: 3 * 2 : 2]) > 0)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_one_path_serves_all_ranks(rank, global_random_seed):
    """A candidate scores to the last bit what it scores alone."""
    X = data_matrix(global_random_seed, missing=0.2)
    scores = [
        factorization_cv(n_components=ranks, cv=2).fit(X).cv_results_["mean_test_score"]
        for ranks in ([rank], list(range(1, 6)))
    ]
    assert scores[0][0] == scores[1][rank - 1]


def test_a_score_is_that_of_the_stage(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    measurements = as_measurements(A, (20, 15))
    model = sensing_cv(tol=1e-4, random_state=0).fit(A, y)
    for k, (train, test) in enumerate(KFold(3).split(A)):
        objective = make_objective(
            measurements.rows(train), y[train], SquaredLoss(), 0.0
        )
        path = visit_ranks(walk_to(objective, [1, 2, 3, 4], PathSettings(tol=1e-4), 0))
        for rank in range(1, 5):
            factors = path.stage(rank).factors
            assert factors.rank == rank
            z = measurements.rows(test).forward(factors.left, factors.right)
            np.testing.assert_allclose(
                model.cv_results_[f"split{k}_test_score"][rank - 1],
                r2_score(y[test], z),
                rtol=1e-9,
            )


def test_ranks_above_the_end_of_a_path_tie(global_random_seed):
    X = data_matrix(global_random_seed, noise=0.0)
    model = factorization_cv(n_components=[6, 4, 2, 3, 2], tol=1e-8).fit(X)
    scores = model.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(model.cv_results_["param_n_components"], [2, 3, 4, 6])
    assert scores[0] < scores[1] == scores[2] == scores[3]
    # Of equals the smallest rank is chosen.
    assert model.best_params_["n_components"] == 3


def test_a_path_by_blocks_visits_the_ranks_asked_for(global_random_seed):
    X = np.random.default_rng(global_random_seed).standard_normal((54, 52))
    entries, y = observed_entries(X)
    objective = make_objective(entries, y, SquaredLoss(), 0.0)
    ranks = [2, 21, 23, 52]
    path = visit_ranks(
        walk_to(objective, ranks, PathSettings(solver="precgd-cg", tol=0.01), 0)
    )
    assert [path.stage(rank).rank for rank in ranks] == ranks
    assert len(path.stages) < 45


class PressedWhileFinishing:
    """Ctrl-C whenever a stage is being finished: at the second descent at its rank."""

    def __init__(self):
        self.ranks, self.pressed = [], []

    def __call__(self, record):
        if np.isnan(record.step):
            self.ranks.append(record.rank)
        if self.ranks.count(record.rank) == 2:
            self.pressed.append(record)
            raise KeyboardInterrupt


def test_an_interrupt_while_a_stage_is_finished_ends_the_path(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    objective = make_objective(as_measurements(A, (20, 15)), y, SquaredLoss(), 0.0)
    for ranks in ([1, 2, 3], [1]):
        callback = PressedWhileFinishing()
        walk = walk_to(objective, ranks, PathSettings(tol=1e-4), 0, callback)
        path = visit_ranks(walk)
        assert len(callback.pressed) == 1
        assert path.status is Status.INTERRUPTED
        assert [stage.rank for stage in path.stages] == [1]


class PressedOnTheWay(RankOneMeasurements):
    """Ctrl-C at the third step of everyone who descends."""

    def __init__(self, a, b, pressed):
        super().__init__(a, b)
        self.pressed, self.n_rays = pressed, 0

    def rows(self, index):
        return PressedOnTheWay(self.a[index], self.b[index], self.pressed)

    def forward_ray(self, *blocks):
        self.n_rays += 1
        if self.n_rays == 3:
            self.pressed.append(len(self))
            raise KeyboardInterrupt
        return super().forward_ray(*blocks)


def test_an_interrupt_is_passed_on(global_random_seed):
    """Not to the next fold: a fit that was there before stays."""
    A, y, _ = sensing(global_random_seed)
    model = sensing_cv(tol=1e-4, random_state=0).fit(A, y)
    matrix, pressed = model.matrix_, []
    rng = np.random.default_rng(global_random_seed)
    a, b = rng.standard_normal((400, 20)), rng.standard_normal((400, 15))
    with pytest.raises(KeyboardInterrupt):
        model.fit(PressedOnTheWay(a, b, pressed), rng.standard_normal(400))
    assert len(pressed) == 1
    np.testing.assert_array_equal(model.matrix_, matrix)


def test_the_refit_is_the_base_estimator(global_random_seed):
    X = data_matrix(global_random_seed, missing=0.2)
    model = factorization_cv(alpha=[0.0, 0.5]).fit(X)
    base = PrecGDFactorization(
        **model.best_params_, tol=1e-3, early_stopping=False, random_state=0
    ).fit(X)
    np.testing.assert_array_equal(model.left_, base.left_)
    np.testing.assert_array_equal(model.transform(X), base.transform(X))
    assert model.score(X) == base.score(X)
    assert model.stop_reason_ == base.stop_reason_
    path = model.rank_path_
    assert path.n_iter == model.n_iter_
    assert [stage.rank for stage in path.stages[:RANK]] == [1, 2, 3]


def test_the_path_of_complete_data():
    X = data_matrix(0)
    model = factorization_cv().fit(X)
    s = np.linalg.svd(X, compute_uv=False)
    for stage in model.rank_path_.stages:
        left_over = np.sqrt(np.sum(s[stage.rank :] ** 2) / np.sum(s**2))
        np.testing.assert_allclose(stage.relative_residual, left_over, rtol=1e-6)
    assert len(model.rank_path_.stages) == RANK


# -- workers ----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_change_nothing(backend, global_random_seed):
    X = data_matrix(global_random_seed, missing=0.2)
    model = factorization_cv(alpha=[0.0, 0.5])
    alone = clone(model).fit(X)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        together = clone(model).fit(X)
    np.testing.assert_array_equal(
        alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(alone.components_, together.components_)


def process_id(model, A, y):
    return float(os.getpid())


@pytest.mark.parametrize("kind", ["sensing", "entries"])
def test_long_passes_are_left_to_threads(monkeypatch, kind, global_random_seed):
    limits = {
        "sensing": (DenseMeasurements, "shared_bytes"),
        "entries": (_rank_path_cv, "_MANY_ENTRIES"),
    }

    def processes():
        if kind == "sensing":
            A, y, _ = sensing(global_random_seed)
            model = sensing_cv(scoring=process_id, n_jobs=2).fit(A, y)
        else:
            X = data_matrix(global_random_seed, missing=0.2)
            model = factorization_cv(scoring=process_id, n_jobs=2).fit(X)
        return set(model.cv_results_["mean_test_score"])

    monkeypatch.setattr(_rank_path_cv, "are_compiled", lambda n: True)
    assert os.getpid() not in processes()
    monkeypatch.setattr(*limits[kind], 0)
    assert processes() == {os.getpid()}


def n_evaluations():
    """How many evaluations are alive; each has one number a measurement."""
    kinds = {Evaluation, *Evaluation.__subclasses__()}
    return sum(type(thing) in kinds for thing in gc.get_objects())


def test_a_path_holds_few_predictions(global_random_seed):
    """However long it is."""
    entries, y = observed_entries(data_matrix(global_random_seed, missing=0.2))
    objective = make_objective(entries, y)
    gc.collect()
    alive, before = [], n_evaluations()
    walk = walk_to(
        objective,
        range(1, 9),
        PathSettings(tol=1e-3),
        0,
        callback=lambda record: alive.append(n_evaluations() - before),
    )
    assert len(visit_ranks(walk).stages) == 8
    assert len(alive) > 12
    assert max(alive) <= 3


class Shared(DenseMeasurements):
    """A stack that folds read in place, however small it is."""

    shared_bytes = 0


def test_a_large_stack_is_read_in_place(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    copied = sensing_cv().fit(A, y)
    shared = sensing_cv().fit(Shared(A, (20, 15)), y)
    np.testing.assert_allclose(
        shared.cv_results_["mean_test_score"],
        copied.cv_results_["mean_test_score"],
        rtol=1e-6,
    )
    whole = as_measurements(A, (20, 15))
    check_measurements(DenseSelection(whole, np.arange(0, len(y), 3)))


# -- steps that diverge, paths that are cut, scorers that fail ---------------------


def fails_above_rank_two(model, A, y):
    if len(model.singular_values_) > 2:
        raise ZeroDivisionError("more than two")
    return -np.mean((model.predict(A) - y) ** 2)


def test_a_scorer_that_fails(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    model = sensing_cv(scoring=fails_above_rank_two)
    with pytest.warns(UserWarning, match=r"3 of 3 paths.*ZeroDivisionError: more than"):
        model.fit(A, y)
    scores = model.cv_results_["mean_test_score"]
    assert np.isnan(scores).tolist() == [False, False, True, True]
    assert model.n_components_ == 2
    with pytest.raises(ValueError, match=r"No candidate has a score: .*gave nan"):
        sensing_cv(scoring=lambda model, A, y: np.nan).fit(A, y)
    with pytest.raises(ValueError, match=r"No candidate has a score: .*more than two"):
        sensing_cv(n_components=[3, 4], scoring=fails_above_rank_two).fit(A, y)


def test_a_step_that_diverges_fails_alone(global_random_seed):
    A, y, truth = sensing(global_random_seed)
    model = sensing_cv(step_size=[0.5, 100.0], solver="precgd")
    with pytest.warns(FitFailedWarning, match="3 of 6 paths diverged.*polyak"):
        model.fit(A, y)
    failed = model.cv_results_["param_step_size"] == 100.0
    scores = model.cv_results_["mean_test_score"]
    assert np.all(np.isnan(scores[failed]))
    assert np.all(np.isfinite(scores[~failed]))
    assert np.all(model.cv_results_["rank_test_score"][failed] == 5)
    assert model.step_size_ == 0.5
    assert model.n_components_ == truth.rank
    with pytest.raises(ValueError, match="3 of 3 paths diverged"):
        sensing_cv(step_size=100.0, solver="precgd").fit(A, y)


@pytest.mark.filterwarnings("ignore:PrecGDMatrixSensing did not converge")
def test_max_iter_cuts_the_paths(global_random_seed):
    A, y, _ = sensing(global_random_seed)
    with pytest.warns(ConvergenceWarning, match="3 of 3 paths ended after max_iter=2"):
        model = sensing_cv(max_iter=2).fit(A, y)
    assert len(set(model.cv_results_["mean_test_score"])) < 4
    sensing_cv(max_iter=2, tol=0).fit(A, y)


# -- scikit-learn's conventions ---------------------------------------------------


@pytest.mark.parametrize("c", [1e-100, 1e100])
def test_scale(c, global_random_seed):
    X = data_matrix(global_random_seed, missing=0.2)
    model = factorization_cv(alpha=0.5, cv=2).fit(X)
    scaled = factorization_cv(alpha=0.5 * c, cv=2).fit(c * X)
    np.testing.assert_allclose(
        scaled.cv_results_["mean_test_score"],
        model.cv_results_["mean_test_score"],
        rtol=1e-6,
    )
    np.testing.assert_allclose(scaled.left_ / np.sqrt(c), model.left_, rtol=1e-4)


def test_float32_and_pickle_and_output(global_random_seed):
    X = data_matrix(global_random_seed, missing=0.2).astype(np.float32)
    model = factorization_cv(n_components=[2, 3]).fit(X)
    assert model.components_.dtype == np.float32
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.transform(X), model.transform(X))
    ranks = [stage.rank for stage in model.rank_path_.stages]
    assert [stage.rank for stage in copy.rank_path_.stages] == ranks
    assert ranks[-1] == model.n_components_
    frame = model.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == [f"precgdfactorizationcv{k}" for k in range(3)]
    again = clone(model).fit(X)
    np.testing.assert_array_equal(again.components_, model.components_)


def test_a_callable_scorer_sees_entries(global_random_seed):
    X = data_matrix(global_random_seed, missing=0.2)
    seen = []

    def scorer(model, entries, values):
        rows, columns = entries.row_index, entries.column_index
        np.testing.assert_allclose(
            model.predict(entries), model.matrix_[rows, columns], rtol=1e-9
        )
        np.testing.assert_array_equal(X[rows, columns], values)
        seen.append(model.n_components_)
        return r2_score(values, model.predict(entries))

    model = factorization_cv(scoring=scorer).fit(X)
    assert seen == 3 * RANKS
    np.testing.assert_allclose(
        model.cv_results_["mean_test_score"],
        factorization_cv().fit(X).cv_results_["mean_test_score"],
        rtol=1e-9,
    )


def test_given_folds(global_random_seed):
    X = data_matrix(global_random_seed, missing=0.2)
    n_entries = int(np.sum(~np.isnan(X)))
    rng = np.random.default_rng(global_random_seed)
    fold = rng.integers(-1, 2, n_entries)
    splits = list(PredefinedSplit(fold).split())
    model = factorization_cv(cv=splits).fit(X)
    assert "split1_test_score" in model.cv_results_
    assert "split2_test_score" not in model.cv_results_
    assert model.n_components_ == RANK


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": [1, 40]}, "n_components=40 must be an integer from 1 to 32"),
        ({"n_components": [1, 1.5]}, "n_components=1.5 must be an integer"),
        ({"n_components": [None, 2]}, "n_components=None must be an integer"),
        ({"n_components": ["a", 2]}, "n_components='a' must be an integer"),
        ({"n_components": [[1, 2]]}, r"n_components=\[1, 2\] must be an integer"),
        ({"n_components": [True, 2]}, "n_components=True must be an integer"),
        ({"cv": []}, r"cv=\[\] gave no split"),
        ({"n_components": []}, "n_components is an empty list"),
        ({"alpha": []}, "alpha is an empty list"),
        ({"alpha": [0.0, -1.0]}, "'alpha' parameter"),
        ({"step_size": ["auto", "long"]}, "'step_size' parameter"),
        ({"solver": "feedback"}, "'solver' parameter"),
        ({"scoring": "no such"}, "no such"),
        ({"refit_rule": "worst"}, "'refit_rule' parameter"),
        ({"cv": [(np.arange(9), np.arange(0))]}, "0 test samples"),
        ({"outlier_fraction": 0.1, "alpha": [0.0, 1.0]}, "needs alpha=0"),
        ({"loss": "huber", "noise_variance": "auto"}, "needs loss='squared'"),
    ],
    ids=str,
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        factorization_cv(**options).fit(data_matrix(0))


def test_dask_collections_are_refused():
    array = pytest.importorskip("dask.array")
    X = array.from_array(data_matrix(0), chunks=(20, -1))
    for model in (factorization_cv(), sensing_cv()):
        with pytest.raises(ValueError, match="needs X in memory"):
            model.fit(X, np.arange(45.0))


def test_a_failed_fit_leaves_the_last_one(global_random_seed):
    X = data_matrix(global_random_seed)
    model = factorization_cv().fit(X)
    before = SimpleNamespace(**vars(model))
    with pytest.raises(ValueError, match="n_components=9"):
        model.set_params(n_components=[9]).fit(X[:, :6])
    assert model.cv_results_ is before.cv_results_
    np.testing.assert_array_equal(model.components_, before.components_)
