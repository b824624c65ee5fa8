"""The shape of a matrix that flat measurements are of, and what they leave unseen."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd import PrecGDMatrixSensing, PrecGDMatrixSensingCV, observed_entries
from skprecgd.measurements import EntryMeasurements, as_measurements

GUESS = r"The shape was guessed: give matrix_shape if it is not \(6, 5\)\.$"


def measured(rng, n_cells, n=150):
    """Measurements of a matrix of rank one, flat."""
    A = rng.normal(size=(n, n_cells))
    return A, A @ np.ones(n_cells)


FLAT = {
    "array": lambda A: A,
    "list": lambda A: A.tolist(),
    "sparse": sparse.csr_array,
    "operator": aslinearoperator,
}


def dask_rows(A):
    return pytest.importorskip("dask.array").from_array(A, chunks=(50, -1))


@pytest.mark.parametrize("kind", [*FLAT.values(), dask_rows])
def test_a_guess_that_is_not_square_is_named(kind, rng):
    A, y = measured(rng, 30)
    model = PrecGDMatrixSensing(1).fit(kind(A), y)
    assert model.matrix_shape_ == (6, 5) == model.matrix_.shape
    assert pytest.approx(1.0) == model.matrix_
    assert re.search(GUESS, model.stop_reason_)


@pytest.mark.parametrize("kind", FLAT.values())
def test_a_shape_that_is_given_is_no_guess(kind, rng):
    A, y = measured(rng, 30)
    model = PrecGDMatrixSensing(1, matrix_shape=[3, 10]).fit(kind(A), y)
    assert model.matrix_shape_ == (3, 10)
    assert "guessed" not in model.stop_reason_


def test_a_square_guess_is_not_named(rng):
    A, y = measured(rng, 36)
    model = PrecGDMatrixSensing(1, symmetric=True).fit(A, y)
    assert model.matrix_shape_ == (6, 6)
    assert "guessed" not in model.stop_reason_


def test_measurements_that_know_their_shape_are_not_guessed(rng):
    A, y = measured(rng, 30)
    for X in (A.reshape(-1, 10, 3), as_measurements(A, (10, 3)), A.reshape(-1, 10, 3)):
        model = PrecGDMatrixSensing(1).fit(X, y)
        assert model.matrix_shape_ == (10, 3)
        assert "guessed" not in model.stop_reason_


def test_cross_validation_names_the_guess_of_its_refit(rng):
    A, y = measured(rng, 30)
    model = PrecGDMatrixSensingCV([1, 2], cv=3).fit(A, y)
    assert model.matrix_shape_ == (6, 5)
    assert model.stop_reason_.endswith("if it is not (6, 5).")
    given = PrecGDMatrixSensingCV([1, 2], cv=3, matrix_shape=(10, 3)).fit(A, y)
    assert given.matrix_shape_ == (10, 3)
    assert "guessed" not in given.stop_reason_


# ---- rows and columns that no entry shows


def without(M, row, column):
    """The entries of a matrix but for one row and one column."""
    X = M.copy()
    X[row], X[:, column] = np.nan, np.nan
    return observed_entries(X)


@pytest.mark.parametrize("init", ["spectral", "random"])
@pytest.mark.parametrize("rank_search", ["path", "fixed"])
def test_unseen_rows_and_columns_are_zero_and_said(init, rank_search, rng):
    M = rng.normal(size=(12, 1)) @ rng.normal(size=(1, 9))
    entries, y = without(M, 3, 4)
    model = PrecGDMatrixSensing(2, init=init, rank_search=rank_search, random_state=0)
    sentence = r"1 row\(s\) and 1 column\(s\) of the matrix have no observed entry"
    which = r" \(row 3; column 4\); they are predicted as zero"
    with pytest.warns(UserWarning, match=sentence + which):
        model.fit(entries, y)
    expected = M.copy()
    expected[3], expected[:, 4] = 0.0, 0.0
    np.testing.assert_allclose(model.matrix_, expected, atol=1e-6)


def test_a_symmetric_matrix_is_seen_from_both_sides(rng):
    """Row 0 is in no entry, but column 0 is: by symmetry both are known."""
    x = rng.uniform(1, 2, size=(8, 1))
    M = x @ x.T
    rows, columns = np.tril_indices(8, -1)
    entries = EntryMeasurements(rows, columns, M.shape)
    model = PrecGDMatrixSensing(1, symmetric=True).fit(entries, M[rows, columns])
    np.testing.assert_allclose(model.matrix_, M, rtol=1e-6)


def test_entries_of_weight_zero_show_nothing(rng):
    M = rng.normal(size=(12, 1)) @ rng.normal(size=(1, 9))
    rows, columns = np.nonzero(np.ones_like(M))
    entries, y = observed_entries((rows, columns, M.ravel()))
    model = PrecGDMatrixSensing(1)
    with pytest.warns(UserWarning, match=r"1 row\(s\) of the matrix have no observed"):
        model.fit(entries, y, sample_weight=(rows != 3).astype(float))
    np.testing.assert_array_equal(model.matrix_[3], 0.0)


def test_entries_in_chunks_are_looked_at_where_they_are(rng):
    pandas = pytest.importorskip("pandas")
    dask_frames = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    M = rng.normal(size=(12, 1)) @ rng.normal(size=(1, 9))
    rows, columns = np.nonzero(np.outer(np.arange(12) != 3, np.arange(9) != 4))
    frame = pandas.DataFrame(
        {"row": rows, "column": columns, "value": M[rows, columns]}
    )
    chunks = dask_frames.from_pandas(frame, npartitions=3)
    names = {"row": "row", "column": "column", "value": "value"}
    entries, y = observed_entries(chunks, **names, matrix_shape=M.shape)
    with pytest.warns(UserWarning, match=r"1 row\(s\) and 1 column\(s\)"):
        model = PrecGDMatrixSensing(1).fit(entries, y)
    np.testing.assert_array_equal(model.matrix_[3], 0.0)


def test_other_measurements_see_everything(rng):
    """A measurement of zeros in a row is not known to leave it out."""
    A, _ = measured(rng, 30)
    down, across = as_measurements(A, (6, 5)).groups().seen
    assert down.all()
    assert across.all()
