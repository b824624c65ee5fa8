"""Noise that is not the same everywhere: heavy tails, loud rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from sklearn.datasets import load_digits

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDImputer,
    PrecGDMatrixSensing,
    observed_entries,
)
from skprecgd.variational.lines_in_memory import SharesInMemory
from skprecgd.variational.tail import HeavyTail, Histogram, expected_share

N_ROWS, N_COLUMNS, RANK = 120, 40, 2


def low_rank(rng, shape=(N_ROWS, N_COLUMNS), rank=RANK):
    left, right = (rng.normal(size=(n, rank)) for n in shape)
    product = left @ right.T
    return product / product.std()


def with_holes(rng, data, share=0.2):
    """The data without some entries, and which those are."""
    hidden = rng.random(data.shape) < share
    return np.where(hidden, np.nan, data), hidden


def matrix_of(model):
    return model.left_ @ model.right_.T + model.center_


def error_of(model, truth, hidden):
    return float(np.sqrt(np.mean((matrix_of(model) - truth)[hidden] ** 2)))


def fitted(X, **parameters):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_components=.* leaves out")
        return PrecGDFactorization(6, center="mean", **parameters).fit(X)


# ---- the parts


@pytest.mark.parametrize("freedom", [1.0, 2.5, 6.0])
def test_the_freedom_of_t_numbers_is_found(freedom, rng):
    squares = rng.standard_t(freedom, size=200_000) ** 2
    histogram = Histogram.of(squares, None)
    assert histogram.freedom() == pytest.approx(freedom, rel=0.2)
    # The unit need not be known.
    found, gain = Histogram.of(7.0 * squares, None).best()
    assert found == pytest.approx(freedom, rel=0.2)
    sizes, units = np.sqrt(squares), np.geomspace(0.5, 20, 50)
    lightest = max(np.mean(stats.t(200, 0, unit).logpdf(sizes)) for unit in units)
    expected = np.mean(stats.t(freedom).logpdf(sizes)) - lightest
    assert gain == pytest.approx(expected, rel=0.1)


def test_normal_numbers_have_no_tail(rng):
    squares = rng.normal(size=100_000) ** 2
    freedom, gain = Histogram.of(squares, None).best()
    assert freedom > 30.0
    assert gain < 1e-3


def test_numbers_that_were_made_several_times_count_so(rng):
    squares = rng.standard_t(3, size=500) ** 2
    often = rng.integers(1, 5, 500)
    repeated = Histogram.of(np.repeat(squares, often), None)
    weighted = Histogram.of(squares, often.astype(float))
    assert_allclose(weighted.best(), repeated.best())


def test_the_evidence_of_a_tail_is_the_t_density(rng):
    """With the precisions at their best, its bound is the density itself."""
    df, squares = 3.0, rng.standard_t(3.0, size=50) ** 2
    share = expected_share(squares, df, None)
    shares = SharesInMemory(share, None)
    tail = HeavyTail(shares, df, df).after(shares)
    bound = tail.evidence() - 0.5 * np.sum(share * squares + np.log(2 * np.pi))
    assert bound == pytest.approx(np.sum(stats.t(df).logpdf(np.sqrt(squares))))


# ---- heavy tails


@pytest.mark.parametrize("freedom", [2, 3])
def test_heavy_tails_are_found_and_help(freedom, rng):
    truth = low_rank(rng)
    noise = 0.5 * rng.standard_t(freedom, size=truth.shape)
    X, hidden = with_holes(rng, truth + noise)
    model, normal = fitted(X), fitted(X, noise_tail="normal")
    assert model.noise_df_ == pytest.approx(freedom, rel=0.4)
    assert normal.noise_df_ == np.inf
    assert error_of(model, truth, hidden) < 0.95 * error_of(normal, truth, hidden)
    assert "degrees of freedom" in model.stop_reason_
    # The noise of all columns is 0.5 times a t number.
    assert np.mean(model.noise_variance_) == pytest.approx(0.25, rel=0.4)


def test_normal_noise_has_none(rng):
    truth = low_rank(rng)
    X, _ = with_holes(rng, truth + 0.5 * rng.normal(size=truth.shape))
    model, normal = fitted(X), fitted(X, noise_tail="normal")
    assert model.noise_df_ == np.inf
    assert_allclose(matrix_of(model), matrix_of(normal))


def test_gross_errors_leave_no_trace(rng):
    """Without other noise the matrix comes out as if they were not there."""
    truth = low_rank(rng)
    spiked = rng.random(truth.shape) < 0.05
    data = truth + np.where(spiked, rng.choice([-20.0, 20.0], truth.shape), 0.0)
    X, hidden = with_holes(rng, data)
    assert error_of(fitted(X), truth, hidden) < 1e-4


@pytest.mark.parametrize("quiet", ["nothing", "little", "flags"])
def test_rows_that_say_much_are_not_loud(rng, quiet):
    signal = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 15))
    X = signal / 1.4 + 0.3 * rng.normal(size=signal.shape)
    rows = rng.random(400) < 0.7
    X[rows] = (0.05 if quiet == "little" else 0.0) * rng.normal(size=(rows.sum(), 15))
    if quiet == "flags":
        X = (signal > 1.5).astype(float)
    hidden = rng.random(X.shape) < 0.2
    errors = []
    for noise in ("auto", "columns"):
        model = PrecGDFactorization("auto", center="columns", noise=noise)
        Z = model.fit(np.where(hidden, np.nan, X)).left_ @ model.right_.T
        errors.append(np.mean((Z + model.center_ - X)[hidden] ** 2))
    assert errors[0] < 1.6 * errors[1]
    assert errors[0] < 0.8 * np.var(X[hidden])


def test_tails_that_no_noise_has_are_said(rng):
    signal = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 12))
    X = np.where(rng.random(signal.shape) < 0.2, np.nan, signal > 1.5)
    with pytest.warns(UserWarning, match="numbers that repeat look like that"):
        PrecGDFactorization(5, center="columns", noise_tail="t").fit(X)
    noisy = signal + rng.normal(size=signal.shape)
    noisy[rng.random(signal.shape) < 0.2] = np.nan
    model = PrecGDFactorization(5, center="columns", noise_tail="t").fit(noisy)
    assert "nearly normal tails" in model.stop_reason_


def test_numbers_that_repeat_are_no_tail(rng):
    """Pixels that are nearly always zero look heavy-tailed to the evidence alone."""
    digits = load_digits().data[:400]
    X, hidden = with_holes(rng, digits, 0.3)
    parameters = {"n_components": 8, "center": "columns"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = PrecGDFactorization(**parameters).fit(X)
        tailed = PrecGDFactorization(noise_tail="t", **parameters).fit(X)
    assert model.noise_df_ == np.inf
    # What it costs to insist on a tail.
    assert error_of(model, digits, hidden) < error_of(tailed, digits, hidden)
    assert np.isfinite(matrix_of(tailed)).all()


# Rare events have a tail that no noise has, in some draws.
@pytest.mark.filterwarnings("ignore:noise_tail='t' found")
def test_rare_events_with_a_tail_stay_near_their_means(rng):
    events = (rng.random((100, 10)) < 0.03).astype(float)
    X, hidden = with_holes(rng, events, 0.4)
    model = PrecGDFactorization(3, center="columns", noise_tail="t").fit(X)
    of_means = np.sqrt(np.mean((np.nanmean(X, axis=0) - events)[hidden] ** 2))
    assert error_of(model, events, hidden) <= 1.2 * of_means


def test_data_without_noise_are_as_exact_with_a_tail(rng):
    truth = low_rank(rng)
    X, _ = with_holes(rng, truth)
    model = PrecGDFactorization(4, noise_tail="t").fit(X)
    assert_allclose(matrix_of(model), truth, atol=1e-6)


@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_were_fitted_are_transformed_alike(center, dtype, rng):
    truth = low_rank(rng)
    data = truth + 0.4 * rng.standard_t(2, size=truth.shape)
    X, _ = with_holes(rng, data.astype(dtype))
    model = PrecGDFactorization(3, center=center, noise_tail="t").fit(X)
    tol = 1e-4 if dtype == np.float32 else 1e-6
    whole = model.inverse_transform(model.transform(X))
    assert whole.dtype == dtype
    assert_allclose(whole, matrix_of(model), atol=tol)
    # A row alone is what it is among others.
    assert_allclose(model.transform(X[3:4]), model.transform(X)[3:4], atol=tol)


def test_a_new_row_is_not_pulled_by_a_gross_error(rng):
    truth = low_rank(rng, (200, N_COLUMNS))
    data = truth + 0.3 * rng.standard_t(2, size=truth.shape)
    X, _ = with_holes(rng, data[:150])
    new = data[150:].copy()
    new[:, 0] += 100.0
    model, normal = fitted(X), fitted(X, noise_tail="normal")
    errors = [
        np.sqrt(
            np.mean((each.inverse_transform(each.transform(new)) - truth[150:]) ** 2)
        )
        for each in (model, normal)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_intervals_hold_what_they_say_under_heavy_tails(rng):
    truth = low_rank(rng)
    data = truth + 0.5 * rng.standard_t(3, size=truth.shape)
    X, hidden = with_holes(rng, data)
    model = fitted(X)
    cells = np.nonzero(hidden)
    low, high = model.interval(*cells, level=0.9)
    inside = np.mean((low <= data[cells]) & (data[cells] <= high))
    assert 0.85 < inside < 0.95
    drawn = np.stack([model.sample_entries(*cells, 40, random_state=0)]).reshape(40, -1)
    quantile = np.quantile(np.abs(drawn - drawn.mean(axis=0)), 0.9)
    width = np.mean(high - low) / 2
    assert quantile == pytest.approx(width, rel=0.2)


def test_two_degrees_of_freedom_have_no_standard_deviation(rng):
    truth = low_rank(rng)
    X, hidden = with_holes(rng, truth + 0.3 * rng.standard_t(1, size=truth.shape))
    model = fitted(X, noise_tail="t")
    assert model.noise_df_ < 2
    with pytest.warns(UserWarning, match="degrees of freedom"):
        _, std = model.predict_entries(*np.nonzero(hidden), return_std=True)
    assert np.isinf(std).all()


def test_single_entries_have_tails_as_well(rng):
    truth = low_rank(rng)
    X, _ = with_holes(rng, truth + 0.4 * rng.standard_t(2, size=truth.shape))
    entries, y = observed_entries(X)
    sensing = PrecGDMatrixSensing(
        n_components=6, center="mean", matrix_shape=X.shape
    ).fit(entries, y)
    model = fitted(X)
    assert sensing.noise_df_ == pytest.approx(model.noise_df_)
    assert_allclose(sensing.matrix_, matrix_of(model), atol=1e-6)


def test_given_variances_are_squared_scales(rng):
    truth = low_rank(rng)
    scales = rng.choice([0.2, 0.8], truth.shape)
    X, hidden = with_holes(rng, truth + scales * rng.standard_t(2, size=truth.shape))
    known = fitted(X, noise_variance=scales**2, noise_tail="t")
    normal = fitted(X, noise_variance=scales**2)
    assert normal.noise_df_ == np.inf
    assert known.noise_df_ == pytest.approx(2, rel=0.4)
    assert error_of(known, truth, hidden) < error_of(normal, truth, hidden)


def test_a_scale_of_the_data_scales_the_answer(rng):
    truth = low_rank(rng)
    X, _ = with_holes(rng, truth + 0.4 * rng.standard_t(2, size=truth.shape))
    one, other = fitted(X), fitted(1e-3 * X)
    assert other.noise_df_ == one.noise_df_
    assert_allclose(matrix_of(other), 1e-3 * matrix_of(one), rtol=1e-6, atol=1e-9)


# ---- loud rows


def loud(rng, shape=(120, 30), factor=5.0):
    """Entries of which a fifth of the rows is louder, the truth, and the factors."""
    truth = low_rank(rng, shape, 3)
    scale = np.where(np.arange(shape[0]) < shape[0] // 5, factor, 1.0)
    data = truth + 0.3 * scale[:, None] * rng.normal(size=shape)
    return data, truth, scale


@pytest.mark.parametrize("shape", [(120, 30), (60, 90)])
def test_no_component_follows_loud_rows(shape, rng):
    data, truth, scale = loud(rng, shape)
    X, hidden = with_holes(rng, data, 0.3)
    model = PrecGDFactorization(8, center="columns").fit(X)
    alike = PrecGDFactorization(8, center="columns", noise="columns").fit(X)
    assert error_of(model, truth, hidden) < 0.9 * error_of(alike, truth, hidden)
    cells = np.nonzero(hidden)
    low, high = model.interval(*cells, level=0.9)
    inside = (low <= data[cells]) & (data[cells] <= high)
    assert 0.75 < np.mean(inside[scale[cells[0]] > 1]) < 0.97
    assert_allclose(model.inverse_transform(model.transform(X)), matrix_of(model))


def test_rows_that_are_alike_change_nothing(rng):
    data, _, _ = loud(rng, factor=1.0)
    X, _ = with_holes(rng, data, 0.3)
    model = PrecGDFactorization(8, center="columns").fit(X)
    alike = PrecGDFactorization(8, center="columns", noise="columns").fit(X)
    assert_allclose(matrix_of(model), matrix_of(alike))


@pytest.mark.parametrize(
    "beside",
    [{"alpha": 0}, {"loss": "huber"}, {"noise_variance": 0}, {"outlier_fraction": 0.1}],
)
def test_a_tail_is_refused_where_no_noise_is_learned(beside, rng):
    X, _ = with_holes(rng, low_rank(rng))
    with pytest.raises(ValueError, match="noise_tail='"):
        PrecGDFactorization(noise_tail="t", **beside).fit(X)


def test_a_tail_needs_entries_of_which_some_are_missing(rng):
    complete = low_rank(rng)
    with pytest.raises(ValueError, match="noise_tail='t' needs a table with holes"):
        PrecGDFactorization(noise_tail="t").fit(complete)
    with pytest.raises(ValueError, match="noise_tail='t' needs a table with holes"):
        PrecGDMatrixSensing(noise_tail="t", matrix_shape=(3, 2)).fit(
            rng.normal(size=(20, 6)), rng.normal(size=20)
        )


def test_candidates_without_noise_have_no_tail(rng):
    truth = low_rank(rng)
    X, _ = with_holes(rng, truth + 0.4 * rng.standard_t(2, size=truth.shape))
    search = PrecGDFactorizationCV(cv=2, noise_tail="t").fit(X)
    assert search.best_params_["alpha"] == "auto"
    assert np.isfinite(search.noise_df_)
    with pytest.raises(ValueError, match="noise_tail='t' needs alpha='auto'"):
        PrecGDFactorizationCV(cv=2, noise_tail="t", alpha=[0, 1]).fit(X)
    with pytest.raises(ValueError, match="noise_tail='t' needs a table with holes"):
        PrecGDFactorizationCV(cv=2, noise_tail="t").fit(np.nan_to_num(X))


@pytest.mark.parametrize("value", ["cauchy", 3, None])
def test_other_tails_are_refused(value, rng):
    X, _ = with_holes(rng, low_rank(rng))
    with pytest.raises(ValueError, match="noise_tail"):
        PrecGDFactorization(noise_tail=value).fit(X)


def test_rows_that_are_large_in_all_columns_are_no_noise(rng):
    """Sizes of countries, towns or firms: few rows make the spread of every column."""
    sizes = np.exp(1.5 * rng.normal(size=(120, 1)))
    X = sizes * rng.uniform(0.5, 2, 5) * (1 + 0.15 * rng.normal(size=(120, 5)))
    hidden = rng.random(X.shape) < 0.2
    hidden[hidden.all(axis=1), 0] = False
    seen = np.where(hidden, np.nan, X)
    filled = PrecGDImputer(random_state=0).fit_transform(seen)
    means = np.broadcast_to(np.nanmean(seen, axis=0), X.shape)
    ours, theirs = (
        np.linalg.norm(((each - X) / np.std(X, axis=0))[hidden])
        for each in (filled, means)
    )
    assert ours < 0.8 * theirs
