"""EntryKFold and EntryShuffleSplit: who is held out, and who stays visible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from scipy import sparse
from sklearn.model_selection import GridSearchCV, cross_val_score

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    observed_entries,
)
from skprecgd.datasets import make_matrix_completion
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.model_selection import EntryBlockKFold, EntryKFold, EntryShuffleSplit

SPLITTERS = [
    EntryKFold(3, random_state=0),
    EntryBlockKFold(2, block_shape=(2, 1), random_state=0),
    EntryShuffleSplit(4, test_size=0.4, random_state=0),
    EntryShuffleSplit(2, test_size=0.3, train_size=0.2, random_state=0),
]


@st.composite
def matrices(draw):
    """Matrices with holes that have two entries or more in each row and column."""
    shape = draw(st.integers(3, 12)), draw(st.integers(3, 12))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    X = rng.standard_normal(shape)
    X[rng.random(shape) < draw(st.floats(0, 0.8))] = np.nan
    X[np.arange(max(shape)) % shape[0], np.arange(max(shape)) % shape[1]] = 1.0
    X[np.arange(max(shape)) % shape[0], (np.arange(max(shape)) + 1) % shape[1]] = 1.0
    return X


def lines_of(X):
    return np.nonzero(~np.isnan(X))


@pytest.mark.parametrize("splitter", SPLITTERS, ids=str)
@given(X=matrices())
def test_every_line_keeps_a_visible_entry(splitter, X):
    rows, columns = lines_of(X)
    try:
        splits = list(splitter.split(X))
    except ValueError:
        # In a matrix of a few entries every one may be needed.
        assert len(rows) <= 4 * max(X.shape)
        reject()
    for train, test in splits:
        assert not np.intersect1d(train, test).size
        assert len(test) > 0
        assert np.union1d(train, test).max() < len(rows)
        assert set(rows[train]) == set(rows)
        assert set(columns[train]) == set(columns)


@given(X=matrices(), n_splits=st.integers(2, 4))
def test_folds_are_a_partition_of_what_can_be_spared(X, n_splits):
    rows, _ = lines_of(X)
    folds = list(EntryKFold(n_splits, random_state=1).split(X))
    held_out = np.concatenate([test for _, test in folds])
    assert len(np.unique(held_out)) == len(held_out)
    for train, test in folds:
        np.testing.assert_array_equal(
            np.sort(np.concatenate([train, test])), np.arange(len(rows))
        )
        # No fold takes more than its share of a row.
        counts, taken = np.bincount(rows), np.bincount(rows[test], minlength=len(X))
        assert np.all(taken <= -(-counts // n_splits))
    # At most one a line and fold is always visible.
    spared = len(rows) - len(held_out)
    assert spared <= n_splits * X.shape[1]


def test_the_only_entry_of_a_line_is_never_held_out():
    X = np.full((6, 5), np.nan)
    X[:, 0] = X[0] = 1.0
    X[1, 1] = X[2, 2] = 2.0
    rows, columns = lines_of(X)
    lone = (np.bincount(rows)[rows] == 1) | (np.bincount(columns)[columns] == 1)
    held_out = [test for _, test in EntryKFold(2, random_state=0).split(X)]
    assert lone.sum() == 5
    assert not lone[np.concatenate(held_out)].any()


def test_positions_of_a_matrix_and_of_its_entries(global_random_seed):
    X, _ = make_matrix_completion(
        20, 15, rank=2, observed_fraction=0.6, random_state=global_random_seed
    )
    rows, columns = lines_of(X)
    entries = EntryMeasurements(rows, columns, X.shape)
    zeros_missing = np.nan_to_num(X)
    same = [
        (X, np.nan),
        (entries, np.nan),
        (zeros_missing, 0),
        (sparse.csr_array(zeros_missing), 0),
    ]
    all_folds = [
        [
            test.tolist()
            for _, test in EntryKFold(
                3, missing_values=missing_values, random_state=global_random_seed
            ).split(data)
        ]
        for data, missing_values in same
    ]
    assert all(folds == all_folds[0] for folds in all_folds)
    # A sparse matrix whose other entries are zeros has all its entries.
    folds = EntryKFold(3, random_state=0).split(sparse.csr_array(zeros_missing))
    assert sum(len(test) for _, test in folds) == X.size


def test_sizes_of_a_shuffle_split():
    for test_size, expected in [(0.25, 50), (30, 30), (None, 20)]:
        splitter = EntryShuffleSplit(3, test_size=test_size, random_state=0)
        splits = list(splitter.split(np.ones((20, 10))))
        assert len(splits) == splitter.get_n_splits() == 3
        assert [len(test) for _, test in splits] == [expected] * 3
        assert set(splits[0][1]) != set(splits[1][1])


@pytest.mark.parametrize("kind", [EntryKFold, EntryShuffleSplit])
def test_random_state_and_conventions(kind):
    X = np.ones((8, 6))

    def drawn(random_state):
        return [
            test.tolist() for _, test in kind(3, random_state=random_state).split(X)
        ]

    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(None) != drawn(None)
    splitter = kind(3, random_state=0)
    assert splitter.get_n_splits(X) == 3
    assert repr(splitter).startswith(f"{kind.__name__}(")
    assert "n_splits=3" in repr(splitter)
    # Groups are nothing to ask for.
    assert not hasattr(splitter, "set_split_request")


@pytest.mark.parametrize("kind", [EntryKFold, EntryShuffleSplit])
def test_refusals(kind):
    with pytest.raises(ValueError, match="single entries"):
        next(kind(2).split(DenseMeasurements(np.eye(6), (3, 2))))
    with pytest.raises(ValueError, match="no observed entry"):
        next(kind(2).split(np.full((3, 3), np.nan)))
    with pytest.raises(ValueError, match="No entry can be held out"):
        next(kind(2).split(np.ones((9, 1))))


@pytest.mark.parametrize("kind", [EntryKFold, EntryShuffleSplit])
def test_a_missing_entry_is_never_held_out(kind):
    X = np.array([[1.0, np.nan, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]])
    with pytest.raises(ValueError, match="NaN among its stored values"):
        next(kind(2).split(sparse.csr_array(X)))
    for matrix in (X, sparse.csr_array(X)):
        with pytest.raises(ValueError, match="contains NaN"):
            next(kind(2, missing_values=0).split(matrix))
    for value in (-1, None):
        with pytest.raises(ValueError, match="missing_values must be nan or 0"):
            next(kind(2, missing_values=value).split(X))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [EntryKFold, EntryShuffleSplit])
def test_shuffled_entries_are_no_whole_columns(kind, seed):
    """Whatever seed they were shuffled by: `observed_entries` has one of its own."""
    A, _ = observed_entries(np.arange(1.0, 60 * 40 + 1).reshape(60, 40))
    for train, _ in kind(5, random_state=seed).split(A):
        assert np.bincount(A.cells(train)[1], minlength=40).min() > 20


def test_refused_numbers_of_folds():
    for n_splits in (1, 2.5):
        with pytest.raises(ValueError, match="at least 2"):
            EntryKFold(n_splits)
    with pytest.raises(ValueError, match="n_splits=5 needs"):
        next(EntryKFold(5).split(np.ones((2, 2))))


def test_a_search_over_entry_samples(global_random_seed):
    X, _ = make_matrix_completion(
        40,
        30,
        rank=3,
        observed_fraction=0.8,
        noise=0.1,
        random_state=global_random_seed,
    )
    A, y = observed_entries(X)
    search = GridSearchCV(
        PrecGDMatrixSensing(solver="precgd-cg", tol=1e-3, alpha=0),
        {"n_components": [1, 2, 3, 5]},
        cv=EntryKFold(3, random_state=global_random_seed),
    ).fit(A, y)
    assert search.best_params_ == {"n_components": 3}


# ---- groups and blocks


def cut_apart(labels, test, exempt):
    """Whether a group is partly held out, but for entries that have to stay visible."""
    held_out = np.isin(np.arange(len(labels)), test)
    return any(
        0 < np.mean(held_out[(labels == label) & ~exempt]) < 1
        for label in np.unique(labels[~exempt])
    )


@pytest.mark.parametrize(
    "splitter",
    [
        EntryKFold(3, random_state=0),
        EntryBlockKFold(3, random_state=0),
        EntryShuffleSplit(3, test_size=0.3, random_state=0),
    ],
    ids=str,
)
def test_groups_are_held_out_together(splitter, rng):
    X = rng.normal(size=(40, 30))
    X[rng.random(X.shape) < 0.2] = np.nan
    groups = rng.integers(0, 60, X.shape)
    seen = ~np.isnan(X)
    splits = list(splitter.split(X, groups=groups))
    for train, test in splits:
        assert len(test) > 0
        assert not cut_apart(groups[seen], test, np.zeros(seen.sum(), dtype=bool))
        assert not np.intersect1d(train, test).size
    # A label for each observed entry says the same.
    again = splitter.split(X, groups=groups[seen].tolist())
    for (_, test), (_, other) in zip(splits, again, strict=True):
        np.testing.assert_array_equal(test, other)


@pytest.mark.parametrize("block_shape", [(1, 4), (6, 1), (3, 5)])
def test_blocks_are_rectangles(block_shape, global_random_seed):
    X = np.ones((36, 40))
    splitter = EntryBlockKFold(
        4, block_shape=block_shape, random_state=global_random_seed
    )
    folds = np.zeros(X.size, dtype=int)
    for k, (train, test) in enumerate(splitter.split(X)):
        assert len(train) + len(test) == X.size
        folds[test] = k
    folds = folds.reshape(X.shape)
    # The corner is one of as many places as a block has entries.
    edges = [
        np.flatnonzero(np.any(np.diff(folds, axis=axis), axis=1 - axis)) + 1
        for axis in (0, 1)
    ]
    for edge, size in zip(edges, block_shape, strict=True):
        assert len(np.unique(edge % size)) == 1
    counts = np.bincount(folds.ravel())
    assert counts.max() < 1.5 * counts.min()


@pytest.mark.parametrize("block_shape", [5, (1, 2, 3), (0, 1), (1.5, 2), "ab"])
def test_blocks_that_are_no_rectangles_are_refused(block_shape):
    with pytest.raises(ValueError, match="block_shape must be two integers"):
        EntryBlockKFold(block_shape=block_shape)


def test_groups_of_another_shape_are_refused():
    X = np.ones((6, 5))
    with pytest.raises(ValueError, match=r"groups must have the shape of X, \(6, 5\)"):
        next(EntryKFold(2).split(X, groups=np.zeros(6)))
    with pytest.raises(ValueError, match="n_splits=3 needs as many groups, got 2"):
        next(EntryKFold(3).split(X, groups=X.cumsum(axis=0) > 3))
    with pytest.raises(ValueError, match="needs as many blocks"):
        next(
            EntryBlockKFold(3, block_shape=(9, 9), random_state=0).split(
                np.ones((2, 2))
            )
        )


def test_groups_of_a_search(rng):
    """An estimator that cross-validates gives its groups to the splitter."""
    X = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 20))
    groups = np.arange(600).reshape(X.shape) // 5
    cv = EntryKFold(3, random_state=0)
    found = [
        PrecGDFactorizationCV([1, 2], cv=cv).fit(X, groups=given)
        for given in (groups, None)
    ]
    scores = [model.cv_results_["split0_test_score"] for model in found]
    assert found[0].n_components_ == 2
    assert scores[0][0] != scores[1][0]


@pytest.mark.parametrize("seed", range(5))
def test_folds_of_blocks_are_even_whatever_the_seed(seed):
    """An eighth of the cells are in blocks that the edge cuts."""
    X = np.ones((60, 46))
    splits = EntryBlockKFold(5, block_shape=(6, 40), random_state=seed).split(X)
    sizes = [len(test) for _, test in splits]
    assert max(sizes) <= 1.2 * min(sizes)
    with pytest.raises(ValueError, match="as many blocks, got 2"):
        next(EntryBlockKFold(5, block_shape=(30, 46), random_state=seed).split(X))


@pytest.mark.parametrize("splitter", SPLITTERS, ids=str)
def test_searches_that_take_rows_are_told_what_to_use(splitter):
    X, _ = make_matrix_completion(8, 6, rank=1, observed_fraction=0.8, random_state=0)
    model = PrecGDFactorization(1)
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=splitter)
    with pytest.raises(ValueError, match=r"PrecGDFactorizationCV.*observed_entries"):
        search.fit(X)
    with pytest.raises(ValueError, match=r"PrecGDFactorizationCV.*observed_entries"):
        cross_val_score(model, X, cv=splitter)
    # A loop of one's own over the splits is none of them.
    assert len(list(splitter.split(X))) == splitter.get_n_splits()
