"""Spikes in real data: what is said of the wrong cells, beside robust PCA.

A twentieth of the cells is wrong: numbers of random sign, between 5 and 20 standard
deviations in size, are added to them. Tables (digits, macrodata) take the deviation of
the column and ``center="columns"``; the photograph (scikit-learn's china.jpg in shades
of grey) has one unit, and takes the deviation of all and ``center="mean"``. Ours is at
default parameters with ``n_components="auto"`` and ``outlier_fraction="auto"``.

* IALM: pyrpca's ``rpca_pcp_ialm`` with ``1 / sqrt(max(shape))``, on the data as they
  are and on columns without their median, divided by their scaled median deviation
  (their standard deviation where that is zero). In each draw the better of the two
  errors counts, with its own time.
* rpca's ``RobustPCA`` (accelerated alternating projections), told the rank that ours
  found.

A line a method: root mean square error at the wrong cells, and at the others, in
standard deviations of the column; precision and recall of what is called wrong (by the
peers: what exceeds a millionth of the largest number); CPU seconds. Medians of the
draws, the worst in brackets. ``clean`` are the same data without spikes: the share
called wrong; and, with a twentieth of the cells hidden and ten components, the error of
hidden cells beside that with ``outlier_fraction=0``::

    pip install -r benchmarks/real/spikes.txt
    python benchmarks/real/spikes.py                              # three minutes
    python benchmarks/real/spikes.py --quick                      # half a minute
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module, metadata
from io import StringIO
from typing import NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, parser, root_mean_square, timed
from sklearn.datasets import load_sample_image
from table_data import load

from skprecgd import PrecGDFactorization

DATA = ("digits", "china", "macrodata")
SHARE = 0.05
SIZES = (5.0, 20.0)


class Spiked(NamedTuple):
    """Data, where they are wrong, and what is given to the methods."""

    complete: Array
    wrong: Array
    given: Array
    unit: Array  # standard deviations of the columns, or of all


class Answer(NamedTuple):
    matrix: Array
    called_wrong: Array
    cpu: float
    rank: int = 0


class Line(NamedTuple):
    """What an answer is worth."""

    at_wrong: float
    elsewhere: float
    precision: float
    recall: float
    cpu: float

    @classmethod
    def of(cls, spiked: Spiked, answer: Answer) -> Line:
        errors = (answer.matrix - spiked.complete) / spiked.unit
        called, wrong = answer.called_wrong, spiked.wrong
        both = np.count_nonzero(called & wrong)
        return cls(
            root_mean_square(errors[wrong]),
            root_mean_square(errors[~wrong]),
            both / max(1, np.count_nonzero(called)),
            both / np.count_nonzero(wrong),
            answer.cpu,
        )


def center_of(name: str) -> str:
    return "mean" if name == "china" else "columns"


def complete_data(name: str, quick: bool) -> Array:
    if name != "china":
        return load(name, quick)
    grey = load_sample_image("china.jpg").astype(float).mean(axis=2)
    return grey[::2, ::2] if quick else grey


def draw(name: str, seed: int, quick: bool) -> Spiked:
    X = complete_data(name, quick)
    rng = np.random.default_rng([seed, DATA.index(name)])
    unit = np.full(X.shape[1], X.std()) if name == "china" else X.std(axis=0)
    wrong = rng.random(X.shape) < SHARE
    sizes = rng.uniform(*SIZES, X.shape) * rng.choice([-1.0, 1.0], X.shape)
    return Spiked(X, wrong, np.where(wrong, X + sizes * unit, X), unit)


def ours(X: Array, center: str, parameters: dict) -> Answer:
    model = PrecGDFactorization(
        **{
            "n_components": "auto",
            "outlier_fraction": "auto",
            "center": center,
            "random_state": 0,
            **parameters,
        }
    )
    _, cpu = timed(model.fit, X)
    matrix = model.left_ @ model.right_.T + model.center_
    return Answer(matrix, model.outliers_.toarray() != 0, cpu, model.n_components_)


def ialm(X: Array) -> Answer:
    solve = import_module("pyrpca").rpca_pcp_ialm
    weight = 1.0 / np.sqrt(max(X.shape))
    (matrix, errors), cpu = timed(lambda: solve(X, weight, verbose=False))
    return Answer(matrix, np.abs(errors) > 1e-6 * np.max(np.abs(X)), cpu)


def ialm_of_columns(X: Array) -> Answer:
    middle = np.median(X, axis=0)
    scale = 1.4826 * np.median(np.abs(X - middle), axis=0)
    scale = np.where(scale > 0, scale, X.std(axis=0))
    found = ialm((X - middle) / scale)
    return found._replace(matrix=found.matrix * scale + middle)


def projections(X: Array, rank: int) -> Answer:
    model = import_module("rpca").RobustPCA(n_components=rank, verbose=False)
    with redirect_stdout(StringIO()):
        _, cpu = timed(model.fit, X)
    matrix = np.asarray(model.low_rank_ + model.mean_)
    return Answer(matrix, np.abs(X - matrix) > 1e-6 * np.max(np.abs(X)), cpu)


def compare(name: str, options: argparse.Namespace) -> None:
    lines: dict[str, list[Line]] = {}
    for seed in range(options.seeds):
        spiked = draw(name, seed, options.quick)
        answer = ours(spiked.given, center_of(name), options.parameters)
        answers = {"ours": answer}
        if _installed("pyrpca"):
            runs = [ialm(spiked.given), ialm_of_columns(spiked.given)]
            best = min(runs, key=lambda run: Line.of(spiked, run).at_wrong)
            answers["IALM"] = best
        if _installed("rpca"):
            rank = max(1, answer.rank)
            answers["rpca"] = projections(spiked.given, rank)
        for method, found in answers.items():
            lines.setdefault(method, []).append(Line.of(spiked, found))
    for method, found in lines.items():
        print(f"{name:<10} {method:<6} {_summary(found)}", flush=True)


def _summary(lines: list[Line]) -> str:
    columns = np.array(lines).T
    worst: tuple[Callable, ...] = (np.max, np.max, np.min, np.min, np.max)
    texts = [
        f"{np.median(numbers):7.3f} ({last(numbers):6.3f})"
        for numbers, last in zip(columns, worst, strict=True)
    ]
    return " ".join(texts)


def clean(name: str, options: argparse.Namespace) -> None:
    """Without a spike: what is called wrong, and what is lost at hidden cells."""
    shares, errors, plain = [], [], []
    parameters, center = options.parameters, center_of(name)
    for seed in range(1 if options.quick else 2):
        X = complete_data(name, options.quick)
        shares.append(float(np.mean(ours(X, center, parameters).called_wrong)))
        hidden = np.random.default_rng([seed, 9]).random(X.shape) < SHARE
        seen = np.where(hidden, np.nan, X)
        unit = np.full(X.shape[1], X.std()) if name == "china" else X.std(axis=0)
        # More components than that take minutes where entries are missing.
        given = {"n_components": 10, **parameters}
        for fraction, out in (("auto", errors), (0.0, plain)):
            found = ours(seen, center, {**given, "outlier_fraction": fraction})
            gaps = (found.matrix - X) / unit
            out.append(root_mean_square(gaps[hidden]))
    print(
        f"{name:<10} called wrong {np.max(shares):.2%}; hidden cells "
        f"{np.median(errors):.3f}, without looking for outliers {np.median(plain):.3f}",
        flush=True,
    )


def _load_what_is_compiled() -> None:
    """Outside the clocks: a fit like those that follow."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 60))
    X += 0.3 * rng.normal(size=X.shape)
    X[rng.random(X.shape) < SHARE] += 50.0
    ours(X, "columns", {})


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        print(f"{package} is not installed: pip install {package}")
        return False
    return True


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("data", nargs="*", default=DATA, help="some of the data")
    options_of.add_argument("--seeds", type=int, default=5, help="draws")
    options = options_of.parse_args()
    warnings.simplefilter("ignore")
    if options.quick:
        options.seeds = min(options.seeds, 2)
    _load_what_is_compiled()
    heads = ("at wrong", "elsewhere", "precision", "recall", "CPU s")
    print(f"{'':<18}" + "".join(f"{head:>16}" for head in heads))
    for name in options.data:
        compare(name, options)
    print("clean")
    for name in options.data:
        clean(name, options)


if __name__ == "__main__":
    main()
