"""Noisy entries by default: a prior that tunes itself, never worse than the mean."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries

CENTRES = (None, "mean", "columns", "both")
MISSED = "ignore:n_components=.* leaves out what is no noise"


def table(rng, shape=(60, 40), share=0.4, rank=2, noise=0.5, mean=2.0):
    """A noisy table with holes, and the matrix without noise."""
    n_rows, n_columns = shape
    truth = rng.normal(size=(n_rows, rank)) @ rng.normal(size=(rank, n_columns))
    truth += mean + rng.normal(size=n_columns) + rng.normal(size=(n_rows, 1))
    data = truth + noise * rng.normal(size=shape)
    data[rng.random(shape) > share] = np.nan
    return data, truth


def matrix_of(model):
    return model.left_ @ model.right_.T + model.center_


def root_mean_square(numbers):
    return float(np.sqrt(np.mean(np.square(numbers))))


@pytest.mark.parametrize("center", CENTRES)
def test_the_matrix_is_what_transform_and_its_inverse_make(center, rng):
    X, _ = table(rng)
    model = PrecGDFactorization(6, center=center).fit(X)
    assert "Noise of about" in model.stop_reason_
    z = model.transform(X)
    assert_allclose(model.fit_transform(X), z, atol=1e-9)
    assert_allclose(model.inverse_transform(z), matrix_of(model), atol=1e-9)
    k = model.n_components_
    assert z.shape == (60, k)
    assert_allclose(model.components_ @ model.components_.T, np.eye(k), atol=1e-9)


@pytest.mark.parametrize("center", ["columns", "both"])
def test_noise_and_signal_are_found(center, rng):
    X, truth = table(rng, shape=(150, 100))
    model = PrecGDFactorization(8, center=center).fit(X)
    wanted = 3 if center == "columns" else 2
    assert f" {wanted} of 8 columns carry signal" in model.stop_reason_
    assert np.mean(model.noise_variance_) == pytest.approx(0.25, rel=0.15)
    assert root_mean_square(matrix_of(model) - truth) < 0.5
    assert model.converged_
    assert np.isfinite(model.lower_bound_)
    assert np.all(np.diff(model.factor_scales_) <= 0)


def said_noise(model):
    """What the fit says of the noise: the least and the largest, or one number."""
    said = re.search(r"Noise of about (\S+)(?: to (\S+))? was left", model.stop_reason_)
    return [float(number) for number in said.groups() if number is not None]


@pytest.mark.filterwarnings(MISSED)
@pytest.mark.parametrize("sizes", [1.0, 10.0])
def test_the_noise_that_is_told_is_that_of_columns_that_vary(sizes, rng):
    """A constant column has none, which says nothing of the others."""
    X = table(rng, share=0.7)[0] * np.geomspace(1.0, sizes, 40)
    X[:, 3] = np.where(np.isnan(X[:, 3]), np.nan, 7.0)
    model = PrecGDFactorization(4, center="columns").fit(X)
    assert model.noise_variance_[3] == 0.0
    roots = np.sqrt(np.delete(model.noise_variance_, 3))
    wanted = [roots.min(), roots.max()]
    if roots.min() >= 0.8 * root_mean_square(roots):
        wanted = [root_mean_square(roots)]
    assert_allclose(said_noise(model), wanted, rtol=0.06)


@pytest.mark.filterwarnings("ignore:.* have no observed entry")
@pytest.mark.filterwarnings("ignore:The observed entries fall into")
@pytest.mark.parametrize("share", [0.06, 0.1, 0.2])
@pytest.mark.parametrize("center", ["mean", "both"])
def test_never_worse_than_the_mean(center, share, rng):
    """Where entries are too few for any signal, the offsets alone predict."""
    truth = 3.5 + 0.3 * rng.normal(size=(80, 3)) @ rng.normal(size=(3, 50))
    X = truth + 0.3 * rng.normal(size=truth.shape)
    X[rng.random(X.shape) > share] = np.nan
    model = PrecGDFactorization("auto", center=center)
    model.fit(X)
    hidden = np.isnan(X)
    ours = root_mean_square((matrix_of(model) - truth)[hidden])
    mean = root_mean_square((np.nanmean(X) - truth)[hidden])
    assert ours <= 1.05 * mean


@pytest.mark.filterwarnings(MISSED)
def test_columns_have_whatever_units_they_have(rng):
    wine = load_wine().data
    X = np.where(rng.random(wine.shape) < 0.5, np.nan, wine)
    unit = 10.0 ** rng.integers(-3, 4, wine.shape[1])
    shift = 3.0 * rng.normal(size=wine.shape[1]) * wine.std(axis=0)
    model = PrecGDFactorization(5, center="columns")
    plain = matrix_of(clone(model).fit(X))
    size = wine.std(axis=0)
    scaled = matrix_of(clone(model).fit(X * unit)) / unit
    assert_allclose(scaled / size, plain / size, atol=1e-8)
    shifted = matrix_of(clone(model).fit(X + shift)) - shift
    assert_allclose(shifted / size, plain / size, atol=1e-6)
    bare = PrecGDFactorization(5)
    alone = matrix_of(clone(bare).fit(X))
    multiplied = matrix_of(clone(bare).fit(X * unit)) / unit
    assert_allclose(multiplied / size, alone / size, atol=1e-8)


@pytest.mark.parametrize("draw", [0, 2, 6])
def test_columns_that_are_nearly_constant_cost_the_others_nothing(draw):
    """Pixels in the corners of digits are black but for a few pictures."""
    rng, X = np.random.default_rng(draw), load_digits().data
    X = X[rng.permutation(len(X))[:400]]
    hidden = rng.random(X.shape) < 0.3
    seen, often = np.where(hidden, np.nan, X), np.sum(X > 0, axis=0) > 40
    alone = PrecGDFactorization(10, center="columns").fit(seen[:, often])
    beside = PrecGDFactorization(10, center="columns").fit(seen)
    errors = [
        root_mean_square((found - X[:, often])[hidden[:, often]])
        for found in (matrix_of(alone), matrix_of(beside)[:, often])
    ]
    assert errors[1] < 1.03 * errors[0]


def test_a_row_that_shows_little_is_shrunk(rng):
    X, truth = table(rng, shape=(200, 60), noise=1.0)
    model = PrecGDFactorization(4, center="columns").fit(X)
    rows = np.full((3, 60), np.nan)
    rows[1, :2] = truth[0, :2] + 5.0
    rows[2] = truth[0]
    z = model.transform(rows)
    assert_allclose(z[0], 0.0, atol=1e-12)
    assert_allclose(model.inverse_transform(z)[0], model.center_)
    spread = np.abs(model.transform(X)).max(axis=0)
    assert np.all(np.abs(z[1]) <= 1.5 * spread)


@pytest.mark.filterwarnings(MISSED)
def test_entries_as_samples_are_the_same_fit(rng):
    X, _ = table(rng)
    a, y = observed_entries(X)
    shuffled = rng.permutation(len(y))
    for center in CENTRES:
        model = PrecGDFactorization(4, center=center).fit(X)
        other = PrecGDMatrixSensing(4, center=center).fit(a[shuffled], y[shuffled])
        assert_allclose(other.matrix_, matrix_of(model), atol=1e-8)
        assert_allclose(other.noise_variance_, model.noise_variance_)


def test_single_precision_is_kept(rng):
    X, _ = table(rng)
    double = PrecGDFactorization(4, center="both").fit(X)
    single = PrecGDFactorization(4, center="both").fit(X.astype(np.float32))
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    assert_allclose(matrix_of(single), matrix_of(double), atol=1e-3)


@pytest.mark.parametrize("variance", [0.25, "columns", "entries"])
def test_a_known_variance_is_taken(variance, rng):
    X, truth = table(rng, shape=(120, 60))
    given = variance
    if variance == "columns":
        given = np.full(60, 0.25)
    elif variance == "entries":
        given = np.full(X.shape, 0.25)
    model = PrecGDFactorization(6, center="both", noise_variance=given).fit(X)
    assert_allclose(model.noise_variance_, given)
    plain = PrecGDFactorization(6, center="both", noise_variance=0.25).fit(X)
    assert_allclose(matrix_of(model), matrix_of(plain), atol=1e-8)
    assert root_mean_square(matrix_of(model) - truth) < 0.5


def test_noise_of_all_or_of_each_column(rng):
    X, _ = table(rng, shape=(200, 30), share=0.7, noise=0.0)
    sizes = np.geomspace(0.1, 2.0, 30)
    X = X + sizes * rng.normal(size=X.shape)
    each = PrecGDFactorization(4, center="columns", noise="columns").fit(X)
    assert each.noise_variance_.shape == (30,)
    ratios = np.sqrt(each.noise_variance_) / sizes
    assert np.all((ratios > 0.4) & (ratios < 2.5))
    every = PrecGDFactorization(4, center="columns", noise="uniform").fit(X)
    assert np.ndim(every.noise_variance_) == 0


def field(rng, noise, shape=(30, 400), smooth=2.0):
    """A smooth field of times and places with noise, half of it hidden; and itself.

    Its singular values fall slowly: there is no rank that would be the true one.
    """
    truth = gaussian_filter(rng.normal(size=shape), smooth, mode="nearest")
    truth /= truth.std()
    data = truth + noise * rng.normal(size=shape)
    return np.where(rng.random(shape) < 0.5, data, np.nan), truth


def test_noise_of_columns_with_hardly_an_entry_for_each_component_is_the_same(rng):
    X, truth = field(rng, noise=0.05)
    found = PrecGDFactorization("auto", center="columns").fit(X)
    seen = np.where(np.isnan(X), 0.0, X - np.nanmean(X, axis=0))
    shares = found.noise_variance_ / np.nanvar(X, axis=0)
    assert_allclose(shares, shares[0])
    own = PrecGDFactorization("auto", center="columns", noise="columns").fit(X)
    hidden = np.isnan(X)
    errors = [
        root_mean_square((matrix_of(model) - truth)[hidden]) for model in (found, own)
    ]
    assert errors[0] < 1.02 * errors[1]
    assert errors[0] < root_mean_square((truth - seen)[hidden])


@pytest.mark.parametrize(("size", "chunks"), [(30.0, None), (1e4, None), (1e3, 60)])
def test_a_slip_of_the_pen_costs_no_more_than_the_entry(size, chunks, rng):
    X, truth = table(rng, shape=(120, 15), share=0.7)
    truth -= truth.mean(axis=1, keepdims=True)
    X = np.where(np.isnan(X), X, truth + 0.5 * rng.normal(size=X.shape))
    row, column = np.argwhere(~np.isnan(X))[rng.integers(100)]
    slipped, without = X.copy(), X.copy()
    slipped[row, column] += size * truth[:, column].std()
    without[row, column] = np.nan
    if chunks is not None:
        da = pytest.importorskip("dask.array")
        slipped = da.from_array(slipped, chunks=(chunks, 15))
    hidden = np.isnan(X[:, column])
    errors = []
    for data in (slipped, without):
        model = PrecGDFactorization(6, center="columns").fit(data)
        errors.append(np.asarray(matrix_of(model) - truth)[hidden, column])
    assert root_mean_square(errors[0]) < 1.5 * root_mean_square(errors[1])


def test_rare_events_are_no_slips_of_the_pen(rng):
    X, _ = table(rng, shape=(200, 10), share=0.7)
    X[:, 3] = np.where(np.isnan(X[:, 3]), np.nan, 0.0)
    X[rng.choice(np.flatnonzero(X[:, 3] == 0.0)), 3] = 1.0
    model = PrecGDFactorization(6, center="columns").fit(X)
    assert model.noise_df_ == np.inf


@pytest.mark.parametrize("center", CENTRES)
def test_without_noise_the_rank_and_the_matrix_are_exact(center, rng):
    truth = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    X = np.where(rng.random(truth.shape) < 0.5, truth, np.nan)
    for n_components in (6, "auto"):
        model = PrecGDFactorization(n_components, center=center).fit(X)
        assert_allclose(matrix_of(model), truth, atol=1e-6)
        assert not hasattr(model, "lower_bound_")
        assert model.noise_variance_ < 1e-12


def test_too_low_a_bound_is_said(rng):
    X, _ = table(rng, shape=(150, 100), rank=3, share=0.6, noise=0.3)
    with pytest.warns(UserWarning, match=r"n_components=1 leaves out what is no noise"):
        PrecGDFactorization(1, center="both").fit(X)


def test_held_out_entries_do_not_choose_beside_a_prior(rng):
    X, _ = table(rng)
    with pytest.raises(
        ValueError, match=r"early_stopping=True needs a number for alpha"
    ):
        PrecGDFactorization(3, early_stopping=True).fit(X)


def test_outliers_take_no_prior(rng):
    X, truth = table(rng, share=0.8, noise=0.0)
    X[rng.random(X.shape) < 0.05] += 50.0
    model = PrecGDFactorization(6, alpha="auto", outlier_fraction=0.1, random_state=0)
    assert_allclose(matrix_of(model.fit(X)), truth, atol=1e-5)


@pytest.mark.filterwarnings(MISSED)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_search_over_priors_and_ranks(rng):
    X, _ = table(rng, shape=(90, 40), share=0.6)
    grid = {"alpha": ["auto", 0.1, 1], "n_components": [1, 3, "auto"]}
    model = PrecGDFactorization(center="columns", early_stopping=False, max_iter=50)
    search = GridSearchCV(model, grid, cv=3)
    search.fit(X)
    assert search.best_params_["n_components"] != 1
    assert search.best_score_ > 0.5


@pytest.mark.filterwarnings(MISSED)
def test_the_same_fit_again_ends_at_once(rng):
    X, _ = table(rng)
    model = PrecGDFactorization(4, center="both", warm_start=True).fit(X)
    before, said = matrix_of(model), model.stop_reason_
    model.fit(X)
    assert model.n_iter_ == 1
    assert model.stop_reason_ == said
    assert_allclose(matrix_of(model), before, atol=1e-10)


# ---- what explains the entries need not be what they are of


@pytest.mark.parametrize("n_components", [2, 3, 5])
@pytest.mark.parametrize("shape", [(100, 10), (30, 6)])
def test_rare_events_are_not_interpolated(shape, n_components, rng):
    """Zeros and a few ones are explained by a rank that is no rank of theirs."""
    for _ in range(5):
        events = (rng.random(shape) < 0.03).astype(float)
        hidden = rng.random(shape) < 0.4
        hidden[hidden.all(axis=1), 0] = False
        hidden[0], hidden[:, 0] = False, hidden[:, 0] & (np.arange(shape[0]) > 2)
        X = np.where(hidden, np.nan, events)
        found = matrix_of(PrecGDFactorization(n_components, center="columns").fit(X))
        error, of_means = (
            root_mean_square((guess - events)[hidden])
            for guess in (found, np.nanmean(X, axis=0))
        )
        assert error <= 1.2 * of_means


def test_constant_columns_count_for_nothing(rng):
    for _ in range(5):
        noise = np.hstack([rng.normal(size=(60, 6)), np.full((60, 8), 7.0)])
        hidden = rng.random(noise.shape) < 0.3
        hidden[:, 0] = False
        X = np.where(hidden, np.nan, noise)
        found = matrix_of(PrecGDFactorization(5, center="columns").fit(X))
        of_means = root_mean_square((np.nanmean(X, axis=0) - noise)[hidden])
        assert root_mean_square((found - noise)[hidden]) <= 1.1 * of_means


@pytest.mark.parametrize("center", [None, "columns"])
@pytest.mark.parametrize("unit", [1e6, 1e9])
def test_a_column_in_small_units_does_not_hide_the_others(center, unit, rng):
    """Nanoseconds since 1970 beside an age in years."""
    X, _ = table(rng, shape=(80, 6), share=0.75, noise=0.3, mean=0.0)
    X[:, 5] = rng.normal(size=80)
    scale = np.array([unit, 1, 1, 1, 1, 1])
    alone = PrecGDFactorization(3, center=center).fit(X)
    beside = PrecGDFactorization(3, center=center).fit(scale * X)
    assert_allclose(matrix_of(beside) / scale, matrix_of(alone), atol=1e-6)


def test_a_huge_constant_column_does_not_hide_the_others(rng):
    X, _ = table(rng, shape=(80, 6), share=0.75, noise=0.3)
    X[:, 5] = rng.normal(size=80)
    constant = np.full((80, 1), 1e17)
    constant[:20] = np.nan
    alone = PrecGDFactorization(3, center="columns").fit(X)
    beside = PrecGDFactorization(3, center="columns").fit(np.hstack([constant, X]))
    assert_allclose(matrix_of(beside)[:, 1:], matrix_of(alone), atol=1e-6)


@pytest.mark.parametrize("center", CENTRES)
@pytest.mark.parametrize("offset", [3e14, 1e15, 4e15])
def test_numbers_that_vary_by_little_more_than_rounding(center, offset, rng):
    X = rng.integers(0, 5, size=(30, 4)) + offset
    X[:, 1:][rng.random((30, 3)) < 0.3] = np.nan
    X[0] = offset
    found = matrix_of(PrecGDFactorization(2, center=center).fit(X))
    assert_allclose(found[~np.isnan(X)], offset, rtol=1e-8)


@pytest.mark.parametrize("factor", [2.0, 1e3, 1e9])
def test_a_factor_that_all_weights_have_in_common_means_nothing(factor, rng):
    X, _ = table(rng, shape=(80, 10), share=0.7, noise=0.3)
    weights = rng.integers(1, 4, size=X.shape).astype(float)
    first = PrecGDFactorization(4, center="columns")
    other = PrecGDFactorization(4, center="columns")
    z = first.fit_transform(X, entry_weight=weights)
    assert_allclose(other.fit_transform(X, entry_weight=factor * weights), z, atol=1e-8)
    assert_allclose(matrix_of(first), matrix_of(other), atol=1e-8)
    samples, y = observed_entries(X)
    sensing = PrecGDMatrixSensing(4, center="columns")
    sensing.fit(samples, y, sample_weight=np.full(len(y), factor))
    alone = PrecGDMatrixSensing(4, center="columns").fit(samples, y)
    assert_allclose(matrix_of(sensing), matrix_of(alone), atol=1e-8)


@pytest.mark.parametrize("center", CENTRES)
@pytest.mark.parametrize("alpha", ["auto", 1.0])
def test_new_rows_have_the_noise_that_was_given_for_columns(center, alpha, rng):
    truth = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 10))
    sizes = np.geomspace(0.02, 2, 10)
    X = truth + sizes * rng.normal(size=truth.shape)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[:, 0] = truth[:, 0]
    model = PrecGDFactorization(2, center=center, alpha=alpha, noise_variance=sizes**2)
    z = model.fit_transform(X)
    assert_allclose(model.transform(X), z, atol=1e-8)
    assert_allclose(model.transform(X[:7]), z[:7], atol=1e-8)


def test_a_matrix_of_zeros_in_place_of_means_is_said(rng):
    X = 5 + rng.normal(size=(4, 4))
    X[rng.permutation(4), np.arange(4)] = np.nan
    model = PrecGDFactorization(2, noise_variance=30.0)
    with pytest.warns(UserWarning, match="completed matrix is zero"):
        model.fit(X)
    with pytest.warns(UserWarning, match="completed matrix is zero"):
        PrecGDMatrixSensing(2, noise_variance=30.0).fit(*observed_entries(X))
    model.set_params(center="columns").fit(X)


@pytest.mark.parametrize("center", ["mean", "both"])
def test_columns_of_very_different_size_are_said(center, rng):
    X, _ = table(rng, shape=(60, 5), share=0.8)
    X[:, 4] = rng.normal(size=60)
    model = PrecGDFactorization("auto", center=center).fit(X * [100, 1, 1, 1, 1])
    with pytest.warns(UserWarning, match="takes all columns to have one unit"):
        model.fit(X * [1e9, 1, 1, 1, 1])
    model.set_params(center="columns").fit(X * [1e9, 1, 1, 1, 1])
