"""The MovieLens 100k ratings that lie inside the wheel of recbole, and their splits."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _common import Array

PACKAGE = "recbole==1.2.1"
FILE = "recbole/dataset_example/ml-100k/ml-100k.inter"


class Ratings(NamedTuple):
    """Users, films and stars; indices from zero, in the order of the file."""

    users: Array
    films: Array
    stars: Array

    def at(self, chosen: Array) -> Ratings:
        return Ratings(*(column[chosen] for column in self))

    def rmse(self, predicted: Array) -> float:
        """Of predictions clipped to the range of the stars."""
        return float(np.sqrt(np.mean((np.clip(predicted, 1, 5) - self.stars) ** 2)))


SHAPE = (943, 1682)


def wheel(folder: Path) -> Path:
    """Downloaded with pip at the first call, without what the package depends on."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("recbole-*.whl")):
        command = ["pip", "download", "--quiet", "--no-deps", PACKAGE, "-d"]
        subprocess.run([sys.executable, "-m", *command, str(folder)], check=True)
    return next(folder.glob("recbole-*.whl"))


def load(folder: Path) -> Ratings:
    with zipfile.ZipFile(wheel(folder / "wheels")) as archive:
        lines = io.TextIOWrapper(archive.open(FILE))
        table = np.loadtxt(lines, skiprows=1, dtype=np.int64)
    return Ratings(table[:, 0] - 1, table[:, 1] - 1, table[:, 2].astype(float))


def split(folder: Path, seed: int) -> tuple[Ratings, Ratings]:
    """Training and test part."""
    ratings = load(folder)
    tested = np.random.default_rng(seed).random(len(ratings.stars)) < 0.1
    return ratings.at(~tested), ratings.at(tested)


def folds(training: Ratings, seed: int, count: int = 5) -> list[Array]:
    """Which of the training ratings each fold holds out."""
    order = np.random.default_rng([seed, count]).permutation(len(training.stars))
    return [np.isin(np.arange(len(order)), order[k::count]) for k in range(count)]
