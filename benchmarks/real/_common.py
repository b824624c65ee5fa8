"""What the benchmarks of this folder share: the clock, a cache, our fit, options."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from joblib import Memory

from skprecgd import PrecGDFactorization

Array = npt.NDArray[Any]

CACHE = Path(tempfile.gettempdir()) / "skprecgd-benchmarks"


class Run(NamedTuple):
    """What a call returned, and its CPU seconds."""

    found: Any
    cpu: float


class Fit(NamedTuple):
    """A completed matrix, the model, its CPU seconds, and what it warned of."""

    matrix: Array
    model: Any
    cpu: float
    warned: list[str]


def timed(call: Callable[..., Any], *arguments: Any) -> Run:
    start = time.process_time()
    found = call(*arguments)
    return Run(found, time.process_time() - start)


def told(call: Callable[..., Any], *arguments: Any) -> tuple[Run, list[str]]:
    """A timed call, and what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = timed(call, *arguments)
    texts = [str(entry.message) for entry in caught]
    # That rows are empty is true of these data, and no complaint about the fit.
    return run, [text for text in texts if "no observed entry" not in text]


def complete(X: Any, **parameters: Any) -> Fit:
    """Our fit and the matrix it completes; all NaN where the fit fails."""
    model = PrecGDFactorization(**{"random_state": 0, **parameters})

    def fit() -> Array:
        return model.inverse_transform(model.fit_transform(X))

    try:
        (matrix, cpu), warned = told(fit)
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        return Fit(np.full(X.shape, np.nan), model, np.nan, [str(error)])
    return Fit(matrix, model, cpu, warned)


def load_kernels(**parameters: Any) -> None:
    """Load what is compiled or imported once, outside the clocks."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 40))
    X += 0.5 * rng.normal(size=X.shape)
    X[rng.random(X.shape) < 0.3] = np.nan
    complete(X, **{**parameters, "n_components": 3, "missing_values": np.nan})


def root_mean_square(errors: Array) -> float:
    """Infinite where an error is not a number, so that a failure counts as one."""
    errors = np.asarray(errors, dtype=float)
    with np.errstate(over="ignore"):
        size = float(np.sqrt(np.mean(errors**2)))
    return size if np.isfinite(size) else np.inf


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every script of this folder has."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        help=f"folder where data and the peers' results are kept (default: {CACHE})",
    )
    result.add_argument(
        "--parameters",
        type=json.loads,
        default={},
        help="JSON object of further parameters of our estimator, to try them out",
    )
    result.add_argument("--quick", action="store_true", help="less than five minutes")
    return result


def memory(folder: Path) -> Memory:
    """Remembers results of functions by their arguments, in files under `folder`."""
    return Memory(folder, verbose=0)


def components(text: str) -> str | int:
    """The type of the option ``--components``."""
    return text if text == "auto" else int(text)


def quantiles(values: Array, asked: tuple[float, ...]) -> str:
    return " ".join(f"{np.quantile(values, level):7.3f}" for level in asked)
