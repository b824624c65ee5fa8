"""Recommenders that know features of rows and columns."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from skprecgd import PrecGDRecommender, PrecGDRecommenderCV
from skprecgd.objective.weights import ONCE
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.given import GivenInMemory, Useful
from skprecgd.variational.informed_model import InformedModel, SideInformation
from skprecgd.variational.noise import EqualNoise

UNKNOWN = "ignore:.*had no pair in fit:UserWarning"
HARDLY_SEEN = 0.3


class Planted:
    """Ratings whose factors and offsets follow features, but for a rest.

    The last rows and columns have no rating.
    """

    def __init__(self, rng, n_rows=60, n_columns=50, n_new=10, rest=0.1, noise=0.2):
        n, m = n_rows + n_new, n_columns + n_new
        self.row_features = rng.normal(size=(n, 4))
        self.column_features = rng.normal(size=(m, 3))
        left = self.row_features @ rng.normal(size=(4, 2)) / 2
        right = self.column_features @ rng.normal(size=(3, 2)) / 2
        b = 0.3 * self.row_features @ rng.normal(size=4)
        c = 0.3 * self.column_features @ rng.normal(size=3)
        # What a map of the features alone predicts, and what is true.
        self.mapped = 3 + left @ right.T + b[:, None] + c
        left, right = (
            part + rest * rng.normal(size=part.shape) for part in (left, right)
        )
        self.truth = 3 + left @ right.T + b[:, None] + c
        seen = rng.random((n_rows, n_columns)) < HARDLY_SEEN
        seen[:, 0] = seen[0] = True
        pairs = np.argwhere(seen)
        self.pairs = pairs[rng.permutation(len(pairs))]
        self.y = self.truth[tuple(self.pairs.T)] + noise * rng.normal(size=len(pairs))
        self.n_rows, self.n_columns = n_rows, n_columns

    def frames(self, rows=slice(None), columns=slice(None)):
        """The features by ids."""
        return {
            "row_features": pd.DataFrame(self.row_features).iloc[rows],
            "column_features": pd.DataFrame(self.column_features).iloc[columns],
        }

    def error(self, predicted, rows, columns, of="truth"):
        left = predicted - self.truth if of == "truth" else self.mapped - self.truth
        return float(np.sqrt(np.mean(left[rows, columns] ** 2)))

    def whole(self, model, **features):
        """Predictions of all cells."""
        every = np.argwhere(np.ones(self.truth.shape))
        return model.predict(every, **features).reshape(self.truth.shape)


@pytest.fixture
def rng(global_random_seed):
    return np.random.default_rng(global_random_seed)


# ---- what features are worth


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_features_of_zeros_are_none(inference, rng):
    data = Planted(rng)
    plain = PrecGDRecommender(4, inference=inference, random_state=0)
    told = clone(plain).fit(
        data.pairs,
        data.y,
        row_features=(np.arange(60), np.zeros((60, 3))),
        column_features=(np.arange(50), sparse.csr_array((50, 2))),
    )
    plain.fit(data.pairs, data.y)
    expected = plain.predict(data.pairs, return_std=True)
    found = told.predict(data.pairs, return_std=True)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-8)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-8)
    assert told.n_components_ == plain.n_components_


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_planted_features_are_found(inference, rng):
    """New rows and columns are predicted nearly as by one who knows the map."""
    data = Planted(rng)
    model = PrecGDRecommender(4, inference=inference, random_state=0)
    known, new = slice(data.n_rows), slice(data.n_rows, None)
    old, fresh = slice(data.n_columns), slice(data.n_columns, None)
    at_fit = clone(model).fit(data.pairs, data.y, **data.frames())
    later = clone(model).fit(data.pairs, data.y, **data.frames(known, old))
    found = data.whole(at_fit)
    # Draws are projected on as many axes as one has, of all columns that are known.
    close = 1e-6 if inference == "variational" else 0.05
    left = data.whole(later, **data.frames(new, fresh)) - found
    assert np.std(left) < close * np.std(found)
    for rows, columns in ((new, old), (known, fresh), (new, fresh)):
        oracle = data.error(found, rows, columns, of="map")
        assert data.error(found, rows, columns) < 1.6 * oracle + 0.15
    plain = clone(model).fit(data.pairs, data.y)
    seen = data.pairs.max(axis=0) + 1
    inside = slice(seen[0]), slice(seen[1])
    every = np.argwhere(np.ones(seen))
    without = plain.predict(every).reshape(seen) - data.truth[inside]
    assert data.error(found, *inside) < 0.9 * np.sqrt(np.mean(without**2))


def test_useless_features_cost_little(rng):
    data = Planted(rng)
    noise = {
        "row_features": (np.arange(60), rng.normal(size=(60, 5))),
        "column_features": (np.arange(50), rng.normal(size=(50, 5))),
    }
    every = data.pairs
    truth = data.truth[tuple(every.T)]
    model = PrecGDRecommender(4)
    plain, told = (
        np.sqrt(np.mean((fit.predict(every) - truth) ** 2))
        for fit in (
            clone(model).fit(data.pairs, data.y),
            clone(model).fit(data.pairs, data.y, **noise),
        )
    )
    assert told < 1.1 * plain


def test_how_sure_of_new_rows_and_columns(rng):
    """Standard deviations are of the size of the errors, which features make small."""
    data = Planted(rng, rest=0.3, noise=0.3)
    for inference in ("variational", "gibbs"):
        model = PrecGDRecommender(4, inference=inference, random_state=0)
        model.fit(data.pairs, data.y, **data.frames())
        every = np.argwhere(np.ones(data.truth.shape))
        mean, std = model.predict(every, return_std=True)
        new = (every[:, 0] >= data.n_rows) | (every[:, 1] >= data.n_columns)
        target = data.truth.ravel() + 0.3 * rng.normal(size=len(every))
        ratio = np.sqrt(np.mean(((mean - target) / std)[new] ** 2))
        assert 0.5 < ratio < 2.0
        assert np.mean(std[new]) > np.mean(std[~new])


def test_what_was_seen_tells_of_ratings(rng):
    """Rows choose columns that suit them, so that their choice says what does."""
    left, right = rng.normal(size=(150, 2)), rng.normal(size=(100, 2))
    truth = left @ right.T
    chance = 1.0 / (1.0 + np.exp(-2.0 * truth))
    pairs = np.argwhere(rng.random(truth.shape) < 0.2 * chance)
    y = truth[tuple(pairs.T)] + 0.7 * rng.normal(size=len(pairs))
    every = np.argwhere(np.ones(truth.shape))
    plain, told = (
        np.mean((model.fit(pairs, y).predict(every) - truth.ravel()) ** 2)
        for model in (PrecGDRecommender(4), PrecGDRecommender(4, features="seen"))
    )
    assert told < 0.95 * plain


# ---- how features are given


def test_any_container_and_order_is_the_same_fit(rng):
    data = Planted(rng, 30, 20, 5)
    model = PrecGDRecommender(3).fit(data.pairs, data.y, **data.frames())
    expected = model.predict(data.pairs)
    order = rng.permutation(35), rng.permutation(25)
    rows, columns = data.row_features[order[0]], data.column_features[order[1]]
    frame = pd.DataFrame(rows, index=order[0], columns=list("abcd"))
    ways = [
        ((order[0], rows), (order[1].tolist(), columns.tolist())),
        ((order[0], sparse.coo_array(rows)), (order[1], sparse.csc_matrix(columns))),
        (frame, pd.DataFrame(columns, index=order[1])),
        (frame.astype(pd.SparseDtype(float, 0.0)), (order[1], columns)),
    ]
    for row_features, column_features in ways:
        told = {"row_features": row_features, "column_features": column_features}
        found = clone(model).fit(data.pairs, data.y, **told)
        np.testing.assert_allclose(found.predict(data.pairs), expected, rtol=1e-6)


def test_names_of_ids_are_nothing(rng):
    data = Planted(rng, 30, 20, 5)
    model = PrecGDRecommender(3, features="seen")
    plain = clone(model).fit(data.pairs, data.y, **data.frames())
    names = rng.permutation(35), rng.permutation(25)
    renamed = np.column_stack([names[k][data.pairs[:, k]] for k in range(2)])
    told = {
        "row_features": (names[0], data.row_features),
        "column_features": (names[1], data.column_features),
    }
    other = clone(model).fit(renamed, data.y, **told)
    np.testing.assert_allclose(
        other.predict(renamed), plain.predict(data.pairs), rtol=1e-3
    )


def test_labels_are_those_of_pairs_and_features(rng):
    data = Planted(rng, 30, 20, 5)
    model = PrecGDRecommender(3).fit(data.pairs, data.y, **data.frames())
    assert model.row_labels_.tolist() == list(range(35))
    assert model.column_labels_.tolist() == list(range(25))
    # Columns without a pair are listed, too.
    best = model.recommend([0], n=25, exclude_seen=False)
    assert set(best.columns) == set(range(25))


@pytest.mark.filterwarnings(UNKNOWN)
def test_new_ids_are_listed_and_unknown_ones_get_the_offsets(rng):
    data = Planted(rng, 30, 20, 5)
    known = data.frames(slice(30), slice(20))
    model = PrecGDRecommender(3).fit(data.pairs, data.y, **known)
    new = data.frames(slice(30, None), slice(20, None))
    lists = model.recommend([0, 32], n=25, exclude_seen=False, **new)
    assert set(lists.columns[lists.rows == 32]) == set(range(25))
    scores = lists.scores[np.argsort(lists.columns[lists.rows == 32])]
    assert np.all(np.diff(lists.scores[lists.rows == 32]) <= 0)
    assert len(scores)
    of_new = model.predict([(32, j) for j in range(25)], **new)
    of_none = model.predict([(99, j) for j in range(25)], **new)
    assert np.max(np.abs(of_new - of_none)) > 0.1
    seen = data.pairs[data.pairs[:, 0] == 0, 1]
    assert not set(model.recommend([0], n=25, **new).columns) & set(seen)
    with pytest.raises(ValueError, match="features of other ids to fit"):
        model.predict([(32, 22)], return_std=True, **new)


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_single_precision_pickles_and_patterns(inference, rng):
    data = Planted(rng, 30, 20, 5)
    model = PrecGDRecommender(
        3, inference=inference, features="seen", random_state=0, store_pattern=False
    )
    model.fit(data.pairs, data.y.astype(np.float32), **data.frames())
    found = model.predict(data.pairs)
    assert found.dtype == np.float32
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(data.pairs), found)
    with pytest.raises(ValueError, match="store_pattern=True"):
        model.predict(data.pairs, return_std=True)
    full = clone(model).set_params(store_pattern=True)
    full.fit(data.pairs, data.y.astype(np.float32), **data.frames())
    np.testing.assert_array_equal(full.predict(data.pairs), found)


@pytest.mark.parametrize(
    ("parameters", "told", "message"),
    [
        ({}, {"row_features": np.zeros((3, 1))}, "a data frame whose index are ids"),
        ({}, {"row_features": ([1, 2], np.zeros((3, 1)))}, "each of its 2 ids"),
        ({}, {"row_features": ([1, 1], np.zeros((2, 1)))}, "more than once"),
        ({}, {"row_features": ([0, 1], np.zeros((2, 1)))}, r"lacks 1 id\(s\).*2"),
        ({}, {"row_features": ([0, 1, 2], [[1], [np.nan], [0]])}, "NaN"),
        ({}, {"column_features": pd.DataFrame({"sex": list("mfm")})}, "OneHotEncoder"),
        ({}, {"column_features": ([0, None], np.zeros((2, 1)))}, "missing ids"),
        (
            {"unobserved_weight": 0.2},
            {"row_features": ([0, 1, 2], np.zeros((3, 1)))},
            "row_features needs ratings y and unobserved_weight=0",
        ),
        ({"alpha": 1.0, "features": "seen"}, {}, "'seen' needs alpha='auto'"),
        ({"unobserved_weight": 0.2, "features": "seen"}, {}, "unobserved_weight=0"),
        ({"features": "all"}, {}, "'features' parameter"),
    ],
)
def test_what_does_not_go_together_is_refused(parameters, told, message):
    X, y = [(0, 0), (1, 1), (2, 2), (0, 1)], [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(ValueError, match=message):
        PrecGDRecommender(**parameters).fit(X, y, **told)


def test_features_of_predictions_are_those_of_the_fit(rng):
    data = Planted(rng, 30, 20, 5)
    told = data.frames(slice(30), slice(20))
    model = PrecGDRecommender(3).fit(data.pairs, data.y, **told)
    with pytest.raises(ValueError, match="the 4 features of the fit, got 1"):
        model.predict([(50, 0)], row_features=([50], [[1.0]]))
    plain = PrecGDRecommender(3).fit(data.pairs, data.y)
    with pytest.raises(ValueError, match="needs a fit with row_features"):
        plain.predict([(50, 0)], row_features=([50], [[1.0]]))


def test_cross_validation_passes_features_on(rng):
    data = Planted(rng, 30, 20, 5)
    told, cv = data.frames(), KFold(2, shuffle=True, random_state=0)
    model = PrecGDRecommender(3)
    scores = cross_val_score(model, data.pairs, data.y, cv=cv, params=told)
    search = GridSearchCV(model, {"n_components": [3]}, cv=cv, refit=False)
    search.fit(data.pairs, data.y, **told)
    assert search.best_score_ == pytest.approx(np.mean(scores))
    own = PrecGDRecommenderCV(3, cv=2, random_state=0)
    own.fit(data.pairs, data.y, **told)
    assert own.best_score_ > 0.5
    assert own.row_labels_.tolist() == list(range(35))


# ---- the iteration


def test_the_evidence_rises(rng):
    data = Planted(rng, 40, 60, 0)
    rows, columns = data.pairs[np.lexsort(data.pairs.T[::-1])].T
    values = data.truth[rows, columns] + 0.2 * rng.normal(size=len(rows))
    matrix = sparse.csr_array((values, (rows, columns)), shape=(40, 60))
    useful = Useful(np.arange(40), np.arange(60), np.ones(60))
    told = SideInformation(data.row_features, data.column_features, seen=True)
    entries = NoisyEntries.of(
        *(matrix.tocoo().row, matrix.indices, matrix.data), (40, 60), "both"
    )
    noise = EqualNoise(entries.sides, entries.count)
    features = told.of_useful(GivenInMemory(matrix, ONCE), useful)
    model = InformedModel(entries, noise, *features)
    for _ in range(5):
        model.step()
    model.grow(3)
    model.step()
    model.step()
    first = last = model.evidence()
    falls = 0.0
    for step in range(40):
        model.step(drop=step > 20)
        evidence = model.evidence()
        falls += max(0.0, last - evidence)
        last = evidence
    # Factors are turned as suits these best, whatever the weights of features cost.
    assert falls <= 0.02 * (last - first)


def test_features_have_the_columns_of_the_fit(rng):
    """In their order: scikit-learn does not sort columns either."""
    users = pd.DataFrame(
        rng.standard_normal((30, 2)), index=range(30), columns=["age", "income"]
    )
    pairs = np.column_stack([rng.integers(0, 30, 200), rng.integers(0, 8, 200)])
    y = rng.standard_normal(200)
    model = PrecGDRecommender(2, random_state=0).fit(pairs, y, row_features=users)
    turned = users[["income", "age"]]
    for call in (
        lambda: model.predict(pairs, row_features=turned),
        lambda: model.partial_fit(pairs, y, row_features=turned),
    ):
        with pytest.raises(ValueError, match="columns of the fit in the same order"):
            call()
    # Without names they are taken as they stand.
    given = list(users.index), users.to_numpy()
    np.testing.assert_allclose(
        model.predict(pairs, row_features=given), model.predict(pairs)
    )


def test_how_sure_of_new_rows_by_their_features_alone(rng):
    """As sure as of rows whose features were given to fit, or less: so is the map."""
    data = Planted(rng, rest=0.3, noise=0.3)
    known, new = slice(data.n_rows), slice(data.n_rows, None)
    old = slice(data.n_columns)
    pairs = np.argwhere(np.ones((70, 50)))[data.n_rows * 50 :]
    model = PrecGDRecommender(4)
    at_fit = clone(model).fit(data.pairs, data.y, **data.frames(columns=old))
    expected, least = at_fit.predict(pairs, return_std=True)
    later = clone(model).fit(data.pairs, data.y, **data.frames(known, old))
    told = {"row_features": data.frames(new)["row_features"]}
    mean, std = later.predict(pairs, return_std=True, **told)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    assert np.all((std > 0.99 * least) & (std < 1.5 * least))
    target = data.truth[tuple(pairs.T)] + 0.3 * rng.normal(size=len(pairs))
    assert 0.5 < np.sqrt(np.mean(((mean - target) / std) ** 2)) < 2.0
    # What is known of old rows stays what it was.
    old_pairs = data.pairs[:9]
    again = later.predict(old_pairs, return_std=True, **told)[1]
    np.testing.assert_allclose(again, later.predict(old_pairs, return_std=True)[1])
    drawn = PrecGDRecommender(4, inference="gibbs", random_state=0)
    drawn.fit(data.pairs, data.y, **data.frames(known, old))
    with pytest.raises(ValueError, match="without draws"):
        drawn.predict(pairs, return_std=True, **told)


def test_a_feature_may_be_shifted_by_a_constant(rng):
    """Years do as well as years since 1990, of old ids and of new ones."""
    data = Planted(rng)
    known, new = slice(data.n_rows), slice(data.n_rows, None)
    old, fresh = slice(data.n_columns), slice(data.n_columns, None)
    found = []
    for shift in (0.0, 2000.0):
        frames = data.frames(known, old), data.frames(new, fresh)
        at_fit, later = ({k: f + shift for k, f in each.items()} for each in frames)
        model = PrecGDRecommender(4).fit(data.pairs, data.y, **at_fit)
        found.append(data.whole(model, **later))
    assert np.max(np.abs(found[1] - found[0])) < 1e-6 * np.std(found[0])


def test_a_feature_that_is_constant_is_none(rng):
    data = Planted(rng)
    model, alike = PrecGDRecommender(4), (np.arange(60), np.full((60, 2), 1.1))
    told = clone(model).fit(data.pairs, data.y, row_features=alike)
    plain = clone(model).fit(data.pairs, data.y, row_features=(alike[0], 0 * alike[1]))
    expected = plain.predict(data.pairs)
    np.testing.assert_allclose(told.predict(data.pairs), expected, rtol=1e-8)
