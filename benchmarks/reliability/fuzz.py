"""Thousands of random fits: each ends in a sound result or in one clear sentence.

A fit is drawn from its seed alone: estimator, kind and shape of the data, container,
precision, units, missing entries, weights and every parameter, valid or not together.
It is fitted, asked for all that its methods return, and fitted once more. Reported are

- errors that are not a sentence of ours or of scikit-learn's: `LinAlgError`, NumPy's
  and SciPy's own complaints, `ZeroDivisionError`, anything raised elsewhere;
- RuntimeWarnings, for data within 1e-100 .. 1e100 (double) or 1e-15 .. 1e15 (single);
- results that are absurd: not finite, in another precision, of the wrong shape, with
  ratios that sum to more than one, called converged but worse than zeros;
- fits that take longer than `--limit` seconds.

    python benchmarks/reliability/fuzz.py                        # 3000 fits, 4 minutes
    python benchmarks/reliability/fuzz.py --first 5000 --fits 300
    python benchmarks/reliability/fuzz.py --first 5123 --fits 1  # one again, in full

The seeds are printed, so that every fault can be had again. Exits with 1 if there is
one.
"""

from __future__ import annotations

import argparse
import linecache
import re
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning
from threadpoolctl import threadpool_limits

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
)
from skprecgd.losses import make_loss
from skprecgd.measurements import EntryMeasurements, RankOneMeasurements

Rng = np.random.Generator

# Powers of ten of the units that the data may be in without a RuntimeWarning.
UNITS = {"float64": 100.0, "float32": 15.0}

# Every parameter with what it may be drawn from; the first is the default, which is
# drawn most of the time.
CHOICES: dict[str, list[Any]] = {
    "loss": ["squared", "huber", "absolute", "logistic", "poisson"],
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
    "rank_search": ["path", "fixed"],
    "step_size": ["auto", "exact", "backtracking", "polyak", 0.5, 30.0],
    "damping": ["auto", "sqrt_loss", "dual_norm", "geometric", "variance_proxy", 0.01],
    "noise_variance": [None, "auto", 0.0, 0.01],
    "init": ["spectral", "nystrom", "random", "pair"],
    "alpha": [0.0, 0.01, 1.0, 1e6],
    "outlier_fraction": [0.0, 0.1, "auto"],
    "early_stopping": ["auto", True, False],
    "validation_fraction": [0.1, 0.5],
    "max_iter": [200, 1, 5],
    "tol": [1e-9, 1e-3, 0.0],
    "warm_start": [False, True],
}
CENTERS = [None, "mean", "columns", "both"]
CONTAINERS = ["array", "csr", "csc", "coo", "frame", "list", "fortran", "masked"]
# How much more often the default of a parameter is drawn than another value.
DEFAULT_SHARE = 0.75


@dataclass
class Case:
    """One fit: the estimator, what it is given, and what is asked of it afterwards.

    Attributes
    ----------
    model : estimator
    given : tuple
        The arguments of `fit`.
    keywords : dict
        Weights, where there are some.
    dtype : str
        Of the data, and so of the fitted factors.
    unit : float
        What a typical number of the data is.
    what : str
        The data in words.
    targets : ndarray
        The numbers that are explained.
    places : tuple of ndarray, default=None
        Rows and columns of the targets, where they are entries of a matrix.
    complete : bool, default=False
        Whether they are all entries of a matrix.
    """

    model: Any
    given: tuple[Any, ...]
    keywords: dict[str, Any]
    dtype: str
    unit: float
    what: str
    targets: np.ndarray
    places: tuple[np.ndarray, np.ndarray] | None = None
    complete: bool = False

    def predictions(self) -> np.ndarray:
        """What the fitted model says of the targets, in the units of the loss."""
        model = self.model
        matrix = model.left_.astype(np.float64) @ model.right_.T
        if self.places is not None:
            return np.asarray((matrix + getattr(model, "center_", 0.0))[self.places])
        X = self.given[0]
        if isinstance(X, RankOneMeasurements):
            return np.asarray(X.forward(model.left_, model.right_), np.float64)
        if isinstance(X, np.ndarray):
            X = X.reshape(len(X), -1)
        return np.asarray(X @ matrix.ravel(), np.float64)


# ---- data


def matrix_of(rng: Rng, shape: tuple[int, int]) -> tuple[np.ndarray, str]:
    """A matrix with entries of about one, of one of many kinds."""
    n, m = shape
    rank = int(rng.integers(1, 4))
    low = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m))
    kinds = {
        "low rank": lambda: low,
        "low rank and noise": lambda: low + 0.3 * rng.standard_normal(shape),
        "noise": lambda: rng.standard_normal(shape),
        "zeros": lambda: np.zeros(shape),
        "constant": lambda: np.full(shape, 0.1),
        "stars": lambda: rng.integers(1, 6, shape).astype(float),
        "counts": lambda: rng.poisson(np.exp(np.clip(low, -8, 8))).astype(float),
        "labels": lambda: (low > 0).astype(float),
        "one entry": lambda: np.where(np.arange(n * m).reshape(shape) == 0, 1.0, 0.0),
        "equal rows": lambda: np.tile(rng.standard_normal(m), (n, 1)),
        "heavy tails": lambda: np.clip(rng.standard_cauchy(shape), -1e6, 1e6),
        "mixed units": lambda: low * 10.0 ** rng.integers(-4, 5, m),
        "large mean": lambda: low + 1e4,
        "ill-conditioned": lambda: low * np.geomspace(1, 1e-7, m),
    }
    name = str(rng.choice(list(kinds)))
    return np.asarray(kinds[name]()), name


def unit_of(rng: Rng, dtype: str) -> float:
    """The unit of the data: one, or any power of ten that the precision allows.

    The numbers themselves lie within a few powers of ten of it.
    """
    edge = UNITS[dtype] - 7
    return 1.0 if rng.random() < 0.5 else float(10.0 ** rng.uniform(-edge, edge))


def shape_of(rng: Rng) -> tuple[int, int]:
    sizes = [1, 2, 3, 5, 8, 13, 21, 40]
    return int(rng.choice(sizes[1:])), int(rng.choice(sizes))


def parameters_of(rng: Rng, shape: tuple[int, int], unit: float) -> dict[str, Any]:
    """Values of all shared parameters; most are the default."""
    drawn: dict[str, Any] = {}
    for name, (default, *others) in CHOICES.items():
        keep = rng.random() < DEFAULT_SHARE
        drawn[name] = default if keep else others[int(rng.integers(len(others)))]
    drawn["n_components"] = int(rng.integers(1, min(min(shape), 8) + 1))
    # Half of the fits with another damping or solver get what they need beside it.
    if rng.random() < 0.5:
        if drawn["damping"] == "variance_proxy" and drawn["noise_variance"] is None:
            drawn["noise_variance"] = "auto"
        if str(drawn["solver"]).startswith("feedback"):
            drawn["rank_search"], drawn["step_size"] = "fixed", "auto"
    generalized = drawn["loss"] in ("logistic", "poisson")
    # The absolute loss has the unit of the ridge, whose alpha is a mere number then.
    if not generalized and drawn["loss"] != "absolute":
        drawn["alpha"] *= unit
    if isinstance(drawn["noise_variance"], float):
        drawn["noise_variance"] *= unit**2
    if drawn["init"] == "pair":
        r = int(rng.integers(1, drawn["n_components"] + 1))
        size = 1.0 if generalized else np.sqrt(unit)
        drawn["init"] = tuple(size * rng.standard_normal((side, r)) for side in shape)
    drawn["random_state"] = int(rng.integers(2**31 - 1))
    return drawn


def fitting_loss(rng: Rng, X: np.ndarray, loss: str) -> np.ndarray:
    """The data as the loss takes them, most of the time: labels or counts."""
    if rng.random() < 0.1:
        return X
    if loss == "logistic":
        return (np.median(X) < X).astype(float)
    if loss == "poisson":
        return np.floor(np.abs(np.clip(X, -1e3, 1e3)))
    return X


# ---- cases


def factorization(rng: Rng, shape: tuple[int, int], dtype: str) -> Case:
    unit = unit_of(rng, dtype)
    parameters = parameters_of(rng, shape, unit)
    X, what = matrix_of(rng, shape)
    X = fitting_loss(rng, X, parameters["loss"])
    if parameters["loss"] in ("logistic", "poisson"):
        unit = 1.0
    X = (unit * X).astype(dtype)
    parameters["center"] = CENTERS[int(rng.integers(4)) if rng.random() < 0.4 else 0]
    hidden = rng.random(shape) < rng.choice([0.0, 0.2, 0.5, 0.9])
    container = str(rng.choice(CONTAINERS)) if rng.random() < 0.4 else "array"
    keywords = {}
    if rng.random() < 0.15:
        keywords["entry_weight"] = rng.choice([0.0, 1.0, 2.5], shape, p=[0.1, 0.7, 0.2])
    places = np.nonzero(~hidden)
    targets = X[places]
    X, missing = contained(X, hidden, container)
    parameters["missing_values"] = missing
    if rng.random() < 0.08:
        model: Any = cross_validated(PrecGDFactorizationCV, parameters)
    else:
        model = PrecGDFactorization().set_params(**parameters)
    what += f" {shape} {dtype} unit {unit:.0e} {container}, {hidden.mean():.0%} hidden"
    complete = not hidden.any()
    return Case(model, (X,), keywords, dtype, unit, what, targets, places, complete)


def contained(X: np.ndarray, hidden: np.ndarray, container: str) -> tuple[Any, float]:
    """The matrix in a container, its hidden cells missing, and `missing_values`."""
    if container == "masked":
        return np.ma.masked_array(X, hidden), np.nan
    holed = np.where(hidden, np.nan, X).astype(X.dtype)
    if container in ("csr", "csc", "coo"):
        rows, columns = np.nonzero(~hidden)
        stored = sparse.coo_array((X[rows, columns], (rows, columns)), X.shape)
        return stored.asformat(container), 0
    if container == "frame":
        import pandas as pd

        return pd.DataFrame(holed, columns=[f"c{j}" for j in range(X.shape[1])]), np.nan
    if container == "list":
        # Python's floats are double precision.
        return holed.tolist() if X.dtype == np.float64 else holed, np.nan
    return (np.asfortranarray(holed) if container == "fortran" else holed), np.nan


def sensing(rng: Rng, shape: tuple[int, int], dtype: str) -> Case:
    symmetric = rng.random() < 0.2
    shape = (shape[0], shape[0]) if symmetric else shape
    unit = unit_of(rng, dtype)
    parameters = parameters_of(rng, shape, unit)
    parameters["symmetric"] = symmetric
    truth, what = matrix_of(rng, shape)
    if symmetric:
        truth = truth @ truth.T if rng.random() < 0.5 else truth + truth.T
    n = int(rng.integers(2, 3 * (shape[0] + shape[1]) + 3))
    X, y, kind = measured(rng, truth, n, dtype)
    y = fitting_loss(rng, y, parameters["loss"])
    if parameters["loss"] in ("logistic", "poisson"):
        unit = 1.0
    y = (unit * y).astype(dtype)
    parameters["matrix_shape"] = shape
    keywords = {}
    if rng.random() < 0.15:
        keywords["sample_weight"] = rng.choice([0.0, 1.0, 2.5], n, p=[0.1, 0.7, 0.2])
    if rng.random() < 0.06:
        model: Any = cross_validated(PrecGDMatrixSensingCV, parameters)
    else:
        model = PrecGDMatrixSensing().set_params(**parameters)
    what = f"{kind} of {what} {shape} {dtype} unit {unit:.0e}, {n} measurements"
    places = X.cells() if isinstance(X, EntryMeasurements) else None
    return Case(model, (X, y), keywords, dtype, unit, what, y, places)


def measured(
    rng: Rng, truth: np.ndarray, n: int, dtype: str
) -> tuple[Any, np.ndarray, str]:
    """Measurements of one of the kinds, in units of their own, and their targets."""
    kind = str(rng.choice(["dense", "cubes", "sparse", "operator", "entries", "ones"]))
    rows, columns = truth.shape
    size = truth.size
    if kind == "entries":
        i, j = rng.integers(rows, size=n), rng.integers(columns, size=n)
        return EntryMeasurements(i, j, truth.shape, dtype), truth[i, j], kind
    if kind == "ones":
        u, v = rng.standard_normal((n, rows)), rng.standard_normal((n, columns))
        y = np.einsum("ni,ij,nj->n", u, truth, v)
        return RankOneMeasurements(u.astype(dtype), v.astype(dtype)), y, kind
    A = rng.standard_normal((n, size))
    if kind == "sparse":
        A = A * (rng.random(A.shape) < 0.2)
    y = A @ truth.ravel()
    # The units of the measurements are not those of the matrix.
    A = (A * unit_of(rng, dtype) ** 0.25).astype(dtype)
    if kind == "cubes":
        return A.reshape(n, rows, columns), y, kind
    if kind == "sparse":
        return sparse.csr_array(A), y, kind
    return (aslinearoperator(A) if kind == "operator" else A), y, kind


def cross_validated(estimator: type, parameters: dict[str, Any]) -> Any:
    known = estimator().get_params()
    given = {name: value for name, value in parameters.items() if name in known}
    given["n_components"] = list(range(1, parameters["n_components"] + 1))
    return estimator(cv=3, max_iter=50).set_params(**{**given, "max_iter": 50})


def draw(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    dtype = str(rng.choice(["float64", "float32"]))
    make = factorization if rng.random() < 0.6 else sensing
    return make(rng, shape_of(rng), dtype)


# ---- faults


def fault_of(error: BaseException) -> str | None:
    """What is wrong with an error, or None if it is a sentence for the user.

    A sentence is raised on purpose: the innermost line of the traceback is a `raise` of
    ours or of scikit-learn's checks, of one of the kinds meant for bad input.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    ours = "skprecgd" in frame.filename or "sklearn" in frame.filename
    meant = isinstance(error, (ValueError, TypeError)) and line.startswith("raise")
    if ours and meant and str(error):
        return None
    place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__} at {place}: {str(error)[:120]}"


def absurdities(case: Case) -> list[str]:
    """What no user would accept of a fitted model."""
    model, found = case.model, []
    arrays = {
        name: getattr(model, name)
        for name in ("left_", "right_", "components_", "singular_values_")
    }
    arrays["explained_variance_ratio_"] = getattr(
        model, "explained_variance_ratio_", np.zeros(0)
    )
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            found.append(f"{name} is not finite")
    if model.components_.dtype != case.dtype:
        found.append(f"components_ are {model.components_.dtype}")
    s = model.singular_values_
    if np.any(np.diff(s) > 0) or np.any(s < 0):
        found.append("singular_values_ are not in order")
    # Of complete data they are as accurate as the singular vectors, that is as `tol`.
    most = 1.05 if case.complete else 1 + 1e-4
    if np.sum(arrays["explained_variance_ratio_"]) > most:
        found.append("explained_variance_ratio_ sums to more than one")
    return found


def answers(case: Case) -> list[str]:
    """What the methods return after the fit, and whether it is sound."""
    model, found = case.model, []
    X = case.given[0]
    coordinates = model.transform(X)
    if not np.all(np.isfinite(coordinates)):
        found.append("transform is not finite")
    if isinstance(model, PrecGDFactorization):
        if not np.all(np.isfinite(model.inverse_transform(coordinates))):
            found.append("inverse_transform is not finite")
        score = model.score(X)
    else:
        z = np.asarray(model.predict(X), dtype=np.float64)
        if not np.all(np.isfinite(z)):
            found.append("predict is not finite")
        score = model.score(*case.given)
    if not np.isfinite(score):
        found.append(f"score is {score}")
    return found


def worse_than_zero(case: Case) -> list[str]:
    """Whether a fit is called converged, though zeros explain its data better.

    Weights, outliers and a centre, which change what is explained, are left out.
    """
    model = case.model
    changed = case.keywords or model.outlier_fraction or getattr(model, "center", None)
    if changed or not model.converged_:
        return []
    targets, z = case.targets.astype(np.float64), case.predictions()
    loss = make_loss(model.loss)
    if not loss.generalized:
        targets, z = targets / case.unit, z / case.unit
    at, zero = loss.total(z, targets), loss.total(np.zeros_like(z), targets)
    if at <= zero * (1 + 1e-4):
        return []
    return [f"converged where the loss is {at / zero:.3g} of that of zeros"]


class TooSlow(BaseException):
    """A fit took longer than it may."""


def _stop(*_: Any) -> None:
    raise TooSlow


@dataclass(frozen=True)
class Outcome:
    """How a fit ended.

    Attributes
    ----------
    seed : int
    kind : {"fitted", "refused", "fault"}
    lines : tuple of str
        The faults and what was fitted, or the sentence it was refused with.
    """

    seed: int
    kind: str
    lines: tuple[str, ...] = ()


def run(seed: int, limit: float, full: bool = False) -> Outcome:
    """Fit what the seed draws, ask it everything, and fit it again."""
    case = draw(seed)
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    found: list[str] = []
    kind, sentence = "fitted", ""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            case.model.fit(*case.given, **case.keywords)
            found += absurdities(case)
            found += answers(case)
            found += worse_than_zero(case)
            case.model.fit(*case.given, **case.keywords)
        found += [line_of(w) for w in caught if not is_advice(w)]
    except TooSlow:
        found.append(f"took longer than {limit:g} s")
    except Exception as error:
        fault = fault_of(error)
        kind, sentence = "refused", str(error)
        if fault:
            found.append(fault)
        if full:
            traceback.print_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if not found:
        return Outcome(seed, kind, (sentence,))
    changed = ", ".join(_changed(case.model))
    what = f"    {type(case.model).__name__} {case.what}; {changed}"
    return Outcome(seed, "fault", (*dict.fromkeys(found), what))


def is_advice(warning: warnings.WarningMessage) -> bool:
    """Whether a warning is a sentence for the user, not one of NumPy's."""
    if issubclass(warning.category, FitFailedWarning):
        # scikit-learn's name for paths without scores, and a RuntimeWarning by birth.
        return True
    told = issubclass(warning.category, (ConvergenceWarning, UserWarning))
    return told and not issubclass(warning.category, RuntimeWarning)


def line_of(warning: warnings.WarningMessage) -> str:
    place = f"{Path(warning.filename).name}:{warning.lineno}"
    return f"{warning.category.__name__} at {place}: {warning.message}"


def _changed(model: Any) -> list[str]:
    """The parameters that are not the default, short."""
    default = type(model)().get_params()
    given = model.get_params().items()
    return [
        f"{name}={'pair' if isinstance(value, tuple) and name == 'init' else value!r}"
        for name, value in given
        if repr(default[name]) != repr(value) and name != "random_state"
    ]


# ---- all of them


def print_refusals(outcomes: list[Outcome], most: int = 15) -> None:
    """The sentences that fits were refused with, numbers left out, most frequent first.

    A refusal counts as sound, so that nobody should have to guess which there were.
    """
    said = (outcome.lines[0] for outcome in outcomes if outcome.kind == "refused")
    counts = Counter(re.sub(r"-?\d[\d.e+-]*", "#", line)[:100] for line in said)
    for line, count in counts.most_common(most):
        print(f"{count:5} refused: {line}")


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--fits", type=int, default=3000)
    options.add_argument("--first", type=int, default=0, help="seed of the first fit")
    options.add_argument("--limit", type=float, default=60.0, help="seconds a fit")
    options.add_argument("--processes", type=int, default=2)
    args = options.parse_args()
    seeds = range(args.first, args.first + args.fits)
    print(f"Seeds {seeds[0]} to {seeds[-1]}.")
    start = time.perf_counter()
    if len(seeds) == 1:
        outcomes = [run(seeds[0], args.limit, full=True)]
    else:
        # One thread a process: the fits are small, and processes run side by side.
        pools = ProcessPoolExecutor(
            args.processes, initializer=threadpool_limits, initargs=(1,)
        )
        with pools as pool:
            limits = [args.limit] * len(seeds)
            outcomes = list(pool.map(run, seeds, limits, chunksize=20))
    kinds = Counter(outcome.kind for outcome in outcomes)
    for outcome in outcomes:
        if outcome.kind == "fault":
            print(f"{outcome.seed}: " + "\n".join(outcome.lines))
    print_refusals(outcomes)
    counts = ", ".join(f"{kinds[k]} {k}" for k in ("fitted", "refused", "fault"))
    print(f"{len(seeds)} fits: {counts}; {time.perf_counter() - start:.0f} s.")
    sys.exit(1 if kinds["fault"] else 0)


if __name__ == "__main__":
    main()
