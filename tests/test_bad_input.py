"""Bad input gets one clear sentence, and takes nothing away from a fitted estimator."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.exceptions import NotFittedError

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
    LinearOperatorMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
    as_measurements,
)
from skprecgd.optim import RANK_SEARCHES

rng = np.random.default_rng(0)
# 30 measurements of a 4 x 3 matrix, an 8 x 6 matrix, and the same with a hole.
A = rng.standard_normal((30, 12))
Y = A @ rng.standard_normal(12)
X = rng.standard_normal((8, 6))
HOLES = X.copy()
HOLES[0, 0] = np.nan
ENTRIES, VALUES = observed_entries(HOLES)
PAIR = (np.ones((4, 2)), np.ones((3, 2)))


def spoilt(array, value):
    """A copy with one bad entry."""
    array = np.array(array, dtype=np.result_type(array, type(value)))
    array.flat[1] = value
    return array


class Bad(NamedTuple):
    """A wrong input and what its error must say (a regular expression)."""

    name: str
    call: Callable[[], Any]
    message: str
    error: type[Exception] = ValueError


def sensing(message, name, X=A, y=Y, **parameters):
    def call():
        return PrecGDMatrixSensing(**parameters).fit(X, y)

    return Bad(f"sensing {name}", call, message)


def factorization(message, name, X=HOLES, **parameters):
    def call():
        return PrecGDFactorization(**parameters).fit(X)

    return Bad(f"factorization {name}", call, message)


def fitted_sensing():
    return PrecGDMatrixSensing(1, matrix_shape=(4, 3)).fit(A, Y)


def fitted_factorization():
    return PrecGDFactorization(2).fit(X)


# What either estimator refuses, parameter by parameter.
PARAMETERS: list[tuple[str, Any]] = [
    *(("n_components", v) for v in (0, -1, 2.5, "two", [1, 2])),
    *(("loss", v) for v in ("absolute deviation", None, 2)),
    *(("solver", v) for v in ("newton", None, 1)),
    *(("rank_search", v) for v in ("grow", None, 0)),
    *(("step_size", v) for v in (0, -0.5, "big", np.nan, np.inf, None)),
    *(("damping", v) for v in (-1e-3, "none", np.nan, np.inf, None)),
    *(("noise_variance", v) for v in (-1.0, "estimate", np.nan, np.inf)),
    *(("init", v) for v in ("svd", None, 3.0)),
    *(("alpha", v) for v in (-1.0, "ridge", np.nan, np.inf, None)),
    *(("alpha_scaling", v) for v in (-1.0, "auto", np.nan, np.inf, None)),
    *(("outlier_fraction", v) for v in (-0.1, 1.5, "some", None)),
    *(("early_stopping", v) for v in ("yes", 1, None)),
    *(("validation_fraction", v) for v in (0.0, 1.0, -0.1, 30, "all")),
    *(("n_iter_no_change", v) for v in (0, 1.5, None)),
    *(("max_iter", v) for v in (0, -5, 10.5, None)),
    *(("tol", v) for v in (-1e-9, "small", np.nan, np.inf, None)),
    *(("random_state", v) for v in ("seed", -1, 1.5)),
    *(("warm_start", v) for v in ("yes", 2, None)),
    *(("verbose", v) for v in (-1, "loud", None)),
]

SENSING = [
    # the measurements
    sensing("Expected 2D array, got 1D array", "X 1-D", A[0], Y[:1]),
    sensing("Found array with dim 4", "X 4-D", A.reshape(30, 3, 2, 2)),
    sensing("Expected 2D array, got scalar array", "X scalar", 3.0),
    sensing("Expected 2D array, got scalar array", "X None", None),
    sensing("could not convert string to float: 'a'", "X text", [["a", "b"]] * 30),
    sensing("inhomogeneous shape", "X ragged", [[1.0, 2.0], [3.0]], [1.0, 2.0]),
    sensing("0 sample", "X without rows", A[:0], Y[:0]),
    sensing("0 feature", "X without columns", A[:, :0]),
    sensing("Input X contains NaN", "X NaN", spoilt(A, np.nan)),
    sensing("Input X contains infinity", "X inf", spoilt(A, np.inf)),
    sensing("Input X contains NaN", "X 3-D NaN", spoilt(A, np.nan).reshape(30, 4, 3)),
    sensing(
        "Input X contains NaN", "X sparse NaN", sparse.csr_array(spoilt(A, np.nan))
    ),
    sensing("not supported: give as_measurements", "X complex", A * 1j),
    sensing(
        "not supported: give as_measurements", "X complex 3-D", A.reshape(30, 4, 3) * 1j
    ),
    sensing(
        "not supported: give as_measurements",
        "X complex sparse",
        sparse.csr_array(A * 1j),
    ),
    # the targets
    sensing("requires y to be passed, but the target y is None", "y None", y=None),
    sensing(
        "needs y, the measured numbers, got None", "entries, y None", ENTRIES, None
    ),
    sensing(r"inconsistent numbers of samples: \[30, 29\]", "y short", y=Y[:-1]),
    sensing("47 measurements and y 46 values", "entries, y short", ENTRIES, VALUES[1:]),
    sensing(r"y should be a 1d array, got .* shape \(30, 2\)", "y 2-D", y=np.c_[Y, Y]),
    sensing(
        r"y must be 1-D, got shape \(47, 1\)",
        "entries, y 2-D",
        ENTRIES,
        VALUES[:, np.newaxis],
    ),
    sensing(r"y should be a 1d array, got .* shape \(\)", "y scalar", y=3.0),
    sensing("Input y contains NaN", "y NaN", y=spoilt(Y, np.nan)),
    sensing("Input y contains infinity", "y inf", y=spoilt(Y, np.inf)),
    sensing("Input y contains NaN", "entries, y NaN", ENTRIES, spoilt(VALUES, np.nan)),
    sensing("Complex data not supported", "y complex", y=Y * 1j),
    sensing("Complex data not supported", "entries, y complex", ENTRIES, VALUES * 1j),
    sensing("y must be numeric, got dtype <U1", "y text", y=np.array(["a"] * 30)),
    # matrix_shape
    sensing(
        r"matrix_shape=\(5, 3\) has 15 cells, but .* 12 columns; .* == 12",
        "matrix_shape of another size",
        matrix_shape=(5, 3),
    ),
    sensing(
        r"matrix_shape=\(3, 4\) does not match .* shape \(4, 3\)",
        "matrix_shape unlike 3-D X",
        A.reshape(30, 4, 3),
        matrix_shape=(3, 4),
    ),
    sensing(
        r"matrix_shape=\(6, 8\) does not match .* shape \(8, 6\)",
        "matrix_shape unlike entries",
        ENTRIES,
        VALUES,
        matrix_shape=(6, 8),
    ),
    sensing(
        r"matrix_shape=\(5, 3\) has 15 cells",
        "matrix_shape unlike an operator",
        aslinearoperator(A),
        matrix_shape=(5, 3),
    ),
    *(
        sensing(
            rf"matrix_shape must be two positive integers .* got {re.escape(repr(v))}",
            f"matrix_shape={v}",
            matrix_shape=v,
        )
        for v in [(12,), (3, 2, 2), (0, 12), (-4, -3), (3.5, 2), (4, "a"), [[4, 3]]]
    ),
    *(
        sensing(
            f"'matrix_shape' parameter .* Got {v!r}",
            f"matrix_shape={v!r}",
            matrix_shape=v,
        )
        for v in [12, "4x3"]
    ),
    # symmetric
    sensing(
        r"symmetric=True needs a square matrix, got matrix_shape=\(4, 3\)",
        "symmetric, not square",
        symmetric=True,
        matrix_shape=(4, 3),
    ),
    sensing(
        "symmetric=True .* 12 columns, which is not a square number",
        "symmetric, no square number of columns",
        symmetric=True,
    ),
    sensing(
        r"symmetric=True needs a square matrix, got matrix_shape=\(4, 3\)",
        "symmetric, 3-D not square",
        A.reshape(30, 4, 3),
        symmetric=True,
    ),
    sensing(
        r"symmetric=True needs a square matrix, got matrix_shape=\(8, 6\)",
        "symmetric, entries not square",
        ENTRIES,
        VALUES,
        symmetric=True,
    ),
    sensing("'symmetric' parameter .* Got 'yes'", "symmetric='yes'", symmetric="yes"),
    # search rank and start
    sensing(
        r"n_components=4 must be at most min\(matrix_shape\)=3: .*=4 .*=3",
        "n_components too large",
        n_components=4,
        matrix_shape=(4, 3),
    ),
    sensing(
        r"n_components=7 must be at most min\(matrix_shape\)=6",
        "entries, n_components too large",
        ENTRIES,
        VALUES,
        n_components=7,
    ),
    *(
        sensing(
            message,
            f"{search}, {name}",
            n_components=2,
            matrix_shape=(4, 3),
            rank_search=search,
            init=init,
        )
        for search in RANK_SEARCHES
        for message, name, init in [
            (
                r"init .* pair \(left, right\), got 3 items",
                "init of three",
                (*PAIR, PAIR[0]),
            ),
            (
                r"init must hold .* \(4, r\) and \(3, r\) .* 1 to 2, got \(3, 2\)",
                "init of the wrong shape",
                PAIR[::-1],
            ),
            (
                r"init must hold .* \(4, r\) and \(3, r\) .* 1 to 2, got \(4, 3\)",
                "init of too high a rank",
                (np.ones((4, 3)), np.ones((3, 3))),
            ),
            ("init must be 2-D, got 0-D", "init of numbers", (1.0, 2.0)),
            ("init must be numeric, got dtype <U4", "init of text", ("left", "right")),
            ("init is complex", "init complex", (1j * PAIR[0], PAIR[1])),
            ("init holds NaN", "init NaN", (spoilt(PAIR[0], np.nan), PAIR[1])),
        ]
    ),
    *(
        sensing(
            "symmetric=True needs an init with left equal to right",
            f"{search}, symmetric, init not",
            rng.standard_normal((30, 9)),
            symmetric=True,
            rank_search=search,
            init=(np.ones((3, 3)), np.zeros((3, 3))),
        )
        for search in RANK_SEARCHES
    ),
    sensing(
        "damping='variance_proxy' needs noise_variance, got None",
        "variance_proxy without noise_variance",
        damping="variance_proxy",
    ),
    *(
        sensing(
            f"'{name}' parameter of PrecGDMatrixSensing .* Got {re.escape(repr(v))}",
            f"{name}={v!r}",
            **{name: v},
        )
        for name, v in PARAMETERS
    ),
    # after fit
    Bad(
        "sensing predict other width",
        lambda: fitted_sensing().predict(A[:, :-1]),
        "X has 11 features, but PrecGDMatrixSensing is expecting 12",
    ),
    Bad(
        "sensing predict other shape",
        lambda: fitted_sensing().predict(A.reshape(30, 3, 4)),
        r"matrix_shape=\(4, 3\) does not match .* shape \(3, 4\)",
    ),
    Bad(
        "sensing predict entries of another matrix",
        lambda: fitted_sensing().predict(ENTRIES),
        r"matrix_shape=\(4, 3\) does not match .* shape \(8, 6\)",
    ),
    Bad(
        "sensing predict operator of another width",
        lambda: fitted_sensing().predict(aslinearoperator(A[:, :10])),
        r"matrix_shape=\(4, 3\) has 12 cells, but .* 10 columns",
    ),
    Bad(
        "sensing transform other width",
        lambda: fitted_sensing().transform(A[:, :-1]),
        "X has 11 features, but PrecGDMatrixSensing is expecting 12",
    ),
    Bad(
        "sensing predict NaN",
        lambda: fitted_sensing().predict(spoilt(A, np.nan)),
        "Input X contains NaN",
    ),
    Bad(
        "sensing score y short",
        lambda: fitted_sensing().score(A, Y[1:]),
        r"inconsistent numbers of samples: \[29, 30\]",
    ),
    *(
        Bad(
            f"sensing {method} before fit",
            lambda method=method: getattr(PrecGDMatrixSensing(), method)(A),
            "not fitted yet",
            NotFittedError,
        )
        for method in ("predict", "transform")
    ),
    Bad(
        "sensing matrix_ before fit",
        lambda: PrecGDMatrixSensing().matrix_,
        "not fitted yet",
        NotFittedError,
    ),
]

FACTORIZATION = [
    factorization("Expected 2D array, got 1D array", "X 1-D", X[0]),
    factorization("Found array with dim 3", "X 3-D", X[np.newaxis]),
    factorization("Expected 2D array, got scalar array", "X None", None),
    factorization("could not convert string to float: 'a'", "X text", [["a"], ["b"]]),
    factorization("0 sample", "X without rows", X[:0]),
    factorization("0 feature", "X without columns", X[:, :0]),
    factorization("Input X contains infinity", "X inf", spoilt(X, np.inf)),
    factorization("Input X contains infinity", "X NaN, -inf", spoilt(HOLES, -np.inf)),
    factorization("Complex data not supported", "X complex", X * 1j),
    factorization(
        "Complex data not supported", "X complex sparse", sparse.csr_array(X * 1j)
    ),
    factorization(
        "Input X contains infinity", "X sparse inf", sparse.csc_array(spoilt(X, np.inf))
    ),
    factorization(
        "sparse X holds NaN .* Use missing_values=0",
        "X sparse NaN",
        sparse.csr_array(HOLES),
    ),
    factorization(
        "Input X contains NaN",
        "X sparse NaN, missing_values=0",
        sparse.csr_array(HOLES),
        missing_values=0,
    ),
    factorization("Input X contains NaN", "X NaN, missing_values=0", missing_values=0),
    factorization("no observed entry", "X all NaN", np.full((4, 3), np.nan)),
    factorization(
        "no observed entry",
        "X all zero, missing_values=0",
        np.zeros((4, 3)),
        missing_values=0,
    ),
    factorization(
        "no observed entry",
        "X sparse, empty, missing_values=0",
        sparse.csr_array((4, 3)),
        missing_values=0,
    ),
    factorization(
        r"n_components=7 must be at most min\(X.shape\)=6: .*=8 .*=6",
        "n_components too large, complete",
        X,
        n_components=7,
    ),
    factorization(
        r"n_components=7 must be at most min\(X.shape\)=6",
        "n_components too large",
        n_components=7,
    ),
    *(
        factorization(
            rf"'missing_values' parameter .* Got {v!r}",
            f"missing_values={v!r}",
            missing_values=v,
        )
        for v in (None, "nan", 1, -1.0, np.inf, True)
    ),
    *(
        factorization(rf"'center' parameter .* Got {v!r}", f"center={v!r}", center=v)
        for v in ("rows", True, 0)
    ),
    *(
        factorization(
            message, f"{kind}, {search}, {name}", data, rank_search=search, init=init
        )
        for kind, data in [("holes", HOLES), ("complete", X)]
        for search in RANK_SEARCHES
        for message, name, init in [
            (
                r"init .* pair \(left, right\), got 1 items",
                "init of one",
                (np.ones((8, 2)),),
            ),
            (
                r"init must hold .* \(8, r\) and \(6, r\) .* 1 to 2, got \(4, 2\)",
                "init of the wrong shape",
                PAIR,
            ),
            (
                "init holds NaN",
                "init NaN",
                (np.full((8, 2), np.nan), np.ones((6, 2))),
            ),
        ]
    ),
    factorization(
        "damping='variance_proxy' needs noise_variance, got None",
        "variance_proxy without noise_variance",
        damping="variance_proxy",
    ),
    *(
        factorization(
            f"'{name}' parameter of PrecGDFactorization .* Got {re.escape(repr(v))}",
            f"{name}={v!r}",
            **{name: v},
        )
        for name, v in [*PARAMETERS, ("n_components", None)]
    ),
    Bad(
        "factorization transform other width",
        lambda: fitted_factorization().transform(X[:, :-1]),
        "X has 5 features, but PrecGDFactorization is expecting 6",
    ),
    Bad(
        "factorization transform inf",
        lambda: fitted_factorization().transform(spoilt(X, np.inf)),
        "Input X contains infinity",
    ),
    Bad(
        "factorization score other width",
        lambda: fitted_factorization().score(X[:, :-1]),
        "X has 5 features, but PrecGDFactorization is expecting 6",
    ),
    Bad(
        "factorization score all missing",
        lambda: fitted_factorization().score(np.full((2, 6), np.nan)),
        "no observed entry",
    ),
    Bad(
        "factorization inverse_transform other width",
        lambda: fitted_factorization().inverse_transform(X),
        "X has 6 columns, but there are 2 components",
    ),
    Bad(
        "factorization inverse_transform NaN",
        lambda: fitted_factorization().inverse_transform(spoilt(X[:, :2], np.nan)),
        "contains NaN",
    ),
    Bad(
        "factorization inverse_transform 1-D",
        lambda: fitted_factorization().inverse_transform(X[0]),
        "Expected 2D array, got 1D array",
    ),
    Bad(
        "factorization inverse_transform sparse",
        lambda: fitted_factorization().inverse_transform(sparse.csr_array(X[:, :2])),
        "Sparse data was passed",
        TypeError,
    ),
    *(
        Bad(
            f"factorization {method} before fit",
            lambda method=method: getattr(PrecGDFactorization(), method)(X),
            "not fitted yet",
            NotFittedError,
        )
        for method in ("transform", "inverse_transform", "score")
    ),
]


def entries(message, name, X, *args, **options):
    return Bad(
        f"observed_entries {name}",
        lambda: observed_entries(X, *args, **options),
        message,
    )


OBSERVED = [
    entries("X contains infinity in column 1", "inf", spoilt(X, np.inf)),
    entries("no observed entry", "all NaN", np.full((2, 2), np.nan)),
    entries("no observed entry", "all zero", np.zeros((2, 2)), 0),
    entries("X must be 2-D, got 1-D", "1-D", X[0]),
    entries("X must be 2-D, got 0-D", "None", None),
    entries("X must be numeric, got dtype <U1", "text", [["a"]]),
    entries(
        "X contains NaN in column 0: with missing_values=0",
        "NaN, missing_values=0",
        HOLES,
        0,
    ),
    entries("sparse X holds NaN", "sparse NaN", sparse.csr_array(HOLES), np.nan),
    entries("X is sparse, so say what", "sparse", sparse.csr_array(X)),
    entries(
        "X contains NaN in column 0: with missing_values=0",
        "sparse NaN, missing_values=0",
        sparse.csr_array(HOLES),
        0,
    ),
    *(
        entries(
            f"missing_values must be nan or 0, got {v!r}", f"missing_values={v!r}", X, v
        )
        for v in ("nan", 1, np.inf)
    ),
    entries(
        r"matrix_shape=\(3, 3\) does not match X of shape \(8, 6\)",
        "matrix_shape",
        X,
        matrix_shape=(3, 3),
    ),
    entries(
        r"matrix_shape must be two positive integers .* got \(8,\)",
        "matrix_shape of one",
        X,
        matrix_shape=(8,),
    ),
    entries(r"must be \(rows, columns, values\), got 2 items", "two lists", ([0], [1])),
    entries(
        "must have equal length, got 1, 1 and 2", "lengths", ([0], [1], [1.0, 2.0])
    ),
    entries("rows .* -1, .* not be negative", "negative row", ([-1], [1], [1.0])),
    entries("columns .* -2, .* not be negative", "negative column", ([1], [-2], [1.0])),
    entries(
        r"rows .* to 5, which must lie in 0\.\.2",
        "row outside",
        ([5], [1], [1.0]),
        matrix_shape=(3, 3),
    ),
    entries("rows must .* integers.* got 0.5 of", "fraction", ([0.5], [1], [1.0])),
    entries("rows must be 1-D, got 2-D", "2-D rows", ([[0]], [[1]], [2.0])),
    entries("rows must be 1-D, got 0-D", "a single triple", (0, 1, 2.0)),
    entries("values must be 1-D, got 0-D", "a single value", ([0], [1], 2.0)),
    entries("array of values must be numeric", "text values", ([0], [0], ["a"])),
    entries("array of values holds NaN", "NaN value", ([0], [1], [np.nan])),
    entries("array of values holds .*infinity", "inf value", ([0], [1], [np.inf])),
    entries("no observed entry", "no triples", ([], [], [])),
    entries(
        "no observed entry", "no triples, shape", ([], [], []), matrix_shape=(2, 2)
    ),
]

MEASUREMENTS = [
    Bad(f"{name} measurements", call, message, error)
    for name, call, message, error in [
        (
            "dense 1-D",
            lambda: DenseMeasurements([1.0, 2.0]),
            "must be 2-D or 3-D, got 1-D",
            ValueError,
        ),
        (
            "dense NaN",
            lambda: DenseMeasurements([[1.0, np.nan]]),
            "NaN or infinity",
            ValueError,
        ),
        (
            "dense text",
            lambda: DenseMeasurements([["a"]]),
            "must be numeric, got dtype <U1",
            ValueError,
        ),
        (
            "dense matrix_shape",
            lambda: DenseMeasurements(A, (5, 3)),
            r"matrix_shape=\(5, 3\) has 15 cells, but .* 12 columns",
            ValueError,
        ),
        (
            "3-D matrix_shape",
            lambda: DenseMeasurements(A.reshape(30, 4, 3), (3, 4)),
            r"matrix_shape=\(3, 4\) does not match .* \(4, 3\)",
            ValueError,
        ),
        (
            "sparse of dense",
            lambda: SparseMeasurements(A),
            "must be a SciPy sparse array, got ndarray",
            ValueError,
        ),
        (
            "sparse inf",
            lambda: SparseMeasurements(sparse.csr_array([[np.inf]])),
            "NaN or infinity",
            ValueError,
        ),
        (
            "entry outside",
            lambda: EntryMeasurements([3], [0], (3, 3)),
            r"rows must lie in 0\.\.2 .* 3",
            ValueError,
        ),
        (
            "entry lengths",
            lambda: EntryMeasurements([1, 2], [0], (3, 3)),
            "equal length, got 2 and 1",
            ValueError,
        ),
        (
            "entry float index",
            lambda: EntryMeasurements([1.0], [0], (3, 3)),
            "rows must be .* integers, got .* float64",
            ValueError,
        ),
        (
            "entry shape",
            lambda: EntryMeasurements([1], [0], (3, 0)),
            r"two positive integers .* got \(3, 0\)",
            ValueError,
        ),
        (
            "rank-one lengths",
            lambda: RankOneMeasurements([[1.0]], [[1.0], [2.0]]),
            "equally many vectors, got 1 and 2",
            ValueError,
        ),
        (
            "rank-one NaN",
            lambda: RankOneMeasurements([[np.nan]]),
            "a holds NaN",
            ValueError,
        ),
        (
            "operator of an array",
            lambda: LinearOperatorMeasurements(A),
            "must be a scipy.sparse.linalg.LinearOperator, got ndarray",
            ValueError,
        ),
        (
            "operator matrix_shape",
            lambda: LinearOperatorMeasurements(aslinearoperator(A), (5, 3)),
            r"matrix_shape=\(5, 3\) has 15 cells",
            ValueError,
        ),
        (
            "full shape",
            lambda: FullObservation((3,)),
            r"two positive integers .* got \(3,\)",
            ValueError,
        ),
        (
            "as_measurements text",
            lambda: as_measurements("abc"),
            "must be numeric, got dtype <U3",
            ValueError,
        ),
        (
            "as_measurements shape",
            lambda: as_measurements(ENTRIES, (3, 3)),
            r"matrix_shape=\(3, 3\) does not match .* \(8, 6\)",
            ValueError,
        ),
        (
            "indexed by cell",
            lambda: ENTRIES[0:2, 0],
            "indexed by measurement only",
            IndexError,
        ),
        ("indexed outside", lambda: ENTRIES[100], "100 is out of bounds", IndexError),
    ]
]

ALL = [*SENSING, *FACTORIZATION, *OBSERVED, *MEASUREMENTS]


def test_the_table_is_long_enough():
    assert len(ALL) >= 40
    names = [bad.name for bad in ALL]
    assert not [name for name in names if names.count(name) > 1]


@pytest.mark.parametrize("bad", ALL, ids=[bad.name for bad in ALL])
def test_bad_input(bad):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(bad.error, match=f"(?s){bad.message}"):
            bad.call()


@pytest.mark.parametrize("estimator", [PrecGDMatrixSensing, PrecGDFactorization])
@pytest.mark.parametrize(
    "name", ["loss", "solver", "rank_search", "step_size", "damping", "init"]
)
def test_an_unknown_name_is_answered_with_the_default(estimator, name):
    default = getattr(estimator(), name)
    model = estimator(**{name: "no such thing"})
    with pytest.raises(ValueError, match=f"'{name}' parameter .*'{default}'"):
        model.fit(X, X[:, 0])


def test_bad_input_is_not_modified():
    for bad in (spoilt(A, np.nan), spoilt(A, np.inf)):
        before = bad.copy()
        with pytest.raises(ValueError, match="X contains"):
            PrecGDMatrixSensing().fit(bad, Y)
        assert_array_equal(bad, before)


# -- a column vector is forgiven, with a warning, as everywhere in scikit-learn ----


def test_column_vector_y():
    model = PrecGDMatrixSensing(1, matrix_shape=(4, 3))
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        model.fit(A, Y[:, np.newaxis])
    assert_array_equal(model.matrix_, fitted_sensing().matrix_)


# -- a failed fit takes nothing away ----------------------------------------------

FAILING_SENSING = {
    "width": ({}, rng.standard_normal((30, 20)), np.ones(29)),
    "y": ({}, rng.standard_normal((30, 20)), Y[:-1]),
    "nan": ({}, spoilt(rng.standard_normal((30, 20)), np.nan), Y),
    "matrix_shape": ({"matrix_shape": (5, 5)}, rng.standard_normal((30, 20)), Y),
    "n_components": ({"n_components": 9}, A, Y),
    "parameter": ({"alpha": -1.0}, A, Y),
    "entries": ({}, ENTRIES, VALUES[1:]),
    "damping": ({"damping": "variance_proxy"}, A, Y),
    "init": ({"init": PAIR[::-1]}, A, Y),
}


@pytest.mark.parametrize("case", FAILING_SENSING)
def test_failed_fit_keeps_the_last_one_sensing(case):
    pandas = pytest.importorskip("pandas")
    parameters, bad_X, bad_y = FAILING_SENSING[case]
    frame = pandas.DataFrame(A, columns=[f"cell{i}" for i in range(12)])
    model = PrecGDMatrixSensing(1, matrix_shape=(4, 3)).fit(frame, Y)
    before = dict(vars(model))
    predictions, matrix = model.predict(frame), model.matrix_
    original = model.get_params()
    model.set_params(**({"matrix_shape": None} | parameters))
    with pytest.raises(ValueError):  # noqa: PT011
        model.fit(bad_X, bad_y)
    model.set_params(**original)
    assert_array_equal(model.predict(frame), predictions)
    assert_array_equal(model.matrix_, matrix)
    assert vars(model) == before


FAILING_FACTORIZATION = {
    "width, inf": ({}, spoilt(rng.standard_normal((9, 7)), np.inf)),
    "width, n_components": ({"n_components": 5}, rng.standard_normal((4, 7))),
    "all missing": ({}, np.full((8, 7), np.nan)),
    "parameter": ({"tol": -1.0}, X),
    "sparse nan": ({}, sparse.csr_array(spoilt(rng.standard_normal((9, 7)), np.nan))),
    "damping": ({"damping": "variance_proxy"}, spoilt(np.ones((9, 7)), np.nan)),
    "init": ({"init": PAIR}, spoilt(np.ones((9, 7)), np.nan)),
}


@pytest.mark.parametrize("case", FAILING_FACTORIZATION)
def test_failed_fit_keeps_the_last_one_factorization(case):
    pandas = pytest.importorskip("pandas")
    parameters, bad_X = FAILING_FACTORIZATION[case]
    frame = pandas.DataFrame(HOLES, columns=list("abcdef"))
    model = PrecGDFactorization(2, center="columns", random_state=0).fit(frame)
    before = dict(vars(model))
    z, score = model.transform(frame), model.score(frame)
    original = model.get_params()
    model.set_params(**parameters)
    for method in (model.fit, model.fit_transform):
        with pytest.raises(ValueError):  # noqa: PT011
            method(bad_X)
    model.set_params(**original)
    assert_array_equal(model.transform(frame), z)
    assert model.score(frame) == score
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in before if name[-1] == "_")


def test_failed_first_fit_leaves_nothing():
    model = PrecGDMatrixSensing(9, matrix_shape=(4, 3))
    with pytest.raises(ValueError, match="n_components=9"):
        model.fit(A, Y)
    assert not [name for name in vars(model) if name.endswith("_")]


# -- empty rows and columns are no error ------------------------------------------


@pytest.mark.parametrize("init", ["spectral", "nystrom", "random", "pair"])
@pytest.mark.parametrize("center", [None, "mean", "columns", "both"])
def test_empty_rows_and_columns(center, init, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    truth = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20)) + 3.0
    full = np.where(rng.random(truth.shape) < 0.8, truth, np.nan)
    full[[4, 9]] = np.nan
    full[:, 7] = np.nan
    if init == "pair":
        init = (rng.standard_normal((30, 4)), rng.standard_normal((20, 4)))
    model = PrecGDFactorization(
        4, center=center, init=init, random_state=global_random_seed, max_iter=20, tol=0
    )
    with pytest.warns(UserWarning, match="no observed entry") as caught:
        z = model.fit_transform(full)
    assert len(caught) == 1
    assert re.search(r"2 row.* and 1 column.* centre", str(caught[0].message))
    completed = model.inverse_transform(z)
    assert np.all(np.isfinite(completed))
    assert_allclose(completed[[4, 9]], np.tile(model.center_, (2, 1)), rtol=1e-12)
    if center == "both":
        # Nothing is known of the column, but something of the rows.
        expected = completed[:, 7] - model.center_[7]
        assert np.ptp(expected) > 0
    else:
        assert_allclose(completed[:, 7], model.center_[7], rtol=1e-12)
    if center == "mean":
        assert np.ptp(model.center_) == 0
    elif center is not None:
        assert_allclose(model.center_[7], np.nanmean(full), rtol=1e-12)


def test_no_warning_without_empty_rows():
    model = PrecGDFactorization(1, max_iter=1, tol=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(HOLES)
    assert not caught
