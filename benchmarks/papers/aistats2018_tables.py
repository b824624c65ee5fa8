"""Tables 2 and 3 of Zhang, Wang and Gu (AISTATS 2018): low rank plus sparse.

The paper's setting: X* = U V^T with standard normal factors of rank r, a tenth of the
entries of S* not zero and uniform on [-r, r], no noise, 30 trials.

*Table 3, robust PCA* (d, r) = (100, 5), (1000, 20), (5000, 50): all entries of X* + S*
are seen; the error is the root mean square of the entries of the recovered matrix less
X*. The text of the paper says r = 3 for d = 100; ``--rank 3`` is that.

*Table 2, robust sensing* (d, r) = (100, 3), (150, 4), (200, 5) from 0.2 d^2 Gaussian
measurements; the error is relative. In the paper S* is a part of the measured matrix.
`PrecGDMatrixSensing` is for measured *numbers* that are wrong, so ours is another
problem of the same size: a tenth of the measurements is off, by uniform numbers on
[-r, r] times the root mean square of the clean ones. The numbers printed beside ours
are for orientation only.

What else is ours: the search rank is twice the true one (the paper's method is given
it), nothing is chosen by cross-validation (the paper's step sizes and thresholds are),
``outlier_fraction=0.1``, the default tol=1e-9 (the paper's errors of 4e-3 on noiseless
data are where it stopped), 3 trials, and the time is the CPU seconds of all threads on
this machine, which says little about the paper's.

The largest sizes need memory: 5000 x 5000 about 2 GB, sensing with d = 150 and 200
about 1 and 3 GB. They are run only if asked for::

    python benchmarks/papers/aistats2018_tables.py
    python benchmarks/papers/aistats2018_tables.py --pca 5000 --sensing 150 200
"""

from __future__ import annotations

import argparse
from time import process_time

import numpy as np
from _common import Array, print_row

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing

# d -> rank, error and seconds in the paper.
PCA = {100: (5, 3.97e-3, 0.121), 1000: (20, 3.74e-3, 1.54), 5000: (50, 3.67e-3, 35.7)}
SENSING = {100: (3, 5.51e-3, 24.3), 150: (4, 5.33e-3, 63.1), 200: (5, 4.75e-3, 177.2)}
SHARE = 0.1
WIDTHS = (8, 5, 5, 9, 9, 7, 7, 9, 9)


def low_rank(rng: np.random.Generator, d: int, rank: int) -> Array:
    return rng.standard_normal((d, rank)) @ rng.standard_normal((rank, d))


def gross(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> Array:
    """Uniform on [-bound, bound] in a tenth of the places, zero elsewhere."""
    errors = rng.uniform(-bound, bound, size=shape)
    return errors * (rng.random(shape) < SHARE)


def robust_pca(rng: np.random.Generator, d: int, rank: int) -> tuple[float, int, float]:
    """Error, rank found and CPU seconds of one trial of Table 3."""
    truth = low_rank(rng, d, rank)
    X = truth + gross(rng, truth.shape, rank)
    # The number of errors is random too: the bound leaves room for that.
    model = PrecGDFactorization(2 * rank, outlier_fraction=1.05 * SHARE)
    started = process_time()
    model.fit(X)
    seconds = process_time() - started
    found = model.left_ @ model.right_.T
    return float(np.sqrt(np.mean((found - truth) ** 2))), model.n_components_, seconds


def robust_sensing(
    rng: np.random.Generator, d: int, rank: int
) -> tuple[float, int, float]:
    """Relative error, rank found and CPU seconds of one trial of our Table 2."""
    truth = low_rank(rng, d, rank)
    A = rng.standard_normal((d * d // 5, d * d), dtype=np.float32)
    y = A @ truth.ravel()
    y += gross(rng, y.shape, rank * np.sqrt(np.mean(y**2)))
    model = PrecGDMatrixSensing(
        2 * rank, matrix_shape=(d, d), outlier_fraction=1.2 * SHARE, tol=1e-5
    )
    started = process_time()
    model.fit(A, y)
    seconds = process_time() - started
    error = np.linalg.norm(model.matrix_ - truth) / np.linalg.norm(truth)
    return float(error), model.n_components_, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pca", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--sensing", type=int, nargs="*", default=[100])
    parser.add_argument("--rank", type=int, help="instead of the tables' ranks")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    head = "problem d rank error worst found CPU_s paper paper_s"
    print_row(head.split(), WIDTHS)
    for name, trial, table, sizes in (
        ("PCA", robust_pca, PCA, options.pca),
        ("sensing", robust_sensing, SENSING, options.sensing),
    ):
        for d in sizes:
            rank, error, seconds = table[d]
            rank = options.rank or rank
            rngs = [
                np.random.default_rng([options.seed, d, i])
                for i in range(options.trials)
            ]
            errors, found, times = zip(*(trial(r, d, rank) for r in rngs), strict=True)
            cells = [name, str(d), str(rank)]
            cells += [f"{np.mean(errors):.1e}", f"{np.max(errors):.1e}"]
            cells += [",".join(map(str, sorted(set(found)))), f"{np.mean(times):.2f}"]
            cells += [f"{error:.1e}", f"{seconds:g}"]
            print_row(cells, WIDTHS)


if __name__ == "__main__":
    main()
