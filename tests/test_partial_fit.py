"""Recommenders that go on with new pairs, and tables with new rows."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDRecommender,
    PrecGDRecommenderCV,
)

UNKNOWN = "ignore:.*had no pair in fit:UserWarning"


def rated(rng, n_rows=40, n_columns=30, share=0.6, noise=0.3):
    """Pairs of integers and their ratings: offsets, rank two, and noise."""
    matrix = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, n_columns))
    matrix += 3.0 + rng.normal(size=(n_rows, 1)) + rng.normal(size=n_columns)
    pairs = np.argwhere(rng.random(matrix.shape) < share)
    pairs = pairs[rng.permutation(len(pairs))]
    return pairs, matrix[tuple(pairs.T)] + noise * rng.normal(size=len(pairs)), matrix


def clicked(rng, n_groups=2, n_rows=30, n_columns=20, share=0.5):
    """Pairs of rows with columns of their own group, and with few others."""
    own = np.arange(n_rows)[:, None] % n_groups == np.arange(n_columns) % n_groups
    pairs = np.argwhere(rng.random(own.shape) < np.where(own, share, 0.02))
    return pairs[rng.permutation(len(pairs))]


def in_chunks(model, n_chunks, pairs, y=None, **told):
    for part in np.array_split(np.arange(len(pairs)), n_chunks):
        model.partial_fit(pairs[part], None if y is None else y[part], **told)
    return model


@pytest.fixture
def rng(global_random_seed):
    return np.random.default_rng(global_random_seed)


# ---- chunks and the whole


@pytest.mark.parametrize(
    ("inference", "features"), [("variational", None), ("gibbs", "seen")]
)
def test_one_chunk_is_a_fit(inference, features, rng):
    pairs, y, _ = rated(rng)
    model = PrecGDRecommender(4, inference=inference, features=features, random_state=0)
    whole = clone(model).fit(pairs, y)
    model.partial_fit(pairs, y)
    np.testing.assert_array_equal(model.predict(pairs), whole.predict(pairs))
    assert model.n_iter_ == whole.n_iter_


@pytest.mark.parametrize(
    ("inference", "features", "turned"),
    [
        ("variational", None, False),
        ("gibbs", None, True),
        ("variational", "seen", True),
    ],
)
def test_chunks_are_nearly_one_fit(inference, features, turned, rng):
    pairs, y, matrix = rated(rng)
    if turned:
        pairs, matrix = pairs[:, ::-1], matrix.T
    model = PrecGDRecommender(4, inference=inference, features=features, random_state=0)
    whole = clone(model).fit(pairs, y)
    in_chunks(model, 3, pairs, y)
    every = np.argwhere(np.ones(matrix.shape))
    errors = [
        np.sqrt(np.mean((each.predict(every) - matrix.ravel()) ** 2))
        for each in (model, whole)
    ]
    assert errors[0] < 1.15 * errors[1]
    std = model.predict(every, return_std=True)[1]
    expected = whole.predict(every, return_std=True)[1]
    assert 0.8 < np.median(std / expected) < 1.25


def test_ids_join_on_both_sides(rng):
    """In order of time, users and films come one after the other."""
    pairs, y, matrix = rated(rng)
    order = np.argsort(pairs.sum(axis=1), kind="stable")
    pairs, y = pairs[order], y[order]
    names = [
        np.array([f"{kind} {k}" for k in rng.permutation(n)], dtype=object)
        for kind, n in zip(("user", "film"), matrix.shape, strict=True)
    ]
    X = np.column_stack([names[k][pairs[:, k]] for k in range(2)])
    model = PrecGDRecommender(4).partial_fit(X[:300], y[:300])
    known = set(model.row_labels_)
    in_chunks(model, 3, X[300:], y[300:])
    assert known < set(model.row_labels_)
    assert model.row_labels_.tolist() == sorted(set(X[:, 0]))
    whole = PrecGDRecommender(4).fit(X, y)
    left = np.std(model.predict(X) - whole.predict(X))
    assert left < 0.15 * np.std(whole.predict(X))


def test_a_fit_goes_on_as_well(rng):
    pairs, y, _ = rated(rng)
    model = PrecGDRecommender(4).fit(pairs[:-200], y[:-200])
    other = PrecGDRecommender(4).partial_fit(pairs[:-200], y[:-200])
    model.partial_fit(pairs[-200:], y[-200:])
    # Stored and loaded, it is where it was.
    other = pickle.loads(pickle.dumps(other)).partial_fit(pairs[-200:], y[-200:])
    np.testing.assert_array_equal(model.predict(pairs), other.predict(pairs))


def test_clicks_go_on(rng):
    pairs = clicked(rng)
    model = PrecGDRecommender(4, random_state=0)
    whole = clone(model).fit(pairs)
    in_chunks(model, 3, pairs)
    every = np.argwhere(np.ones((30, 20)))
    assert np.corrcoef(model.predict(every), whole.predict(every))[0, 1] > 0.95
    seen = pairs[pairs[:, 0] == 3, 1]
    assert not set(model.recommend([3], n=20).columns) & set(seen)


# ---- pairs that come again


@pytest.mark.parametrize("y_again", [False, True])
def test_replaced_pairs_are_as_if_they_had_never_been(y_again, rng):
    pairs, y, _ = rated(rng)
    wrong, part = y.copy(), np.arange(0, len(y), 3)
    wrong[part] += rng.normal(size=len(part)) * 5
    model = PrecGDRecommender(4).partial_fit(pairs, wrong)
    fixed = (pairs, y) if y_again else (pairs[part], y[part])
    model.partial_fit(*fixed)
    whole = PrecGDRecommender(4).fit(pairs, y)
    left = np.std(model.predict(pairs) - whole.predict(pairs))
    assert left < 0.15 * np.std(whole.predict(pairs))
    assert model._given.values.sum() == pytest.approx(y.sum())


def test_added_pairs_count_again(rng):
    pairs, y, _ = rated(rng)
    model = PrecGDRecommender(4).partial_fit(pairs, y)
    model.partial_fit(pairs[:100], y[:100], on_repeat="add")
    assert len(model._given.values) == len(y) + 100
    clicks = clicked(rng)
    often = rng.integers(1, 4, len(clicks)).astype(float)
    counted = PrecGDRecommender(4, random_state=0)
    counted.fit(clicks, sample_weight=often)
    added = PrecGDRecommender(4, random_state=0).fit(clicks)
    more = often > 1
    added.partial_fit(clicks[more], sample_weight=often[more] - 1, on_repeat="add")
    every = np.argwhere(np.ones((30, 20)))
    found, expected = (each.predict(every) for each in (added, counted))
    assert np.corrcoef(found, expected)[0, 1] > 0.95


def test_pairs_of_weight_zero_change_nothing(rng):
    pairs, y, _ = rated(rng, 20, 15)
    model = PrecGDRecommender(2).fit(pairs, y)
    weight = np.append(np.zeros(len(y) - 1), 1.0)
    model.partial_fit(pairs, y + 9, weight)
    assert len(model._given.values) == len(y)
    assert np.sum(model._given.values) == pytest.approx(y.sum() + 9)


# ---- what goes with it


@pytest.mark.parametrize("alpha", ["auto", 1.0])
@pytest.mark.filterwarnings(UNKNOWN)
def test_any_parameters_go_on(alpha, rng):
    pairs, y, _ = rated(rng, 30, 20)
    model = PrecGDRecommender(2, alpha=alpha)
    in_chunks(model, 2, pairs, y.astype(np.float32))
    assert model.predict(pairs).dtype == np.float32
    assert model.score(pairs, y) > 0.6


def test_groups_that_share_nothing_are_fitted_alone(rng):
    pairs, y, _ = rated(rng, 30, 20)
    model = PrecGDRecommender(2).fit(pairs, y)
    with pytest.warns(UserWarning, match="predicted by the offsets"):
        model.partial_fit(pairs + 100, y)
    whole = PrecGDRecommender(2)
    with pytest.warns(UserWarning, match="predicted by the offsets"):
        whole.fit(np.vstack([pairs, pairs + 100]), np.tile(y, 2))
    every = np.vstack([pairs, pairs + 100])
    np.testing.assert_allclose(model.predict(every), whole.predict(every), rtol=1e-6)


def test_features_grow_with_the_ids(rng):
    tastes, kinds = rng.normal(size=(60, 3)), rng.normal(size=(40, 3))
    matrix = 3 + tastes @ kinds.T
    pairs = np.argwhere(rng.random(matrix.shape) < 0.3)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    y = matrix[tuple(pairs.T)] + 0.3 * rng.normal(size=len(pairs))
    first = pairs[:, 0] < 40
    told = {
        "row_features": pd.DataFrame(tastes[:40]),
        "column_features": pd.DataFrame(kinds),
    }
    model = PrecGDRecommender(4).partial_fit(pairs[first], y[first], **told)
    with pytest.raises(ValueError, match="row_features lacks"):
        model.partial_fit(pairs[~first], y[~first])
    with pytest.raises(ValueError, match="the 3 features of the fit"):
        model.partial_fit(pairs[~first], y[~first], row_features=([99], [[1.0]]))
    more = pd.DataFrame(tastes[40:], index=range(40, 60))
    model.partial_fit(pairs[~first], y[~first], row_features=more)
    every = np.argwhere(np.ones(matrix.shape))
    error = np.std(model.predict(every) - matrix.ravel())
    assert error < 0.25 * np.std(matrix)


@pytest.mark.filterwarnings("ignore:n_components=1 leaves out:UserWarning")
def test_the_choice_by_held_out_pairs_is_made_once(rng):
    pairs, y, _ = rated(rng)
    model = PrecGDRecommenderCV([1, 3], cv=2, random_state=0)
    model.partial_fit(pairs[:-200], y[:-200])
    chosen = model.best_params_
    assert model.partial_fit(pairs[-200:], y[-200:]).best_params_ == chosen
    one = PrecGDRecommender(random_state=0, **chosen).fit(pairs[:-200], y[:-200])
    one.partial_fit(pairs[-200:], y[-200:])
    np.testing.assert_array_equal(model.predict(pairs), one.predict(pairs))


@pytest.mark.parametrize(
    ("parameters", "had", "got", "told", "message"),
    [
        ({}, True, False, {}, "had ratings y, and got none"),
        ({}, False, True, {}, "had no ratings y, and got some"),
        ({"store_pattern": False}, True, True, {}, "store_pattern=True"),
        ({}, True, True, {"on_repeat": "forget"}, "'replace' or 'add'"),
        ({}, True, True, {"sample_weight": [-1.0] * 4}, "must not be negative"),
    ],
)
def test_what_does_not_go_together_is_refused(parameters, had, got, told, message):
    X, y = [(0, 0), (1, 1), (1, 0), (0, 1)], [1.0, 2.0, 3.0, 4.0]
    model = PrecGDRecommender(2, random_state=0, **parameters)
    model.fit(X, y if had else None)
    before = model.predict(X)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(X, y if got else None, **told)
    np.testing.assert_array_equal(model.predict(X), before)


# ---- rows of a table


def table(rng, n_rows=90, n_columns=12, noise=0.3):
    """Rows of rank three with a third of their entries missing, and what these are."""
    truth = rng.normal(size=(n_rows, 3)) @ rng.normal(size=(3, n_columns))
    truth += rng.normal(size=n_columns)
    X = truth + noise * rng.normal(size=truth.shape)
    X[rng.random(X.shape) < 1 / 3] = np.nan
    return X, truth


def completed(model):
    return model.left_ @ model.right_.T + model.center_


@pytest.mark.parametrize(
    ("center", "inference"),
    [(None, "variational"), ("mean", "variational"), ("columns", "gibbs")],
)
def test_rows_in_chunks_are_nearly_one_fit(center, inference, rng):
    X, truth = table(rng)
    model = PrecGDFactorization(5, center=center, inference=inference, random_state=0)
    whole = clone(model).fit(X)
    first = clone(model).partial_fit(X)
    np.testing.assert_array_equal(first.left_, whole.left_)
    for part in np.array_split(X, 3):
        model.partial_fit(part)
    assert model.left_.shape[0] == len(X)
    errors = [np.std(completed(each) - truth) for each in (model, whole)]
    assert errors[0] < 1.15 * errors[1]
    assert model.transform(X[:5]).shape == (5, model.n_components_)


def test_wide_tables_and_sparse_ones_go_on(rng):
    X, truth = table(rng, 40, 50)
    entries = sparse.csr_array(np.where(np.isnan(X), 0.0, X))
    dense = PrecGDFactorization(5, center="both")
    stored = PrecGDFactorization(5, center="both", missing_values=0)
    for part in np.array_split(np.arange(40), 2):
        dense.partial_fit(X[part])
        stored.partial_fit(entries[part])
    np.testing.assert_allclose(completed(dense), completed(stored), rtol=1e-6)
    assert np.std(completed(dense) - truth) < 0.4 * np.std(truth)


def test_complete_rows_are_fitted_together(rng):
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 10))
    model = PrecGDFactorization(2).partial_fit(X[:20]).partial_fit(X[20:])
    whole = PrecGDFactorization(2).fit(X)
    np.testing.assert_allclose(completed(model), completed(whole), atol=1e-6)


def test_a_column_may_begin_to_vary(rng):
    X, _ = table(rng)
    X[:45, 0] = 1.0
    model = PrecGDFactorization(5, center="columns")
    model.partial_fit(X[:45]).partial_fit(X[45:])
    whole = PrecGDFactorization(5, center="columns").fit(X)
    np.testing.assert_allclose(completed(model), completed(whole), rtol=1e-6)


def test_what_rows_cannot_go_on_is_refused(rng):
    X, _ = table(rng)
    model = PrecGDFactorization(3, center="columns").fit(X)
    with pytest.warns(UserWarning, match="begins with these rows"):
        model.partial_fit(X[:80])
    assert model.partial_fit(X[80:]).left_.shape[0] == len(X)
    with pytest.raises(ValueError, match="11 features"):
        model.partial_fit(X[:, 1:])
    assert model.left_.shape[0] == len(X)
    with pytest.raises(ValueError, match="an array as noise_variance"):
        PrecGDFactorization(3, noise_variance=np.ones(12)).partial_fit(X)
    assert not hasattr(PrecGDFactorizationCV(), "partial_fit")
    # A fit forgets the rows.
    assert model.fit(X[:50])._kept_rows is None
