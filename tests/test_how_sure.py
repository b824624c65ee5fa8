"""How sure single entries are: standard deviations, intervals and draws."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.measurements import EntryMeasurements

CENTRES = (None, "mean", "columns", "both")


def table(rng, shape=(90, 40), share=0.6, rank=2, noise=0.5):
    """A noisy table with holes, and another measurement of all of its entries."""
    truth = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    sizes = noise * np.linspace(0.5, 2.0, shape[1])
    data, again = (truth + sizes * rng.normal(size=shape) for _ in range(2))
    data[rng.random(shape) > share] = np.nan
    return data, again


def hidden(X):
    return np.nonzero(np.isnan(X))


@pytest.fixture(params=CENTRES)
def center(request):
    return request.param


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_intervals_hold_new_measurements(center, level, rng):
    X, again = table(rng)
    model = PrecGDFactorization("auto", center=center).fit(X)
    for cells in (hidden(X), np.nonzero(~np.isnan(X))):
        low, high = model.interval(*cells, level=level)
        inside = (low < again[cells]) & (again[cells] < high)
        assert abs(np.mean(inside) - level) < 0.06
    mean, std = model.predict_entries(*hidden(X), return_std=True)
    ratio = np.mean(((again[hidden(X)] - mean) / std) ** 2)
    assert 0.75 < ratio < 1.3


def test_predictions_are_the_matrix(center, rng):
    X, _ = table(rng)
    model = PrecGDFactorization(4, center=center).fit(X)
    matrix = model.left_ @ model.right_.T + model.center_
    i, j = hidden(X)
    assert_allclose(model.predict_entries(i, j), matrix[i, j], atol=1e-10)
    assert_allclose(model._noise.entries.at(i, j).mean, matrix[i, j], atol=1e-8)
    low, high = model.interval(i, j)
    assert_allclose((low + high) / 2, matrix[i, j], atol=1e-8)


def test_draws_have_the_moments_of_the_distribution(center, rng):
    X, _ = table(rng, shape=(60, 30))
    model = PrecGDFactorization(3, center=center).fit(X)
    cells = hidden(X)
    mean, std = model.predict_entries(*cells, return_std=True)
    draws = model.sample_entries(*cells, 600, random_state=0)
    # An average of 600 numbers; the largest of some hundreds of them.
    assert np.max(np.abs(draws.mean(axis=0) - mean) / std) < 6 / np.sqrt(600)
    assert abs(np.median(draws.std(axis=0) / std) - 1) < 0.1
    assert_allclose(draws, model.sample_entries(*cells, 600, random_state=0))


def test_draws_of_a_row_belong_together(rng):
    """What is not known of a row is drawn once for all of its entries."""
    X, _ = table(rng, noise=0.1)
    X[0] = np.nan
    X[0, 0] = 1.0
    model = PrecGDFactorization(2, noise="uniform").fit(X)
    draws = model.sample_entries([0] * 40, range(40), 500, random_state=0)
    spectrum = np.linalg.svd(draws - draws.mean(axis=0), compute_uv=False)
    # Two unknown coordinates, and little else.
    assert np.sum(spectrum[:2] ** 2) > 0.8 * np.sum(spectrum**2)


def test_units_are_those_of_the_data(rng):
    X, _ = table(rng)
    scale, shift = 10.0 ** rng.uniform(-3, 3, 40), rng.normal(size=40)
    cells = hidden(X)
    first = PrecGDFactorization(3, center="columns").fit(X)
    other = PrecGDFactorization(3, center="columns").fit(scale * X + shift)
    for mine, theirs in zip(
        first.interval(*cells), other.interval(*cells), strict=True
    ):
        in_first = (theirs - shift[cells[1]]) / scale[cells[1]]
        assert_allclose(in_first, mine, rtol=1e-5, atol=1e-5)


def test_rows_with_more_noise_are_less_sure(rng):
    X, _ = table(rng, shape=(60, 80))
    X[:20] += 3.0 * rng.normal(size=(20, 80))
    cells = hidden(X)
    noisy = cells[0] < 20
    own = PrecGDFactorization(4).fit(X).predict_entries(*cells, return_std=True)[1]
    assert np.median(own[noisy]) > 2.0 * np.median(own[~noisy])
    columns = PrecGDFactorization(4, noise="columns").fit(X)
    std = columns.predict_entries(*cells, return_std=True)[1]
    assert np.median(std[noisy]) < 1.5 * np.median(std[~noisy])


def test_a_row_never_seen_is_as_unsure_as_the_column_varies(rng):
    X, again = table(rng, shape=(300, 30), share=0.9)
    X[0] = np.nan
    with pytest.warns(UserWarning, match="no observed entry"):
        model = PrecGDFactorization(2, center="columns").fit(X)
    columns = np.arange(30)
    std = model.predict_entries([0] * 30, columns, return_std=True)[1]
    assert_allclose(std, again.std(axis=0), rtol=0.4)


def test_noise_that_is_given_is_taken(rng):
    X, again = table(rng)
    sizes = 0.5 * np.linspace(0.5, 2.0, 40)
    i, j = np.nonzero(~np.isnan(X))
    each = np.tile(sizes**2, (90, 1))
    stds = []
    for given in (sizes**2, each):
        model = PrecGDFactorization(2, noise_variance=given).fit(X)
        mean, std = model.predict_entries(i, j, return_std=True)
        assert np.all(std > sizes[j])
        assert abs(np.mean(((again[i, j] - mean) / std) ** 2) - 1) < 0.2
        low, high = model.interval(i, j)
        # Gaussian quantiles: the noise is known.
        assert_allclose((high - low) / std, 2 * stats.norm.ppf(0.95), rtol=1e-8)
        drawn = model.sample_entries(i[:50], j[:50], 400, random_state=1)
        assert abs(np.median(drawn.std(axis=0) / std[:50]) - 1) < 0.15
        stds.append(std)
    assert_allclose(*stds, rtol=1e-6)


def test_a_missing_entry_needs_no_variance(rng):
    """It is asked of as one as precise as those of its column."""
    X, _ = table(rng)
    variance = rng.uniform(0.1, 0.4, size=X.shape)
    seen = ~np.isnan(X)
    variance[~seen] = np.nan
    model = PrecGDFactorization(2, noise_variance=variance).fit(X)
    i, j = np.nonzero(~seen)
    _, std = model.predict_entries(i, j, return_std=True)
    harmonic = 1.0 / np.nanmean(1.0 / variance, axis=0)
    assert np.all(std**2 > harmonic[j])
    low, high = model.interval(i, j)
    assert_allclose((high - low) / std, 2 * stats.norm.ppf(0.95), rtol=1e-8)
    assert np.isfinite(next(model.sample_completed(X, random_state=0))).all()
    other = PrecGDFactorization(2, noise_variance=np.where(seen, variance, 1e3)).fit(X)
    _, wide = other.predict_entries(i, j, return_std=True)
    assert_allclose(wide**2 - 1e3, std**2 - harmonic[j], rtol=1e-6)


def test_one_entry_says_nothing_of_the_spread_of_its_column(rng):
    """In whatever unit columns are, so that there is no interval either."""
    X, _ = table(rng)
    X[1:, 3] = np.nan
    X[0, 3] = 5.0
    model = PrecGDFactorization(2, center="columns").fit(X)
    with pytest.warns(UserWarning, match="single entry.*noise='uniform'"):
        _, std = model.predict_entries([4], [3], return_std=True)
    assert np.isinf(std).all()
    alike = PrecGDFactorization(2, center="mean", noise="uniform").fit(X)
    _, std = alike.predict_entries([4], [3], return_std=True)
    assert 0 < std[0] < 100 * np.nanstd(X)


def test_measurements_that_are_no_entries_say_what_to_ask(rng):
    A = rng.standard_normal((120, 8, 6))
    M = np.outer(rng.standard_normal(8), rng.standard_normal(6))
    y = np.einsum("nij,ij->n", A, M) + 0.3 * rng.standard_normal(120)
    model = PrecGDMatrixSensing(2, random_state=0).fit(A, y)
    entry = EntryMeasurements([0], [1], (8, 6))
    _, std = model.predict(entry, return_std=True)
    assert std[0] > 0
    with pytest.raises(ValueError, match=r"predict\(EntryMeasurements"):
        model.predict_entries([0], [1], return_std=True)


def test_entries_as_samples_are_as_sure(rng):
    X, _ = table(rng)
    cells = hidden(X)
    model = PrecGDFactorization(3, center="columns").fit(X)
    samples, y = observed_entries(X)
    sensing = PrecGDMatrixSensing(3, center="columns").fit(samples, y)
    for ours, theirs in zip(
        model.predict_entries(*cells, return_std=True),
        sensing.predict_entries(*cells, return_std=True),
        strict=True,
    ):
        assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    mean, std = sensing.predict(samples, return_std=True)
    assert_allclose(mean, sensing.predict(samples))
    rows, columns = np.nonzero(~np.isnan(X))
    expected = model.predict_entries(rows, columns, return_std=True)[1]
    assert_allclose(np.sort(std), np.sort(expected), rtol=1e-6)


def test_groups_are_sure_each_by_itself(rng):
    X, again = table(rng, shape=(60, 30), share=0.8)
    blocks = np.full((120, 60), np.nan)
    blocks[:60, :30] = X
    blocks[60:, 30:] = 3 * X[::-1]
    with pytest.warns(UserWarning, match="groups"):
        model = PrecGDFactorization(2, center="columns").fit(blocks)
    i, j = hidden(X)
    std = model.predict_entries(i, j, return_std=True)[1]
    mirrored = model.predict_entries(119 - i, 30 + j, return_std=True)[1]
    assert_allclose(mirrored, 3 * std, rtol=1e-4)
    low, high = model.interval(i, j)
    assert np.mean((low < again[i, j]) & (again[i, j] < high)) > 0.8
    # Nothing of the first rows is known to the columns of the other group.
    between = model.predict_entries([0] * 30, range(30, 60), return_std=True)
    assert_allclose(between[0], model.center_[30:])
    assert_allclose(between[1], 3 * again.std(axis=0), rtol=0.6)
    drawn = model.sample_entries([0, 0], [0, 40], 3, random_state=0)
    assert np.isfinite(drawn).all()


def test_completed_draws_keep_what_was_seen(rng):
    X, _ = table(rng, shape=(40, 20))
    model = PrecGDFactorization(2, center="columns").fit(X)
    drawn = list(model.sample_completed(X, 3, random_state=0))
    seen = ~np.isnan(X)
    for Z in drawn:
        assert_allclose(Z[seen], X[seen])
        assert np.isfinite(Z).all()
    assert not np.allclose(drawn[0], drawn[1])
    entries = model.sample_entries(*hidden(X), 3, random_state=0)
    assert_allclose(drawn[2][~seen], entries[2])
    frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(20)])
    model.fit(frame)
    assert_allclose(next(model.sample_completed(frame, random_state=0)), drawn[0])


def test_single_precision_is_kept(rng):
    X, _ = table(rng)
    model = PrecGDFactorization(2).fit(X.astype(np.float32))
    cells = hidden(X)
    numbers = [*model.predict_entries(*cells, return_std=True), *model.interval(*cells)]
    numbers += [model.sample_entries(*cells), next(model.sample_completed(X))]
    assert {each.dtype for each in numbers} == {np.dtype(np.float32)}


def test_a_pickled_model_is_as_sure(rng):
    X, _ = table(rng, shape=(40, 20))
    model = PrecGDFactorization(2).fit(X)
    again = pickle.loads(pickle.dumps(model))
    cells = hidden(X)
    assert_allclose(model.interval(*cells), again.interval(*cells))


def test_what_is_not_known_is_refused(rng):
    X, _ = table(rng, shape=(40, 20))
    model = PrecGDFactorization(2, store_pattern=False).fit(X)
    assert len(model.predict_entries([0], [0])) == 1
    with pytest.raises(ValueError, match="store_pattern=False keeps no record"):
        model.interval([0], [0])
    complete = PrecGDFactorization(2).fit(np.nan_to_num(X))
    with pytest.raises(ValueError, match="Nothing is known of how sure"):
        complete.predict_entries([0], [0], return_std=True)
    entries, y = observed_entries(X)
    of_entries = PrecGDMatrixSensing(2, matrix_shape=X.shape).fit(entries, y)
    with pytest.raises(ValueError, match="needs single entries"):
        of_entries.predict(rng.normal(size=(2, X.size)), return_std=True)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ([40], [0], "rows must be between 0 and 39, got 40"),
        ([-1], [0], "rows must be between 0 and 39, got -1"),
        ([0], [20], "columns must be between 0 and 19"),
        ([0, 1], [0], "one position for each entry"),
        ([0.5], [0], "integers"),
        (0, 0, "one-dimensional"),
        ([True], [False], "integers"),
    ],
)
def test_positions_that_are_none_are_refused(rows, columns, words, rng):
    X, _ = table(rng, shape=(40, 20))
    model = PrecGDFactorization(2).fit(X)
    with pytest.raises(ValueError, match=words):
        model.predict_entries(rows, columns)


def test_numbers_that_make_no_sense_are_refused(rng):
    X, _ = table(rng, shape=(40, 20))
    model = PrecGDFactorization(2).fit(X)
    for level in (0.0, 1.0, np.nan, "0.9"):
        with pytest.raises(ValueError, match="level must be between 0 and 1"):
            model.interval([0], [0], level=level)
    for n_draws in (0, 1.5):
        with pytest.raises(ValueError, match="n_draws must be an integer"):
            model.sample_entries([0], [0], n_draws)
    with pytest.raises(ValueError, match="X has shape"):
        model.sample_completed(X[:10])


def test_a_group_that_says_nothing_takes_nothing_from_the_others(rng):
    X, _ = table(rng, shape=(60, 20))
    whole = np.full((61, 21), np.nan)
    whole[:60, :20], whole[60, 20] = X, 3.0
    with pytest.warns(UserWarning, match="groups"):
        model = PrecGDFactorization(2, center="columns").fit(whole)
    alone = PrecGDFactorization(2, center="columns").fit(X)
    cells = hidden(X)
    assert_allclose(model.interval(*cells), alone.interval(*cells), rtol=1e-6)
    mean, std = model.predict_entries([60], [20], return_std=True)
    assert_allclose(mean, 3.0)
    assert 0 < std < np.inf
    drawn = next(model.sample_completed(whole, random_state=0))
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_columns_of_few_entries_are_known_that_well(count, rng):
    """Student's t of their number less one: the unit is known from them alone."""
    inside = []
    for _ in range(8):
        X, again = table(rng, shape=(60, 20), share=0.8)
        kept = rng.permutation(60)[:count]
        seen = X.copy()
        seen[:, 15:] = np.nan
        seen[kept, 15:] = again[kept, 15:]
        model = PrecGDFactorization(3, center="columns").fit(seen)
        cells = np.nonzero(np.isnan(seen) & (np.arange(20) >= 15))
        low, high = model.interval(*cells)
        inside.append((low <= again[cells]) & (again[cells] <= high))
        if count <= 3:
            with pytest.warns(UserWarning, match="two other entries or fewer"):
                assert np.isinf(model.predict_entries(*cells, return_std=True)[1]).any()
    assert np.mean(inside) > 0.78


def test_nothing_is_drawn_of_nothing(rng):
    X, again = table(rng, shape=(40, 20))
    model = PrecGDFactorization(2).fit(X)
    assert model.sample_entries([], [], 3).shape == (3, 0)
    assert len(model.predict_entries([], [])) == len(model.interval([], [])[0]) == 0
    assert_allclose(next(model.sample_completed(again)), again)


def test_weights_count_as_they_compare(rng):
    X, again = table(rng)
    weights = rng.integers(1, 10, size=X.shape).astype(float)
    model = PrecGDFactorization(5, center="columns").fit(X, entry_weight=weights)
    low, high = model.interval(*hidden(X))
    inside = (low < again[hidden(X)]) & (again[hidden(X)] < high)
    assert abs(np.mean(inside) - 0.9) < 0.08
