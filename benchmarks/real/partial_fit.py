"""A recommender that goes on with new ratings, beside one fit to all of them.

MovieLens 100k (see ratings.py), seeds 0 to 4, the training part in ten chunks, shuffled
and in order of time: the root mean squared error of ratings clipped to 1..5 after
`partial_fit` of the last chunk, over that of one `fit`, and the CPU seconds of the last
chunk over those of the fit, in turns. Users and films join as they come::

    python benchmarks/real/partial_fit.py                     # three minutes
    python benchmarks/real/partial_fit.py --parameters '{"inference": "gibbs"}'
    python benchmarks/real/partial_fit.py --quick
"""

from __future__ import annotations

import argparse
import io
import warnings
import zipfile
from pathlib import Path

import _one_thread  # noqa: F401
import numpy as np
from _common import Array, load_kernels, parser, timed
from movielens import FILE, split, wheel

from skprecgd import PrecGDRecommender

CHUNKS = 10


def times(folder: Path) -> Array:
    """When the ratings were made, in the order of the file."""
    with zipfile.ZipFile(wheel(folder / "wheels")) as archive:
        lines = io.TextIOWrapper(archive.open(FILE))
        return np.loadtxt(lines, skiprows=1, usecols=3)


def orders(folder: Path, seed: int) -> dict[str, Array]:
    """Orders of the training part."""
    tested = np.random.default_rng(seed).random(len(times(folder))) < 0.1
    made = times(folder)[~tested]
    shuffled = np.random.default_rng([seed, CHUNKS]).permutation(len(made))
    return {"shuffled": shuffled, "in order of time": np.argsort(made, kind="stable")}


def compared(args: argparse.Namespace, seed: int, order: Array) -> tuple[float, ...]:
    """Errors of the chunks and of one fit, and CPU seconds of the last chunk and it."""
    training, test = split(args.cache, seed)
    X, y = (
        np.column_stack([training.users, training.films])[order],
        training.stars[order],
    )
    parts = np.array_split(np.arange(len(y)), CHUNKS)
    model = PrecGDRecommender(random_state=0, **args.parameters)
    whole = PrecGDRecommender(random_state=0, **args.parameters)
    asked = np.column_stack([test.users, test.films])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chunks = [timed(model.partial_fit, X[part], y[part]) for part in parts]
        _, cpu = timed(whole.fit, X, y)
        errors = [test.rmse(each.predict(asked)) for each in (model, whole)]
    return (*errors, chunks[-1].cpu, cpu)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, help="how many (default: 5; quick: 1)")
    args = options.parse_args()
    load_kernels(center="both")
    found: dict[str, list[tuple[float, ...]]] = {}
    print(f"{args.parameters or 'defaults'}")
    print(f"{'':26}{'chunks':>8}{'one fit':>9}{'ratio':>8}{'CPU s':>8}{'CPU s':>8}")
    for seed in range(args.seeds or (1 if args.quick else 5)):
        for name, order in orders(args.cache, seed).items():
            numbers = compared(args, seed, order)
            found.setdefault(name, []).append(numbers)
            a, b, first, second = numbers
            line = f"{a:8.4f}{b:9.4f}{a / b:8.4f}{first:8.2f}{second:8.2f}"
            print(f"seed {seed} {name:19}{line}", flush=True)
    for name, each in found.items():
        ratios = [(a / b, c / d) for a, b, c, d in each]
        (error, cpu), (worst, dearest) = (
            np.median(ratios, axis=0),
            np.max(ratios, axis=0),
        )
        print(
            f"{name}: error {error:.4f} of one fit's, worst {worst:.4f}; CPU of the "
            f"last chunk {cpu:.2f}, worst {dearest:.2f}"
        )


if __name__ == "__main__":
    main()
