"""Real tables out of installed packages, and five ways of hiding their cells."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
from _common import Array
from scipy.optimize import brentq
from scipy.special import expit
from sklearn import datasets

TABLES = ("wine", "breast_cancer", "diabetes", "digits", "macrodata")
MASKS = ("random 20 %", "random 50 %", "random 80 %", "runs 50 %", "large 40 %")

# How much likelier a value is hidden per standard deviation, in log-odds.
SLOPE_OF_LARGE = 1.5


class Cell(NamedTuple):
    """A table with some of its cells hidden: a draw of one cell of the comparison."""

    complete: Array
    hidden: Array
    spread: Array  # standard deviations of the complete columns

    @property
    def seen(self) -> Array:
        return np.where(self.hidden, np.nan, self.complete)


def load(name: str, quick: bool) -> Array:
    """The columns that vary, in their own units; of digits a third if it is `quick`."""
    if name == "macrodata":
        from statsmodels.datasets import macrodata

        # The first two columns are the date.
        X = macrodata.load().data.to_numpy(dtype=float)[:, 2:]
    else:
        X = getattr(datasets, f"load_{name}")(return_X_y=True)[0]
    if quick and name == "digits":
        X = X[np.random.default_rng(0).permutation(len(X))[: len(X) // 3]]
    return X[:, np.std(X, axis=0) > 0]


def in_runs(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Half of each row: a run of neighbouring columns, cyclic, from a random one."""
    rows, columns = shape
    place = (np.arange(columns) - rng.integers(columns, size=(rows, 1))) % columns
    length = columns // 2 + rng.integers(columns % 2 + 1, size=(rows, 1))
    return place < length


def large_ones(X: Array, share: float, rng: np.random.Generator) -> Array:
    """Large values more often: log-odds that rise with the standardised value."""
    scores = SLOPE_OF_LARGE * (X - X.mean(axis=0)) / X.std(axis=0)
    shift = brentq(lambda a: np.mean(expit(scores + a)) - share, -50, 50)
    return rng.random(X.shape) < expit(scores + shift)


def hide(X: Array, mask: str, rng: np.random.Generator) -> Array:
    kind, share = mask.split()[0], float(mask.split()[1]) / 100
    if kind == "random":
        return rng.random(X.shape) < share
    return in_runs(X.shape, rng) if kind == "runs" else large_ones(X, share, rng)


def draw(table: str, mask: str, seed: int, quick: bool = False) -> Cell:
    X = load(table, quick)
    rng = np.random.default_rng([seed, zlib.crc32(f"{table} {mask}".encode())])
    return Cell(X, hide(X, mask, rng), X.std(axis=0))
