"""Random fits judged by cells that were hidden before: none is worse than offsets.

Every fit is drawn from its seed alone: data of one of many kinds with noise, units,
precision, container, which cells are hidden and how many (at random, or whole stretches
of columns), weights, one of the estimators that predict cells, and its parameters, each
of them another than the default in one of four fits. What is told is whether a fit was
refused with a sentence (as in `fuzz.py`), warned, or ended in an error from inside, and
for those that end without a word the *ratio*: the root mean square error of the hidden
cells over that of offsets fitted to the same visible cells. These are the offsets that
the fit's `center` stands for (zeros, the mean, means of the columns, or of rows and
columns by least squares with a ridge of half a cell); errors are in standard deviations
of the columns where the estimator takes columns to have units of their own. Only cells
whose row and column have a visible one are judged, at least thirty, and no table of
which a few cells make up most of the offsets' error: a ratio would be one of chance.

    python benchmarks/reliability/hidden_cells.py                        # 10 000, hours
    python benchmarks/reliability/hidden_cells.py --first 50000 --fits 600
    python benchmarks/reliability/hidden_cells.py --first 50123 --fits 1

Exits with 1 if a fit ended in an error from inside, if a ratio is above 1.5, or if more
than one in a hundred are above 1.05; their seeds are printed. Fits with a number for
`alpha`, who ask for that ridge and for no noise to be learned, are counted apart.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from fuzz import (
    Rng,
    contained,
    fault_of,
    is_advice,
    line_of,
    matrix_of,
    print_refusals,
    unit_of,
)
from threadpoolctl import threadpool_limits

from skprecgd import (
    PrecGDFactorization,
    PrecGDImputer,
    PrecGDMatrixSensing,
    PrecGDRecommender,
    observed_entries,
)
from skprecgd.measurements import EntryMeasurements

Array = np.ndarray

LIMIT, WORST, SHARE = 1.05, 1.5, 0.01
LEAST_HIDDEN = 30
# How many cells the error of offsets must be spread over, at least.
LEAST_SPREAD = 15
# Errors below this share of the data's size are none: offsets of a constant have some.
NOTHING = 1e-4

# The first is the default.
SHARED: dict[str, list[Any]] = {
    "noise": ["auto", "uniform", "columns"],
    "noise_tail": ["auto", "normal", "t"],
    "inference": ["variational", "gibbs"],
}
OF_THE_PATH: dict[str, list[Any]] = {
    "alpha": ["auto", 0.0, 0.1],
    "alpha_scaling": [0.0, 1.0],
    "solver": ["auto", "precgd", "precgd-cg", "gauss-newton", "alternating"],
    "rank_search": ["path", "fixed"],
    "step_size": ["auto", "exact", "backtracking", 0.5],
    "damping": ["auto", "sqrt_loss", "dual_norm", "geometric"],
    "init": ["spectral", "nystrom", "random"],
    "outlier_fraction": [0.0, 0.1, "auto"],
    "early_stopping": ["auto", True],
    "validation_fraction": [0.1, 0.3],
    "max_iter": [1000, 20],
    "tol": ["auto", 1e-3, 1e-8],
    "store_pattern": [True, False],
}
CENTERS = [None, "mean", "columns", "both"]


def drawn(rng: Rng, choices: dict[str, list[Any]]) -> dict[str, Any]:
    """A value for each parameter, the default in three of four fits."""
    values = {}
    for name, (default, *others) in choices.items():
        keep = rng.random() < 0.75
        values[name] = default if keep else others[int(rng.integers(len(others)))]
    return values


# ---- data


@dataclass(frozen=True)
class Table:
    """A matrix of which some cells are visible.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_columns)
        All of it, in its units.
    hidden : ndarray of bool, shape (n_rows, n_columns)
    unit : float
        The size of a typical number.
    what : str
        The data in words.
    """

    X: Array
    hidden: Array
    unit: float
    what: str

    @property
    def judged(self) -> Array:
        seen = ~self.hidden
        return self.hidden & seen.any(axis=1)[:, None] & seen.any(axis=0)


def table_of(rng: Rng) -> Table:
    """A table with enough hidden cells to judge by."""
    dtype = str(rng.choice(["float64", "float32"]))
    while True:
        n, m = np.exp(rng.uniform(np.log(8), np.log(120), 2))
        shape = int(n), int(m)
        X, kind = matrix_of(rng, shape)
        noise = float(rng.choice([0.0, 0.1, 0.5, 1.0]))
        X = X + noise * np.std(X, axis=0) * rng.standard_normal(shape)
        share = float(rng.choice([0.02, 0.1, 0.3, 0.6, 0.8, 0.95]))
        stretches = rng.random() < 0.25
        hidden = (in_stretches if stretches else at_random)(rng, shape, share)
        table = Table(X, hidden, unit_of(rng, dtype), "")
        if np.sum(table.judged) >= LEAST_HIDDEN and not hidden.all():
            break
    how = "in stretches" if stretches else "at random"
    what = (
        f"{kind} {shape} {dtype} unit {table.unit:.0e}, noise {noise:g}, "
        f"{hidden.mean():.0%} hidden {how}"
    )
    return Table((table.unit * X).astype(dtype), hidden, table.unit, what)


def at_random(rng: Rng, shape: tuple[int, ...], share: float) -> Array:
    return rng.random(shape) < share


def in_stretches(rng: Rng, shape: tuple[int, ...], share: float) -> Array:
    """One stretch of rows in each column."""
    n = shape[0]
    begins = rng.integers(n, size=shape[1])
    places = (np.arange(n)[:, None] - begins) % n
    return np.asarray(places < share * n)


# ---- what is fitted: each takes the data, and returns what is asked about


@dataclass
class Case:
    """An estimator, what it is fitted to, and how it predicts cells.

    Attributes
    ----------
    model : estimator
    fit : callable
        Fits it.
    predict : callable
        From rows and columns of cells to what is predicted of them.
    center : str or None
        The offsets that it has.
    """

    model: Any
    fit: Callable[[], Any]
    predict: Callable[[Array, Array], Array]
    center: str | None


def components_of(rng: Rng, shape: tuple[int, ...]) -> int | str:
    if rng.random() < 0.3:
        return "auto"
    return int(rng.integers(1, min(12, *shape) + 1))


def weights_of(rng: Rng, shape: tuple[int, ...]) -> Array | None:
    return rng.choice([1.0, 2.5], shape) if rng.random() < 0.1 else None


def imputer(rng: Rng, table: Table) -> Case:
    parameters = drawn(
        rng,
        {
            **SHARED,
            "center": ["columns", "both", "mean", None],
            "subsample": [20000, None, 100],
            "add_indicator": [False, True],
        },
    )
    model = PrecGDImputer(components_of(rng, table.X.shape), **parameters)
    container = str(rng.choice(["array", "frame", "fortran", "list"]))
    X, _ = contained(table.X, table.hidden, container)
    weights = weights_of(rng, table.X.shape)

    def predict(rows: Array, columns: Array) -> Array:
        return np.asarray(model.transform(X))[rows, columns]

    return Case(
        model, lambda: model.fit(X, entry_weight=weights), predict, model.center
    )


def factorization(rng: Rng, table: Table) -> Case:
    parameters = drawn(rng, {**SHARED, **OF_THE_PATH})
    container = str(rng.choice(["array", "csr", "csc", "coo", "frame", "masked"]))
    X, missing = contained(table.X, table.hidden, container)
    model = PrecGDFactorization(
        components_of(rng, table.X.shape),
        missing_values=missing,
        center=CENTERS[int(rng.integers(4))],
        **in_units(parameters, table.unit),
    )
    weights = weights_of(rng, table.X.shape)
    return Case(
        model,
        lambda: model.fit(X, entry_weight=weights),
        model.predict_entries,
        model.center,
    )


def sensing(rng: Rng, table: Table) -> Case:
    parameters = drawn(rng, {**SHARED, **OF_THE_PATH})
    holed = np.where(table.hidden, np.nan, table.X).astype(table.X.dtype)
    X, y = observed_entries(holed)
    model = PrecGDMatrixSensing(
        components_of(rng, table.X.shape),
        center=CENTERS[int(rng.integers(4))],
        **in_units(parameters, table.unit),
    )
    weights = weights_of(rng, y.shape)

    def predict(rows: Array, columns: Array) -> Array:
        asked = EntryMeasurements(rows, columns, table.X.shape, table.X.dtype)
        return np.asarray(model.predict(asked))

    return Case(
        model, lambda: model.fit(X, y, sample_weight=weights), predict, model.center
    )


def recommender(rng: Rng, table: Table) -> Case:
    parameters = drawn(
        rng, {"inference": SHARED["inference"], "features": [None, "seen"]}
    )
    pairs = np.argwhere(~table.hidden)
    most = int(rng.integers(1, min(12, *table.X.shape) + 1))
    components = None if rng.random() < 0.5 else most
    model = PrecGDRecommender(components, unobserved_weight=0.0, **parameters)
    y = table.X[tuple(pairs.T)]

    def predict(rows: Array, columns: Array) -> Array:
        return np.asarray(model.predict(np.column_stack([rows, columns])))

    return Case(model, lambda: model.fit(pairs, y), predict, "both")


def in_units(parameters: dict[str, Any], unit: float) -> dict[str, Any]:
    """A ridge has the units of the data."""
    alpha = parameters["alpha"]
    return parameters if alpha == "auto" else {**parameters, "alpha": alpha * unit}


ESTIMATORS = [imputer, factorization, sensing, recommender]
# How often each is drawn.
SHARES = [0.4, 0.35, 0.15, 0.1]


def draw(seed: int) -> tuple[Table, Case]:
    rng = np.random.default_rng([seed, 27])
    table = table_of(rng)
    make = ESTIMATORS[int(rng.choice(len(ESTIMATORS), p=SHARES))]
    case = make(rng, table)
    case.model.set_params(random_state=int(rng.integers(2**31 - 1)))
    return table, case


# ---- the judge


def offsets(table: Table, center: str | None) -> Array:
    """What the offsets of a `center` predict, from the visible cells alone."""
    X = table.X.astype(np.float64)
    seen = ~table.hidden
    if center is None:
        return np.zeros(X.shape)
    mean = float(np.mean(X[seen]))
    if center == "mean":
        return np.full(X.shape, mean)
    rest = np.where(seen, X - mean, 0.0)
    if center == "columns":
        counts = np.maximum(seen.sum(axis=0), 1)
        return np.broadcast_to(mean + rest.sum(axis=0) / counts, X.shape)
    return mean + rows_and_columns(rest, seen)


def rows_and_columns(rest: Array, seen: Array, ridge: float = 0.5) -> Array:
    """Offsets of rows and of columns by least squares, found in turns."""
    row, column = np.zeros((len(rest), 1)), np.zeros((1, rest.shape[1]))
    for _ in range(200):
        row = np.sum(np.where(seen, rest - column, 0), axis=1, keepdims=True)
        row /= seen.sum(axis=1, keepdims=True) + ridge
        column = np.sum(np.where(seen, rest - row, 0), axis=0, keepdims=True)
        column /= seen.sum(axis=0, keepdims=True) + ridge
    return row + column


def ratio_of(table: Table, case: Case) -> float:
    """The error of the judged cells over that of the offsets of the fit's centre.

    NaN where a few cells make up most of the latter.
    """
    cells = np.nonzero(table.judged)
    truth = table.X.astype(np.float64)
    units = np.full(truth.shape, table.unit)
    # Of uniform noise the user says that columns have one unit.
    uniform = case.model.get_params().get("noise") == "uniform"
    if case.center == "columns" and not uniform:
        spreads = np.std(truth, axis=0)
        size = np.maximum(spreads, NOTHING * np.max(np.abs(truth), axis=0))
        units = np.broadcast_to(np.where(size > 0, size, table.unit), truth.shape)

    def squares(predicted: Array) -> Array:
        return ((np.asarray(predicted, np.float64) - truth[cells]) / units[cells]) ** 2

    theirs = squares(offsets(table, case.center)[cells])
    ours = squares(case.predict(*cells))
    if not np.all(np.isfinite(ours)):
        return np.inf
    if np.sum(theirs) ** 2 < LEAST_SPREAD * np.sum(theirs**2):
        return np.nan
    nothing = NOTHING * float(np.sqrt(np.mean((truth / units) ** 2))) or NOTHING
    errors = (np.sqrt(np.mean(each)) + nothing for each in (ours, theirs))
    return float(next(errors) / next(errors))


# ---- all of them


@dataclass(frozen=True)
class Outcome:
    """How a fit ended.

    Attributes
    ----------
    seed : int
    kind : {"silent", "warned", "given alpha", "not judged", "refused", "fault"}
    ratio : float
        Of those that were fitted.
    lines : tuple of str
        The sentence, the fault or what was fitted.
    """

    seed: int
    kind: str
    ratio: float
    lines: tuple[str, ...]


def run(seed: int) -> Outcome:
    table, case = draw(seed)
    ratio = np.nan
    given = case.model.get_params().items()
    default = type(case.model)().get_params()
    changed = ", ".join(
        f"{name}={value!r}"
        for name, value in given
        if repr(default[name]) != repr(value) and name != "random_state"
    )
    what = f"{type(case.model).__name__} {table.what}; {changed}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            case.fit()
            ratio = ratio_of(table, case)
        except Exception as error:
            fault = fault_of(error)
            kind = "fault" if fault else "refused"
            return Outcome(seed, kind, ratio, (fault or str(error), what))
    numpys = [line_of(warning) for warning in caught if not is_advice(warning)]
    if numpys or ratio == np.inf:
        return Outcome(seed, "fault", ratio, (*numpys, f"ratio {ratio}", what))
    if np.isnan(ratio):
        kind = "not judged"
    elif getattr(case.model, "alpha", "auto") != "auto":
        kind = "given alpha"
    else:
        kind = "warned" if caught else "silent"
    told = tuple(str(warning.message)[:100] for warning in caught)
    return Outcome(seed, kind, ratio, (what, *dict.fromkeys(told)))


def print_ratios(kind: str, outcomes: list[Outcome]) -> None:
    """How many there are, how many lie above the limits, and quantiles."""
    ratios = np.array([outcome.ratio for outcome in outcomes])
    if not ratios.size:
        print(f"{kind:12}    0")
        return
    levels = np.quantile(ratios, (0.1, 0.5, 0.9, 0.99, 1.0))
    print(
        f"{kind:12}{len(ratios):5}, above {LIMIT}: {np.sum(ratios > LIMIT)} "
        f"({np.mean(ratios > LIMIT):.1%}), above {WORST}: {np.sum(ratios > WORST)}; "
        "quantiles 10, 50, 90, 99, 100 %: "
        + " ".join(f"{level:.3f}" for level in levels)
    )


def ended(seeds: range, processes: int) -> Iterator[Outcome]:
    """The outcomes in order; one thread a process, for the fits are small."""
    if processes == 1:
        with threadpool_limits(1):
            yield from map(run, seeds)
        return
    pools = ProcessPoolExecutor(processes, initializer=threadpool_limits, initargs=(1,))
    with pools as pool:
        yield from pool.map(run, seeds, chunksize=10)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--fits", type=int, default=10_000)
    options.add_argument("--first", type=int, default=0, help="seed of the first fit")
    options.add_argument("--processes", type=int, default=2)
    args = options.parse_args()
    seeds = range(args.first, args.first + args.fits)
    print(f"Seeds {seeds[0]} to {seeds[-1]}.")
    start = time.perf_counter()
    outcomes = []
    for outcome in ended(seeds, args.processes):
        outcomes.append(outcome)
        worse = outcome.kind in ("silent", "given alpha") and outcome.ratio > LIMIT
        if worse or outcome.kind == "fault" or args.fits == 1:
            lines = "\n    ".join(outcome.lines)
            told = f"{outcome.kind}, {outcome.ratio:.3f}: {lines}"
            print(f"{outcome.seed}: {told}", flush=True)
    print_refusals(outcomes)
    of: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        of.setdefault(outcome.kind, []).append(outcome)
    for kind in ("silent", "warned", "given alpha"):
        print_ratios(kind, of.get(kind, []))
    counts = Counter(outcome.kind for outcome in outcomes)
    print(
        f"{len(seeds)} fits, {counts['refused']} refused, {counts['not judged']} not "
        f"judged, {counts['fault']} faults; "
        f"{time.perf_counter() - start:.0f} s."
    )
    ratios = np.array([outcome.ratio for outcome in of.get("silent", [])] or [0.0])
    failed = counts["fault"] or ratios.max() > WORST or np.mean(ratios > LIMIT) > SHARE
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
