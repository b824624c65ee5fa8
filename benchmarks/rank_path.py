"""What not knowing the rank costs: fits at three times the rank beside the rank.

Completion of 500 to 6000 rows, square or ten times as wide as high, with singular
values that are equal or spread by up to 100, at 4 to 8 entries per degree of freedom;
and sensing by Gaussian measurements, general and symmetric, at 2 to 6. Every draw comes
from its seed. The same data are fitted twice at default parameters but `n_components`,
which is the true rank and three times that. The cost of a fit is the number of its
iterations, each weighed by its columns: an iteration is the same number of passes over
the measurements whatever the rank. CPU seconds stand beside it. Both are ratios of the
two fits, which run in turn.

    OPENBLAS_NUM_THREADS=1 python benchmarks/rank_path.py              # ten minutes
    OPENBLAS_NUM_THREADS=1 python benchmarks/rank_path.py --draws 20 --no-large
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import LowRankTruth, make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import EntryMeasurements

MOST_ENTRIES, MOST_LARGE = 1_000_000, 10_000_000
# What is asked: of the median, of 95 in 100, and of the worst draw.
ASKED = (1.05, 1.3, 2.0)


class Draw(NamedTuple):
    """A problem with known answer, and what it is called in the table."""

    label: str
    rank: int
    measurements: Any
    targets: np.ndarray
    truth: LowRankTruth
    symmetric: bool = False


class Fit(NamedTuple):
    """What a fit cost, and what it found."""

    cost: float
    cpu: float
    n_iter: int
    rank: int
    error: float


def completion(seed: int, entries: tuple[int, int]) -> Draw:
    """A draw of the families of the table whose number of entries is in a range."""
    rng = np.random.default_rng(seed)
    while True:
        aspect = rng.choice([1, 10])
        n_rows = round(np.exp(rng.uniform(np.log(500), np.log(6000))))
        shape = (n_rows, n_rows) if aspect == 1 else (max(50, n_rows // 10), n_rows)
        rank, kappa = int(rng.integers(3, 21)), float(rng.choice([1, 3, 100]))
        share = rng.uniform(4, 8)
        n_entries = share * rank * (sum(shape) - rank)
        # What would observe more than half of the matrix is hardly completion.
        if entries[0] <= n_entries < entries[1] and n_entries < 0.5 * np.prod(shape):
            break
    triples, truth = make_matrix_completion(
        *shape,
        rank=rank,
        oversampling=share,
        condition_number=kappa,
        format="triples",
        random_state=seed,
    )
    measurements = EntryMeasurements(triples.rows, triples.columns, shape)
    label = (
        f"{seed}: {shape[0]} x {shape[1]} rank {rank} kappa {kappa:g} {share:.1f}/dof"
    )
    return Draw(label, rank, measurements, triples.values, truth)


def sensing(seed: int) -> Draw:
    """A draw of Gaussian measurements."""
    rng = np.random.default_rng(seed)
    n, rank = int(rng.integers(20, 61)), int(rng.integers(1, 5))
    symmetric, kappa = bool(rng.integers(2)), float(rng.choice([1, 3, 100]))
    kappa = kappa if rank > 1 else 1.0
    share = rng.uniform(2, 6)
    freedom = rank * (2 * n - rank + 1) // 2 if symmetric else rank * (2 * n - rank)
    A, y, truth = make_matrix_sensing(
        n,
        rank=rank,
        n_measurements=round(share * freedom),
        condition_number=kappa,
        symmetric=symmetric,
        random_state=seed,
    )
    kind = "symmetric" if symmetric else "general"
    label = f"{seed}: {n} x {n} {kind} rank {rank} kappa {kappa:g} {share:.1f}/dof"
    return Draw(label, rank, A, y, truth, symmetric)


def fitted(draw: Draw, n_components: int) -> Fit:
    model = PrecGDMatrixSensing(n_components, symmetric=draw.symmetric, random_state=0)
    start = time.process_time()
    with warnings.catch_warnings():
        # A fit that ends early is seen by its error.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(draw.measurements, draw.targets)
    cpu = time.process_time() - start
    cost = float(np.sum(model.history_["rank"]))
    error = relative_error(model, draw.truth)
    return Fit(cost, cpu, model.n_iter_, model.n_components_, error)


def relative_error(model: PrecGDMatrixSensing, truth: LowRankTruth) -> float:
    """In the Frobenius norm, from the factors alone: the matrix may be large."""
    left = np.hstack([model.left_, -truth.left])
    right = np.hstack([model.right_, truth.right])
    difference = np.sum((left.T @ left) * (right.T @ right))
    size = np.sum((truth.left.T @ truth.left) * (truth.right.T @ truth.right))
    return float(np.sqrt(max(difference, 0.0) / size))


def compare(name: str, draws: Iterator[Draw]) -> None:
    costs, cpus, wrong = [], [], 0
    for draw in draws:
        known, unknown = fitted(draw, draw.rank), fitted(draw, 3 * draw.rank)
        cost, cpu = unknown.cost / known.cost, unknown.cpu / known.cpu
        costs.append(cost)
        cpus.append(cpu)
        is_wrong = unknown.rank != draw.rank or not unknown.error < 1e-6
        wrong += is_wrong
        told = f"rank {unknown.rank}, error {unknown.error:.1e}" if is_wrong else ""
        print(
            f"{name:12} {draw.label:56} iterations {known.n_iter:4} {unknown.n_iter:4}"
            f"  cost {cost:5.2f}  CPU {cpu:5.2f}  {told}",
            flush=True,
        )
    for what, ratios in (("cost", costs), ("CPU", cpus)):
        found = np.median(ratios), np.quantile(ratios, 0.95), np.max(ratios)
        beside = "  ".join(
            f"{label} {number:.2f} (asked {asked:g})"
            for label, number, asked in zip(
                ("median", "95 %", "worst"), found, ASKED, strict=True
            )
        )
        print(f"{name:12} {what:4}  {beside}")
    print(f"{name:12} wrong rank or matrix: {wrong} of {len(costs)}\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=170, help="of completion")
    parser.add_argument("--first", type=int, default=0, help="seed of the first draw")
    parser.add_argument("--no-large", action="store_true", help="30 large ones less")
    parser.add_argument("--no-sensing", action="store_true", help="60 draws less")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.draws)
    compare("completion", (completion(seed, (0, MOST_ENTRIES)) for seed in seeds))
    if not args.no_large:
        large = MOST_ENTRIES, MOST_LARGE
        compare("large", (completion(1000 + seed, large) for seed in range(30)))
    if not args.no_sensing:
        compare("sensing", (sensing(seed) for seed in range(60)))


if __name__ == "__main__":
    main()
