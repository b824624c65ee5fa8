"""Recommenders: ratings and lists from pairs of ids."""

from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.utils import estimator_checks, get_tags

from skprecgd import (
    PrecGDMatrixSensing,
    PrecGDRecommender,
    PrecGDRecommenderCV,
    observed_entries,
)
from skprecgd.measurements.pairs import Pairs
from skprecgd.metrics import ndcg_scorer, recall_scorer

TOO_FEW = "ignore:n_components=1 leaves out:UserWarning"
UNKNOWN = "ignore:.*had no pair in fit:UserWarning"


def rated(rng, n_rows=40, n_columns=30, share=0.6, noise=0.3):
    """Pairs of integers and their ratings: offsets, rank two, and noise."""
    matrix = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, n_columns))
    matrix += 3.0 + rng.normal(size=(n_rows, 1)) + rng.normal(size=n_columns)
    pairs = np.argwhere(rng.random(matrix.shape) < share)
    pairs = pairs[rng.permutation(len(pairs))]
    return pairs, matrix[tuple(pairs.T)] + noise * rng.normal(size=len(pairs))


def clicked(rng, n_groups=3, n_rows=60, n_columns=45, share=0.4):
    """Pairs of rows with columns of their own group, and with few others."""
    own = np.arange(n_rows)[:, None] % n_groups == np.arange(n_columns) % n_groups
    pairs = np.argwhere(rng.random(own.shape) < np.where(own, share, 0.02))
    return pairs[rng.permutation(len(pairs))]


@pytest.fixture
def rng(global_random_seed):
    return np.random.default_rng(global_random_seed)


# ---- ids


def ways_to_give(pairs):
    """The same pairs in every container."""
    users = [f"user {row}" for row in pairs[:, 0]]
    days = [date.fromordinal(700000 + int(column)) for column in pairs[:, 1]]
    frame = pd.DataFrame({"user": users, "day": days})
    yield "list of pairs", list(zip(users, days, strict=True))
    yield "list of lists", [list(pair) for pair in zip(users, days, strict=True)]
    yield "array of objects", np.array([users, days], dtype=object).T
    yield "frame", frame
    yield "categories", frame.astype({"user": "category"})


def test_any_container_is_the_same_fit(rng):
    pairs, y = rated(rng, 12, 10)
    plain = PrecGDRecommender(random_state=0).fit(pairs, y)
    # Sorted as text, users come in another order: the same matrix, turned about.
    expected = plain.predict(pairs)
    for name, X in ways_to_give(pairs):
        model = PrecGDRecommender(random_state=0).fit(X, y)
        np.testing.assert_allclose(model.predict(X), expected, rtol=1e-4, err_msg=name)
        assert model.row_labels_.tolist() == sorted(model.row_labels_), name
        assert model.n_features_in_ == 2


def test_ids_need_no_order(rng):
    pairs, y = rated(rng, 12, 10)
    kinds = [lambda k: int(k), lambda k: f"{k}", lambda k: (int(k), "x")]
    mixed = [(kinds[row % 3](row), frozenset([int(column)])) for row, column in pairs]
    model = PrecGDRecommender(random_state=0).fit(mixed, y)
    # They stand as they first came.
    assert model.row_labels_.tolist() == list(dict.fromkeys(row for row, _ in mixed))
    positions = model._row_ids.positions(model.row_labels_)
    np.testing.assert_array_equal(positions, np.arange(len(positions)))
    expected = PrecGDRecommender(random_state=0).fit(pairs, y).predict(pairs)
    np.testing.assert_allclose(model.predict(mixed), expected, rtol=1e-4)


def test_column_names_are_checked(rng):
    pairs, y = rated(rng, 12, 10)
    frame = pd.DataFrame(pairs, columns=["user", "film"])
    model = PrecGDRecommender().fit(frame, y)
    assert model.feature_names_in_.tolist() == ["user", "film"]
    with pytest.raises(ValueError, match="same order"):
        model.predict(frame[["film", "user"]])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((4, 3)), "3 columns; select the two"),
        (pd.DataFrame({"a": [1], "b": [2], "c": [3]}), "'a', 'b', 'c'"),
        (["ab", "cd"], "no pairs, as 'ab'"),
        ([1, 2], "pairs of ids"),
        (7, "pairs of ids"),
        ([(1, None)], "Column 1 of X holds missing ids"),
        (np.array([[1.5, 2.0]]), "1.5"),
        ([([], 2)], "a list"),
        ([], "no pair"),
        (np.zeros(3), "1 dimension"),
    ],
)
def test_what_are_no_pairs_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        PrecGDRecommender().fit(X)


@pytest.mark.parametrize(
    ("parameters", "y", "weight", "message"),
    [
        ({}, [1.0], None, "one number for each of the 3 pairs"),
        ({}, [1.0, np.nan, 2.0], None, "NaN"),
        ({}, None, [1, -1, 1], "must not be negative"),
        ({}, None, [0, 0, 0], "zero everywhere"),
        ({"unobserved_weight": 0}, None, None, "needs ratings y"),
        ({"inference": "gibbs"}, None, None, "no noise is learned"),
        ({"n_components": 0}, None, None, "n_components"),
        ({"unobserved_weight": -1.0}, None, None, "unobserved_weight"),
        ({"unobserved_weight": "much"}, None, None, "unobserved_weight"),
    ],
)
def test_wrong_input_is_refused(parameters, y, weight, message):
    X = [("a", 1), ("b", 1), ("b", 2)]
    with pytest.raises(ValueError, match=message):
        PrecGDRecommender(**parameters).fit(X, y, weight)


def test_a_failed_fit_leaves_the_last_one(rng):
    pairs = clicked(rng)
    model = PrecGDRecommender(5, random_state=0).fit(pairs)
    before = model.predict(pairs)
    with pytest.raises(ValueError, match="missing ids"):
        model.fit([(None, 1)])
    np.testing.assert_array_equal(model.predict(pairs), before)


# ---- ratings


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_ratings_are_those_of_the_posterior(inference, rng):
    """Nothing but the ids is new: the core sees the same entries."""
    pairs, y = rated(rng)
    frame = pd.DataFrame(pairs, columns=["row", "column"]).assign(y=y)
    parameters = {"inference": inference, "random_state": 0}
    entries, targets = observed_entries(frame, row="row", column="column", value="y")
    core = PrecGDMatrixSensing(20, center="both", **parameters).fit(entries, targets)
    model = PrecGDRecommender(**parameters).fit(pairs, y)
    mean, std = model.predict(pairs, return_std=True)
    expected = core.predict(entries, return_std=True)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6)
    np.testing.assert_allclose(std, expected[1], rtol=1e-6)
    assert (model.alpha_, model.unobserved_weight_) == ("auto", 0.0)
    assert model.n_components_ == core.n_components_


def test_ratings_are_predicted(rng):
    pairs, y = rated(rng, 80, 60)
    train, test = np.arange(len(y)) % 5 > 0, np.arange(len(y)) % 5 == 0
    model = PrecGDRecommender().fit(pairs[train], y[train])
    assert model.score(pairs[test], y[test]) > 0.9
    with pytest.raises(ValueError, match="needs ratings y"):
        model.score(pairs[test])


def test_single_precision_stays(rng):
    pairs, y = rated(rng)
    assert PrecGDRecommender().fit(pairs, y).predict(pairs).dtype == np.float64
    single = PrecGDRecommender().fit(pairs, y.astype(np.float32))
    assert single.predict(pairs).dtype == np.float32
    lists = PrecGDRecommender(unobserved_weight=0.1).fit(pairs, y)
    assert lists.predict(pairs).dtype == np.float64
    weighted = PrecGDRecommender().fit(pairs, sample_weight=np.ones(len(y)))
    assert weighted.predict(pairs).dtype == np.float64
    assert PrecGDRecommender().fit(pairs).predict(pairs).dtype == np.float32


def test_unknown_ids_get_the_offsets(rng):
    """The prediction of a new user is that of the film, and the other way round."""
    pairs, y = rated(rng)
    model = PrecGDRecommender().fit(pairs, y)
    rows, columns = model.row_labels_, model.column_labels_
    whole = model.predict([(i, j) for i in rows for j in columns])
    whole = whole.reshape(len(rows), len(columns))
    with pytest.warns(UserWarning, match=r"1 row\(s\) \(-1\) had no pair in fit"):
        of_column = model.predict([(-1, j) for j in columns])
    with pytest.warns(UserWarning, match=r"1 column\(s\) \(99\) had no pair in fit"):
        of_row = model.predict([(i, 99) for i in rows])
    with pytest.warns(UserWarning, match=r"1 row\(s\) .* and 1 column\(s\)"):
        neither, std = model.predict([(-1, 99)], return_std=True)
    # They follow the means, drawn towards the one of all.
    assert np.corrcoef(of_column, whole.mean(axis=0))[0, 1] > 0.95
    assert np.corrcoef(of_row, whole.mean(axis=1))[0, 1] > 0.95
    assert abs(neither[0] - y.mean()) < y.std()
    # What nothing is known of is the least sure.
    assert std[0] > np.max(model.predict(pairs, return_std=True)[1])


def test_weights_of_ratings_are_frequencies(rng):
    pairs, y = rated(rng)
    often = rng.integers(0, 3, len(y))
    weighted = PrecGDRecommender().fit(pairs, y, sample_weight=often)
    kept = often > 0
    left = PrecGDRecommender().fit(pairs[kept], y[kept], sample_weight=often[kept])
    np.testing.assert_array_equal(
        weighted.predict(pairs[kept]), left.predict(pairs[kept])
    )
    plain = PrecGDRecommender().fit(pairs[kept], y[kept])
    assert np.max(np.abs(plain.predict(pairs[kept]) - left.predict(pairs[kept]))) > 0


def test_a_ridge_in_place_of_the_prior(rng):
    pairs, y = rated(rng)
    model = PrecGDRecommender(2, alpha=1.0).fit(pairs, y)
    assert model.alpha_ == 1.0
    assert model.score(pairs, y) > 0.8


def test_messages_of_ratings_name_what_there_is(rng):
    pairs, y = rated(rng)
    model = PrecGDRecommender(alpha=1.0).fit(pairs, y)
    with pytest.raises(ValueError, match=r"ratings with noise.*got alpha=1.0"):
        model.predict(pairs, return_std=True)
    with pytest.warns(ConvergenceWarning, match="did not converge in max_iter=1 "):
        PrecGDRecommender(alpha=0.0, max_iter=1).fit(pairs, y)
    apart = np.vstack([pairs, pairs + 100])
    with pytest.warns(UserWarning, match="predicted by the offsets.$"):
        PrecGDRecommender(alpha=1.0).fit(apart, np.tile(y, 2))


# ---- every cell counts


def dense(pairs, y, weight, unobserved_weight):
    """Targets and weights of all cells."""
    shape = np.unique(pairs[:, 0]).size, np.unique(pairs[:, 1]).size
    cells = tuple(np.unique(pairs[:, k], return_inverse=True)[1] for k in range(2))
    targets, weights = np.zeros(shape), np.full(shape, unobserved_weight)
    targets[cells], weights[cells] = y, weight
    return targets, weights


@pytest.mark.parametrize("alpha_scaling", [0.0, 0.5, 1.0])
def test_the_fit_minimises_what_it_says(alpha_scaling, rng):
    """Half the weighted squares of all cells, and a ridge on both factors."""
    pairs = clicked(rng, n_rows=20, n_columns=15)
    y, weight = 1.0 + rng.random(len(pairs)), 0.5 + rng.random(len(pairs))
    parameters = {"unobserved_weight": 0.2, "alpha": 1.5}
    model = PrecGDRecommender(3, alpha_scaling=alpha_scaling, **parameters)
    model.fit(pairs, y, weight)
    targets, weights = dense(pairs, y, weight, 0.2)
    rows, columns = (weights.sum(axis=axis) for axis in (1, 0))
    ridges = [
        1.5 * (total / total.mean()) ** alpha_scaling for total in (rows, columns)
    ]

    def objective(left, right):
        residual = targets - left @ right.T
        ridge = sum(
            r @ np.sum(f**2, axis=1) for r, f in zip(ridges, (left, right), strict=True)
        )
        return 0.5 * (np.sum(weights * residual**2) + ridge)

    def exact(factor, targets, weights, ridge):
        """The rows that are best for the given factor of the others."""
        return np.array(
            [
                np.linalg.solve(
                    factor.T * w @ factor + own * np.eye(factor.shape[1]),
                    factor.T @ (w * target),
                )
                for target, w, own in zip(targets, weights, ridge, strict=True)
            ]
        )

    found = model._preferences.left[:-1], model._preferences.right[:-1]
    # Long after, with rows that are solved exactly, hardly anything is gained.
    left, right = found
    for _ in range(300):
        left = exact(right, targets, weights, ridges[0])
        right = exact(left, targets.T, weights.T, ridges[1])
    assert objective(*found) <= 1.02 * objective(left, right)


def test_the_ridge_is_that_of_the_nuclear_norm(rng):
    """With equal weights of all cells the solution is a shrunk SVD."""
    pairs = clicked(rng)
    model = PrecGDRecommender(
        45, unobserved_weight=1.0, alpha=2.0, alpha_scaling=0.0, max_iter=10_000
    ).fit(pairs, np.ones(len(pairs)))
    targets, _ = dense(pairs, 1.0, 1.0, 1.0)
    u, s, vt = np.linalg.svd(targets, full_matrices=False)
    shrunk = u * np.maximum(s - 2.0, 0.0) @ vt
    found = model._preferences.left[:-1] @ model._preferences.right[:-1].T
    assert np.linalg.norm(found - shrunk) < 0.05 * np.linalg.norm(shrunk)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_units_change_nothing_but_the_scale(size, rng):
    pairs, y = rated(rng)
    plain = PrecGDRecommender(4, unobserved_weight=0.1, random_state=0)
    scaled = clone(plain).fit(pairs, size * y)
    plain.fit(pairs, y)
    np.testing.assert_allclose(
        scaled.predict(pairs), size * plain.predict(pairs), rtol=1e-6
    )
    # So do weights, of pairs and of other cells alike.
    weight = np.full(len(y), size)
    heavy = clone(plain).set_params(unobserved_weight=0.1 * size)
    np.testing.assert_allclose(
        heavy.fit(pairs, y, weight).predict(pairs), plain.predict(pairs), rtol=1e-6
    )


def test_pairs_that_repeat_weigh_more(rng):
    """A log of clicks is the same as their counts."""
    pairs = clicked(rng)
    often = rng.integers(1, 4, len(pairs))
    log = np.repeat(pairs, often, axis=0)
    log = log[rng.permutation(len(log))]
    model = PrecGDRecommender(4, random_state=0)
    counted = clone(model).fit(pairs, sample_weight=often.astype(np.float32))
    np.testing.assert_allclose(
        model.fit(log).predict(pairs), counted.predict(pairs), rtol=1e-3, atol=1e-4
    )


@given(order=st.randoms(use_true_random=False))
def test_the_order_of_pairs_is_nothing(order):
    pairs = clicked(np.random.default_rng(0), n_rows=12, n_columns=9)
    index = list(range(len(pairs)))
    order.shuffle(index)
    one = PrecGDRecommender(2, random_state=0).fit(pairs)
    other = PrecGDRecommender(2, random_state=0).fit(pairs[index])
    np.testing.assert_array_equal(one.predict(pairs), other.predict(pairs))


def test_groups_are_found(rng):
    pairs = clicked(rng)
    model = PrecGDRecommender(5, random_state=0).fit(pairs)
    lists = model.recommend(model.row_labels_, n=5)
    assert np.mean(lists.rows % 3 == lists.columns % 3) > 0.9
    same = model.similar(model.column_labels_, n=5)
    assert np.mean(same.rows % 3 == same.columns % 3) > 0.9
    assert not np.any(same.rows == same.columns)


def test_unknown_rows_are_the_mean_of_all(rng):
    pairs = clicked(rng)
    model = PrecGDRecommender(5, random_state=0).fit(pairs)
    columns = model.column_labels_
    every = [(row, column) for row in model.row_labels_ for column in columns]
    mean = model.predict(every).reshape(-1, len(columns)).mean(axis=0)
    with pytest.warns(UserWarning, match="mean of all rows or columns"):
        found = model.predict([(-5, column) for column in columns])
    np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-6)


def test_it_says_when_sweeps_end_too_early(rng):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        model = PrecGDRecommender(max_iter=1).fit(clicked(rng))
    assert model.n_iter_ == 1


def grouped(n_groups, n_rows, per_row, rng):
    """Each row with some columns of its group, of as many columns as rows."""
    rows = np.repeat(np.arange(n_rows), per_row)
    members = rng.integers(n_rows // n_groups, size=len(rows))
    return np.unique(np.c_[rows, members * n_groups + rows % n_groups], axis=0)


@pytest.mark.parametrize("n_rows", [500, 1000])
def test_sparse_tables_are_told_from_chance(n_rows, rng):
    """Nothing is tuned, and six clicks of a row tell its group."""
    model = PrecGDRecommender(random_state=0).fit(grouped(5, n_rows, 6, rng))
    lists = model.recommend(model.row_labels_)
    assert np.mean(lists.rows % 5 == lists.columns % 5) > 0.6


def test_a_ridge_that_leaves_nothing_is_said(rng):
    pairs = clicked(rng)
    model = PrecGDRecommender(alpha=1000.0)
    with pytest.warns(UserWarning, match=r"alpha=1e\+03 .* every prediction is zero"):
        model.fit(pairs)
    assert not np.any(model.predict(pairs))
    # So it is of the choice, but not of each candidate.
    assert PrecGDRecommenderCV(alpha=[1.0, 1000.0], cv=2).fit(pairs).alpha_ == 1.0
    with pytest.warns(UserWarning, match="every prediction is zero"):
        PrecGDRecommenderCV(alpha=1000.0, cv=2).fit(pairs)
    # That of targets that are zero is no news.
    nothing = PrecGDRecommender(unobserved_weight=0.1).fit(pairs, np.zeros(len(pairs)))
    assert not np.any(nothing.predict(pairs))


def test_nothing_is_known_of_how_sure_lists_are(rng):
    pairs = clicked(rng)
    model = PrecGDRecommender(2).fit(pairs)
    with pytest.raises(ValueError, match="unobserved_weight=0"):
        model.predict(pairs, return_std=True)
    with pytest.raises(ValueError, match="unobserved_weight=0"):
        model.recommend([0], rank_by="lower")


# ---- lists


@pytest.mark.parametrize("rank_by", ["mean", "lower"])
def test_lists_are_the_best_that_were_not_seen(rank_by, rng):
    pairs, y = rated(rng, share=0.3)
    model = PrecGDRecommender().fit(pairs, y)
    seen = {tuple(pair) for pair in pairs.tolist()}
    asked = model.row_labels_[:7]
    lists = model.recommend(asked, n=4, rank_by=rank_by)
    for row in asked:
        free = [(row, c) for c in model.column_labels_ if (row, c) not in seen]
        mean, std = model.predict(free, return_std=True)
        score = mean if rank_by == "mean" else mean - std
        best = np.argsort(-score, kind="stable")[:4]
        own = lists.rows == row
        assert lists.columns[own].tolist() == [free[k][1] for k in best]
        np.testing.assert_allclose(lists.scores[own], score[best], rtol=1e-6)


def test_lists_end_where_nothing_is_left(rng):
    pairs, y = rated(rng, 8, 6, share=0.7)
    model = PrecGDRecommender().fit(pairs, y)
    lists = model.recommend(model.row_labels_, n=100)
    n_columns = len(model.column_labels_)
    assert len(lists.rows) == len(model.row_labels_) * n_columns - len(pairs)
    every = model.recommend(model.row_labels_, n=100, exclude_seen=False)
    assert len(every.rows) == len(model.row_labels_) * n_columns


@pytest.mark.filterwarnings(UNKNOWN)
def test_lists_of_unknown_rows_and_of_none(rng):
    pairs, y = rated(rng)
    model = PrecGDRecommender().fit(pairs, y)
    known = model.row_labels_[0]
    lists = model.recommend(["nobody", known, "nobody"], n=3)
    assert lists.rows.tolist() == ["nobody"] * 3 + [known] * 3 + ["nobody"] * 3
    np.testing.assert_array_equal(lists.columns[:3], lists.columns[6:])
    assert [len(part) for part in model.recommend([])] == [0, 0, 0]
    with pytest.raises(ValueError, match="put a single id into a list"):
        model.recommend("ann")
    with pytest.raises(ValueError, match="no pair in fit"):
        model.similar(["no film"])
    with pytest.raises(ValueError, match="n must be"):
        model.recommend([known], n=0)
    with pytest.raises(ValueError, match="rank_by"):
        model.recommend([known], rank_by="upper")


def test_lists_as_a_frame(rng):
    pairs = clicked(rng)
    frame = pd.DataFrame({"user": pairs[:, 0], "film": [f"f{c}" for c in pairs[:, 1]]})
    model = PrecGDRecommender(3, random_state=0).fit(frame)
    lists = model.recommend([4, 2], n=3, as_frame=True)
    assert lists.columns.tolist() == ["user", "film", "score"]
    arrays = model.recommend([4, 2], n=3)
    for name, values in zip(lists.columns, arrays, strict=True):
        assert lists[name].tolist() == values.tolist()
    same = model.similar(["f1"], n=2, as_frame=True)
    assert same.columns.tolist() == ["film", "similar_film", "score"]


def test_lists_in_chunks_are_the_same(rng, monkeypatch):
    from skprecgd._estimators import lists as module

    pairs = clicked(rng)
    model = PrecGDRecommender(4, random_state=0).fit(pairs)
    whole = model.recommend(model.row_labels_)
    monkeypatch.setattr(module, "_CHUNK", 100)
    for one, other in zip(whole, model.recommend(model.row_labels_), strict=True):
        np.testing.assert_array_equal(one, other)


# ---- scikit-learn


@pytest.mark.filterwarnings(UNKNOWN)
@pytest.mark.filterwarnings(TOO_FEW)
@pytest.mark.slow
def test_searches_of_scikit_learn(rng):
    pairs, y = rated(rng)
    X = [(f"u{row}", f"f{column}") for row, column in pairs]
    folds = KFold(3, shuffle=True, random_state=0)
    assert np.min(cross_val_score(PrecGDRecommender(), X, y, cv=folds)) > 0.5
    search = GridSearchCV(PrecGDRecommender(), {"n_components": [1, 3]}, cv=folds)
    search.fit(pd.DataFrame(X, columns=["user", "film"]), y)
    assert search.best_params_ == {"n_components": 3}
    scores = cross_val_score(
        PrecGDRecommender(3),
        clicked(rng),
        cv=folds,
        scoring=recall_scorer(5),
        n_jobs=2,
    )
    assert np.min(scores) > 0.2


CHECKS = [
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_mixin_order,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", [PrecGDRecommender, PrecGDRecommenderCV])
def test_the_checks_of_scikit_learn_without_a_matrix(estimator, check):
    check(estimator.__name__, estimator())


@pytest.mark.parametrize("estimator", [PrecGDRecommender, PrecGDRecommenderCV])
def test_tags_say_that_samples_are_no_rows_of_numbers(estimator):
    tags = get_tags(estimator())
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.string
    assert not tags.target_tags.required
    assert tags.estimator_type == "regressor"


def test_before_fit(rng):
    with pytest.raises(NotFittedError):
        PrecGDRecommender().predict([(1, 2)])
    with pytest.raises(NotFittedError):
        PrecGDRecommender().recommend([1])


@pytest.mark.parametrize("parameters", [{}, {"unobserved_weight": 0.1}])
def test_pickles_and_threads_are_the_same(parameters, rng):
    pairs, y = rated(rng)
    X = [(f"u{row}", f"f{column}") for row, column in pairs]
    model = PrecGDRecommender(3, random_state=0, **parameters).fit(X, y)
    stored = pickle.loads(pickle.dumps(model))
    expected = [model.recommend([row]) for row in model.row_labels_]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: stored.recommend([row]), model.row_labels_))
    for one, other in zip(expected, found, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("parameters", [{}, {"unobserved_weight": 0.1}])
def test_pickles_without_the_pattern_hold_no_data(parameters, rng):
    """They are as large for ten times the pairs."""
    pairs, y = rated(rng, 30, 20, share=1.0)
    few = np.arange(len(y)) % 3 > 0
    sizes = {}
    for store in (True, False):
        models = [
            PrecGDRecommender(2, random_state=0, store_pattern=store, **parameters)
            for _ in range(2)
        ]
        models[0].fit(pairs[few], y[few])
        models[1].fit(pairs, y)
        sizes[store] = [len(pickle.dumps(model)) for model in models]
    assert sizes[False][1] < 1.05 * sizes[False][0]
    assert sizes[True][1] > sizes[False][1] + len(y)
    model = models[1]
    full = PrecGDRecommender(2, random_state=0, **parameters).fit(pairs, y)
    np.testing.assert_array_equal(model.predict(pairs), full.predict(pairs))
    with pytest.raises(ValueError, match="exclude_seen=True needs to know"):
        model.recommend([0])
    assert len(model.recommend([0], n=5, exclude_seen=False).columns) == 5
    with pytest.raises(ValueError, match=r"unobserved_weight=0|store_pattern=True"):
        model.predict(pairs, return_std=True)


def test_a_search_scores_lists_without_storing_the_pattern(rng):
    pairs = clicked(rng)
    parameters = {"alpha": [2.0, 3.0], "unobserved_weight": 0.1, "random_state": 0}
    model = PrecGDRecommenderCV(3, cv=2, store_pattern=False, **parameters).fit(pairs)
    stored = PrecGDRecommenderCV(3, cv=2, **parameters).fit(pairs)
    assert model.best_score_ == stored.best_score_
    with pytest.raises(ValueError, match="exclude_seen"):
        model.recommend([0])


# ---- the choice by held-out pairs


def test_held_out_pairs_choose(rng):
    pairs = clicked(rng)
    model = PrecGDRecommenderCV([1, 4], cv=3, random_state=0).fit(pairs)
    # Three groups are no single component.
    assert model.best_params_["n_components"] == 4
    assert len(model.cv_results_["params"]) == 2 * 4 * 5
    assert model.best_score_ == np.max(model.cv_results_["mean_test_score"])
    refit = PrecGDRecommender(random_state=0, **model.best_params_).fit(pairs)
    np.testing.assert_array_equal(refit.predict(pairs), model.predict(pairs))
    assert model.alpha_ == pytest.approx(model.best_params_["alpha"])


@pytest.mark.parametrize("scoring", [None, "ndcg", "recall", ndcg_scorer(3)])
def test_what_is_scored(scoring, rng):
    pairs = clicked(rng)
    parameters = {"unobserved_weight": 0.1, "alpha": [2.0], "random_state": 0}
    model = PrecGDRecommenderCV(3, cv=2, scoring=scoring, **parameters).fit(pairs)
    assert 0.2 < model.best_score_ <= 1.0
    named = {None: ndcg_scorer(), "ndcg": ndcg_scorer(), "recall": recall_scorer()}
    scorer = named.get(scoring, scoring)
    same = PrecGDRecommenderCV(3, cv=2, scoring=scorer, **parameters).fit(pairs)
    assert same.best_score_ == model.best_score_


@pytest.mark.filterwarnings(TOO_FEW)
def test_ratings_choose_by_r2(rng):
    pairs, y = rated(rng)
    model = PrecGDRecommenderCV([1, 3], cv=3, random_state=0).fit(pairs, y)
    assert model.best_params_ == {
        "n_components": 3,
        "unobserved_weight": "auto",
        "alpha": "auto",
        "alpha_scaling": 1.0,
    }
    assert model.score(pairs, y) > model.best_score_ > 0.5


@pytest.mark.filterwarnings(UNKNOWN)
def test_weights_go_to_every_fit(rng):
    pairs = clicked(rng)
    often = rng.integers(0, 3, len(pairs)).astype(float)
    parameters = {"unobserved_weight": 0.1, "alpha": [2.0, 4.0], "random_state": 0}
    model = PrecGDRecommenderCV(3, cv=2, **parameters)
    weighted = model.fit(pairs, sample_weight=often).predict(pairs)
    with config_context(enable_metadata_routing=True):
        np.testing.assert_array_equal(
            model.fit(pairs, sample_weight=often).predict(pairs), weighted
        )
    assert np.max(np.abs(model.fit(pairs).predict(pairs) - weighted)) > 0


@pytest.mark.filterwarnings(UNKNOWN)
def test_any_splitter_serves(rng):
    pairs = clicked(rng)
    model = PrecGDRecommenderCV(
        3, alpha=[2.0], cv=KFold(2, shuffle=True, random_state=0), random_state=0
    )
    assert model.fit(pairs).cv_results_["split1_test_score"].shape == (4,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": [1.0, -1.0]}, "'alpha' parameter"),
        ({"alpha": ["foo"]}, "'alpha' parameter"),
        ({"alpha": [np.nan]}, "'alpha' parameter"),
        ({"alpha": []}, "alpha must not be an empty list"),
        ({"alpha_scaling": [None]}, "'alpha_scaling' parameter"),
        ({"n_components": [2, 0]}, "'n_components' parameter"),
        ({"unobserved_weight": [-0.1]}, "'unobserved_weight' parameter"),
        ({"cv": 1}, "'cv' parameter"),
        ({"cv": 10_000}, "needs as many different pairs"),
    ],
)
def test_candidates_are_checked_before_any_fit(parameters, message, rng, monkeypatch):
    monkeypatch.setattr(PrecGDRecommender, "fit", None)
    with pytest.raises(ValueError, match=message):
        PrecGDRecommenderCV(**parameters).fit(clicked(rng))


def test_pairs_that_repeat_are_held_out_together(rng):
    pairs = clicked(rng)
    log = np.repeat(pairs, rng.integers(1, 4, len(pairs)), axis=0)
    log = log[rng.permutation(len(log))]
    model = PrecGDRecommenderCV(cv=3, random_state=0)
    held_out = set()
    for train, test in model._folds(Pairs.read(log)):
        assert len(train) + len(test) == len(log)
        seen, hidden = ({tuple(pair) for pair in log[part]} for part in (train, test))
        assert not seen & hidden
        assert not held_out & hidden
        held_out |= hidden
    assert len(held_out) > 0.9 * len(pairs)


@pytest.mark.parametrize("scoring", ["recall", recall_scorer(3), "r2"])
def test_score_is_that_of_the_choice(scoring, rng):
    pairs = clicked(rng)
    y, test = rng.integers(1, 6, len(pairs)).astype(float), np.arange(0, len(pairs), 5)
    model = PrecGDRecommenderCV(
        3, unobserved_weight=0.1, alpha=2.0, cv=2, scoring=scoring, random_state=0
    ).fit(np.delete(pairs, test, axis=0), np.delete(y, test))
    named = {"recall": recall_scorer(), "r2": get_scorer("r2")}
    scorer = named.get(scoring, scoring)
    known = test[np.isin(pairs[test, 1], model.column_labels_)]
    known = known[np.isin(pairs[known, 0], model.row_labels_)]
    found = model.score(pairs[known], y[known])
    assert found == scorer(model, pairs[known], y[known])
    weight = rng.random(len(known))
    weighted = model.score(pairs[known], y[known], weight)
    assert (weighted == found) == (scoring != "r2")


# ---- while a fit runs


def _ratings(rng):
    rows, columns = np.nonzero(rng.random((30, 20)) < 0.5)
    truth = rng.standard_normal((30, 1)) @ rng.standard_normal((1, 20))
    y = truth[rows, columns] + 0.3 * rng.standard_normal(len(rows))
    return np.column_stack([rows, columns]), y


@pytest.mark.parametrize("verbose", [1, 2])
@pytest.mark.parametrize(
    ("kind", "parameters", "phase"),
    [
        ("ratings", {}, "learning noise and prior"),
        ("ratings", {"features": "seen"}, "learning noise and prior"),
        ("ones", {}, "fitting all cells"),
    ],
)
def test_a_fit_says_what_it_does(kind, parameters, phase, verbose, rng):
    """As other estimators do, with one heading and one last line, by its own name."""
    X, y = _ratings(rng)
    told = io.StringIO()
    model = PrecGDRecommender(2, verbose=verbose, random_state=0, **parameters)
    with redirect_stdout(told):
        model.fit(X, y if kind == "ratings" else None)
    lines = told.getvalue().splitlines()
    assert sum("what is going on" in line for line in lines) == 1
    assert any(phase in line for line in lines[1:-1])
    assert lines[-1].startswith("PrecGDRecommender: ")
    assert lines[-1].endswith(model.stop_reason_)
    assert sum(model.stop_reason_ in line for line in lines) == 1


def test_a_cross_validation_reports_its_refit(rng):
    X, _ = _ratings(rng)
    told = io.StringIO()
    model = PrecGDRecommenderCV([1, 2], cv=2, random_state=0, verbose=1)
    with redirect_stdout(told):
        model.fit(X)
    lines = told.getvalue().splitlines()
    assert [line[5:].split("  ")[1].strip() for line in lines[1:2]] == [
        "cross-validation of candidates"
    ]
    assert "fitting all cells, step" in lines[-2]
    assert lines[-1].startswith("PrecGDRecommenderCV: ")
    with redirect_stdout(io.StringIO()) as silent:
        model.set_params(verbose=0).fit(X)
    assert silent.getvalue() == ""
