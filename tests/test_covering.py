"""Every pair of accepted options meets in some fit, and every refused pair is refused.

The options stand in two tables, one for each estimator, with the refusals below them.
From these a covering design is built: as few rows as a greedy search needs, so that any
two values that go together are together in one of them. A row is a fit of a small
problem without noise: it gives a result of the right shape that is not absurd, and the
truth where the method is one that finds it. A refused pair gives one sentence that
names a parameter of the pair.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from scipy.special import expit

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.losses import LOSSES
from skprecgd.measurements import RankOneMeasurements, multi_output

da = pytest.importorskip("dask.array")
import dask  # noqa: E402

pytestmark = pytest.mark.slow

Row = dict[str, Any]

LOSS_NAMES = ["squared", *sorted(set(LOSSES) - {"squared"})]
OTHER_LOSSES = set(LOSS_NAMES[1:])
PAIR_ONLY = {"alternating", "alternating-scaledgd", "feedback", "feedback-star"}
FEEDBACK = {"feedback", "feedback-star"}

# Of every option the default comes first.
SHARED: dict[str, list[Any]] = {
    "solver": [
        "auto",
        "precgd",
        "precgd-cg",
        "gauss-newton",
        "scaledgd",
        "gd",
        "alternating",
        "alternating-scaledgd",
        "feedback",
        "feedback-star",
    ],
    "loss": LOSS_NAMES,
    "step_size": ["auto", "exact", "backtracking", "polyak", 0.5],
    "damping": [
        "auto",
        "sqrt_loss",
        "dual_norm",
        "variance_proxy",
        "geometric",
        0.01,
    ],
    "noise_variance": [None, "auto", 1e-6, "each"],
    "weights": [None, "often"],
    "init": ["spectral", "nystrom", "random", "pair"],
    "outlier_fraction": [0.0, 0.1, "auto"],
    "early_stopping": ["auto", True, False],
    "rank_search": ["path", "fixed"],
    "alpha": [0.0, 0.01],
    "dtype": ["float64", "float32"],
    "warm_start": [False, True],
}
FACTORIZATION: dict[str, list[Any]] = {
    "data": [
        "holes",
        "complete",
        "complete sparse",
        "CSR",
        "complete in chunks",
        "holes in chunks",
    ],
    "center": [None, "mean", "columns", "both"],
    **SHARED,
}
SENSING: dict[str, list[Any]] = {
    "data": [
        "dense",
        "sparse rows",
        "rank one",
        "operator",
        "outputs",
        "entries",
        "dense in chunks",
        "triples in chunks",
    ],
    "symmetric": [False, True],
    **SHARED,
}


class Refusal(NamedTuple):
    """Values of two options that do not go together, and the one that is to blame."""

    first: tuple[str, set[Any]]
    second: tuple[str, set[Any]]
    names: str

    def hits(self, row: Mapping[str, Any]) -> bool:
        sides = (self.first, self.second)
        return all(row.get(name, _ABSENT) in values for name, values in sides)


_ABSENT = object()
CORRUPT = ("outlier_fraction", {0.1, "auto"})
# Kinds of data whose rows are solved for in ways of their own.
WITH_ROW_SYSTEMS = ["holes", "complete", "entries", "triples in chunks", "dense"]
CHUNKS = {"complete in chunks", "holes in chunks"}

SHARED_REFUSALS = [
    Refusal(
        ("loss", OTHER_LOSSES), ("noise_variance", {"auto", 1e-6, "each"}), "noise_var"
    ),
    Refusal(CORRUPT, ("loss", OTHER_LOSSES), "outlier_fraction"),
    Refusal(CORRUPT, ("noise_variance", {"auto"}), "outlier_fraction"),
    Refusal(CORRUPT, ("alpha", {0.01}), "outlier_fraction"),
    Refusal(("damping", {"variance_proxy"}), ("noise_variance", {None}), "damping"),
    Refusal(("solver", FEEDBACK), ("rank_search", {"path"}), "solver"),
    Refusal(
        ("solver", FEEDBACK),
        ("step_size", {"exact", "backtracking", "polyak"}),
        "solver",
    ),
    Refusal(("solver", {"feedback-star"}), ("loss", OTHER_LOSSES), "solver"),
]
REFUSALS = {
    PrecGDFactorization: [
        *SHARED_REFUSALS,
        Refusal(("data", {"complete sparse", *CHUNKS}), ("loss", OTHER_LOSSES), "loss"),
        Refusal(("data", {"complete sparse", *CHUNKS}), CORRUPT, "outlier_fraction"),
        Refusal(("data", {"complete sparse"}), ("weights", {"often"}), "entry_weight"),
        Refusal(
            ("data", {"complete sparse", *CHUNKS}),
            ("noise_variance", {"each"}),
            "noise_variance",
        ),
    ],
    PrecGDMatrixSensing: [
        *SHARED_REFUSALS,
        Refusal(("symmetric", {True}), ("solver", PAIR_ONLY), "solver"),
    ],
}
OPTIONS = {PrecGDFactorization: FACTORIZATION, PrecGDMatrixSensing: SENSING}


# ---- the design


class Design:
    """Rows of accepted options in which all values meet that are wanted and can.

    A value of an option is known by its place in the list of all of them; what two
    values have to do with each other stands in square tables.
    """

    def __init__(self, estimator: type) -> None:
        options = OPTIONS[estimator]
        self.values = [(name, v) for name, values in options.items() for v in values]
        self.option = np.repeat(np.arange(len(options)), [*map(len, options.values())])
        n = len(self.values)
        self.forbidden = np.zeros((n, n), dtype=bool)
        for i, j in itertools.combinations(range(n), 2):
            pair = dict([self.values[i], self.values[j]])
            hit = any(refusal.hits(pair) for refusal in REFUSALS[estimator])
            self.forbidden[i, j] = self.forbidden[j, i] = hit
        self.missing = self.option[:, None] != self.option

    def rows(self, wishes: list[Row]) -> list[Row]:
        """A row for each wish that no row before fulfils, and that can be."""
        found: list[Row] = []
        for wish in wishes:
            if any(wish.items() <= row.items() for row in found):
                continue
            chosen = self.completed([self.values.index(v) for v in wish.items()])
            if chosen is not None:
                self.missing[np.ix_(chosen, chosen)] = False
                found.append(dict(self.values[i] for i in sorted(chosen)))
        return found

    def completed(self, chosen: list[int]) -> list[int] | None:
        """With a value of every option, which leave out as few missing pairs as may be.

        None if there are no such values that are accepted.
        """
        if self.forbidden[np.ix_(chosen, chosen)].any():
            return None
        left = ~np.isin(self.option, self.option[chosen])
        if not left.any():
            return chosen
        gains = np.where(left, self.missing[:, chosen].sum(axis=1), -1)
        # The option that promises most, while there still is a choice.
        best = self.option == self.option[np.argmax(gains)]
        for i in sorted(np.flatnonzero(best), key=lambda i: -gains[i]):
            whole = self.completed([*chosen, int(i)])
            if whole is not None:
                return whole
        return None


def wanted(estimator: type) -> list[Row]:
    """Values that are to meet: all pairs, and some triples.

    Alternating least squares alone asks the measurements for the systems of single
    rows, with the weights that the loss and the outliers give them.
    """
    options = OPTIONS[estimator]
    triples = [
        {"solver": "alternating", "data": data, name: value}
        for name in ("loss", "outlier_fraction")
        for data, value in itertools.product(WITH_ROW_SYSTEMS, options[name])
        if data in options["data"]
    ]
    pairs = [
        {a: x, b: y}
        for a, b in itertools.combinations(options, 2)
        for x, y in itertools.product(options[a], options[b])
    ]
    return triples + pairs


@cache
def design(estimator: type) -> list[Row]:
    return Design(estimator).rows(wanted(estimator))


def refused_rows(estimator: type) -> Iterator[tuple[Row, str]]:
    """Every refused pair with defaults beside it, and what its sentence names."""
    options = OPTIONS[estimator]
    defaults = {name: values[0] for name, values in options.items()}
    for (a, values), (b, others), names in REFUSALS[estimator]:
        for x, y in itertools.product(options[a], options[b]):
            if x in values and y in others:
                yield {**defaults, a: x, b: y}, names


@pytest.mark.parametrize("estimator", OPTIONS)
def test_the_design_covers_what_can_meet(estimator):
    rows, possible = design(estimator), Design(estimator)
    for wish in wanted(estimator):
        if not any(wish.items() <= row.items() for row in rows):
            chosen = [possible.values.index(value) for value in wish.items()]
            assert possible.completed(chosen) is None
    refusals = REFUSALS[estimator]
    assert not any(refusal.hits(row) for row in rows for refusal in refusals)
    assert len(rows) <= 125


# ---- the problems

SHAPE, SIDE, N_NEW = (24, 18), 14, 20
# Two for the truth and, of a factorization, three for what is left of offsets.
SEARCH_RANK = 5


def truth(estimator: type) -> np.ndarray:
    """A matrix of rank two, symmetric and semidefinite for sensing."""
    rng = np.random.default_rng(0)
    if estimator is PrecGDFactorization:
        left, right = (rng.standard_normal((n, 2)) for n in SHAPE)
        return left @ right.T / 2
    left = rng.standard_normal((SIDE, 2))
    return left @ left.T / 2


def means(z: np.ndarray, loss: str) -> np.ndarray:
    """Targets without noise: what the loss is least for if the prediction is z."""
    if loss in ("logistic", "poisson"):
        return {"logistic": expit, "poisson": np.exp}[loss](z)
    return 10 * z


def with_errors(values: np.ndarray, row: Row) -> np.ndarray:
    """Three in a hundred values are far off, where the fit is told so."""
    if row["outlier_fraction"] == 0:
        return values
    wrong = np.random.default_rng(1).random(values.shape) < 0.03
    return np.where(wrong, values + 20 * np.std(values), values)


def given_matrix(row: Row) -> tuple[Any, np.ndarray]:
    """What the factorization gets, and the matrix without noise, holes and errors."""
    M = means(truth(PrecGDFactorization), row["loss"])
    kind, rng = row["data"], np.random.default_rng(2)
    if kind == "complete sparse":
        # Zeros are values here: they lie in whole rows, so that the rank stays two.
        M = np.where(np.arange(SHAPE[0])[:, None] % 3 == 0, 0.0, M)
    X = with_errors(M, row).astype(row["dtype"])
    hidden = rng.random(SHAPE) < 0.25
    if kind == "complete sparse":
        return sparse.csr_array(X), M
    if kind == "CSR":
        rows, columns = np.nonzero(~hidden)
        return sparse.csr_array((X[rows, columns], (rows, columns)), SHAPE), M
    if kind.startswith("holes"):
        X = np.where(hidden, np.nan, X).astype(row["dtype"])
    return (da.from_array(X, chunks=(9, 10)) if kind in CHUNKS else X), M


def given_measurements(row: Row) -> tuple[Any, Any, Any, np.ndarray]:
    """Measurements, their targets, new measurements and what to predict for them."""
    M, kind = truth(PrecGDMatrixSensing), row["data"]
    make = {"outputs": outputs, "entries": entries, "triples in chunks": triples}
    X, z, new, new_z = make.get(kind, stacked)(M, kind, np.dtype(row["dtype"]))
    y = with_errors(means(z, row["loss"]), row).astype(row["dtype"])
    if kind == "dense in chunks":
        X = da.from_array(X, chunks=(50, 14, 14))
    if kind == "triples in chunks":
        X, y = chunked(X, y)
    return X, y, new, means(new_z, row["loss"])


def stacked(M: np.ndarray, kind: str, dtype: np.dtype) -> tuple[Any, ...]:
    rng = np.random.default_rng(3)
    n = 180
    A = rng.standard_normal((n + N_NEW, SIDE, SIDE)) / SIDE
    if kind == "rank one":
        a, b = rng.standard_normal((2, len(A), SIDE)) / np.sqrt(SIDE)
        A = np.einsum("ki,kj->kij", a, b)
    if kind == "sparse rows":
        A = np.where(rng.random(A.shape) < 0.3, 2 * A, 0.0)
    z, X = np.einsum("kij,ij->k", A, M), A.astype(dtype)
    given, new = X[:n], X[n:]
    if kind == "sparse rows":
        given, new = (sparse.csr_array(x.reshape(len(x), -1)) for x in (given, new))
    if kind == "operator":
        given, new = (aslinearoperator(x.reshape(len(x), -1)) for x in (given, new))
    if kind == "rank one":
        a, b = a.astype(dtype), b.astype(dtype)
        given = RankOneMeasurements(a[:n], b[:n])
        new = RankOneMeasurements(a[n:], b[n:])
    return given, z[:n], new, z[n:]


def outputs(M: np.ndarray, kind: str, dtype: np.dtype) -> tuple[Any, ...]:
    samples = np.random.default_rng(4).standard_normal((20, SIDE)) / 4
    X, z = multi_output(samples.astype(dtype), (samples @ M).astype(dtype))
    return X[20:], z[20:].astype(float), X[:20], z[:20].astype(float)


def entries(M: np.ndarray, kind: str, dtype: np.dtype) -> tuple[Any, ...]:
    X, z = observed_entries(M.astype(dtype))
    n = len(z) - N_NEW
    return X[:n], z[:n].astype(float), X[n:], z[n:].astype(float)


def triples(M: np.ndarray, kind: str, dtype: np.dtype) -> tuple[Any, ...]:
    rows, columns = np.nonzero(np.random.default_rng(5).random(M.shape) < 0.8)
    new, new_z = observed_entries(M.astype(dtype))
    return (rows, columns), M[rows, columns], new, new_z.astype(float)


def chunked(cells: tuple[np.ndarray, np.ndarray], y: np.ndarray) -> tuple[Any, Any]:
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        dict(zip(("row", "column"), cells, strict=True)) | {"value": y}
    )
    lazy = dd.from_pandas(frame, npartitions=3)
    names = {"row": "row", "column": "column", "value": "value"}
    return observed_entries(lazy, **names, matrix_shape=(14, 14))


# ---- the fits


def model_of(estimator: type, row: Row, shape: tuple[int, int]) -> Any:
    given = {k: v for k, v in row.items() if k not in ("data", "dtype", "weights")}
    if row["init"] == "pair":
        rng = np.random.default_rng(6)
        left, right = (rng.standard_normal((n, 2)) for n in shape)
        given["init"] = (left, left if row.get("symmetric") else right)
    if row["data"] == "CSR":
        given["missing_values"] = 0
    given["tol"] = 1e-4 if row["dtype"] == "float32" else 1e-7
    # Random feedback is there to be compared with, and is not expected to arrive.
    # A step in chunks takes as long as a hundred of these small data in memory.
    slow = row["solver"] in FEEDBACK or row["data"] == "triples in chunks"
    given["max_iter"] = 20 if slow else 400
    return estimator(SEARCH_RANK, random_state=0, **given)


def variances(shape: tuple[int, ...]) -> np.ndarray:
    """Of the noise of each measurement, of which there is none."""
    return np.random.default_rng(7).choice([1e-6, 4e-6], size=shape)


def weights_of(estimator: type, row: Row, shape: tuple[int, ...]) -> Row:
    """What `fit` is given besides the data: some count twice, and some do not count."""
    if row["weights"] is None:
        return {}
    often = np.random.default_rng(8).choice([0, 1, 2], p=[0.1, 0.5, 0.4], size=shape)
    if estimator is PrecGDMatrixSensing:
        return {"sample_weight": often}
    return {"entry_weight": often}


def fitted(estimator: type, row: Row) -> tuple[Any, float]:
    """The fitted model, and its error in units of that of a matrix of zeros."""
    with warnings.catch_warnings(), dask.config.set(scheduler="synchronous"):
        warnings.simplefilter("ignore")
        if estimator is PrecGDFactorization:
            X, expected = given_matrix(row)
            model = model_of(estimator, row, SHAPE)
            data: tuple[Any, ...] = (X,)
        else:
            X, y, new, expected = given_measurements(row)
            model = model_of(estimator, row, (SIDE, SIDE))
            data = (X, y)
        if row["noise_variance"] == "each":
            model.set_params(noise_variance=variances(data[-1].shape))
        weights = weights_of(estimator, row, data[-1].shape)
        if row["warm_start"]:
            n = model.max_iter
            model.set_params(max_iter=3).fit(*data, **weights).set_params(max_iter=n)
        model.fit(*data, **weights)
        if estimator is PrecGDFactorization:
            found = model.inverse_transform(model.transform(X))
        else:
            found = model.predict(new)
    at_zero = means(np.zeros(1), row["loss"])
    error = np.linalg.norm(np.asarray(found) - expected)
    return model, float(error / np.linalg.norm(at_zero - expected))


def largest_error(row: Row) -> float:
    """What the error may be; infinite where nothing is promised."""
    descends = row["step_size"] in ("auto", "exact", "backtracking")
    if row["solver"] in FEEDBACK or not descends:
        return np.inf
    slow = ("gd", "scaledgd", "alternating-scaledgd")
    if row["rank_search"] == "fixed" or row["alpha"] or row["solver"] in slow:
        return 1.0
    # From a random start, offsets and one component more explain so few entries, too.
    if row["init"] == "random" and row.get("center") in ("columns", "both"):
        return 1.0
    # The kinks of the absolute loss make paths from random starts slow: this many steps
    # do not always suffice.
    if row["init"] == "random" and row["loss"] == "absolute":
        return 0.1
    # Which values are wrong may remain unclear where few are given.
    return 1e-3 if row["outlier_fraction"] == 0 else 0.1


def check_result(model: Any, row: Row, shape: tuple[int, int]) -> None:
    r = model.n_components_
    # The offsets of rows are one component more.
    assert 1 <= r <= SEARCH_RANK + (row.get("center") == "both")
    assert model.left_.shape == (shape[0], r)
    assert model.right_.shape == (shape[1], r)
    assert model.left_.dtype == model.components_.dtype == row["dtype"]
    for array in (model.left_, model.right_, model.singular_values_):
        assert np.all(np.isfinite(array))
    assert np.all(np.diff(model.singular_values_) <= 0)
    assert model.stop_reason_


def cases(estimator: type) -> list[Any]:
    return [
        pytest.param(
            row, id=", ".join(f"{k}={v}" for k, v in different(row, estimator))
        )
        for row in design(estimator)
    ]


def different(row: Row, estimator: type) -> list[tuple[str, Any]]:
    """What is not as by default."""
    options = OPTIONS[estimator]
    return [(name, value) for name, value in row.items() if value != options[name][0]]


@pytest.mark.parametrize("row", cases(PrecGDFactorization))
def test_factorization(row):
    model, error = fitted(PrecGDFactorization, row)
    check_result(model, row, SHAPE)
    assert error <= largest_error(row)


@pytest.mark.parametrize("row", cases(PrecGDMatrixSensing))
def test_sensing(row):
    model, error = fitted(PrecGDMatrixSensing, row)
    check_result(model, row, (SIDE, SIDE))
    assert error <= largest_error(row)


REFUSED = [
    pytest.param(
        estimator,
        row,
        names,
        id=", ".join(f"{k}={v}" for k, v in different(row, estimator)),
    )
    for estimator in OPTIONS
    for row, names in refused_rows(estimator)
]


@pytest.mark.parametrize(("estimator", "row", "names"), REFUSED)
def test_what_does_not_go_together_is_said_in_a_sentence(estimator, row, names):
    with pytest.raises(ValueError, match=names) as raised:
        fitted(estimator, row)
    assert len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)
