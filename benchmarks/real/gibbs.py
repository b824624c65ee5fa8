"""Draws of the posterior beside its variational form, and beside myFM.

MovieLens 100k (see ratings.py), ``n_components=10``, seeds 0 to 4: root mean squared
error of ratings clipped to 1..5, CPU seconds of `fit` on one thread, mean log density,
and which share of the hidden ratings lies in intervals of 50, 80, 90 and 95 %, of
``inference="variational"``, of ``"gibbs"`` with three seeds of the draws each, and of
myFM's Gibbs sampler (``MyFMRegressor(rank=10)``, 150 iterations, 120 kept) with the
same seeds, if it is installed. Fits of ours and of myFM's take turns, so that both meet
the same machine::

    pip install -r benchmarks/real/peers.txt
    python benchmarks/real/gibbs.py
    python benchmarks/real/gibbs.py --seeds 2
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec

import _one_thread  # noqa: F401
import numpy as np
from _common import load_kernels, parser, timed
from how_sure import LEVELS, dummies, ours
from movielens import SHAPE, Ratings, split
from scipy import sparse

from skprecgd import PrecGDFactorization

DRAWS = 3
Result = tuple[str, list[float]]


def fitted(
    training: Ratings, test: Ratings, inference: str, seed: int, parameters: dict
) -> Result:
    """RMSE, CPU seconds, log density and coverages of ours."""
    X = sparse.csr_array((training.stars, (training.users, training.films)), SHAPE)
    given = {"missing_values": 0, "center": "both", "random_state": seed, **parameters}
    model = PrecGDFactorization(10, inference=inference, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, cpu = timed(model.fit, X)
    cells = test.users, test.films
    found = ours(model, cells, test.stars)
    density = float(np.mean(found.log_density))
    covered = [100 * found.coverage(level) for level in LEVELS]
    return inference, [test.rmse(model.predict_entries(*cells)), cpu, density, *covered]


def of_myfm(training: Ratings, test: Ratings, seed: int) -> Result:
    """RMSE and CPU seconds of myFM."""
    from myfm import MyFMRegressor

    X, Z = (sparse.csr_matrix(dummies(each)) for each in (training, test))
    model = MyFMRegressor(rank=10, random_seed=seed)
    shapes = {"n_iter": 150, "n_kept_samples": 120, "group_shapes": list(SHAPE)}
    _, cpu = timed(partial(model.fit, **shapes), X, training.stars)
    return "myFM", [test.rmse(model.predict(Z)), cpu]


def results(args: argparse.Namespace, seed: int) -> Iterator[Result]:
    training, test = split(args.cache, seed)
    yield fitted(training, test, "variational", 0, args.parameters)
    for k in range(DRAWS):
        yield fitted(training, test, "gibbs", k, args.parameters)
        if find_spec("myfm") is not None:
            yield of_myfm(training, test, k)


def told(name: str, found: list[list[float]]) -> str:
    error, cpu, *sure = np.mean(found, axis=0)
    line = f"{name:20}{error:8.4f}{cpu:7.2f}"
    if sure:
        density, *covered = sure
        line += f"{density:9.4f}  " + " ".join(f"{share:5.1f}" for share in covered)
    return line


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, help="splits (default: 5; quick: 1)")
    args = options.parse_args()
    for inference in ("variational", "gibbs"):
        load_kernels(center="both", inference=inference, **args.parameters)
    print(f"{'':20}{'RMSE':>8}{'CPU s':>7}{'density':>9}  50, 80, 90, 95 %")
    everything: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds or (1 if args.quick else 5)):
        of_split: dict[str, list[list[float]]] = {}
        for name, numbers in results(args, seed):
            of_split.setdefault(name, []).append(numbers)
        for name, found in of_split.items():
            print(told(f"seed {seed} {name}", found), flush=True)
            everything.setdefault(name, []).extend(found)
    for name, found in everything.items():
        print(told(f"all {name}", found))


if __name__ == "__main__":
    main()
