"""GridSearchCV and cross_val_score choose the rank, through every way in."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    ShuffleSplit,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import EntryMeasurements
from skprecgd.optim import RANK_SEARCHES

TRUE_RANK = 3

# Few steps are enough to compare ranks. A learned prior needs no rank, and would make
# spare components do no harm.
QUICK = {"solver": "precgd-cg", "max_iter": 60, "random_state": 0, "alpha": 0}

# A search rank that is too low, or that the folds cannot support, is part of a search,
# not a mistake.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:n_components=. leaves out what is no noise"),
]


def noisy_rank_three(seed, shape=(60, 40), noise=0.5):
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((shape[0], 3)) @ rng.standard_normal((3, shape[1]))
    return truth + noise * rng.standard_normal(shape)


def noisy_entries(seed):
    X, truth = make_matrix_completion(
        40,
        30,
        rank=TRUE_RANK,
        observed_fraction=0.8,
        noise=0.1,
        condition_number=2,
        random_state=seed,
    )
    return *observed_entries(X), truth


# -- entries as samples -----------------------------------------------------------


@pytest.mark.slow
def test_entries_in_two_processes(global_random_seed):
    A, y, truth = noisy_entries(global_random_seed)
    search = GridSearchCV(
        PrecGDMatrixSensing(**QUICK),
        {"n_components": [1, 2, 3, 5]},
        cv=KFold(3, shuffle=True, random_state=global_random_seed),
        n_jobs=2,
    ).fit(A, y)
    assert search.best_params_ == {"n_components": TRUE_RANK}
    assert search.best_score_ > 0.9
    assert truth.relative_error(search.best_estimator_.matrix_) < 0.2


@pytest.mark.parametrize("rank_search", RANK_SEARCHES)
def test_entries(rank_search, global_random_seed):
    A, y, _ = noisy_entries(global_random_seed)
    search = GridSearchCV(
        PrecGDMatrixSensing(rank_search=rank_search, **QUICK),
        {"n_components": [1, 2, 3, 6]},
        cv=KFold(3, shuffle=True, random_state=global_random_seed),
    ).fit(A, y)
    assert search.best_params_ == {"n_components": TRUE_RANK}
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] < scores[1] < scores[2] - 0.02
    if rank_search == "fixed":
        assert scores[2] - 0.02 > scores[3]


def test_folds_need_not_shuffle(global_random_seed):
    A, y, _ = noisy_entries(global_random_seed)
    search = GridSearchCV(
        PrecGDMatrixSensing(**QUICK), {"n_components": [1, 2, 3, 6]}, cv=3
    ).fit(A, y)
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] < scores[1] < scores[2] - 0.02
    assert scores[2] > 0.9
    # With a learned prior, components that nothing speaks for do no harm.
    np.testing.assert_allclose(scores[3], scores[2], atol=1e-3)


def test_ridge_and_rank_together(global_random_seed):
    A, y, _ = noisy_entries(global_random_seed)
    search = GridSearchCV(
        PrecGDMatrixSensing(rank_search="fixed", **QUICK),
        {"n_components": [3, 6], "alpha": [0.0, 1.0, 1e4]},
        cv=KFold(2, shuffle=True, random_state=global_random_seed),
    ).fit(A, y)
    scores = dict(
        zip(
            [(p["n_components"], p["alpha"]) for p in search.cv_results_["params"]],
            search.cv_results_["mean_test_score"],
            strict=True,
        )
    )
    # The ridge makes up for part of what spare columns lose, and can be too much.
    assert scores[6, 1.0] > scores[6, 0.0]
    assert search.best_params_["alpha"] < 1e4


def test_cross_val_score_of_entries(global_random_seed):
    A, y, _ = noisy_entries(global_random_seed)
    cv = ShuffleSplit(3, test_size=0.2, random_state=global_random_seed)
    model = PrecGDMatrixSensing(3, **QUICK)
    scores = cross_val_score(model, A, y, cv=cv)
    assert scores.shape == (3,)
    assert np.all(scores > 0.9)
    # A score is the R^2 of predict, nothing else.
    for (train, test), score in zip(cv.split(A), scores, strict=True):
        model.fit(A[train], y[train])
        np.testing.assert_allclose(
            score, r2_score(y[test], model.predict(A[test])), rtol=1e-6
        )


def test_cross_val_predict_and_validate(global_random_seed):
    A, y, _ = noisy_entries(global_random_seed)
    cv = KFold(3, shuffle=True, random_state=0)
    model = PrecGDMatrixSensing(3, **QUICK)
    predictions = cross_val_predict(model, A, y, cv=cv)
    assert r2_score(y, predictions) > 0.9
    result = cross_validate(
        model,
        A,
        y,
        cv=cv,
        scoring=["r2", "neg_mean_absolute_error"],
        return_train_score=True,
        return_estimator=True,
    )
    assert np.all(result["train_r2"] > result["test_r2"])
    assert all(e.n_components_ == TRUE_RANK for e in result["estimator"])


@pytest.mark.parametrize("flat", [True, False])
def test_dense_measurements(flat, global_random_seed):
    A, y, _ = make_matrix_sensing(
        15,
        12,
        rank=2,
        n_measurements=250,
        noise=0.1,
        condition_number=2,
        random_state=global_random_seed,
    )
    X = A if flat else A.reshape(-1, 15, 12)
    search = GridSearchCV(
        PrecGDMatrixSensing(matrix_shape=(15, 12), tol=1e-4, random_state=0),
        {"n_components": [1, 2, 4]},
        cv=3,
    ).fit(X, y)
    assert search.best_params_ == {"n_components": 2}


# -- rows of a data matrix --------------------------------------------------------


@pytest.mark.parametrize("extra_seed", range(5))
def test_rows_of_complete_data(extra_seed, global_random_seed):
    X = noisy_rank_three([global_random_seed, extra_seed])
    search = GridSearchCV(
        PrecGDFactorization(random_state=global_random_seed),
        {"n_components": [1, 2, 3, 4, 8, 20]},
    ).fit(X)
    assert search.best_params_ == {"n_components": TRUE_RANK}
    scores = dict(
        zip([1, 2, 3, 4, 8, 20], search.cv_results_["mean_test_score"], strict=True)
    )
    assert scores[1] < scores[2] < scores[3]
    assert scores[3] > scores[8] > scores[20]


def test_rows_with_missing_entries(global_random_seed):
    X = noisy_rank_three(global_random_seed)
    rng = np.random.default_rng([global_random_seed, 2])
    X[rng.random(X.shape) < 0.3] = np.nan
    search = GridSearchCV(
        PrecGDFactorization(**QUICK), {"n_components": [1, 2, 3, 6]}, cv=3
    ).fit(X)
    assert search.best_params_ == {"n_components": TRUE_RANK}


def test_prior_and_rank_together(global_random_seed):
    """A learned prior keeps spare components from harm, as well as any ridge."""
    X = noisy_rank_three(global_random_seed)
    rng = np.random.default_rng([global_random_seed, 4])
    X[rng.random(X.shape) < 0.4] = np.nan
    grid = {"alpha": ["auto", 0.1, 1], "n_components": [1, 3, "auto"]}
    search = GridSearchCV(
        PrecGDFactorization(**{**QUICK, "max_iter": 20}), grid, cv=KFold(2)
    ).fit(X)
    scores = search.cv_results_["mean_test_score"].reshape(3, 3)
    # All candidates predict the same hidden entries of the same rows.
    assert search.best_params_["n_components"] != 1
    assert scores[0, 1] > scores[0, 0] + 0.1
    assert scores[0, 2] > scores[0, 1] - 0.03
    assert np.all(scores[0, 2] > scores[1:, 2] - 0.01)
    assert search.best_score_ < scores[0].max() + 0.03


def test_pipeline_with_a_scaler(global_random_seed):
    X = 5.0 + 2.0 * noisy_rank_three(global_random_seed)
    pipeline = Pipeline(
        [
            ("scale", StandardScaler()),
            ("factorize", PrecGDFactorization(random_state=global_random_seed)),
        ]
    )
    search = GridSearchCV(
        pipeline, {"factorize__n_components": [1, 2, 3, 4, 8, 20]}
    ).fit(X)
    assert search.best_params_ == {"factorize__n_components": TRUE_RANK}


def test_pipeline_with_a_scaler_and_holes(global_random_seed):
    X = 5.0 + noisy_rank_three(global_random_seed)
    rng = np.random.default_rng([global_random_seed, 3])
    X[rng.random(X.shape) < 0.2] = np.nan
    pipeline = make_pipeline(StandardScaler(), PrecGDFactorization(**QUICK))
    search = GridSearchCV(
        pipeline, {"precgdfactorization__n_components": [1, 2, 3, 8]}, cv=3
    ).fit(X)
    assert search.best_params_ == {"precgdfactorization__n_components": TRUE_RANK}


def test_centre_is_chosen(global_random_seed):
    # Columns with means of their own: centring them frees a component.
    X = noisy_rank_three(global_random_seed) + 10.0 * np.arange(40)
    search = GridSearchCV(
        PrecGDFactorization(3, random_state=global_random_seed),
        {"center": [None, "mean", "columns"]},
    ).fit(X)
    assert search.best_params_ == {"center": "columns"}


def test_cross_val_score_of_rows(global_random_seed):
    X = noisy_rank_three(global_random_seed)
    model = PrecGDFactorization(3, random_state=global_random_seed)
    scores = cross_val_score(model, X, cv=4)
    assert np.all(scores > 0.7)
    np.testing.assert_array_equal(scores, cross_val_score(model, X, cv=4))


def reconstruction_score(model, X, y=None):
    return r2_score(X, model.inverse_transform(model.transform(X)))


def test_what_a_reconstruction_score_does(global_random_seed):
    """Why `score` hides entries: reconstruction never falls with the rank."""
    X = noisy_rank_three(global_random_seed)
    ranks = {"n_components": [1, 2, 3, 8, 20, 30]}
    naive = GridSearchCV(
        TruncatedSVD(algorithm="arpack", random_state=0),
        ranks,
        scoring=reconstruction_score,
    ).fit(X)
    assert naive.best_params_ == {"n_components": 30}
    ours = GridSearchCV(PrecGDFactorization(random_state=0), ranks).fit(X)
    assert ours.best_params_ == {"n_components": TRUE_RANK}


# -- rank, step and ridge together, in two processes ------------------------------

GRID = {"n_components": [1, 3], "step_size": ["auto", 0.5], "alpha": [0.0, 0.2]}


# The first rounds of a halving search see so few entries that rows are left without
# one, or that entries fall into groups.
@pytest.mark.filterwarnings("ignore:.*no observed entry:UserWarning")
@pytest.mark.filterwarnings("ignore:The observed entries fall into:UserWarning")
@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
def test_rank_step_and_ridge_of_entries(kind, global_random_seed):
    A, y, _ = noisy_entries(global_random_seed)
    # A round must see more entries than a matrix of rank three has degrees of freedom.
    halving = {"random_state": 0, "factor": 2, "min_resources": 400}
    options = {} if kind is GridSearchCV else halving
    search = kind(PrecGDMatrixSensing(**QUICK), GRID, cv=2, n_jobs=2, **options)
    search.fit(A, y)
    assert set(search.best_params_) == set(GRID)
    assert search.best_params_["n_components"] == TRUE_RANK
    assert search.score(A, y) > 0.9


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
def test_rank_step_and_ridge_of_rows(kind, global_random_seed):
    X = noisy_rank_three(global_random_seed)
    X[np.random.default_rng(global_random_seed).random(X.shape) < 0.1] = np.nan
    options = {}
    if kind is HalvingGridSearchCV:
        options = {"resource": "max_iter", "min_resources": 15, "max_resources": 60}
        options |= {"random_state": 0, "factor": 2}
    search = kind(PrecGDFactorization(**QUICK), GRID, cv=2, n_jobs=2, **options)
    search.fit(X)
    assert search.best_params_["n_components"] == TRUE_RANK


@pytest.mark.parametrize("kind", [GridSearchCV, HalvingGridSearchCV])
def test_inside_a_pipeline_with_a_classifier(kind, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    z = rng.standard_normal((120, TRUE_RANK))
    X = z @ rng.standard_normal((TRUE_RANK, 30)) + 0.3 * rng.standard_normal((120, 30))
    # The class is told by the sum of the coordinates, so it takes all of them.
    y = z.sum(axis=1) > 0
    pipeline = make_pipeline(
        StandardScaler(), PrecGDFactorization(**QUICK), LogisticRegression()
    )
    grid = {f"precgdfactorization__{name}": values for name, values in GRID.items()}
    options = {} if kind is GridSearchCV else {"random_state": 0, "factor": 2}
    search = kind(pipeline, grid, cv=2, n_jobs=2, **options).fit(X, y)
    assert search.best_params_["precgdfactorization__n_components"] == TRUE_RANK
    assert search.score(X, y) > 0.8


# -- a learned prior beside numbers, through every way in --------------------------


def with_holes(seed):
    X = 5.0 + noisy_rank_three(seed)
    X[np.random.default_rng([seed, 5]).random(X.shape) < 0.4] = np.nan
    return X


def search_prior_and_rank(model, prefix="", **options):
    grid = {"alpha": ["auto", 0.1, 1], "n_components": [1, 4]}
    grid = {f"{prefix}{name}": values for name, values in grid.items()}
    return GridSearchCV(
        model, grid, cv=KFold(2, shuffle=True, random_state=0), **options
    )


def test_prior_and_rank_in_two_processes(global_random_seed):
    """The filter for bounds that are too low reaches the workers."""
    X = with_holes(global_random_seed)
    model = PrecGDFactorization(**QUICK, center="columns")
    alone = search_prior_and_rank(model).fit(X)
    together = search_prior_and_rank(model, n_jobs=2).fit(X)
    scores = alone.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(together.cv_results_["mean_test_score"], scores)
    assert together.best_params_["n_components"] == 4
    assert scores[1] > scores[1::2].max() - 0.05
    assert scores[1] > scores[0] + 0.1


def test_prior_and_rank_of_a_frame_in_a_pipeline(global_random_seed):
    pandas = pytest.importorskip("pandas")
    X = with_holes(global_random_seed)
    frame = pandas.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])])
    pipeline = make_pipeline(StandardScaler(), PrecGDFactorization(**QUICK))
    prefix = "precgdfactorization__"
    search = search_prior_and_rank(pipeline, prefix).fit(frame)
    plain = search_prior_and_rank(pipeline, prefix).fit(X)
    scores = search.cv_results_["mean_test_score"]
    # Columns of frames are summed in another order.
    expected = plain.cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert search.best_params_[f"{prefix}n_components"] == 4
    assert scores[1] > scores[0] + 0.1


def test_prior_and_rank_of_triples(global_random_seed):
    X = with_holes(global_random_seed)
    rows, columns = np.nonzero(~np.isnan(X))
    A = EntryMeasurements(rows, columns, X.shape)
    model = PrecGDMatrixSensing(**QUICK, center="columns")
    search = search_prior_and_rank(model, n_jobs=2).fit(A, X[rows, columns])
    scores = search.cv_results_["mean_test_score"]
    assert search.best_params_["n_components"] == 4
    assert scores[1] > scores[1::2].max() - 0.05
    assert scores[1] > scores[0] + 0.1
