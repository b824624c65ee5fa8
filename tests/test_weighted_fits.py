"""Weights in the estimators: frequencies, known variances, groups."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import EntryMeasurements

SHAPE = (10, 8)
N = 150
TOL = 1e-8
FITS = [
    {"alpha": 0.05},
    {"n_components": 2},
    {"n_components": 2, "noise_variance": "auto"},
    {"n_components": 2, "solver": "gauss-newton"},
    {"n_components": 2, "loss": "huber"},
    {"n_components": 2, "loss": "absolute"},
    {"alpha": 0.05, "loss": "logistic"},
    {"alpha": 0.05, "loss": "poisson"},
    {"n_components": 2, "outlier_fraction": 0.1},
]


def sensing(rng, loss="squared"):
    """Measurements, noisy targets for the loss, and how often each was made."""
    A = rng.standard_normal((N, *SHAPE))
    M = rng.standard_normal((10, 2)) @ rng.standard_normal((2, 8)) / 4
    y = np.einsum("nij,ij->n", A, M) + 0.1 * rng.standard_normal(N)
    if loss == "logistic":
        y = (y > 0).astype(float)
    if loss == "poisson":
        y = rng.poisson(np.exp(0.5 * np.tanh(y))).astype(float)
    return A, y, rng.integers(0, 4, size=N)


def table(rng, noise=0.05):
    X = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 25)) + 3.0
    X += noise * rng.standard_normal(X.shape)
    return X, rng.integers(0, 3, size=X.shape)


def completed(model):
    return model.left_ @ model.right_.T + model.center_


def distance(matrix, other):
    return np.linalg.norm(matrix - other) / np.linalg.norm(other)


@pytest.mark.parametrize("options", FITS, ids=str)
def test_a_sample_of_weight_two_is_two_samples(options, rng):
    """Zero is none; fits without held-out samples agree to a few tol."""
    A, y, often = sensing(rng, options.get("loss", "squared"))
    again = np.repeat(np.arange(N), often)
    # The loss of labels and counts is not zero in the end, and with a tol of 1e-8 the
    # decrease, of the order of its square, is lost in the rounding of that loss.
    tol = 10 * TOL if options.get("loss") in ("logistic", "poisson") else TOL
    model = PrecGDMatrixSensing(early_stopping=False, tol=tol, random_state=0)
    model.set_params(**options)
    weighted = model.fit(A, y, sample_weight=often).matrix_
    outliers, score = model.outliers_, model.score(A, y, often)
    repeated = model.fit(A[again], y[again])
    assert distance(weighted, repeated.matrix_) <= 10 * tol
    assert score == pytest.approx(repeated.score(A[again], y[again]), abs=1e-6)
    assert outliers.shape == (N,)
    np.testing.assert_array_equal(outliers[again] != 0, repeated.outliers_ != 0)


def test_weights_follow_entries_into_their_natural_order(rng):
    X, often = table(rng)
    A, y = observed_entries(X)
    rows, columns = A.cells()
    often = often[rows, columns]
    again = np.repeat(np.arange(len(y)), often)
    model = PrecGDMatrixSensing(5, early_stopping=False, tol=TOL)
    weighted = model.fit(A, y, sample_weight=often).matrix_
    assert distance(weighted, model.fit(A[again], y[again]).matrix_) <= 10 * TOL


@pytest.mark.parametrize("options", [{}, {"loss": "huber"}, {"outlier_fraction": 0.1}])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.filterwarnings("ignore:sample_weight says how often")
def test_the_unit_of_weights_does_not_matter(options, dtype, rng):
    """Without a hold-out, in either precision, in memory and in chunks."""
    A, y, often = sensing(rng)
    A, y = A.astype(dtype), y.astype(dtype)
    tol = TOL if dtype is np.float64 else 1e-5
    model = PrecGDMatrixSensing(2, alpha=0, early_stopping=False, tol=tol, **options)
    expected = model.fit(A, y, often).matrix_
    chunks = da.from_array(A.reshape(N, -1), chunks=(40, -1))
    for unit in (1e-200, 1e-30, 1e6, 1e200):
        model.set_params(matrix_shape=None)
        assert distance(model.fit(A, y, unit * often).matrix_, expected) <= 10 * tol
        if "outlier_fraction" in options:
            continue
        model.set_params(matrix_shape=SHAPE)
        found = model.fit(chunks, da.from_array(y, chunks=40), unit * often).matrix_
        assert distance(found, expected) <= 10 * tol


@pytest.mark.parametrize("as_dask", [False, True])
@pytest.mark.parametrize("weights_too", [False, True])
def test_measurements_in_chunks(as_dask, weights_too, rng):
    A, y, often = sensing(rng)
    model = PrecGDMatrixSensing(2, alpha=0, early_stopping=False, tol=TOL)
    expected = model.fit(A, y, sample_weight=often).matrix_
    chunks = da.from_array(A, chunks=(40, *SHAPE))
    targets = da.from_array(y, chunks=40) if as_dask else y
    weights = da.from_array(often, chunks=70) if weights_too else often
    found = model.fit(chunks, targets, sample_weight=weights).matrix_
    assert distance(found, expected) <= 10 * TOL


def test_another_loss_of_chunks(rng):
    A, y, often = sensing(rng)
    model = PrecGDMatrixSensing(2, loss="huber", early_stopping=False, tol=TOL)
    expected = model.fit(A, y, sample_weight=often).matrix_
    chunks = da.from_array(A, chunks=(40, *SHAPE))
    weights = da.from_array(often, chunks=40)
    assert distance(model.fit(chunks, y, weights).matrix_, expected) <= 10 * TOL


def test_held_out_samples_are_samples_that_count(rng):
    """A sample of weight zero decides nothing, wherever its target is."""
    A, y, often = sensing(rng)
    wrong = np.where(often == 0, 1e6, y)
    model = PrecGDMatrixSensing(5, early_stopping=True, random_state=0)
    first = model.fit(A, y, sample_weight=often).matrix_
    np.testing.assert_array_equal(model.fit(A, wrong, often).matrix_, first)
    assert "held-out" in model.stop_reason_


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
def test_an_entry_of_weight_zero_is_missing(center, rng):
    X, often = table(rng)
    holes = np.where(often == 0, np.nan, X)
    rank = 3 if center is None else 2
    model = PrecGDFactorization(rank, center=center, early_stopping=False, tol=TOL)
    given = completed(model.fit(X, entry_weight=often))
    again = completed(model.fit(holes, entry_weight=often))
    np.testing.assert_array_equal(again, given)
    # What is given for a missing entry does not matter.
    anything = np.where(often == 0, np.nan, often)
    np.testing.assert_array_equal(
        completed(model.fit(holes, entry_weight=anything)), given
    )


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
def test_entry_weights_are_samples_weights(center, rng):
    """The fit is that of the entries as samples, and offsets count repetitions."""
    X, often = table(rng)
    rank = 3 if center is None else 2
    options = {"center": center, "early_stopping": False, "tol": TOL}
    model = PrecGDFactorization(rank, **options).fit(X, entry_weight=often)
    rows, columns = np.nonzero(often)
    again = np.repeat(np.arange(len(rows)), often[rows, columns])
    rows, columns = rows[again], columns[again]
    A = EntryMeasurements(rows, columns, X.shape)
    other = PrecGDMatrixSensing(rank, **options).fit(A, X[rows, columns])
    assert distance(completed(model), other.matrix_) <= 10 * TOL


def test_weights_in_any_form(rng):
    X, often = table(rng)
    X[rng.random(X.shape) < 0.3] = np.nan
    options = {"alpha": 0, "early_stopping": False, "tol": TOL}
    model = PrecGDFactorization(2, **options)
    expected = completed(model.fit(X, entry_weight=often))
    stored = sparse.csr_array(np.where(np.isnan(X), 0, X))
    same_pattern = stored.copy()
    same_pattern.data = often[stored.nonzero()].astype(float)
    by_zero = PrecGDFactorization(2, missing_values=0, **options)
    chunks = da.from_array(X, chunks=(15, 25))
    for other, data, weights in [
        (by_zero, stored, same_pattern),
        (by_zero, stored.tocsc(), often),
        (model, chunks, often),
        (model, chunks, da.from_array(often, chunks=(20, 10))),
        (model, X.tolist(), often.tolist()),
    ]:
        found = completed(other.fit(data, entry_weight=weights))
        assert distance(found, expected) <= 10 * TOL


@pytest.mark.parametrize("center", [None, "columns"])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_coordinates_are_those_of_the_weighted_fit(center, alpha, rng):
    """An entry of weight zero is missing for them, too."""
    X, _ = table(rng)
    weight = (rng.random(X.shape) < 0.7).astype(float)
    options = {"center": center, "alpha": alpha, "early_stopping": False, "tol": TOL}
    model = PrecGDFactorization(2, **options)
    holes = np.where(weight > 0, X, np.nan)
    expected = model.inverse_transform(model.fit_transform(holes))
    X[weight == 0] = 1e3
    found = model.inverse_transform(model.fit_transform(X, entry_weight=weight))
    assert distance(found, expected) <= 100 * TOL
    precise = model.set_params(noise_variance=np.where(weight > 0, 1.0, 1e30))
    found = model.inverse_transform(precise.fit_transform(X))
    assert distance(found, expected) <= 100 * TOL


@pytest.mark.parametrize(
    "options", [{}, {"loss": "huber"}, {"center": "both"}], ids=str
)
def test_weights_of_one_leave_the_coordinates(options, rng):
    X, _ = table(rng)
    X[rng.random(X.shape) < 0.3] = np.nan
    model = PrecGDFactorization(
        3, early_stopping=False, tol=TOL, random_state=0, **options
    )
    expected = model.fit_transform(X)
    found = model.fit_transform(X, entry_weight=np.ones(X.shape))
    assert distance(found, expected) <= 10 * TOL


def test_coordinates_of_weighted_chunks(rng):
    X, often = table(rng)
    options = {"alpha": 0, "early_stopping": False, "tol": TOL}
    model = PrecGDFactorization(2, **options)
    expected = model.inverse_transform(model.fit_transform(X, entry_weight=often))
    chunks = da.from_array(X, chunks=(10, 25))
    found = model.inverse_transform(model.fit_transform(chunks, entry_weight=often))
    assert distance(found, expected) <= 100 * TOL


@pytest.mark.parametrize("loss", ["squared", "huber", "logistic"])
def test_weights_of_complete_data(loss, rng):
    X, often = table(rng)
    X = (X > 3).astype(float) if loss == "logistic" else X
    options = {"n_components": 2, "loss": loss, "early_stopping": False, "tol": TOL}
    alpha = 0.05 if loss == "logistic" else 0.0
    model = PrecGDFactorization(alpha=alpha, **options).fit(X, entry_weight=often)
    A, y = observed_entries(X)
    weights = often[A.cells()]
    other = PrecGDMatrixSensing(alpha=alpha, **options).fit(A, y, weights)
    assert distance(completed(model), other.matrix_) <= 10 * TOL


# ---- known variances


def test_known_variances_weigh_the_residuals(rng):
    """The fit is that of the standardised problem, and close to the truth."""
    A = rng.standard_normal((N, *SHAPE))
    M = rng.standard_normal((10, 2)) @ rng.standard_normal((2, 8))
    variance = rng.choice([0.01, 9.0], size=N)
    y = np.einsum("nij,ij->n", A, M) + np.sqrt(variance) * rng.standard_normal(N)
    model = PrecGDMatrixSensing(2, alpha=0, early_stopping=False, tol=TOL)
    model.set_params(noise_variance=variance).fit(A, y)
    np.testing.assert_array_equal(model.noise_variance_, variance)
    root = 1 / np.sqrt(variance)
    other = PrecGDMatrixSensing(2, alpha=0, early_stopping=False, tol=TOL)
    other.fit(root[:, None, None] * A, root * y)
    assert distance(model.matrix_, other.matrix_) <= 10 * TOL
    plain = PrecGDMatrixSensing(2, alpha=0, early_stopping=False).fit(A, y)
    assert distance(model.matrix_, M) < 0.5 * distance(plain.matrix_, M)


def test_equal_variances_are_one(rng):
    A, y, _ = sensing(rng)
    model = PrecGDMatrixSensing(2, early_stopping=False, random_state=0)
    one = model.set_params(noise_variance=0.01).fit(A, y).matrix_
    many = model.set_params(noise_variance=np.full(N, 0.01)).fit(A, y).matrix_
    assert distance(many, one) <= 1e-7


def test_known_variances_of_a_table(rng):
    X, _ = table(rng, noise=0.0)
    variance = rng.choice([1e-4, 1.0], size=X.shape)
    noisy = X + np.sqrt(variance) * rng.standard_normal(X.shape)
    options = {"n_components": 3, "early_stopping": False}
    model = PrecGDFactorization(noise_variance=variance, **options).fit(noisy)
    plain = PrecGDFactorization(**options).fit(noisy)
    errors = [distance(completed(fit), X) for fit in (model, plain)]
    assert errors[0] < 0.3 * errors[1]


# ---- cross-validation


def test_cross_validation_counts_weights(rng):
    A, y, often = sensing(rng)
    again = np.repeat(np.arange(N), often)
    fold = rng.integers(3, size=N)
    splits, others = (
        [(np.flatnonzero(at != k), np.flatnonzero(at == k)) for k in range(3)]
        for at in (fold, fold[again])
    )
    model = PrecGDMatrixSensingCV([1, 2, 3], tol=TOL, random_state=0)
    model.set_params(cv=splits).fit(A, y, often)
    scores = model.cv_results_["mean_test_score"]
    model.set_params(cv=others).fit(A[again], y[again])
    np.testing.assert_allclose(scores, model.cv_results_["mean_test_score"], atol=1e-5)


@pytest.mark.parametrize("scoring", ["r2", make_scorer(mean_absolute_error)])
def test_scorers_of_scikit_learn_are_given_the_weights(scoring, rng):
    A, y, often = sensing(rng)
    wrong = np.where(often == 0, 1e6, y)
    model = PrecGDMatrixSensingCV([1, 2], cv=KFold(3), scoring=scoring)
    scores = model.fit(A, wrong, often).cv_results_["mean_test_score"]
    expected = model.fit(A, y, often).cv_results_["mean_test_score"]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def test_entries_of_weight_zero_are_missing_in_the_folds(rng):
    X, _ = table(rng)
    weight = (rng.random(X.shape) < 0.7).astype(float)
    model = PrecGDFactorizationCV([1, 2, 3], cv=3, random_state=0)
    weighted = model.fit(X, entry_weight=weight).cv_results_["mean_test_score"]
    missing = model.fit(np.where(weight > 0, X, np.nan)).cv_results_["mean_test_score"]
    np.testing.assert_allclose(weighted, missing, rtol=1e-6)


def test_groups_are_held_out_together(rng):
    A, y, _ = sensing(rng)
    groups = np.arange(N) // 10
    seen = []

    class Watched(GroupKFold):
        def split(self, X, y=None, groups=None):
            for split in super().split(X, y, groups):
                seen.append(split)
                yield split

    model = PrecGDMatrixSensingCV([1, 2], cv=Watched(3)).fit(A, y, groups=groups)
    assert model.n_components_ == 2
    for train, test in seen:
        assert not set(groups[train]) & set(groups[test])


def test_groups_of_entries(rng):
    """The scores are those of folds which hold out the same entries."""
    X, often = table(rng)
    # Blocks of five columns in five rows are missed together.
    groups = 5 * (np.arange(40)[:, None] // 5) + np.arange(25) // 5
    model = PrecGDFactorizationCV([1, 2, 3], center="columns", cv=GroupKFold(4))
    model.fit(X, entry_weight=often, groups=groups)
    scores = model.cv_results_["mean_test_score"]
    # An entry of weight zero is missing, so it is no sample.
    flat = groups[often > 0]
    model.set_params(cv=list(GroupKFold(4).split(flat, flat, flat)))
    model.fit(X, entry_weight=often)
    np.testing.assert_array_equal(model.cv_results_["mean_test_score"], scores)
    with pytest.raises(ValueError, match=r"groups must have the shape of X"):
        model.fit(X, groups=groups[:, 0])


def test_metadata_are_routed(rng):
    """A grid search hands the weights of its folds on, to fit and to score."""
    A, y, often = sensing(rng)
    flat = A.reshape(N, -1)
    wrong = np.where(often == 0, 1e6, y)
    with config_context(enable_metadata_routing=True):
        model = PrecGDMatrixSensing(matrix_shape=SHAPE, early_stopping=False)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(model, {"n_components": [1, 2, 3]}, cv=3)
        search.fit(flat, wrong, sample_weight=often)
        assert search.best_params_ == {"n_components": 2}
        requested = PrecGDFactorization().set_fit_request(entry_weight=True)
        assert requested.get_metadata_routing().fit.requests["entry_weight"] is True


# ---- refused


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones(3), r"sample_weight must hold one number for each of the 150 samples"),
        (-np.ones(N), r"sample_weight must be finite and not negative"),
        (np.zeros(N), r"nor zero everywhere; it runs from 0 to 0"),
        (np.full(N, np.nan), r"NaN"),
        ("balanced", r"sample_weight must hold real numbers, .* got str"),
        ({0: 1.0}, r"sample_weight must hold real numbers, .* got dict"),
        (np.full(N, 1j), r"sample_weight must hold real numbers, .* Complex data"),
    ],
)
def test_wrong_sample_weights(weights, sentence, rng):
    A, y, _ = sensing(rng)
    for model in (PrecGDMatrixSensing(2), PrecGDMatrixSensingCV([1, 2])):
        with pytest.raises(ValueError, match=sentence):
            model.fit(A, y, weights)


def test_wrong_entry_weights(rng):
    X, often = table(rng)
    model = PrecGDFactorization(2)
    for weights, sentence in [
        (often[:, :3], r"entry_weight must have the shape of X, \(40, 25\)"),
        (2.0, r"entry_weight must be a matrix of shape \(40, 25\)"),
        (np.array(2.0), r"entry_weight must be a matrix of shape \(40, 25\)"),
        (often[0], r"entry_weight must have the shape of X, \(40, 25\), got \(25,\)"),
        (-1.0 * often, r"entry_weight must be finite and not negative"),
        (sparse.csr_array(often), r"stores nothing for \d+ of the 1000 observed"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            model.fit(X, entry_weight=weights)
    with pytest.raises(ValueError, match=r"entry_weight looks at every entry"):
        model.fit(sparse.csr_array(X), entry_weight=often)
    chunks = da.from_array(X, chunks=(10, 25))
    with pytest.raises(ValueError, match=r"entry_weight must be finite"):
        model.fit(chunks, entry_weight=-1.0 * often)
    with pytest.raises(ValueError, match=r"entry_weight must have the shape of X"):
        model.fit(chunks, entry_weight=often[:3])


def test_weights_in_another_order_of_columns(rng):
    pd = pytest.importorskip("pandas")
    X, often = table(rng)
    names = [f"x{j}" for j in range(X.shape[1])]
    frame, weights = pd.DataFrame(X, columns=names), pd.DataFrame(often, columns=names)
    options = {"alpha": 0, "early_stopping": False}
    model = PrecGDFactorization(2, **options).fit(frame, entry_weight=often)
    expected = completed(model)
    again = completed(model.fit(frame, entry_weight=weights))
    np.testing.assert_array_equal(again, expected)
    with pytest.raises(ValueError, match=r"entry_weight must have the columns of X"):
        model.fit(frame, entry_weight=weights[names[::-1]])
    precise = PrecGDFactorization(2, noise_variance=1.0 + weights[names[::-1]])
    with pytest.raises(ValueError, match=r"noise_variance must have the columns of X"):
        precise.fit(frame)


def test_weights_of_a_score_are_not_negative(rng):
    A, y, often = sensing(rng)
    model = PrecGDMatrixSensing(2).fit(A, y)
    counted = model.score(A, y, often)
    repeated = np.repeat(np.arange(N), often)
    assert counted == pytest.approx(model.score(A[repeated], y[repeated]), rel=1e-9)
    with pytest.raises(ValueError, match=r"sample_weight must not be negative"):
        model.score(A, y, -1.0 * often)


def test_shares_of_one_are_told_from_numbers_of_times(rng):
    A, y, often = sensing(rng)
    with pytest.warns(UserWarning, match=r"sample_weight says how often .* by their m"):
        PrecGDMatrixSensing(2).fit(A, y, often / np.sum(often))


def test_wrong_variances(rng):
    A, y, _ = sensing(rng)
    for variance, sentence in [
        (np.zeros(N), r"noise_variance must hold positive, finite numbers"),
        (np.ones(3), r"noise_variance must hold one number for each of the 150"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            PrecGDMatrixSensing(2, noise_variance=variance).fit(A, y)
    with pytest.raises(ValueError, match=r"noise_variance needs loss='squared'"):
        PrecGDMatrixSensing(2, loss="huber", noise_variance=np.ones(N)).fit(A, y)
    X, _ = table(rng)
    with pytest.raises(ValueError, match=r"needs X in memory, got a dask collection"):
        PrecGDFactorization(2, noise_variance=np.ones(X.shape)).fit(da.from_array(X))


def test_a_subclass_that_changes_the_loss_is_weighted_too(rng):
    class Doubled(SquaredLoss):
        def pointwise(self, z, y):
            return (z - y) ** 2

        def gradient(self, z, y):
            return 2 * (z - y)

        def curvature(self, z, y):
            return np.full_like(z, 2.0)

        curvature_bound = 2.0

    A, y, often = sensing(rng)
    options = {"alpha": 0, "early_stopping": False, "tol": TOL}
    own = PrecGDMatrixSensing(2, loss=Doubled(), **options).fit(A, y, often)
    squared = PrecGDMatrixSensing(2, **options).fit(A, y, often)
    assert distance(own.matrix_, squared.matrix_) <= 100 * TOL
