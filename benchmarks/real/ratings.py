"""MovieLens 100k at default parameters, beside surprise, lenskit and cmfrec tuned.

``PrecGDFactorization(k, missing_values=0, center="both")`` for k = 10, 20 and 40. A
tenth of the ratings is the test part, by ``default_rng(seed).random(n) < .1`` in the
order of the file; predictions are clipped to 1..5. The peers' parameters are chosen by
five folds of the training part over the grids of rating_peers.py, for every seed anew,
and what stands here is the one fit with the parameters chosen. CPU seconds are those of
`fit`, on one thread; results of the peers are kept under ``--cache``, where the data
are too (out of the wheel of recbole, which pip downloads)::

    pip install -r benchmarks/real/peers.txt
    python benchmarks/real/ratings.py              # five seeds; tuning: half an hour
    python benchmarks/real/ratings.py --seeds 2 --components 10
    python benchmarks/real/ratings.py --quick      # seed 0, a fifth of the grids
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import Any, NamedTuple

import _one_thread  # noqa: F401
import numpy as np
from _common import components, load_kernels, memory, parser, told
from movielens import SHAPE, split
from rating_peers import PEERS, candidates, held_out_error, test_error
from scipy import sparse

from skprecgd import PrecGDFactorization


class Line(NamedTuple):
    """A method: RMSE and CPU seconds by seed, and what to say about it."""

    name: str
    errors: list[float]
    cpu: list[float]
    remark: str


def parse() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, help="how many (default: 5; quick: 1)")
    options.add_argument(
        "--components", nargs="*", type=components, default=[10, 20, 40]
    )
    options.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    args = options.parse_args()
    args.seeds = args.seeds or (1 if args.quick else 5)
    return args


def fit_ours(args: argparse.Namespace, rank: int | str, seed: int) -> tuple:
    """RMSE, CPU seconds, the model and its warnings."""
    training, test = split(args.cache, seed)
    X = sparse.csr_array((training.stars, (training.users, training.films)), SHAPE)
    parameters = {"missing_values": 0, "center": "both", "random_state": 0}
    model = PrecGDFactorization(rank, **{**parameters, **args.parameters})
    (_, cpu), warned = told(model.fit, X)
    matrix = model.left_ @ model.right_.T + model.center_
    return test.rmse(matrix[test.users, test.films]), cpu, model, warned


def ours(args: argparse.Namespace, rank: int | str) -> Line:
    errors, cpu, models, warned = zip(
        *(fit_ours(args, rank, seed) for seed in range(args.seeds)), strict=True
    )
    found = ", ".join(str(model.n_components_) for model in models)
    remark = f"components {found}; {models[0].stop_reason_}"
    remark = f"{sum(map(len, warned))} warnings; {remark}"
    return Line(f"skprecgd {rank}", list(errors), list(cpu), remark[:150])


def tuned(args: argparse.Namespace, name: str, seed: int) -> tuple[float, float, Any]:
    """RMSE, CPU seconds and the parameters chosen."""
    keep = memory(args.cache)
    score = keep.cache(held_out_error, ignore=["folder"])
    errors = [
        (score(name, parameters, seed, args.cache), parameters)
        for parameters in candidates(name, args.quick)
    ]
    _, chosen = min(errors, key=lambda pair: pair[0])
    test = keep.cache(test_error, ignore=["folder"])
    return (*test(name, chosen, seed, args.cache), chosen)


def peer(args: argparse.Namespace, name: str) -> Line:
    found = [tuned(args, name, seed) for seed in range(args.seeds)]
    errors, cpu, chosen = zip(*found, strict=True)
    return Line(name, list(errors), list(cpu), str(chosen[0])[1:-1])


def print_line(line: Line) -> None:
    print(
        f"{line.name:14}{np.mean(line.errors):9.4f}  "
        + " ".join(f"{error:.4f}" for error in line.errors)
        + f"{np.median(line.cpu):9.2f}  {line.remark}",
        flush=True,
    )


def main() -> None:
    args = parse()
    load_kernels(center="both", **args.parameters)
    print(f"MovieLens 100k, {args.parameters or 'defaults'}; parameters of seed 0")
    seeds = " ".join(f"{f'seed {seed}':6}" for seed in range(args.seeds))
    print(f"{'':14}{'RMSE':>9}  {seeds}{'CPU s':>9}")
    lines = [ours(args, rank) for rank in args.components]
    for line in lines:
        print_line(line)
    beside = []
    for name in args.peers:
        if find_spec(PEERS[name].package) is None:
            print(f"{name:14} is not installed")
            continue
        beside.append(peer(args, name))
        print_line(beside[-1])
    if beside and lines:
        first = np.median(lines[0].cpu)
        ratios = [f"{line.name} {first / np.median(line.cpu):.2f}" for line in beside]
        print(f"CPU of {lines[0].name} over that of " + ", ".join(ratios))


if __name__ == "__main__":
    main()
