"""What the CV estimators try by default: a learned prior, no ridge, and ridges."""

from __future__ import annotations

import pickle
import re
import warnings

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import r2_score

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.datasets import make_matrix_sensing
from skprecgd.measurements import EntryMeasurements
from skprecgd.model_selection import EntryKFold

SHAPE, RANK = (40, 25), 2


def noisy_entries(rng, *, seen=0.5, noise=0.5, shape=SHAPE):
    truth = rng.standard_normal((shape[0], RANK)) @ rng.standard_normal(
        (RANK, shape[1])
    )
    X = truth + noise * rng.standard_normal(shape)
    X[rng.random(shape) > seen] = np.nan
    return X


def two_groups(rng):
    X = np.full((60, 36), np.nan)
    X[:30, :20] = noisy_entries(rng, seen=0.7, shape=(30, 20))
    X[30:, 20:] = noisy_entries(rng, seen=0.7, shape=(30, 16))
    return X


def search(n_components=(1, 2, 4), **options):
    settings = {"cv": 3, "random_state": 0, **options}
    return PrecGDFactorizationCV(list(n_components), **settings)


def column(model, name):
    return list(model.cv_results_[f"param_{name}"])


@pytest.fixture(scope="module")
def searched(global_random_seed):
    """Noisy entries, and the search among the default candidates."""
    X = noisy_entries(np.random.default_rng(global_random_seed))
    return X, search().fit(X)


# ---- which they are


def test_default_candidates_of_noisy_entries(searched):
    X, model = searched
    assert column(model, "alpha")[:4] == ["auto", 0.0, 0.0, 0.0]
    # A learned prior and ridges find their rank; without them it has to be tried.
    assert column(model, "n_components") == [4, 1, 2, 4] + [4] * 10
    ridges = np.array(column(model, "alpha")[4:], dtype=float)
    fit = PrecGDFactorization(4, alpha=1.0).fit(X)
    assert_allclose(ridges[0], fit.alpha_max_, rtol=1e-9)
    assert_allclose(ridges[1:] / ridges[:-1], 1e-3 ** (1 / 9))
    # The largest leaves nothing of the whole, and hardly anything of a fold.
    at_most = model.cv_results_["mean_test_score"][4]
    assert -0.1 < at_most < 0.1


def test_a_list_is_tried_with_all_numbers(rng):
    model = search(alpha=["auto", 0.5]).fit(noisy_entries(rng))
    assert column(model, "alpha") == ["auto"] * 3 + [0.5] * 3
    assert column(model, "n_components") == [1, 2, 4] * 2


def test_the_units_of_the_data_are_those_of_the_ridges(searched):
    X, model = searched
    scaled = search().fit(1e9 * X)
    assert_allclose(
        np.array(column(scaled, "alpha")[4:], dtype=float),
        1e9 * np.array(column(model, "alpha")[4:], dtype=float),
    )
    assert_allclose(
        scaled.cv_results_["mean_test_score"],
        model.cv_results_["mean_test_score"],
        atol=0.02,
    )


def test_a_prior_is_a_candidate_for_measurements_of_any_kind(rng):
    A, y, _ = make_matrix_sensing(
        10, 8, rank=2, n_measurements=150, noise=0.5, random_state=rng.integers(99)
    )
    model = PrecGDMatrixSensingCV([1, 2, 3], cv=3, matrix_shape=(10, 8)).fit(A, y)
    alphas, scores = column(model, "alpha"), model.cv_results_["mean_test_score"]
    assert alphas[:4] == ["auto", 0.0, 0.0, 0.0]
    # It is at least as good as least squares at any rank, but for chance.
    assert scores[0] > max(scores[1:4]) - 0.05


NOTHING_TO_LEARN = {
    "complete": lambda rng: (search(), (noisy_entries(rng, seen=1.0),)),
    "no noise": lambda rng: (search(noise_variance=0.0), (noisy_entries(rng),)),
}


@pytest.mark.parametrize("kind", NOTHING_TO_LEARN)
def test_where_no_prior_is_learned_it_is_no_candidate(kind, rng):
    model, data = NOTHING_TO_LEARN[kind](rng)
    alphas = column(model.fit(*data), "alpha")
    assert alphas[:3] == [0.0] * 3
    assert len(alphas) == 13
    # Where it is asked for, it is the same as no ridge, and found once.
    model.set_params(alpha=["auto", 0]).fit(*data)
    for key in ("mean_test_score", "mean_fit_time"):
        prior, none = np.split(model.cv_results_[key], 2)
        assert_array_equal(prior, none)


def test_beside_outliers_there_are_no_ridges(rng):
    model = search(outlier_fraction=0.05)
    for seen in (0.5, 1.0):
        alphas = column(model.fit(noisy_entries(rng, seen=seen)), "alpha")
        assert alphas == ["auto", 0.0, 0.0, 0.0]


def test_a_ridge_by_counts_goes_with_numbers_alone(rng):
    X = noisy_entries(rng)
    assert "auto" not in column(search(alpha_scaling=1.0).fit(X), "alpha")
    with pytest.raises(ValueError, match=r"alpha_scaling=1\.0 needs a number"):
        search(alpha_scaling=1.0, alpha=["auto", 1.0]).fit(X)


# ---- their scores


@pytest.mark.filterwarnings("ignore:The observed entries fall into 2 groups")
@pytest.mark.parametrize(
    ("make", "center"),
    [
        (noisy_entries, None),
        (noisy_entries, "columns"),
        (noisy_entries, "both"),
        (two_groups, "columns"),
    ],
)
def test_a_learned_prior_is_scored_by_fits_without_the_held_out_entries(
    make, center, rng
):
    X = make(rng)
    model = search([2, 3], alpha="auto", center=center)
    model.fit(X)
    rows, columns = np.nonzero(~np.isnan(X))
    scores = []
    for train, test in EntryKFold(3, random_state=0).split(X):
        hidden = X.copy()
        hidden[rows[test], columns[test]] = np.nan
        base = PrecGDFactorization(3, center=center, early_stopping=False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base.fit(hidden)
        matrix = base.left_ @ base.right_.T + base.center_
        cells = rows[test], columns[test]
        assert len(train) + len(test) == len(rows)
        scores.append(r2_score(X[cells], matrix[cells]))
    found = [model.cv_results_[f"split{k}_test_score"][1] for k in range(3)]
    assert_allclose(found, scores, atol=5e-3)


def test_entries_as_samples_have_the_same_candidates(searched):
    X, model = searched
    rows, columns = np.nonzero(~np.isnan(X))
    A, y = EntryMeasurements(rows, columns, SHAPE), X[rows, columns]
    sensed = PrecGDMatrixSensingCV([1, 2, 4], cv=3, random_state=0).fit(A, y)
    assert_allclose(
        sensed.cv_results_["mean_test_score"], model.cv_results_["mean_test_score"]
    )
    assert sensed.best_params_ == model.best_params_


def test_weights_count_in_folds_of_a_learned_prior(rng):
    """An entry of weight zero is missing in all folds."""
    X = noisy_entries(rng, seen=0.6)
    weight = np.where(np.isnan(X), 0.0, 1.0)
    spoiled = np.where((rng.random(SHAPE) < 0.1) & ~np.isnan(X), 1e6, X)
    weight[spoiled == 1e6] = 0.0
    folds = EntryKFold(3, random_state=0)
    model = search([2], alpha="auto", cv=folds)
    model.fit(np.where(weight > 0, X, np.nan), entry_weight=None)
    weighted = clone(model).set_params(cv=3).fit(spoiled, entry_weight=weight)
    assert_allclose(weighted.best_score_, model.best_score_, rtol=1e-6)


def test_a_ridge_scores_what_a_fit_with_it_scores(rng):
    X = noisy_entries(rng, seen=0.6)
    model = search([3]).fit(X)
    ridges = column(model, "alpha")[2:]
    alone = search([3], alpha=ridges, tol=1e-6).fit(X)
    # Both stop where folds tell no difference, and small ridges much before the end.
    assert_allclose(
        model.cv_results_["mean_test_score"][2:7],
        alone.cv_results_["mean_test_score"][:5],
        atol=0.02,
    )


def test_scarce_noisy_entries_are_left_to_the_learned_prior(rng):
    X = noisy_entries(rng, seen=0.3, noise=0.7, shape=(80, 50))
    model = search([1, 2, 5], center="columns", alpha=["auto", 0]).fit(X)
    prior, none = np.split(model.cv_results_["mean_test_score"], 2)
    # Spare columns do no harm to it.
    assert prior[2] > none[2] + 0.1
    assert prior[2] > prior.max() - 0.05


# ---- the choice, and what follows


@pytest.mark.parametrize("noise", ["uniform", "columns"])
def test_the_refit_learns_the_noise_as_it_is_told(noise, rng):
    X = noisy_entries(rng, seen=0.7)
    model = search([2], alpha="auto", noise=noise).fit(X)
    assert model.alpha_ == model.best_params_["alpha"] == "auto"
    assert np.shape(model.noise_variance_) == (() if noise == "uniform" else (25,))
    base = PrecGDFactorization(2, noise=noise, early_stopping=False, random_state=0)
    assert_array_equal(model.components_, base.fit(X).components_)
    assert model.lower_bound_ == base.lower_bound_
    assert_array_equal(model.factor_scales_, base.factor_scales_)
    # What was learned does not outlive the next fit.
    model.set_params(alpha=0).fit(X)
    assert not hasattr(model, "factor_scales_")


@pytest.mark.parametrize("alpha", [None, ["auto", 0.0]])
@pytest.mark.parametrize("center", [None, "both"])
@pytest.mark.parametrize("make", [noisy_entries, two_groups])
@pytest.mark.filterwarnings("ignore:The observed entries fall into 2 groups")
def test_how_many_components_candidates_use(make, center, alpha, rng):
    X = make(rng)
    model = search([1, 2, 5], center=center, alpha=alpha).fit(X)
    used = model.n_components_path_
    numbers = np.array(column(model, "n_components"))
    assert used.shape == model.train_error_path_.shape == (len(numbers), 3)
    # Each group has so many, and beside them the offsets of its rows.
    n_groups = 1 if make is noisy_entries else 2
    own = center == "both"
    assert np.all(used >= 1 + own)
    assert np.all(used <= n_groups * (numbers[:, None] + own))
    is_none = np.array([value == 0 for value in column(model, "alpha")])
    # Noise is never explained, so without a prior all are used.
    without = n_groups * (np.array([[1], [2], [5]]) + own)
    assert_array_equal(used[is_none], np.tile(without, 3))


def test_one_standard_error_takes_the_fewest_components_whatever_the_prior(rng):
    X = noisy_entries(rng, seen=0.7)
    model = search(refit_rule="one_standard_error").fit(X)
    results = model.cv_results_
    best = int(np.argmin(results["rank_test_score"]))
    error = results["std_test_score"][best] / np.sqrt(2)
    good = results["mean_test_score"] >= results["mean_test_score"][best] - error
    used = np.median(model.n_components_path_, axis=1)
    assert used[model.best_index_] == used[good].min() == RANK
    same = good & (used == RANK)
    assert model.best_score_ == results["mean_test_score"][same].max()


@pytest.mark.parametrize("seen", [0.1, 0.15, 0.25])
def test_of_scarce_entries_the_best_held_out_score_decides(seen, rng):
    """A prior that finds no signal is left where a ridge predicts better."""
    truth = rng.standard_normal((80, 3)) @ rng.standard_normal((3, 50))
    truth = 3.5 + 0.5 * truth / truth.std()
    X = truth + 0.3 * rng.standard_normal(truth.shape)
    hidden = rng.random(truth.shape) > seen
    X[hidden] = np.nan
    with warnings.catch_warnings():
        # So few tell little of any candidate, and some folds hide whole lines.
        warnings.simplefilter("ignore")
        model = search(center="columns").fit(X)
        base = PrecGDFactorization(
            **model.best_params_, center="columns", early_stopping=False, random_state=0
        ).fit(X)
    results = model.cv_results_
    assert model.best_score_ == results["mean_test_score"].max()
    assert model.best_params_ == results["params"][model.best_index_]
    assert_array_equal(model.left_, base.left_)
    assert_array_equal(model.center_, base.center_)
    # None of the candidates that lead astray is taken.
    errors = [
        np.sqrt(np.mean((matrix - truth)[hidden] ** 2))
        for matrix in (model.left_ @ model.right_.T + model.center_, np.nanmean(X, 0))
    ]
    assert errors[0] < 1.1 * errors[1]


# ---- a bound below the rank


BELOW = "n_components=.* leaves out what is no noise"


def test_a_bound_that_is_too_low_is_said_of_the_refit_alone(rng):
    truth = rng.standard_normal((60, 6)) @ rng.standard_normal((6, 40))
    X = truth + 0.3 * rng.standard_normal(truth.shape)
    X[rng.random(X.shape) > 0.7] = np.nan
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        search([1, 2, 3], alpha="auto", center="columns").fit(X)
    (warning,) = found
    assert re.match(BELOW, str(warning.message))
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search([1, 2, 3, 8], alpha="auto", center="columns").fit(X)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_change_nothing(backend, rng):
    X = noisy_entries(rng)
    alone = search([1, 3]).fit(X)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        together = search([1, 3]).fit(X)
    for key in ("mean_test_score", "param_alpha"):
        assert_array_equal(together.cv_results_[key], alone.cv_results_[key])
    assert_array_equal(together.components_, alone.components_)


def test_float32_and_pickle(rng):
    X = noisy_entries(rng).astype(np.float32)
    model = search([1, 2], alpha=["auto", 1.0]).fit(X)
    assert model.components_.dtype == np.float32
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.transform(X), model.transform(X))
    assert again.cv_results_["params"] == model.cv_results_["params"]
    assert column(model, "alpha") == ["auto", "auto", 1.0, 1.0]


def test_no_ridge_of_data_that_are_zero():
    model = search([1], alpha=None).fit(np.zeros((12, 6)))
    assert column(model, "alpha") == [0.0]


# ---- numbers that are worse than nothing


HOPELESS = "held-out entries worse than"


def hopeless(rng):
    """Noise around a mean, four entries for an unknown of rank one."""
    X = 3.5 + rng.standard_normal((160, 100))
    X[rng.random(X.shape) > 0.06] = np.nan
    # No row or column is left out, which is another matter.
    return X[np.sum(~np.isnan(X), axis=1) > 0][:, np.sum(~np.isnan(X), axis=0) > 0]


def said(fit):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit()
    return [str(each.message) for each in found if HOPELESS in str(each.message)]


@pytest.mark.parametrize(("alpha", "center"), [(0.0, "mean"), (1e-3, "columns")])
def test_a_number_that_is_worse_than_the_offsets_is_said(alpha, center, rng):
    X = hopeless(rng)
    how = {"alpha": alpha, "center": center, "early_stopping": True, "max_iter": 50}
    A, y = observed_entries(X)
    for fit in (
        lambda: PrecGDFactorization(10, random_state=0, **how).fit(X),
        lambda: PrecGDMatrixSensing(10, random_state=0, **how).fit(A, y),
    ):
        (message,) = said(fit)
        assert f"the offsets of center='{center}' alone; use alpha='auto'" in message
        assert message.startswith(f"alpha={alpha}")


def test_nothing_is_said_where_numbers_are_better_or_learned(rng):
    X = hopeless(rng)
    how = {"center": "columns", "random_state": 0}
    model = PrecGDFactorization(3, **how)
    assert not said(lambda: model.fit(X))
    # Nobody has looked.
    model = PrecGDFactorization(3, alpha=0.0, early_stopping=False, **how)
    assert not said(lambda: model.set_params(max_iter=50).fit(X))
    good = noisy_entries(rng, seen=0.6)
    model = PrecGDFactorization(5, alpha=0.0, early_stopping=True, random_state=0)
    assert not said(lambda: model.fit(good))
