"""What choosing the rank by cross-validation costs, and how often it is right.

``cost``: passes over the measurements and CPU seconds of a CV estimator over ten ranks
and five folds, against the five fits at the largest rank alone, and against
`GridSearchCV` over the same grid. A pass is counted in measured numbers: one forward or
adjoint product with all of them is 1, with a fold's four fifths 0.8. Both counts leave
out the final refit on everything, which all of them would share.

``workers``: seconds and memory of two workers against one, threads and processes, with
one inner thread a worker (of BLAS and compiled loops), and with all there are by
default: then one worker has all cores, too. ``--scale 2`` takes twice the samples, and
where these are dense four times the memory. Seconds are those of rounds in turns.
Memory is the proportional set size of the process and its children at its peak, in a
process of its own, on Linux only; what processes have in common is counted once.

``ranks``: how often the right rank of five is chosen among 1 to 15, beside
``PCA(n_components="mle")`` and row-fold `GridSearchCV` over `TruncatedSVD` where these
apply. Noise is relative to the root mean square of the noiseless data.

    python benchmarks/model_selection.py cost ranks --seeds 20
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold

from skprecgd import (
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd._estimators.rank_path_cv import _best
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.measurements import DenseMeasurements

RANK = 5
# What says how many threads a process takes for its loops.
INNER_THREADS = "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"


class Count:
    """Measured numbers since the last reset."""

    measured = 0


def counted(kind):
    """A kind of measurements that counts what its products measure."""

    class Counted(kind):
        def _counted(self, times=1):
            Count.measured += times * len(self)

        def forward(self, *blocks):
            self._counted()
            return super().forward(*blocks)

        def forward_ray(self, *blocks):
            # Where the two parts are not fused, `forward` counts them.
            fused = "forward_ray" in vars(kind)
            self._counted(int(fused))
            return super().forward_ray(*blocks)

        def ray_and_back(self, *arguments):
            # Where it is fused: the measurements are read once.
            self._counted(int("ray_and_back" in vars(kind)))
            return super().ray_and_back(*arguments)

        def forward_and_back(self, *arguments):
            self._counted(int("forward_and_back" in vars(kind)))
            return super().forward_and_back(*arguments)

        def adjoint(self, weights):
            self._counted()
            return super().adjoint(weights)

        def adjoint_products(self, *blocks):
            fused = "adjoint_products" in vars(kind)
            self._counted(int(fused))
            return super().adjoint_products(*blocks)

        def tangent(self, *blocks):
            contracted = "tangent" in vars(kind)
            self._counted(2 * int(contracted))
            return super().tangent(*blocks)

        def rows(self, index):
            part = super().rows(index)
            part.__class__ = Counted
            return part

    return Counted


def problem(kind, seed, noise, scale=1.0, observed=0.5):
    """Samples, targets and, for complete data, the matrix."""
    n_rows, n_columns = round(100 * scale), round(80 * scale)
    if kind == "sensing":
        side = round(30 * np.sqrt(scale))
        A, y, _ = make_matrix_sensing(
            side,
            side - 5,
            rank=RANK,
            n_measurements=5 * RANK * (2 * side - 5 - RANK),
            noise=noise,
            condition_number=3,
            random_state=seed,
        )
        return DenseMeasurements(A, (side, side - 5)), y, None
    X, _ = make_matrix_completion(
        n_rows,
        n_columns,
        rank=RANK,
        observed_fraction=observed if kind == "completion" else 1.0,
        noise=noise,
        condition_number=3,
        random_state=seed,
    )
    return *observed_entries(X), X


# ---- cost


def measured(work):
    """Measured numbers and CPU seconds of some work."""
    Count.measured, started = 0, time.process_time()
    work()
    return Count.measured, time.process_time() - started


def cost(options):
    print(
        f"\n{'':11} {'against':42} {'passes':>8} {'of it':>6} {'CPU s':>8} {'of it':>6}"
    )
    for kind in ("completion", "sensing"):
        # Large enough that the entries are not scarce at the largest rank.
        scale = (1.6 if kind == "completion" else 1.0) * options.scale
        A, y, _ = problem(kind, options.first_seed, 0.05, scale, observed=0.8)
        A.__class__ = counted(type(A))
        folds = list(KFold(5, shuffle=True, random_state=0).split(y))
        ranks = list(range(1, 11))

        def without_refit(folds=folds, A=A, y=y, ranks=ranks):
            model = PrecGDMatrixSensingCV(ranks, cv=folds, tol=options.tol)
            model._choose(model._samples(A, y))

        def single_fits(early_stopping, folds=folds, A=A, y=y):
            for train, _ in folds:
                PrecGDMatrixSensing(
                    10, early_stopping=early_stopping, tol=options.tol, random_state=0
                ).fit(A[train], y[train])

        def grid_search(early_stopping, folds=folds, A=A, y=y, ranks=ranks):
            base = PrecGDMatrixSensing(
                early_stopping=early_stopping, tol=options.tol, random_state=0
            )
            grid = {"n_components": ranks}
            GridSearchCV(base, grid, cv=folds, refit=False).fit(A, y)

        # Whoever is first would load the kernels for all.
        without_refit()
        ours = measured(without_refit)
        label = "the CV estimator"
        print(f"{kind:11} {label:42} {ours[0] / len(y):8.0f} {'':6} {ours[1]:8.1f}")
        for name, work in (
            ("5 fits at rank 10", single_fits),
            ("GridSearchCV", grid_search),
        ):
            for early_stopping in ("auto", False):
                theirs = measured(lambda e=early_stopping, w=work: w(e))
                label = f"{name}, early_stopping={early_stopping!r}"
                print(
                    f"{'':11} {label:42} {theirs[0] / len(y):8.0f} "
                    f"{ours[0] / theirs[0]:6.2f} {theirs[1]:8.1f} "
                    f"{ours[1] / theirs[1]:6.2f}",
                    flush=True,
                )


# ---- workers


def proportional_memory():
    """Bytes of this process and its descendants, what they share counted once."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
            waiting += [
                int(child)
                for task in tasks
                for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        total += sum(
            int(line.split()[1]) * 1024
            for line in rollup.splitlines()
            if line.startswith("Pss:")
        )
    return total


def peak_memory(work):
    """The most memory while it lasted."""
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], proportional_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    done.set()
    watcher.join()
    return peak[0]


def of_workers(kind, options):
    """A model, and samples that are much to read."""
    settings = {"cv": 6, "tol": 1e-4}
    if kind == "completion":
        side = round(3000 * np.sqrt(options.scale))
        X, _ = make_matrix_completion(
            side,
            rank=RANK,
            observed_fraction=0.2,
            noise=0.05,
            random_state=options.first_seed,
        )
        model = PrecGDFactorizationCV(range(1, 11), **settings)
        return model, model._samples(X)
    side, n = round(60 * np.sqrt(options.scale)), round(2500 * options.scale)
    A, y, _ = make_matrix_sensing(
        side,
        rank=RANK,
        n_measurements=n,
        noise=0.05,
        random_state=options.first_seed,
    )
    model = PrecGDMatrixSensingCV(range(1, 11), matrix_shape=(side, side), **settings)
    return model, model._samples(A.reshape(n, -1), y)


def machine_limits(options):
    """What two threads gain on this machine where they only read, or only multiply."""
    rng = np.random.default_rng(options.first_seed)
    large = [rng.standard_normal((2500, 3600)) for _ in range(2)]
    small = [rng.standard_normal((800, 800)) for _ in range(2)]
    vector = rng.standard_normal(3600)

    def read(k):
        for _ in range(50):
            large[k] @ vector

    def multiply(k):
        for _ in range(20):
            small[k] @ small[k]

    for name, work in (("reading 72 MB", read), ("multiplying", multiply)):
        gains = []
        for _ in range(5):
            seconds = []
            for n_jobs in (1, 2):
                with joblib.Parallel(n_jobs=n_jobs, backend="threading") as pool:
                    started = time.perf_counter()
                    pool(joblib.delayed(work)(k) for k in range(2))
                    seconds.append(time.perf_counter() - started)
            gains.append(seconds[0] / seconds[1])
        print(f"{name}: two threads are {np.median(gains):.2f} times as fast as one")


def workers(options):
    apart(1, machine_limits, options)
    print(
        f"\n{'':11} {'backend':10} {'inner':>6} {'s, 1':>6} {'s, 2':>6} "
        f"{'speed-up':>22} {'MB, 1':>6} {'MB, 2':>6} {'ratio':>6}"
    )
    for kind in ("sensing", "completion"):
        for backend, threads in (("threading", 1), ("loky", 1), (None, None)):
            seconds = apart(threads, seconds_in_turns, kind, backend, options)
            peaks = [
                apart(threads, peak_of, kind, backend, n_jobs, options) / 1e6
                for n_jobs in (1, 2)
            ]
            low, gain, high = np.percentile(seconds[0] / seconds[1], [25, 50, 75])
            first, second = np.median(seconds, axis=1)
            spread = f"{gain:.2f} ({low:.2f} to {high:.2f})"
            print(
                f"{kind:11} {backend or 'default':10} {threads or 'all':>6} "
                f"{first:6.1f} {second:6.1f} {spread:>22} "
                f"{peaks[0]:6.0f} {peaks[1]:6.0f} {peaks[1] / peaks[0]:6.2f}",
                flush=True,
            )


def apart(threads, work, *arguments):
    """In a process of its own with so many inner threads; None is the default."""
    before = dict(os.environ)
    if threads is not None:
        os.environ.update(dict.fromkeys(INNER_THREADS, str(threads)))
    try:
        # Its libraries read them when it starts.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(_and_no_workers_left, work, *arguments).result()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _and_no_workers_left(work, *arguments):
    try:
        return work(*arguments)
    finally:
        # Idle ones would be waited for, for minutes, when the process ends.
        get_reusable_executor().shutdown()


def scoring(kind, backend, options):
    """What scores the grid with so many workers; None is the default backend."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    model, samples = of_workers(kind, options)

    def work(n_jobs):
        with joblib.parallel_config(backend) if backend else nullcontext():
            model.set_params(n_jobs=n_jobs)._choose(samples)

    return work


def seconds_in_turns(kind, backend, options):
    """Of one worker and of two: a machine's speed changes from minute to minute."""
    work = scoring(kind, backend, options)
    seconds = np.empty((2, options.rounds + 1))
    for k in range(options.rounds + 1):
        for n_jobs in (1, 2):
            started = time.perf_counter()
            work(n_jobs)
            seconds[n_jobs - 1, k] = time.perf_counter() - started
    # The first time workers start and load the kernels.
    return seconds[:, 1:]


def peak_of(kind, backend, n_jobs, options):
    return peak_memory(partial(scoring(kind, backend, options), n_jobs))


# ---- ranks


def reconstruction(model, X, y=None):
    return r2_score(X, model.inverse_transform(model.transform(X)))


def chosen_ranks(kind, seed, noise, options):
    """The rank each method chooses."""
    ranks = list(range(1, 16))
    A, y, X = problem(kind, seed, noise, options.scale)
    settings = {"tol": 1e-4, "random_state": seed, "n_jobs": options.n_jobs}
    if kind == "sensing":
        model = PrecGDMatrixSensingCV(ranks, **settings)
        model._choose(model._samples(A, y))
    else:
        model = PrecGDFactorizationCV(ranks, **settings)
        model._choose(model._samples(X))
    table = model.cv_results_["param_n_components"]
    found = {
        rule: table[_best(model.cv_results_, rule, 5)]
        for rule in ("best", "one_standard_error")
    }
    if kind == "complete":
        found["PCA mle"] = PCA(n_components="mle").fit(X).n_components_
        search = GridSearchCV(
            TruncatedSVD(algorithm="arpack", random_state=0),
            {"n_components": ranks},
            scoring=reconstruction,
        )
        found["row folds"] = search.fit(X).best_params_["n_components"]
    return found


def ranks(options):
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    print(f"\nrank {RANK} among 1 to 15, {len(seeds)} seeds: exactly, within 1, range")
    for kind in options.kinds:
        for noise in (0.05, 0.2):
            runs = [chosen_ranks(kind, seed, noise, options) for seed in seeds]
            for method in runs[0]:
                found = np.array([run[method] for run in runs])
                off = np.abs(found - RANK)
                print(
                    f"{kind:11} noise {noise:4.0%}  {method:20} "
                    f"{np.mean(off == 0):4.0%} {np.mean(off <= 1):4.0%} "
                    f"{found.min()} to {found.max()}",
                    flush=True,
                )


KINDS = ("completion", "sensing", "complete")
PARTS = {"cost": cost, "workers": workers, "ranks": ranks}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="of data, in ranks"
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="sizes, times this")
    parser.add_argument("--rounds", type=int, default=5, help="of workers")
    parser.add_argument("--tol", type=float, default=1e-4, help="of all fits in cost")
    parser.add_argument("--n-jobs", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
