"""PrecGDImputer beside scikit-learn's imputers: in front of classifiers, and large.

* ``tables``: the tables and masks of tables.py in their own units. The errors are those
  of ``PrecGDFactorization``; the last line says by how much they differ.
* ``classify``: wine, breast cancer and digits with 30 % of the cells hidden, in rows
  for training and for tests; a quarter of them is tested, in twenty splits. The peers
  (SimpleImputer, KNNImputer, IterativeImputer) get columns that are standardised
  before, ours gets them raw; the filled columns are standardised for three classifiers
  at default parameters: logistic regression, a support vector machine with its usual
  kernel, a random forest. Mean accuracy in percent, errors of the hidden cells of the
  test rows in standard deviations, and CPU seconds of filling both parts: median and
  most.
* ``large``: generated tables of rank 8 with noise of its own in each column, in units
  from 0.01 to 1000, 30 % hidden: 100,000 x 50, and 2000 x 2000. Each method runs in a
  process of its own, for at most ``--limit`` seconds: error of the hidden cells in
  standard deviations, CPU seconds, and peak memory above that before the fit.

::

    python benchmarks/real/imputer.py                   # an hour, most of it the peers
    python benchmarks/real/imputer.py classify --splits 5
    python benchmarks/real/imputer.py --quick
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import warnings
from collections.abc import Callable
from functools import partial
from queue import Empty
from typing import Any, NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import (
    Array,
    complete,
    load_kernels,
    memory,
    parser,
    root_mean_square,
    timed,
)
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from table_data import MASKS, TABLES, draw

from skprecgd import PrecGDImputer

PARTS = ("tables", "classify", "large")
OURS = "ours"
PEERS: dict[str, Callable[[], Any]] = {
    "simple": SimpleImputer,
    "knn": KNNImputer,
    "iterative": partial(IterativeImputer, random_state=0),
}
CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic": partial(LogisticRegression, max_iter=2000),
    "svm": SVC,
    "forest": partial(RandomForestClassifier, random_state=0),
}
# Rows, columns.
LARGE = ((100_000, 50), (2000, 2000))
QUICK_LARGE = ((10_000, 50), (400, 400))
RANK, HIDDEN = 8, 0.3


class Split(NamedTuple):
    """Training and test rows with holes, and the complete ones."""

    seen: tuple[Array, Array]
    whole: tuple[Array, Array]
    labels: tuple[Array, Array]


class Filled(NamedTuple):
    """How a method did on a split: accuracy by classifier, error, CPU seconds."""

    accuracy: dict[str, float]
    error: float
    cpu: float


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}")
    options.add_argument("--splits", type=int, help="default: 20; quick: 3")
    options.add_argument("--limit", type=float, default=1200.0, help="seconds")
    args = options.parse_args()
    args.parts = args.parts or PARTS
    args.splits = args.splits or (3 if args.quick else 20)
    return args


def imputer(method: str, parameters: dict[str, Any]) -> Any:
    return PrecGDImputer(**parameters) if method == OURS else PEERS[method]()


def fill(method: str, parameters: dict[str, Any], parts: tuple[Array, ...]) -> list:
    """The parts filled, the first of which is fitted; peers get them standardised."""
    model = imputer(method, parameters)
    if method == OURS:
        return [model.fit_transform(parts[0]), *map(model.transform, parts[1:])]
    scaler = StandardScaler()
    pipeline = make_pipeline(scaler, model)
    filled = [pipeline.fit_transform(parts[0]), *map(pipeline.transform, parts[1:])]
    return [scaler.inverse_transform(part) for part in filled]


# ---- tables


def differences(args: argparse.Namespace) -> None:
    ratios = []
    for table in TABLES:
        for mask in MASKS:
            cell = draw(table, mask, 0, args.quick)
            fit = complete(cell.seen, n_components="auto", center="columns")
            (filled,) = fill(OURS, args.parameters, (cell.seen,))
            errors = [
                root_mean_square(((matrix - cell.complete) / cell.spread)[cell.hidden])
                for matrix in (filled, fit.matrix)
            ]
            ratios.append(errors[0] / errors[1])
            print(f"{table:14}{mask:12} {errors[0]:.4f} {errors[1]:.4f}", flush=True)
    print(f"the errors differ by at most {np.max(np.abs(np.array(ratios) - 1)):.1e}\n")


# ---- classifiers


def split_of(table: str, seed: int) -> Split:
    X, y = getattr(datasets, f"load_{table}")(return_X_y=True)
    hidden = np.random.default_rng(seed).random(X.shape) < HIDDEN
    rows = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
    train, test = next(rows.split(X, y))
    seen = np.where(hidden, np.nan, X)
    return Split(*((part[train], part[test]) for part in (seen, X, y)))


def classified(
    method: str, table: str, seed: int, parameters: dict[str, Any] | None = None
) -> Filled:
    """A result depends on its arguments alone, so that those of peers are kept."""
    split = split_of(table, seed)
    with warnings.catch_warnings():
        # IterativeImputer says that it has not converged.
        warnings.simplefilter("ignore" if method != OURS else "default")
        filled, cpu = timed(fill, method, parameters or {}, split.seen)
    spread = split.whole[0].std(axis=0)
    spread[spread == 0] = 1.0
    errors = ((filled[1] - split.whole[1]) / spread)[np.isnan(split.seen[1])]
    scaler = StandardScaler().fit(filled[0])
    train, test = map(scaler.transform, filled)
    accuracy = {
        name: make().fit(train, split.labels[0]).score(test, split.labels[1])
        for name, make in CLASSIFIERS.items()
    }
    return Filled(accuracy, root_mean_square(errors), cpu)


def classify(args: argparse.Namespace) -> None:
    peer = memory(args.cache).cache(classified)
    for table in ("wine", "breast_cancer", "digits"):
        print(f"{table:14}" + "".join(f"{c:>10}" for c in CLASSIFIERS) + "     error")
        means: dict[str, dict[str, float]] = {}
        cpu: dict[str, Array] = {}
        for method in (*PEERS, OURS):
            own = partial(classified, parameters=args.parameters)
            call = own if method == OURS else peer
            results = [call(method, table, seed) for seed in range(args.splits)]
            means[method] = {
                c: 100 * float(np.mean([r.accuracy[c] for r in results]))
                for c in CLASSIFIERS
            }
            cpu[method] = np.array([r.cpu for r in results])
            error = np.mean([r.error for r in results])
            print(
                f"{method:14}"
                + "".join(f"{means[method][c]:10.2f}" for c in CLASSIFIERS)
                + f"{error:10.3f}   CPU s {np.median(cpu[method]):.3f}, "
                f"{np.max(cpu[method]):.3f}",
                flush=True,
            )
        gaps = [means[OURS][c] - max(means[p][c] for p in PEERS) for c in CLASSIFIERS]
        ratio = np.median(cpu[OURS]) / np.median(cpu["iterative"])
        print(
            f"{'ours - best':14}"
            + "".join(f"{gap:+10.2f}" for gap in gaps)
            + f"{'':10}   CPU {ratio:.2f} of iterative\n",
            flush=True,
        )


# ---- large tables


def generated(shape: tuple[int, int]) -> tuple[Array, Array]:
    """A complete table, and which of its cells are hidden."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(shape[0], RANK)) @ rng.normal(size=(RANK, shape[1]))
    X = X / np.sqrt(RANK) + rng.normal(size=shape[1])
    X += rng.uniform(0.2, 1.0, shape[1]) * rng.normal(size=shape)
    X *= 10.0 ** rng.uniform(-2, 3, shape[1])
    return X, rng.random(shape) < HIDDEN


def peak() -> float:
    """Most memory of this process until now, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(
    method: str, shape: tuple[int, int], parameters: dict[str, Any], found: Any
) -> None:
    X, hidden = generated(shape)
    seen = np.where(hidden, np.nan, X)
    load_kernels(center="columns")
    before = peak()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (filled,), cpu = timed(fill, method, parameters, (seen,))
    most = peak() - before
    errors = ((filled - X) / X.std(axis=0))[hidden]
    found.put((root_mean_square(errors), cpu, most))


def large(args: argparse.Namespace) -> None:
    context = multiprocessing.get_context("spawn")
    for shape in QUICK_LARGE if args.quick else LARGE:
        size = 8e-6 * shape[0] * shape[1]
        print(f"{shape[0]} x {shape[1]}, {size:.0f} MB    error   CPU s   peak MB")
        for method in (OURS, "iterative", "knn"):
            found = context.Queue()
            run = context.Process(
                target=measure, args=(method, shape, args.parameters, found)
            )
            run.start()
            try:
                error, cpu, most = found.get(timeout=args.limit)
                print(f"{method:20}{error:9.4f}{cpu:8.1f}{most:10.0f}", flush=True)
            except Empty:
                print(f"{method:20} not within {args.limit:.0f} s", flush=True)
                run.kill()
            run.join()


def main() -> None:
    args = parse()
    load_kernels(center="columns")
    for part in args.parts:
        {"tables": differences, "classify": classify, "large": large}[part](args)


if __name__ == "__main__":
    main()
