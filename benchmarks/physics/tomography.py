r"""Quantum states from Pauli strings without noise: ranks found, errors, CPU time.

    python benchmarks/physics/tomography.py [--qubits 4 5 6 7 8] [--seeds 20]

A state of q qubits and rank r is drawn as ``X X^H / tr(X X^H)``, X complex Gaussian,
and measured by different random strings that are not the identity: 1.5, 2 and 4 times
as many as the degrees of freedom ``2 n r - r^2`` of Hermitian matrices of that rank.
Rows that ask for more strings than the ``4^q - 1`` there are, are left out. The search
rank is 4 r, `tol` 1e-9; nothing else is told.

Printed are how often the rank was found, how often the relative error of the matrix is
below 1e-8, median and largest error, median and largest CPU seconds of the fit, and at
the end the peak memory of the process.

``--dense`` adds, at 6 qubits and rank 2, the CPU time of the same fit by a stack of
dense measurement matrices, and what the law of its products, the number of strings
times ``4^q``, makes of it at 8 qubits.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import DenseMeasurements, PauliMeasurements

RANKS, TIMES = (1, 2, 3, 4), (1.5, 2.0, 4.0)
WANTED = 1e-8


def freedom(n, rank):
    return 2 * n * rank - rank**2


def labels(rng, n_qubits, count):
    """Different strings, none of them the identity."""
    codes = rng.choice(4**n_qubits - 1, size=count, replace=False) + 1
    digits = codes[:, None] >> 2 * np.arange(n_qubits) & 3
    return ["".join(row) for row in np.array(list("IXYZ"))[digits]]


def drawn(seed, n_qubits, rank, count):
    """Strings, their expectation values, and the state."""
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, 2**n_qubits, rank))
    x = parts[0] + 1j * parts[1]
    x /= np.linalg.norm(x)
    strings = PauliMeasurements(labels(rng, n_qubits, count))
    return strings, strings.forward(x, x).real, x @ x.conj().T


def fitted(measurements, y, rank):
    """A fit, and its CPU time."""
    started = time.process_time()
    model = PrecGDMatrixSensing(4 * rank, symmetric=True).fit(measurements, y)
    return model, time.process_time() - started


def row(n_qubits, rank, times, seeds):
    count = round(times * freedom(2**n_qubits, rank))
    if count > 4**n_qubits - 1:
        return
    errors, seconds, found = [], [], []
    for seed in range(seeds):
        strings, y, truth = drawn(seed, n_qubits, rank, count)
        model, cpu = fitted(strings, y, rank)
        errors.append(np.linalg.norm(model.matrix_ - truth) / np.linalg.norm(truth))
        seconds.append(cpu)
        found.append(model.n_components_ == rank)
    print(
        f"{n_qubits:6d} {rank:5d} {times:6.1f} {count:8d} {np.mean(found):6.2f} "
        f"{np.mean(np.array(errors) < WANTED):8.2f} {np.median(errors):9.1e} "
        f"{max(errors):9.1e} {np.median(seconds):8.2f} {max(seconds):8.2f}",
        flush=True,
    )


def dense_stack(times=2.0, rank=2):
    """The same fit at 6 qubits by dense matrices, scaled to 8 by its cost law."""
    counts = [round(times * freedom(2**q, rank)) for q in (6, 8)]
    strings, y, _ = drawn(0, 6, rank, counts[0])
    stack = DenseMeasurements(strings.stacked(slice(None)), strings.matrix_shape)
    _, cpu = fitted(stack, y, rank)
    scaled = cpu * counts[1] / counts[0] * 4**8 / 4**6
    strings, y, _ = drawn(0, 8, rank, counts[1])
    _, own = fitted(strings, y, rank)
    print(
        f"dense stack, 6 qubits: {cpu:.2f} CPU s, scaled to 8 qubits {scaled:.1f}; "
        f"strings at 8 qubits {own:.2f}, {own / scaled:.3f} of that"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qubits", type=int, nargs="+", default=[4, 5, 6, 7, 8])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--dense", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(
        "qubits  rank  times  strings   rank   < 1e-8    error     worst    CPU s"
        "    worst"
    )
    for n_qubits in args.qubits:
        for rank in RANKS:
            for times in TIMES:
                row(n_qubits, rank, times, args.seeds)
    if args.dense:
        dense_stack()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
