"""observed_entries: a matrix with missing entries as samples of a regressor."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.model_selection import KFold, ShuffleSplit, train_test_split
from sklearn.utils import resample

from skprecgd import PrecGDMatrixSensing, observed_entries
from skprecgd.measurements import EntryMeasurements

SPARSE = {
    "csr_array": sparse.csr_array,
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "coo_array": sparse.coo_array,
    "lil_array": sparse.lil_array,
}
NAN = np.nan
X = np.array([[1.0, NAN, 0.0], [NAN, NAN, 4.0]])
SAMPLES = [(0, 0, 1.0), (0, 2, 0.0), (1, 2, 4.0)]
NOT_ZERO = [(0, 0, 1.0), (1, 2, 4.0)]


def cells(measurements):
    """Row and column of every sample, in order."""
    pairs = zip(
        measurements.row_index.tolist(), measurements.column_index.tolist(), strict=True
    )
    return list(pairs)


def samples(measurements, y):
    """Row, column and value of every sample, by rows."""
    return sorted(
        (*cell, value) for cell, value in zip(cells(measurements), y, strict=True)
    )


def test_nan_is_missing_and_zero_is_a_value():
    measurements, y = observed_entries(X)
    assert isinstance(measurements, EntryMeasurements)
    assert samples(measurements, y) == SAMPLES
    assert measurements.matrix_shape == (2, 3)
    assert y.dtype == measurements.dtype == np.float64


def test_zero_is_missing_on_request():
    measurements, y = observed_entries(np.nan_to_num(X), missing_values=0)
    assert samples(measurements, y) == NOT_ZERO


@pytest.mark.parametrize("container", SPARSE)
def test_sparse_with_zeros_as_values(container):
    dense = np.nan_to_num(X)
    measurements, y = observed_entries(SPARSE[container](dense), NAN)
    assert samples(measurements, y) == [
        (i, j, v) for (i, j), v in np.ndenumerate(dense)
    ]


@pytest.mark.parametrize("container", SPARSE)
def test_sparse_with_stored_entries(container):
    dense = np.nan_to_num(X)
    measurements, y = observed_entries(SPARSE[container](dense), missing_values=0)
    assert samples(measurements, y) == NOT_ZERO


@pytest.mark.parametrize("container", SPARSE)
def test_sparse_needs_a_word_on_what_is_not_stored(container):
    with pytest.raises(ValueError, match=r"missing_values=0 .* missing_values=np.nan"):
        observed_entries(SPARSE[container](np.nan_to_num(X)))


def test_explicit_zeros_are_observed():
    rows, columns, values = zip(*SAMPLES, strict=True)
    matrix = sparse.csr_array((values, (rows, columns)), shape=(2, 3))
    measurements, y = observed_entries(matrix, missing_values=0)
    assert samples(measurements, y) == SAMPLES


def test_unsorted_rows_and_duplicates():
    # Unsorted columns in row 0, and the entry (1, 2) stored in two parts.
    matrix = sparse.csr_array(
        (np.array([0.0, 1.0, 1.5, 2.5]), np.array([2, 0, 2, 2]), np.array([0, 2, 4])),
        shape=(2, 3),
    )
    before = matrix.copy()
    measurements, y = observed_entries(matrix, missing_values=0)
    assert samples(measurements, y) == SAMPLES
    # What the user holds is left as it was.
    assert_array_equal(matrix.indices, before.indices)
    assert_array_equal(matrix.data, before.data)


def test_triples_keep_their_order():
    triple = [1, 0, 0], [2, 2, 0], [4.0, 0.0, 1.0]
    measurements, y = observed_entries(triple)
    assert cells(measurements) == [(1, 2), (0, 2), (0, 0)]
    assert_array_equal(y, [4.0, 0.0, 1.0])
    assert measurements.matrix_shape == (2, 3)
    wider, _ = observed_entries(triple, matrix_shape=(5, 4))
    assert wider.matrix_shape == (5, 4)
    # Triples are observed whatever stands for missing elsewhere.
    assert len(observed_entries(triple, missing_values=0)[0]) == 3


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int64, np.float64),
        (bool, np.float64),
    ],
)
def test_dtype(dtype, expected):
    matrix = np.array([[1, 0], [1, 1]], dtype=dtype)
    for given_matrix in (matrix, sparse.csr_array(matrix)):
        measurements, y = observed_entries(given_matrix, NAN)
        assert y.dtype == measurements.dtype == expected


def test_lists_and_data_frames():
    pandas = pytest.importorskip("pandas")
    for given_matrix in (X.tolist(), pandas.DataFrame(X)):
        measurements, y = observed_entries(given_matrix)
        assert samples(measurements, y) == SAMPLES


def test_input_is_not_modified():
    before = X.copy()
    _, y = observed_entries(X)
    y += 1.0
    assert_array_equal(X, before)
    matrix = sparse.csr_array(np.nan_to_num(X))
    measurements, y = observed_entries(matrix, missing_values=0)
    y += 1.0
    measurements.column_index[:] = 0
    assert_array_equal(matrix.toarray(), np.nan_to_num(X))
    triple = np.array([0, 1]), np.array([1, 1]), np.array([2.0, 3.0])
    measurements, y = observed_entries(triple)
    for mine in triple:
        mine[:] = 0
    assert cells(measurements) == [(0, 1), (1, 1)]
    assert_array_equal(y, [2.0, 3.0])


# -- samples ----------------------------------------------------------------------


def test_consecutive_samples_come_from_everywhere(global_random_seed):
    # So that folds that do not shuffle hold out entries and not rows.
    X = np.random.default_rng(global_random_seed).standard_normal((20, 20))
    measurements, y = observed_entries(X)
    for part in (measurements[:80], measurements[-80:]):
        assert len(set(part.row_index)) > 10
        assert len(set(part.column_index)) > 10
    # The order depends on nothing but the number of entries.
    for same in (X, sparse.csc_array(X)):
        again, y_again = observed_entries(same, NAN)
        assert cells(again) == cells(measurements)
        assert_array_equal(y_again, y)


def table(seed, shape=(12, 9)):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.5, rng.standard_normal(shape), np.nan)


def test_length_and_indexing(global_random_seed):
    measurements, y = observed_entries(table(global_random_seed))
    n = len(y)
    assert len(measurements) == measurements.shape[0] == n
    assert measurements.shape[1] == 12 * 9
    everything = cells(measurements)
    rng = np.random.default_rng(global_random_seed)
    chosen = rng.permutation(n)[: n // 2]
    assert cells(measurements[chosen]) == [everything[i] for i in chosen]
    mask = rng.random(n) < 0.5
    kept = [everything[i] for i in np.flatnonzero(mask)]
    assert cells(measurements[mask]) == kept
    assert cells(measurements[2:5]) == everything[2:5]
    assert cells(measurements[-1]) == everything[-1:]
    assert cells(measurements[[3, 3]]) == [everything[3]] * 2
    assert measurements[chosen].matrix_shape == (12, 9)


def test_pickle(global_random_seed):
    measurements, _ = observed_entries(table(global_random_seed))
    measurements.adjoint(np.ones(len(measurements)))  # fills what is cached
    copy = pickle.loads(pickle.dumps(measurements))
    assert cells(copy) == cells(measurements)
    assert copy.matrix_shape == measurements.matrix_shape
    assert copy.dtype == measurements.dtype


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_folds_share_out_the_entries(seed, n_splits):
    measurements, y = observed_entries(table(seed))
    seen = []
    for train, test in KFold(n_splits, shuffle=True, random_state=0).split(
        measurements, y
    ):
        parts = [*cells(measurements[train]), *cells(measurements[test])]
        assert sorted(parts) == sorted(cells(measurements))
        seen += cells(measurements[test])
    assert sorted(seen) == sorted(cells(measurements))


def test_scikit_learn_tools_take_them(global_random_seed):
    data = table(global_random_seed)
    measurements, y = observed_entries(data)
    a, b, y_a, y_b = train_test_split(measurements, y, random_state=0)
    for part, values in [(a, y_a), (b, y_b), resample(measurements, y, random_state=0)]:
        assert isinstance(part, EntryMeasurements)
        assert_array_equal([data[cell] for cell in cells(part)], values)
    splits = ShuffleSplit(3, random_state=0).split(measurements)
    assert all(len(train) + len(test) == len(y) for train, test in splits)


def test_one_hot_rows_are_entries(global_random_seed):
    # The same samples as a sparse design matrix, which is what they stand for.
    measurements, y = observed_entries(table(global_random_seed))
    n = len(y)
    flat = measurements.row_index * 9 + measurements.column_index
    design = sparse.csr_array((np.ones(n), (np.arange(n), flat)), shape=(n, 12 * 9))
    options = {"n_components": 2, "max_iter": 10, "tol": 0, "early_stopping": False}
    a = PrecGDMatrixSensing(**options).fit(measurements, y)
    b = PrecGDMatrixSensing(matrix_shape=(12, 9), **options).fit(design, y)
    assert_array_equal(a.matrix_, b.matrix_)
