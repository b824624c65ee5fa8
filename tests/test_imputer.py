"""Tables are filled as scikit-learn's imputers fill them, and no value is touched."""

from __future__ import annotations

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.impute import MissingIndicator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprecgd import PrecGDFactorization, PrecGDImputer

NAMES = [f"c{k}" for k in range(6)]


def tables(rng, n_rows=150, share=0.3, noise=0.3):
    """A table in six units, and the same with holes."""
    truth = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 6))
    truth += noise * rng.normal(size=truth.shape) + 2.0
    truth *= 10.0 ** np.arange(-2, 4)
    X = np.where(rng.random(truth.shape) < share, np.nan, truth)
    # Every row shows something, and column 1 has a hole in row 0.
    X[:, 0] = truth[:, 0]
    X[0, 1] = np.nan
    return truth, X


@pytest.fixture
def table(rng):
    return tables(rng)[1]


def relative_error(filled, truth, X):
    """Of the holes, in standard deviations of the columns."""
    errors = (filled - truth) / truth.std(axis=0)
    return float(np.sqrt(np.mean(errors[np.isnan(X)] ** 2)))


# ---- what is filled in, and what stays


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_seen_stays_to_the_last_bit(dtype, table):
    X = table.astype(dtype)
    filled = PrecGDImputer().fit_transform(X)
    assert filled.dtype == dtype
    assert np.isfinite(filled).all()
    seen = ~np.isnan(X)
    assert_array_equal(filled[seen], X[seen])
    assert filled is not X
    assert np.isnan(X).any()


def test_holes_get_the_posterior_mean(table):
    filled = PrecGDImputer().fit_transform(table)
    model = PrecGDFactorization("auto", center="columns").fit(table)
    i, j = np.nonzero(np.isnan(table))
    assert_allclose(filled[i, j], model.predict_entries(i, j), rtol=1e-8)


def test_holes_are_filled_better_than_by_means(rng):
    truth, X = tables(rng)
    filled = PrecGDImputer().fit_transform(X)
    means = np.broadcast_to(np.nanmean(X, axis=0), X.shape)
    assert relative_error(filled, truth, X) < 0.7 * relative_error(means, truth, X)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"inference": "gibbs", "random_state": 3},
        {"noise_tail": "t"},
        {"center": "both", "noise": "uniform"},
        {"n_components": 2, "center": None},
        {"sample_posterior": True, "random_state": 5},
        {"add_indicator": True},
    ],
)
def test_fit_transform_is_fit_and_transform(parameters, table):
    X = table / np.nanstd(table, axis=0)
    together = PrecGDImputer(**parameters).fit_transform(X)
    assert_allclose(together, PrecGDImputer(**parameters).fit(X).transform(X), 1e-8)


def test_units_of_columns_do_not_matter(table):
    units = np.array([1e-3, 1.0, 7.0, 1e4, 3.0, 1e-6])
    shift = np.array([5.0, -1.0, 0.0, 1e4, 2.0, 1e-6])
    filled = PrecGDImputer().fit_transform(table)
    other = PrecGDImputer().fit_transform(table * units + shift)
    spread = np.nanstd(table, axis=0)
    gap = ((other - shift) / units - filled) / spread
    assert np.max(np.abs(gap)) < 1e-6


@pytest.mark.parametrize("decades", [6, 24, 100])
def test_units_of_columns_may_be_as_far_apart_as_floats_are(decades, table):
    units = 10.0 ** np.linspace(-decades / 2, decades / 2, table.shape[1])
    here, there = PrecGDImputer().fit(table), PrecGDImputer().fit(table * units)
    spread = np.nanstd(table, axis=0)
    for rows in (table, table[:7]):
        gap = (there.transform(rows * units) / units - here.transform(rows)) / spread
        assert np.max(np.abs(gap)) < 1e-8
    gap = (there.fit_transform(table * units) / units - here.transform(table)) / spread
    assert np.max(np.abs(gap)) < 1e-8


@pytest.mark.parametrize("decades", [0, 3, 6])
def test_tables_without_noise_have_columns_in_any_units(decades, rng):
    truth = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 10))
    truth *= 10.0 ** np.linspace(0, decades, 10)
    X = np.where(rng.random(truth.shape) < 0.2, np.nan, truth)
    assert relative_error(PrecGDImputer().fit_transform(X), truth, X) < 1e-7


def test_new_rows_are_filled_one_by_one(table):
    model = PrecGDImputer().fit(table[20:])
    rows = table[:20]
    expected = model.transform(rows)
    one_by_one = np.vstack([model.transform(row[None]) for row in rows])
    assert_allclose(one_by_one, expected, rtol=1e-6)


def test_complete_rows_come_back(rng):
    truth, X = tables(rng)
    model = PrecGDImputer().fit(X)
    assert_array_equal(model.transform(truth), truth)
    assert_array_equal(model.impute(truth, return_std=True)[1], np.zeros(truth.shape))
    drawn = model.set_params(sample_posterior=True).transform(truth)
    assert_array_equal(drawn, truth)


def test_complete_data_fill_rows_that_come_later(rng):
    """Noise is learned of them, too: a row is not extrapolated from two cells."""
    truth, X = tables(rng, n_rows=300, noise=1.0)
    model = PrecGDImputer().fit(truth[:200])
    filled = model.transform(X[200:])
    means = np.broadcast_to(truth[:200].mean(axis=0), filled.shape)
    given = truth[200:], X[200:]
    assert relative_error(filled, *given) < 0.95 * relative_error(means, *given)


def test_rows_without_a_value_get_the_offsets(table):
    table[3] = np.nan
    with pytest.warns(UserWarning, match=r"1 row\(s\) of X have no observed entry"):
        model = PrecGDImputer().fit(table)
    row = model.transform(np.full((1, 6), np.nan))
    assert_allclose(row[0], model.factorization_.center_, rtol=1e-12)
    assert_allclose(model.transform(table)[3], row[0], rtol=1e-12)


def test_a_constant_column_stays_constant(table):
    table[:, 2] = np.where(np.isnan(table[:, 2]), np.nan, 7.25)
    assert_array_equal(PrecGDImputer().fit_transform(table)[:, 2], 7.25)


@pytest.mark.parametrize("shape", [(1, 4), (6, 1), (2, 2), (3, 40)])
def test_tiny_tables(shape, rng):
    X = rng.normal(size=shape)
    X.flat[-1] = np.nan
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no observed entry")
        filled = PrecGDImputer().fit_transform(X)
    assert filled.shape == shape
    assert np.isfinite(filled).all()


def test_data_without_noise_are_filled_exactly(rng):
    truth = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 12)) + 3.0
    X = np.where(rng.random(truth.shape) < 0.3, np.nan, truth)
    model = PrecGDImputer().fit(X)
    filled, std = model.impute(X, return_std=True)
    assert relative_error(filled, truth, X) < 1e-6
    assert np.max(std / truth.std(axis=0)) < 1e-6
    model.set_params(sample_posterior=True)
    assert relative_error(model.transform(X), truth, X) < 1e-5


def test_groups_that_share_nothing(rng):
    X = np.full((80, 12), np.nan)
    parts = (slice(0, 40), slice(0, 6)), (slice(40, 80), slice(6, 12))
    for rows, columns in parts:
        X[rows, columns] = rng.normal(size=(40, 1)) @ rng.normal(size=(1, 6))
        X[rows, columns] += 0.2 * rng.normal(size=(40, 6))
    X[5, 0] = X[45, 7] = np.nan
    with pytest.warns(UserWarning, match="groups"):
        model = PrecGDImputer().fit(X)
    filled, std = model.impute(X, return_std=True)
    # A row that shows something of both groups is known to both.
    both = np.where(np.arange(12) % 6 == 0, np.nan, np.append(X[0, :6], X[50, 6:]))
    row, of_row = model.impute(both[None], return_std=True)
    assert np.isfinite(filled).all()
    assert np.all((std > 0) == np.isnan(X))
    whole = model.transform(np.append(X[50, :6] * np.nan, both[6:])[None])
    assert_allclose(row[0, 6], whole[0, 6])
    assert of_row[0, 0] < std[50, 0]


def test_an_infinite_deviation_is_warned_of(rng):
    """Where tails have no variance; the words name what an imputer takes."""
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 12))
    X = X + 0.3 * rng.standard_t(0.8, size=X.shape)
    X[rng.random(X.shape) < 0.2] = np.nan
    model = PrecGDImputer(noise_tail="t").fit(X)
    with pytest.warns(UserWarning, match="infinite.*heavy tails.*sample_posterior"):
        _, std = model.impute(X, return_std=True)
    assert np.isinf(std[np.isnan(X)]).all()


# ---- columns without a value


def test_columns_without_a_value_are_filled_with_zeros(table):
    expected = PrecGDImputer().fit_transform(table[:, [0, 1, 3, 4, 5]])
    table[:, 2] = np.nan
    with pytest.warns(UserWarning, match=r"1 column\(s\) of X have no observed entry"):
        model = PrecGDImputer(min_value=-np.inf).fit(table)
    filled, std = model.impute(table, return_std=True)
    assert_array_equal(filled[:, 2], 0.0)
    assert np.isinf(std[:, 2]).all()
    assert_array_equal(filled[:, [0, 1, 3, 4, 5]], expected)
    with pytest.warns(UserWarning, match="the number nearest to zero"):
        limited = PrecGDImputer(min_value=2.0).fit_transform(table)
    assert_array_equal(limited[:, 2], 2.0)
    # What is seen later stays, and says nothing.
    table[0, 2] = 5.0
    later = model.transform(table)
    assert later[0, 2] == 5.0
    assert_array_equal(later[:, [0, 1, 3, 4, 5]], expected)


def test_columns_without_a_value_can_be_left_out(table):
    frame = pd.DataFrame(table, columns=NAMES)
    frame["c2"] = np.nan
    model = PrecGDImputer(keep_empty_features=False, add_indicator=True)
    with pytest.warns(UserWarning, match=r"\(column 'c2'\); they are left out"):
        filled = model.set_output(transform="pandas").fit_transform(frame)
    kept = ["c0", "c1", "c3", "c4", "c5"]
    marks = [f"missingindicator_{name}" for name in NAMES[1:]]
    assert list(filled.columns) == [*kept, *marks]
    assert list(model.impute(frame).columns) == kept
    assert_array_equal(model.get_feature_names_out(), filled.columns)


def test_a_table_without_any_value_is_refused():
    with pytest.raises(ValueError, match="no observed entry"):
        PrecGDImputer().fit(np.full((5, 3), np.nan))


# ---- what is missing


@pytest.mark.parametrize("marks", [np.nan, None, pd.NA, -1, -999.0, 0])
def test_markers(marks, table):
    expected = PrecGDImputer().fit_transform(table)
    X = table
    if isinstance(marks, (int, float)) and marks == marks:
        X = np.where(np.isnan(table), marks, table)
    elif marks is None or marks is pd.NA:
        X = np.where(np.isnan(table), marks, table.astype(object))
    assert_array_equal(PrecGDImputer(missing_values=marks).fit_transform(X), expected)


def test_integers_become_floats(rng):
    X = rng.integers(1, 100, size=(60, 5))
    X[rng.random(X.shape) < 0.2] = -1
    X[:, 0] = np.abs(X[:, 0])
    filled = PrecGDImputer(missing_values=-1).fit_transform(X)
    assert filled.dtype == np.float64
    assert_array_equal(filled[X != -1], X[X != -1])
    assert np.all(filled[X == -1] != -1)


def test_nan_beside_another_marker_is_refused(table):
    with pytest.raises(ValueError, match="with missing_values=-1 a cell is missing if"):
        PrecGDImputer(missing_values=-1).fit(table)


def test_entries_that_are_not_stored_may_be_missing(table):
    stored = sparse.csr_array(np.nan_to_num(table))
    filled = PrecGDImputer(missing_values=0).fit_transform(stored)
    assert_array_equal(filled, PrecGDImputer().fit_transform(table))
    with pytest.raises(TypeError, match="Sparse data was passed"):
        PrecGDImputer().fit(stored)


# ---- containers


def of_pandas(kind, table):
    frame = pd.DataFrame(table, columns=NAMES)
    if kind == "object":
        return frame.astype(object).where(frame.notna(), None)
    if kind == "arrow":
        pytest.importorskip("pyarrow", exc_type=ImportError)
        kind = "double[pyarrow]"
    if kind == "sparse":
        kind = pd.SparseDtype(float, np.nan)
    if kind == "sparse zeros":
        kind = pd.SparseDtype(float, 0.0)
    return frame.astype(kind)


def of_polars(table):
    polars = pytest.importorskip("polars")
    return polars.DataFrame(table, schema=NAMES).fill_nan(None)


def of_arrow(table):
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    return pyarrow.table(
        {name: np.ma.masked_invalid(c) for name, c in zip(NAMES, table.T, strict=True)}
    )


def of_xarray(table):
    xarray = pytest.importorskip("xarray")
    return xarray.DataArray(table, dims=("time", "place"))


CONTAINERS = {
    **{
        kind: partial(of_pandas, kind)
        for kind in ("float64", "Float64", "object", "arrow", "sparse", "sparse zeros")
    },
    "polars": of_polars,
    "arrow table": of_arrow,
    "xarray": of_xarray,
    "masked array": np.ma.masked_invalid,
    "list": lambda table: table.tolist(),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_read_like_arrays(name, table):
    expected = PrecGDImputer().fit_transform(table)
    X = CONTAINERS[name](table)
    model = PrecGDImputer().fit(X)
    assert_array_equal(model.transform(X), expected)
    filled, std = model.impute(X, return_std=True)
    assert_array_equal(filled, expected)
    assert_array_equal(std > 0, np.isnan(table))


def test_frames_come_back_with_index_and_names(table):
    frame = pd.DataFrame(table, columns=NAMES, index=np.arange(len(table)) * 3)
    model = PrecGDImputer(add_indicator=True).set_output(transform="pandas")
    filled = model.fit_transform(frame)
    assert list(filled.columns[:6]) == NAMES
    assert_array_equal(filled.index, frame.index)
    values, std = model.impute(frame, return_std=True)
    for part in (values, std):
        assert list(part.columns) == NAMES
        assert_array_equal(part.index, frame.index)
    where = MissingIndicator().fit(table)
    assert_array_equal(filled.iloc[:, 6:], where.transform(table))
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[NAMES[::-1]])


def test_polars_frames_come_back(table):
    polars = pytest.importorskip("polars")
    model = PrecGDImputer().set_output(transform="polars")
    filled = model.fit_transform(of_polars(table))
    assert isinstance(filled, polars.DataFrame)
    assert filled.columns == NAMES


@pytest.mark.parametrize("kind", ["array", "frame"])
@pytest.mark.parametrize("marks", [np.nan, 0])
def test_chunks_are_filled_lazily(kind, marks, rng):
    """Without noise, the fit in chunks and the one in memory find the same matrix."""
    da = pytest.importorskip("dask.array")
    truth = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 10)) + 3.0
    X = np.where(rng.random(truth.shape) < 0.2, marks, truth)
    X[:, 4] = marks
    if kind == "array":
        lazy = da.from_array(X, chunks=(20, 10))
    else:
        dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
        frame = pd.DataFrame(X, columns=[f"c{k}" for k in range(10)])
        lazy = dd.from_pandas(frame, npartitions=4)
    model = PrecGDImputer(add_indicator=True, missing_values=marks, center="columns")
    with pytest.warns(UserWarning, match="no observed entry"):
        filled = model.fit_transform(lazy)
    assert isinstance(filled, da.Array)
    found = filled.compute()
    truth[:, 4] = 0.0
    assert_allclose(found[:, :10], truth, atol=1e-6 * np.abs(truth).max())
    holes = marks == X if marks == 0 else np.isnan(X)
    assert_array_equal(found[:, 10:], holes[:, model.indicator_.features_])
    for refused in (
        lambda: model.impute(lazy),
        lambda: clone(model).set_params(sample_posterior=True).fit_transform(lazy),
        lambda: clone(model).fit_transform(lazy, entry_weight=np.ones(X.shape)),
        lambda: clone(model).set_params(missing_values=-1).fit(lazy),
    ):
        with (
            pytest.raises(ValueError, match="in memory"),
            warnings.catch_warnings(action="ignore"),
        ):
            refused()


@pytest.mark.parametrize("complete", [False, True])
def test_noise_is_learned_of_chunks(complete, rng):
    da = pytest.importorskip("dask.array")
    truth, X = tables(rng)
    fitted = truth if complete else X
    model = PrecGDImputer().fit(da.from_array(fitted, chunks=(50, 6)))
    expected = PrecGDImputer().fit(fitted).transform(X)
    assert_allclose(model.transform(X), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="How sure entries are"):
        model.impute(X, return_std=True)


@pytest.mark.parametrize(
    "column",
    [
        ["a", "b", "c", None] * 2,
        pd.Categorical(["x", "y", "x", "y"] * 2),
        pd.date_range("2020-01-01", periods=8),
    ],
)
def test_columns_of_text_and_dates_are_named(column):
    frame = pd.DataFrame({"size": np.arange(8.0), "other": column})
    with pytest.raises(ValueError, match=r"'other'.*ColumnTransformer") as error:
        PrecGDImputer().fit(frame)
    assert "\n" not in str(error.value)


# ---- how sure


def test_deviations_are_those_of_the_fit(table):
    model = PrecGDImputer().fit(table)
    i, j = np.nonzero(np.isnan(table))
    std = model.impute(table, return_std=True)[1][i, j]
    expected = model.factorization_.predict_entries(i, j, return_std=True)[1]
    assert_allclose(std, expected, rtol=1e-8)


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_deviations_hold_for_new_rows(inference, rng):
    truth, X = tables(rng, n_rows=600, noise=0.5)
    model = PrecGDImputer(inference=inference, random_state=0).fit(X[:300])
    filled, std = model.impute(X[300:], return_std=True)
    holes = np.isnan(X[300:])
    errors = ((filled - truth[300:]) / np.where(holes, std, 1.0))[holes]
    assert 0.8 < np.mean(errors**2) < 1.25


@pytest.mark.parametrize("inference", ["variational", "gibbs"])
def test_draws_have_the_moments_of_the_posterior(inference, table):
    rows = table[:12]
    model = PrecGDImputer(inference=inference, random_state=0).fit(table)
    mean, std = model.impute(rows, return_std=True)
    holes = np.isnan(rows)
    model.set_params(sample_posterior=True)
    draws = np.stack([model.transform(rows)[holes] for _ in range(200)])
    # An average of 200 numbers; the largest of some dozens of them.
    gap = np.abs(draws.mean(axis=0) - mean[holes]) / std[holes]
    assert np.max(gap) < 6 / np.sqrt(200)
    assert abs(np.median(draws.std(axis=0) / std[holes]) - 1) < 0.1


def test_draws_differ_by_call_and_agree_by_seed(table):
    make = partial(PrecGDImputer, sample_posterior=True)
    model, again = (make(random_state=1).fit(table) for _ in range(2))
    first, second = model.transform(table), model.transform(table)
    assert_array_equal(first, again.transform(table))
    holes = np.isnan(table)
    assert np.all(first[holes] != second[holes])
    assert_array_equal(first[~holes], table[~holes])


# ---- limits


@pytest.mark.parametrize("draws", [False, True])
def test_limits(draws, table):
    low = np.nanquantile(table, 0.4, axis=0)
    model = PrecGDImputer(
        min_value=low, max_value=1e4, sample_posterior=draws, random_state=0
    )
    filled, holes = model.fit_transform(table), np.isnan(table)
    assert np.all(filled[holes] >= np.broadcast_to(low, table.shape)[holes])
    assert np.all(filled[holes] <= 1e4)
    assert_array_equal(filled[~holes], table[~holes])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_value": [0.0, 1.0]}, "min_value must be a number, or one for each of"),
        ({"min_value": 2, "max_value": 1}, "min_value must not exceed max_value"),
        ({"max_value": [np.nan] * 6}, "min_value must not exceed max_value"),
        ({"max_value": "most"}, "max_value"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits, message, table):
    with pytest.raises(ValueError, match=message):
        PrecGDImputer(**limits).fit(table)


# ---- weights, samples of rows


def test_cells_of_weight_zero_have_no_part(table):
    weight = np.ones(table.shape)
    weight[:40, 3] = 0.0
    wrong = table.copy()
    wrong[:40, 3] = 1e6
    filled = PrecGDImputer().fit_transform(wrong, entry_weight=weight)
    table[:40, 3] = np.nan
    expected = PrecGDImputer().fit_transform(table)
    assert_array_equal(filled[:40, 3], 1e6)
    assert_allclose(np.delete(filled, 3, 1), np.delete(expected, 3, 1), rtol=1e-8)


def test_weights_go_with_the_columns_that_are_kept(table):
    weight = np.ones(table.shape)
    weight[:75] = 2.0
    expected = PrecGDImputer().fit_transform(
        np.delete(table, 2, 1), entry_weight=np.delete(weight, 2, 1)
    )
    table[:, 2] = np.nan
    with pytest.warns(UserWarning, match="no observed entry"):
        filled = PrecGDImputer().fit_transform(table, entry_weight=weight)
    assert_array_equal(np.delete(filled, 2, 1), expected)


def test_columns_are_learned_from_a_sample_of_rows(rng):
    truth, X = tables(rng, n_rows=3000)
    some, all_rows = (PrecGDImputer(subsample=k).fit(X) for k in (600, None))
    assert len(some.factorization_.left_) == 600
    assert len(all_rows.factorization_.left_) == 3000
    errors = [relative_error(m.transform(X), truth, X) for m in (some, all_rows)]
    assert errors[0] < 1.02 * errors[1]
    again = PrecGDImputer(subsample=600).fit(X).transform(X)
    assert_array_equal(again, some.transform(X))


def test_a_sample_has_values_of_every_column(rng):
    X = tables(rng, n_rows=3000, share=0.0)[1]
    X[rng.random(3000) < 0.9, 2] = np.nan
    model = PrecGDImputer(subsample=600).fit(X)
    assert 1200 < len(model.factorization_.left_) < 1800
    X[rng.random(3000) < 0.9, 2] = np.nan
    assert len(PrecGDImputer(subsample=600).fit(X).factorization_.left_) == 3000


# ---- as part of something


def test_in_a_pipeline_with_a_search(rng):
    X, y = load_iris(return_X_y=True)
    X[rng.random(X.shape) < 0.2] = np.nan
    pipeline = make_pipeline(
        PrecGDImputer(add_indicator=True), StandardScaler(), LogisticRegression()
    )
    grid = {"precgdimputer__center": ["columns", None]}
    with warnings.catch_warnings():
        # Some rows of iris lose all four values.
        warnings.filterwarnings("ignore", ".*no observed entry")
        found = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert found.best_score_ > 0.8


def test_fitted_imputers_are_stored(table):
    model = PrecGDImputer(sample_posterior=True, random_state=0).fit(table)
    stored = pickle.loads(pickle.dumps(model))
    assert_array_equal(stored.transform(table), model.transform(table))


def test_a_failed_fit_leaves_the_last(table):
    model = PrecGDImputer().fit(table)
    expected = model.transform(table)
    with pytest.raises(ValueError, match="n_components"):
        model.set_params(n_components=50).fit(table[:, :3])
    assert_array_equal(model.transform(table), expected)


def test_nothing_is_said_of_ordinary_tables(table):
    """Neither of iterations nor of scaling nor of ranks: warnings are errors here."""
    for X in (table, table * 1e6, table[:20]):
        PrecGDImputer().fit_transform(X)
