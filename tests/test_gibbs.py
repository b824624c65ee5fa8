"""Draws of the posterior (inference="gibbs"): exact, reproducible and consistent."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse, stats
from test_how_sure import CENTRES, hidden, table

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    observed_entries,
)
from skprecgd.kernels import Pattern
from skprecgd.unknown.coordinates import Side
from skprecgd.variational.assumed import learn_posterior
from skprecgd.variational.chain import DrawnSide
from skprecgd.variational.draws import sampled_posterior
from skprecgd.variational.precisions import GivenPrecisions, PrecisionsOfLines
from skprecgd.variational.tuning import ChainTuning, NoiseTuning


@pytest.fixture(params=CENTRES)
def center(request):
    return request.param


def gibbs(n_components=4, **parameters):
    return PrecGDFactorization(
        n_components, inference="gibbs", random_state=0, **parameters
    )


# The answer where it is known ---------------------------------------------------------


def test_offsets_alone_have_their_exact_posterior(rng):
    """Means of many numbers of known noise: normal, with its variance over n."""
    noise, n = 0.7, 200
    means = rng.normal(size=12)
    X = means + noise * rng.normal(size=(n, 12))
    X[rng.random(X.shape) < 0.2] = np.nan
    model = gibbs(2, center="columns", noise_variance=noise**2).fit(X)
    assert "no column" in model.stop_reason_
    mean, std = model.predict_entries([0] * 12, range(12), return_std=True)
    counts = np.sum(~np.isnan(X), axis=0)
    error = noise / np.sqrt(counts)
    # Fifty draws scatter by a seventh of that; the prior moves means by less.
    assert np.all(
        np.abs(mean - np.nanmean(X, axis=0)) < 6 * error / np.sqrt(50) + error / 8
    )
    assert_allclose(std, noise * np.sqrt(1 + 1 / counts), rtol=0.01)


# Few strengths, of which none makes all lines alike.
TUNING = NoiseTuning(weakest=1.0, strongest=16.0, strengths=3, every=1)


def precisions(values, counts):
    return PrecisionsOfLines(values, counts, 1e-12, 1.0, TUNING)


def sides(rng, strengths):
    """Rows, columns and entries that are drawn from the model itself."""
    n_rows, n_columns, rank = 9, 7, 2
    kept = rng.random((n_rows, n_columns)) < 0.7
    kept[:, 0] = kept[0] = True
    lines = []
    for n in kept.shape:
        variances = 1.0 / rng.standard_gamma(2.0, rank) * 2.0
        lines.append((rng.normal(size=(n, rank)) * np.sqrt(variances), variances))
    strength = rng.choice(strengths)
    noise = rng.standard_gamma(strength / 2, n_columns) / (strength / 2)
    truth = lines[0][0] @ lines[1][0].T
    X = truth + rng.normal(size=kept.shape) / np.sqrt(noise)
    found = []
    for k, pattern in enumerate((kept, kept.T)):
        matrix = sparse.csr_array(pattern)
        values = (X if k == 0 else X.T)[pattern]
        entries = Pattern(matrix.indptr, matrix.indices, values, None)
        own = GivenPrecisions(np.ones(n_rows))
        if k == 1:
            counts = pattern.sum(axis=1).astype(float)
            own = precisions(noise, counts)
            own.strength = strength
        values, variances = lines[k]
        side = DrawnSide(
            entries, Side(rank, None, None), values, np.ones(rank), own, 4.0
        )
        side.variances = variances
        found.append(side)
    return found


@pytest.mark.slow
def test_what_is_drawn_from_the_model_stays_a_draw_of_the_model(rng):
    """Sweeps leave the joint distribution of data and unknowns as it is.

    The unknowns from which data were made are a draw of their posterior. So they are
    after sweeps, and have the moments of the prior.
    """
    strengths = precisions(np.ones(2), np.ones(2)).strengths
    found = []
    for _ in range(1000):
        rows, columns = sides(rng, strengths)
        for _ in range(4):
            rows.draw(columns, rng)
            columns.draw(rows, rng)
            for side in (rows, columns):
                side.draw_prior(rng)
        place = np.searchsorted(strengths, columns.precisions.strength)
        half = columns.precisions.strength / 2
        found.append(
            [
                # Uniform numbers between zero and one, all of them.
                np.mean(stats.invgamma.cdf(rows.variances, 2.0, scale=2.0)),
                np.mean(stats.invgamma.cdf(columns.variances, 2.0, scale=2.0)),
                np.mean(stats.norm.cdf(rows.values / np.sqrt(rows.variances))),
                np.mean(stats.chi2.cdf(columns.values**2 / columns.variances, 1)),
                np.mean(
                    stats.gamma.cdf(columns.precisions.values, half, scale=1 / half)
                ),
                (place + 0.5) / len(strengths),
            ]
        )
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - 0.5) < 5 * error)


# Predictions, intervals and draws -----------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_intervals_hold_new_measurements(center, level, rng):
    X, again = table(rng)
    model = gibbs(center=center).fit(X)
    for cells in (hidden(X), np.nonzero(~np.isnan(X))):
        low, high = model.interval(*cells, level=level)
        inside = (low < again[cells]) & (again[cells] < high)
        assert abs(np.mean(inside) - level) < 0.06
    mean, std = model.predict_entries(*hidden(X), return_std=True)
    ratio = np.mean(((again[hidden(X)] - mean) / std) ** 2)
    assert 0.75 < ratio < 1.3


def test_predictions_are_as_good_as_variational_ones(center, rng):
    X, again = table(rng)
    i, j = hidden(X)
    errors = [
        np.mean((model.fit(X).predict_entries(i, j) - again[i, j]) ** 2)
        for model in (gibbs(center=center), PrecGDFactorization(4, center=center))
    ]
    assert errors[0] < 1.03 * errors[1]


def test_everything_comes_from_one_matrix(center, rng):
    X, _ = table(rng)
    model = gibbs(center=center).fit(X)
    matrix = model.left_ @ model.right_.T + model.center_
    i, j = hidden(X)
    assert model.n_components_ <= 4 + (center == "both")
    assert_allclose(model.predict_entries(i, j), matrix[i, j], atol=1e-10)
    assert_allclose(model.inverse_transform(model.transform(X)), matrix, atol=1e-10)
    low, high = model.interval(i, j)
    assert_allclose((low + high) / 2, matrix[i, j], atol=1e-8)


def test_draws_have_the_moments_of_the_distribution(center, rng):
    X, _ = table(rng, shape=(60, 30))
    model = gibbs(3, center=center).fit(X)
    cells = hidden(X)
    mean, std = model.predict_entries(*cells, return_std=True)
    draws = model.sample_entries(*cells, 600, random_state=0)
    # The mean of the draws is that of a higher rank, which is cut off.
    assert np.max(np.abs(draws.mean(axis=0) - mean) / std) < 0.4
    assert abs(np.median(draws.std(axis=0) / std) - 1) < 0.1
    assert_array_equal(draws, model.sample_entries(*cells, 600, random_state=0))


def test_draws_of_a_row_belong_together(rng):
    """What is not known of a row is drawn once for all of its entries."""
    X, _ = table(rng, noise=0.1)
    X[0] = np.nan
    X[0, 0] = 1.0
    model = gibbs(2, noise="uniform").fit(X)
    draws = model.sample_entries([0] * 40, range(40), 500, random_state=0)
    spectrum = np.linalg.svd(draws - draws.mean(axis=0), compute_uv=False)
    assert np.sum(spectrum[:2] ** 2) > 0.8 * np.sum(spectrum**2)


def test_completed_tables_keep_what_was_seen(rng):
    X, _ = table(rng)
    for Z in gibbs().fit(X).sample_completed(X, 2, random_state=0):
        assert_array_equal(Z[~np.isnan(X)], X[~np.isnan(X)])
        assert np.isfinite(Z).all()


def test_rows_that_show_nothing_or_little(rng):
    X, _ = table(rng)
    model = gibbs(center="columns").fit(X)
    new = np.full((2, 40), np.nan)
    new[1, 0] = X[0, 0] if np.isfinite(X[0, 0]) else 1.0
    coordinates = model.transform(new)
    assert_array_equal(coordinates[0], 0.0)
    assert (
        0 < np.linalg.norm(coordinates[1]) < np.linalg.norm(model.transform(X)[2]) * 3
    )


# Seeds, types and storage -------------------------------------------------------------


def test_seeds_reproduce(rng):
    X, _ = table(rng)
    first, again = (gibbs().fit(X) for _ in range(2))
    assert_array_equal(first.left_, again.left_)
    other = gibbs().set_params(random_state=1).fit(X)
    assert not np.array_equal(first.left_, other.left_)
    i, j = hidden(X)
    std = first.predict_entries(i, j, return_std=True)[1]
    apart = (first.predict_entries(i, j) - other.predict_entries(i, j)) / std
    assert np.sqrt(np.mean(apart**2)) < 0.2


def test_a_wide_matrix_is_drawn_like_a_long_one(rng):
    X, again = table(rng, shape=(40, 90))
    i, j = hidden(X)
    errors = [
        np.mean((model.fit(X).predict_entries(i, j) - again[i, j]) ** 2)
        for model in (gibbs(center="columns"), PrecGDFactorization(4, center="columns"))
    ]
    assert errors[0] < 1.05 * errors[1]


def test_single_precision_stays_single(rng):
    X, _ = table(rng)
    model = gibbs(center="both").fit(X.astype(np.float32))
    assert model.left_.dtype == np.float32
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    assert model.sample_entries([0], [1]).dtype == np.float32
    double = gibbs(center="both").fit(X.astype(np.float32).astype(float))
    assert_allclose(model.interval([0], [1]), double.interval([0], [1]), rtol=0.2)


def test_what_is_stored_says_the_same(rng):
    X, _ = table(rng)
    model = gibbs(center="columns").fit(X)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.transform(X), model.transform(X))
    assert_array_equal(loaded.interval([0], [1]), model.interval([0], [1]))


def test_no_pattern_no_intervals(rng):
    X, _ = table(rng)
    model = gibbs(store_pattern=False).fit(X)
    assert_allclose(
        model.inverse_transform(model.transform(X)),
        model.left_ @ model.right_.T,
        atol=1e-10,
    )
    with pytest.raises(ValueError, match="store_pattern=False keeps no record"):
        model.interval([0], [1])


def test_units_are_those_of_the_data(rng):
    X, _ = table(rng)
    scale, shift = 10.0 ** rng.uniform(-3, 3, 40), rng.normal(size=40)
    cells = hidden(X)
    first = gibbs(3, center="columns").fit(X).interval(*cells)
    other = gibbs(3, center="columns").fit(scale * X + shift).interval(*cells)
    for mine, theirs in zip(first, other, strict=True):
        in_first = (theirs - shift[cells[1]]) / scale[cells[1]]
        assert_allclose(in_first, mine, rtol=1e-3, atol=1e-3)


def posterior_of(X, tuning, noise="auto"):
    """What is learned of a table, and of draws with that tuning."""
    rows, columns = np.nonzero(~np.isnan(X))
    entries = sparse.csr_array((X[rows, columns], (rows, columns)), X.shape)
    entries.sort_indices()
    learned = learn_posterior(entries, 3, center="columns", noise=noise)
    rng = np.random.default_rng(0)
    return learned, sampled_posterior(learned, noise, rng, tuning=tuning)


def test_wide_matrices_keep_fewer_draws(rng):
    X, again = table(rng)
    few = ChainTuning(most_numbers=1000, fewest=10)
    for tuning, count in ((ChainTuning(), 50), (few, 10)):
        learned, found = posterior_of(X, tuning)
        assert found.n_draws == count
        errors = [
            np.mean(
                (each.rows.mean @ each.columns.basis.T + each.columns.offsets - again)[
                    np.isnan(X)
                ]
                ** 2
            )
            for each in (found, learned)
        ]
        assert errors[0] < 1.05 * errors[1]


def test_columns_follow_loud_rows_less(rng):
    """Rows have noise of their own in the chain, if they show enough entries."""
    X, _ = table(rng, shape=(60, 80), share=0.8)
    X[:20] += 3.0 * rng.normal(size=(20, 80))
    sizes = [
        np.linalg.norm(posterior_of(X, ChainTuning(), noise)[1].columns.offsets)
        for noise in ("auto", "columns")
    ]
    # The true offsets of the columns are zero.
    assert sizes[0] < sizes[1]


# Other parts of the estimators --------------------------------------------------------


def test_samples_are_fitted_like_a_table(rng):
    X, _ = table(rng)
    samples, y = observed_entries(X)
    parameters = {"center": "columns", "inference": "gibbs", "random_state": 0}
    regressor = PrecGDMatrixSensing(4, **parameters).fit(samples, y)
    model = PrecGDFactorization(4, **parameters).fit(X)
    matrix = model.left_ @ model.right_.T + model.center_
    assert_allclose(regressor.matrix_, matrix, rtol=1e-6, atol=1e-8)
    mean, std = regressor.predict(samples, return_std=True)
    assert_allclose(mean, regressor.predict(samples))
    expected = model.predict_entries(*samples.cells(), return_std=True)[1]
    assert_allclose(std, expected, rtol=1e-5)


def test_groups_are_drawn_each_alone(rng):
    X = np.full((80, 60), np.nan)
    blocks = [slice(0, 40), slice(40, 80)], [slice(0, 30), slice(30, 60)]
    again = X.copy()
    for rows, columns in zip(*blocks, strict=True):
        X[rows, columns], again[rows, columns] = table(rng, shape=(40, 30), share=0.8)
    with pytest.warns(UserWarning, match="fall into 2 groups"):
        model = gibbs(3, center="columns").fit(X)
    cells = np.nonzero(np.isnan(X) & ~np.isnan(again))
    low, high = model.interval(*cells)
    inside = (low < again[cells]) & (again[cells] < high)
    assert abs(np.mean(inside) - 0.9) < 0.08
    matrix = model.left_ @ model.right_.T + model.center_
    assert_allclose(model.inverse_transform(model.transform(X)), matrix, atol=1e-10)


def test_weights_and_known_noise_count(rng):
    X, again = table(rng)
    weight = np.where(rng.random(X.shape) < 0.5, 1.0, 0.0)
    weighted = gibbs(center="columns").fit(X, entry_weight=weight)
    left_out = gibbs(center="columns").fit(np.where(weight > 0, X, np.nan))
    assert_allclose(weighted.left_, left_out.left_, rtol=1e-6, atol=1e-8)
    noise = np.square(0.5 * np.linspace(0.5, 2.0, 40))
    known = gibbs(noise_variance=noise).fit(X)
    low, high = known.interval(*hidden(X))
    inside = (low < again[hidden(X)]) & (again[hidden(X)] < high)
    assert abs(np.mean(inside) - 0.9) < 0.05


def test_a_warm_start_keeps_draws_and_makes_them_where_there_were_none(rng):
    X, _ = table(rng)
    model = PrecGDFactorization(4, warm_start=True, random_state=0).fit(X)
    variational = model.left_
    drawn = model.set_params(inference="gibbs").fit(X).left_
    assert "draws" in model.stop_reason_
    assert not np.array_equal(variational, drawn)
    assert_allclose(model.fit(X).left_, drawn, rtol=1e-6, atol=1e-8)


def test_cross_validation_scores_draws(rng):
    X, _ = table(rng, shape=(40, 20))
    cv = PrecGDFactorizationCV(
        [1, 2, 3], alpha="auto", inference="gibbs", cv=3, random_state=0
    ).fit(X)
    assert "draws" in cv.stop_reason_
    with pytest.raises(ValueError, match="needs alpha='auto', got alpha=0"):
        PrecGDFactorizationCV([1, 2], alpha=0.0, inference="gibbs").fit(X)
    with pytest.raises(ValueError, match="needs single entries"):
        PrecGDFactorizationCV([1, 2], inference="gibbs").fit(np.nan_to_num(X))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 0.1}, "needs alpha='auto', got alpha=0.1"),
        ({"loss": "huber"}, "needs loss='squared', got loss='huber'"),
        ({"outlier_fraction": 0.1}, "needs outlier_fraction=0, got 0.1"),
        ({"noise_variance": 0.0}, "needs noise, got noise_variance=0"),
        ({"inference": "exact"}, "'inference' parameter"),
    ],
)
def test_what_has_no_posterior_is_refused(parameters, message, rng):
    X, _ = table(rng)
    with pytest.raises(ValueError, match=message):
        gibbs().set_params(**parameters).fit(X)


def test_data_of_other_kinds_are_refused(rng):
    with pytest.raises(ValueError, match="needs single entries"):
        gibbs().fit(rng.normal(size=(20, 10)))
    A, y = rng.normal(size=(80, 60)), rng.normal(size=80)
    model = PrecGDMatrixSensing(2, matrix_shape=(10, 6), inference="gibbs")
    with pytest.raises(ValueError, match="needs single entries"):
        model.fit(A, y)


def test_data_without_noise_need_no_draws(rng):
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 30))
    truth = X.copy()
    X[rng.random(X.shape) < 0.3] = np.nan
    model = gibbs(3).fit(X)
    assert "draws" not in model.stop_reason_
    assert_allclose(model.left_ @ model.right_.T, truth, atol=1e-6)
