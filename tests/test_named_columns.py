"""Errors about the values of a matrix name its columns and say what to do."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pytest
from scipy import sparse

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.model_selection import EntryKFold, EntryShuffleSplit

NUMBERS = np.random.default_rng(0).standard_normal((12, 4))
TARGETS = NUMBERS @ np.array([1.0, 2.0, 2.0, 4.0])
CURE = (
    "encode text as numbers, replace markers of missing values by NaN, count the days "
    "of dates, or drop what is neither"
)


def fitted(*columns):
    """A factorization of data whose columns have these names."""
    pd = pytest.importorskip("pandas")
    return PrecGDFactorization(1).fit(pd.DataFrame(NUMBERS, columns=list(columns)))


def fitted_sensing(*columns):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(NUMBERS, columns=list(columns))
    return PrecGDMatrixSensing(1, matrix_shape=(2, 2)).fit(frame, TARGETS)


WAYS_IN = {
    "fit": lambda X: PrecGDFactorization(1).fit(X),
    "fit_transform": lambda X: PrecGDFactorization(1).fit_transform(X),
    "transform": lambda X: fitted(*X.columns).transform(X),
    "score": lambda X: fitted(*X.columns).score(X),
    "fit CV": lambda X: PrecGDFactorizationCV([1], cv=2).fit(X),
    "EntryKFold": lambda X: list(EntryKFold(2).split(X)),
    "EntryShuffleSplit": lambda X: list(EntryShuffleSplit(2).split(X)),
    "observed_entries": observed_entries,
    "sensing fit": lambda X: PrecGDMatrixSensing(1).fit(X, TARGETS),
    "sensing fit CV": lambda X: PrecGDMatrixSensingCV([1], cv=2).fit(X, TARGETS),
    "sensing predict": lambda X: fitted_sensing(*X.columns).predict(X),
    "sensing transform": lambda X: fitted_sensing(*X.columns).transform(X),
    "sensing score": lambda X: fitted_sensing(*X.columns).score(X, TARGETS),
}


def columns_with(**others):
    """A data frame of four columns, some of which are given."""
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(NUMBERS, columns=list("abcd"))
    return frame.assign(**others)


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize(
    ("kind", "held"), [("text", "str"), ("objects", "Box"), ("categories", "str")]
)
def test_columns_of_other_things_are_named(way, kind, held):
    pd = pytest.importorskip("pandas")

    class Box:
        pass

    values = {
        "text": ["one", "two"] * 6,
        "objects": [Box()] * 12,
        "categories": pd.Categorical(["one", "two"] * 6),
    }
    with pytest.raises((TypeError, ValueError)) as caught:
        WAYS_IN[way](columns_with(b=values[kind]))
    message = str(caught.value)
    assert message.startswith(
        f"X must hold numbers, unlike column 'b' ({held}): {CURE}"
    )
    assert message.count("\n") == 0


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("alone", [True, False])
def test_columns_of_dates_are_named(way, alone):
    """NumPy reads dates as numbers of nanoseconds, if there is nothing else."""
    pd = pytest.importorskip("pandas")
    dates = pd.date_range("2020-01-01", periods=12)
    frame = columns_with(b=dates, d=dates - dates[0])
    if alone:
        frame = columns_with(a=dates, b=dates, c=dates, d=dates)
    with pytest.raises(ValueError, match=re.escape(CURE)) as caught:
        WAYS_IN[way](frame)
    named = re.findall(r"'(\w)' \((datetime|timedelta)", str(caught.value))
    assert [name for name, _ in named] == (list("abcd") if alone else ["b", "d"])


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_column_with_infinity_is_named(way):
    frame = columns_with(c=np.where(np.arange(12) == 5, -np.inf, 1.0))
    with pytest.raises(ValueError, match=r"contains infinity.* in column 'c': "):
        WAYS_IN[way](frame)


@pytest.mark.parametrize("way", [way for way in WAYS_IN if way.startswith("sensing")])
def test_measurements_with_nan_are_named(way):
    frame = columns_with(c=np.where(np.arange(12) == 5, np.nan, 1.0))
    message = "contains NaN in column 'c': leave out the rows that are not finite"
    with pytest.raises(ValueError, match=message) as caught:
        WAYS_IN[way](frame)
    assert "HistGradientBoosting" not in str(caught.value)


# ---- arrays have no names


ARRAYS = {
    "text": np.array([["1.5", "x"], ["2", "y"]]),
    "objects": np.array([[1.5, "x"], [2, "y"]], dtype=object),
    "lists": [[1.5, "x"], [2, "y"]],
    "dates among objects": np.array([[1.5, datetime.date(2020, 1, 1)]] * 2),
    "objects that NumPy has": np.array([[1.5, np.datetime64("2020", "s")]] * 2),
    "masked objects": np.ma.array(
        [[1.5, "x"], [2, "y"]], mask=[[True, False], [False, False]], dtype=object
    ),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_columns_of_arrays_are_numbered(kind):
    with pytest.raises(
        (TypeError, ValueError), match=r"unlike column 1 \((str|date|datetime64)\)"
    ):
        PrecGDFactorization(1).fit(ARRAYS[kind])


def test_categories_may_be_dates():
    pd = pytest.importorskip("pandas")
    days = pd.Categorical(pd.date_range("2020-01-01", periods=12))
    with pytest.raises(ValueError, match="unlike column 'b' \\(Timestamp\\)"):
        PrecGDFactorization(1).fit(columns_with(b=days))
    numbers = PrecGDFactorization(1).fit(columns_with(b=pd.Categorical([3, 4, 3] * 4)))
    assert numbers.n_features_in_ == 4


@pytest.mark.parametrize("unit", ["datetime64[s]", "timedelta64[D]"])
def test_arrays_of_dates_are_no_numbers(unit):
    dates = np.arange(12).reshape(4, 3).astype(unit)
    for X in (dates, np.ma.array(dates)):
        with pytest.raises(ValueError, match=f"columns 0 .*{re.escape(unit)}.* and 2"):
            PrecGDFactorization(1).fit(X)


def test_other_data_frames_have_names():
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    tables = [
        pa.table({"a": [1.0, 2.0], "day": [datetime.date(2020, 1, 1)] * 2}),
        pa.table({"a": [1.0, 2.0], "day": ["x", "y"]}),
    ]
    for table in tables:
        with pytest.raises((TypeError, ValueError), match="unlike column 'day' "):
            PrecGDFactorization(1).fit(table)


def test_polars_frames_have_names():
    pl = pytest.importorskip("polars")
    for values in ([datetime.date(2020, 1, 1)] * 2, ["x", "y"]):
        with pytest.raises((TypeError, ValueError), match="unlike column 'day' "):
            PrecGDFactorization(1).fit(pl.DataFrame({"a": [1.0, 2.0], "day": values}))


def test_many_columns_are_counted():
    text = np.full((3, 9), "x")
    with pytest.raises(ValueError, match=r"columns 0 \(str\), .* 4 \(str\) and 4 more"):
        PrecGDFactorization(1).fit(text)


def test_partitions_have_names():
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    text = dd.from_pandas(columns_with(b=["one", "two"] * 6), npartitions=2)
    dates = dd.from_pandas(columns_with(b=np.full(12, "2020", "M8[s]")), npartitions=2)
    for lazy in (text, dates):
        with pytest.raises(ValueError, match="unlike column 'b' "):
            PrecGDFactorization(1).fit(lazy)


# ---- NaN where zeros are missing, and other markers


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, np.ma.asarray])
@pytest.mark.parametrize(
    "way", ["fit", "transform", "score", "fit CV", "EntryKFold", "observed_entries"]
)
def test_nan_where_zeros_are_missing(way, container):
    holes = np.where(np.arange(48).reshape(12, 4) == 6, np.nan, NUMBERS)
    zeros = {"missing_values": 0}
    model = PrecGDFactorization(1, **zeros).fit(NUMBERS)
    ways = {
        "fit": lambda X: PrecGDFactorization(1, **zeros).fit(X),
        "transform": model.transform,
        "score": model.score,
        "fit CV": lambda X: PrecGDFactorizationCV([1], cv=2, **zeros).fit(X),
        "EntryKFold": lambda X: list(EntryKFold(2, **zeros).split(X)),
        "observed_entries": lambda X: observed_entries(X, 0),
    }
    with pytest.raises(ValueError, match="contains NaN in column 2: with missing_val"):
        ways[way](container(holes))


def test_nan_in_chunks_where_zeros_are_missing():
    da = pytest.importorskip("dask.array")
    holes = np.where(np.arange(48).reshape(12, 4) == 6, np.nan, NUMBERS)
    with pytest.raises(ValueError, match="contains NaN in column 2: with missing_val"):
        PrecGDFactorization(1, missing_values=0).fit(
            da.from_array(holes, chunks=(4, 4))
        )


@pytest.mark.parametrize(
    "call",
    [
        lambda X: PrecGDFactorization(1, missing_values=-999).fit(X),
        lambda X: PrecGDFactorizationCV([1], missing_values=-999).fit(X),
        lambda X: observed_entries(X, -999),
        lambda X: list(EntryKFold(missing_values=-999).split(X)),
    ],
)
def test_other_markers_are_to_be_replaced(call):
    marked = np.where(NUMBERS > 1, -999.0, NUMBERS)
    cure = re.escape("np.where(X == marker, np.nan, X)")
    with pytest.raises(ValueError, match=f"missing_values.*(nan or 0).*{cure}"):
        call(marked)
    PrecGDFactorization(1, max_iter=1, tol=0).fit(
        np.where(marked == -999, np.nan, marked)
    )
