"""Ratings beside features of users and films, and beside myFM with the same features.

* ``seen``: MovieLens 100k (see ratings.py), seeds 0 to 4: root mean squared error of
  ratings clipped to 1..5 and CPU seconds of the fit, of ``PrecGDRecommender`` without
  features, and with ``features="seen"`` by both kinds of `inference`; and of myFM's
  Gibbs sampler (rank 10, 150 iterations, 120 kept) with the same features: which films
  a user has rated, and which users have rated a film, over the roots of their numbers.
  myFM is given the features of users and films once each, as blocks, which takes it a
  fiftieth of the time that rows of all features take.
* ``cold``: a tenth of the users is hidden wholly, with age (by decades), sex and
  occupation as their features: errors of all their ratings, beside those of the offsets
  of the films, which is what a fit without features predicts.
* ``planted``: generated ratings whose factors and offsets follow features, but for a
  rest: errors of new rows, and of new columns, over those of an oracle that knows the
  map from features to factors and offsets, and not the rest.

Ratings and the features of users come with recbole, as in ratings.py. Results of myFM
are kept under ``--cache``::

    pip install -r benchmarks/real/peers.txt
    python benchmarks/real/side_information.py                # five minutes
    python benchmarks/real/side_information.py seen --seeds 2
    python benchmarks/real/side_information.py --quick
"""

from __future__ import annotations

import argparse
import csv
import io
import warnings
import zipfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, load_kernels, memory, parser, timed
from movielens import SHAPE, Ratings, load, split, wheel
from scipy import sparse

from skprecgd import PrecGDRecommender

Result = tuple[float, float]
"""Root mean squared error, and CPU seconds of the fit."""


# ---- data


def user_features(folder: Path) -> sparse.csr_array:
    """Dummies of the decade of age, sex and occupation, in the order of the users."""
    name = "recbole/dataset_example/ml-100k/ml-100k.user"
    with zipfile.ZipFile(wheel(folder / "wheels")) as archive:
        lines = io.TextIOWrapper(archive.open(name), encoding="utf-8")
        table = list(csv.reader(lines, delimiter="\t"))[1:]
    table.sort(key=lambda line: int(line[0]))
    columns = [
        np.array([int(line[1]) // 10 for line in table]),
        np.array([line[2] for line in table]),
        np.array([line[3] for line in table]),
    ]
    parts = [column[:, None] == np.unique(column) for column in columns]
    return sparse.csr_array(np.hstack(parts).astype(float))


def without_users(folder: Path, seed: int) -> tuple[Ratings, Ratings]:
    """The ratings of nine tenths of the users, and those of the others."""
    ratings = load(folder)
    hidden = np.random.default_rng([seed, 1]).random(SHAPE[0]) < 0.1
    tested = hidden[ratings.users]
    return ratings.at(~tested), ratings.at(tested)


def seen(training: Ratings, *, of_films: bool) -> sparse.csr_matrix:
    """Which films users have rated, or who has rated films, over roots of numbers."""
    ones = np.ones(len(training.stars))
    at = (training.users, training.films)
    matrix = sparse.csr_matrix((ones, at), SHAPE)
    matrix = matrix.T.tocsr() if of_films else matrix
    counts = np.diff(matrix.indptr)
    matrix.data = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
    return matrix


def pairs(ratings: Ratings) -> Array:
    return np.column_stack([ratings.users, ratings.films])


# ---- fits


def ours(training: Ratings, test: Ratings, parameters: dict, **features) -> Result:
    model = PrecGDRecommender(random_state=0, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = partial(model.fit, **features)
        _, cpu = timed(fit, pairs(training), training.stars)
        return test.rmse(model.predict(pairs(test))), cpu


def myfm(training: Ratings, test: Ratings, users: Array, films: Array) -> Result:
    """myFM with blocks of features of users and of films, of which None are none."""
    from myfm import MyFMRegressor, RelationBlock

    blocks, groups = [], []
    for identity, told in zip(SHAPE, (users, films), strict=True):
        parts = [sparse.identity(identity), *([] if told is None else [told])]
        blocks.append(sparse.csr_matrix(sparse.hstack(parts)))
        groups += [part.shape[1] for part in parts]

    def related(ratings: Ratings) -> list:
        at = zip((ratings.users, ratings.films), blocks, strict=True)
        return [RelationBlock(index, block) for index, block in at]

    model = MyFMRegressor(rank=10, random_seed=0)
    lengths = {"n_iter": 150, "n_kept_samples": 120, "group_shapes": groups}
    fit = partial(model.fit, None, training.stars, X_rel=related(training), **lengths)
    _, cpu = timed(fit)
    return test.rmse(model.predict(None, related(test))), cpu


def myfm_seen(seed: int, folder: Path) -> Result:
    training, test = split(folder, seed)
    sides = (seen(training, of_films=of_films) for of_films in (False, True))
    return myfm(training, test, *sides)


def myfm_cold(seed: int, folder: Path) -> Result:
    training, test = without_users(folder, seed)
    return myfm(training, test, user_features(folder), None)


# ---- jobs


def print_table(lines: dict[str, list[Result]]) -> None:
    for name, found in lines.items():
        errors, cpu = zip(*found, strict=True)
        each = " ".join(f"{error:.4f}" for error in errors)
        print(
            f"{name:28}{np.mean(errors):8.4f}{max(errors):8.4f}  {each}"
            f"{np.median(cpu):8.2f}",
            flush=True,
        )
    peer = lines.get("myFM")
    for name, found in lines.items():
        if peer and name != "myFM":
            more = np.mean([a[0] - b[0] for a, b in zip(found, peer, strict=True)])
            worst = max(a[0] - b[0] for a, b in zip(found, peer, strict=True))
            cpu = np.median([a[1] / b[1] for a, b in zip(found, peer, strict=True)])
            print(f"{name} less myFM: {more:+.4f}, worst {worst:+.4f}; CPU {cpu:.2f}")


def of_seen(args: argparse.Namespace) -> None:
    keep = memory(args.cache).cache(myfm_seen, ignore=["folder"])
    lines: dict[str, list[Result]] = {}
    for seed in range(args.seeds):
        training, test = split(args.cache, seed)
        for inference in ("variational", "gibbs"):
            for features in (None, "seen"):
                given = {"inference": inference, "features": features}
                found = ours(training, test, {**given, **args.parameters})
                lines.setdefault(f"{inference}, {features}", []).append(found)
        if find_spec("myfm") is not None:
            lines.setdefault("myFM", []).append(keep(seed, args.cache))
    print_table(lines)


def of_cold(args: argparse.Namespace) -> None:
    keep = memory(args.cache).cache(myfm_cold, ignore=["folder"])
    told = {"row_features": (np.arange(SHAPE[0]), user_features(args.cache))}
    lines: dict[str, list[Result]] = {}
    for seed in range(args.seeds):
        training, test = without_users(args.cache, seed)
        for inference in ("variational", "gibbs"):
            for name, features in (("offsets of films", {}), ("features", told)):
                given = {"inference": inference, **args.parameters}
                found = ours(training, test, given, **features)
                lines.setdefault(f"{inference}, {name}", []).append(found)
        if find_spec("myfm") is not None:
            lines.setdefault("myFM", []).append(keep(seed, args.cache))
    print_table(lines)


def planted(seed: int, parameters: dict) -> dict[str, float]:
    """Errors of new lines, over those of an oracle.

    It knows the map, and the factors of lines that have ratings.
    """
    rng = np.random.default_rng(seed)
    n, m, new, k = 600, 400, 100, 3
    x, z = rng.normal(size=(n + new, 8)), rng.normal(size=(m + new, 6))
    maps = [rng.normal(size=(each.shape[1], k + 1)) for each in (x, z)]
    told = [
        each @ own / np.sqrt(len(own)) for each, own in zip((x, z), maps, strict=True)
    ]
    rest = [0.5 * rng.normal(size=(len(each), k)) for each in told]
    left, right = (a[:, :k] + b for a, b in zip(told, rest, strict=True))
    offsets = 3 + 0.3 * (told[0][:, k:] + told[1][:, k])
    truth = left @ right.T + offsets
    cells = np.argwhere(rng.random((n, m)) < 0.1)
    y = truth[tuple(cells.T)] + 0.5 * rng.normal(size=len(cells))
    features = {
        "row_features": (np.arange(n + new), x),
        "column_features": (np.arange(m + new), z),
    }
    model = PrecGDRecommender(random_state=0, **parameters).fit(cells, y, **features)
    found = model.predict(np.argwhere(np.ones(truth.shape))).reshape(truth.shape)
    oracles = {
        "new rows": (told[0][:, :k] @ right.T + offsets, slice(n, None), slice(m)),
        "new columns": (left @ told[1][:, :k].T + offsets, slice(n), slice(m, None)),
    }
    ratios = {}
    for name, (oracle, *at) in oracles.items():
        errors = [np.mean((z - truth)[tuple(at)] ** 2) for z in (found, oracle)]
        ratios[name] = float(np.sqrt(errors[0] / errors[1]))
    return ratios


def of_planted(args: argparse.Namespace) -> None:
    for inference in ("variational", "gibbs"):
        given = {"inference": inference, **args.parameters}
        found = [planted(seed, given) for seed in range(args.seeds)]
        for name in found[0]:
            ratios = [each[name] for each in found]
            each = " ".join(f"{ratio:.3f}" for ratio in ratios)
            print(f"{inference}, {name:16}{np.median(ratios):7.3f}  {each}", flush=True)


JOBS = {"seen": of_seen, "cold": of_cold, "planted": of_planted}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("jobs", nargs="*", choices=[*JOBS, []], default=list(JOBS))
    options.add_argument("--seeds", type=int, help="how many (default: 5; quick: 1)")
    args = options.parse_args()
    args.seeds = args.seeds or (1 if args.quick else 5)
    load_kernels(center="both", inference="gibbs")
    for job in args.jobs:
        print(f"{job}: {args.parameters or 'defaults'}")
        JOBS[job](args)


if __name__ == "__main__":
    main()
