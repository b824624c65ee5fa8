r"""Quantum states from counts: infidelity beside maximum likelihood, CPU, coverage.

    python benchmarks/physics/shots.py [--qubits 2 3 4 5] [--seeds 20] [--quick]
    python benchmarks/physics/shots.py --white 0.1
    python benchmarks/physics/shots.py --qubits 1 2 3 --ranks 1 2 3 4 \
        --shots 100 1000 10000

A state of q qubits and rank r is drawn as ``X X^H / tr(X X^H)``, X complex Gaussian;
``--white`` mixes it with a share of the identity. Each of the ``3^q`` product bases is
measured 1000 times (``--shots``). Found are, without the rank,

- the package's state, ``skprecgd.states.fit_state`` with all at its default;
- maximum likelihood by the iteration ``rho -> R rho R / tr``, ``R = sum_k f_k / p_k
  Pi_k`` (Hradil, Rehacek, Fiurasek, Jezek, Lect. Notes Phys. 649, 2004), written here
  from its paper, from the most mixed state until the log-likelihood of a shot grows by
  less than 1e-12, or 3000 iterations;
- linear inversion, the least squares of the frequencies among all matrices, and the
  density matrix nearest to it (Smolin, Gambetta, Smith, Phys. Rev. Lett. 108, 070502,
  2012), written here from its paper;
- convex least squares, positive semidefinite and of trace one, by cvxpy and SCS, plain
  and with the weights that the package's first fit has.

Printed are the mean and the largest infidelity ``1 - F`` over the draws, the mean of
the package over that of a peer, the mean and the largest error of the density matrix
relative to its Frobenius norm, the median CPU seconds, and their ratio. Below are the
shares of 90 % intervals that hold the truth: of entries of the density matrix (their
real and their imaginary parts), and of the fidelities with pure states: six that are
random, one near the leading eigenvector of the state, that eigenvector itself, and that
of the fit. The lowest share of entries in one draw stands beside their mean.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import product

import numpy as np

from skprecgd.states import Counts, fidelity, fit_state

CONFIDENCE, N_RANDOM = 0.9, 6
# Of the likelihood: gain of the logarithm for a shot, and most iterations.
LEAST_GAIN, MOST = 1e-12, 3000


def gaussian(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def unit(x):
    return x / np.linalg.norm(x)


def drawn(seed, n_qubits, rank, white, shots):
    """Counts, and a factor of the state."""
    rng = np.random.default_rng(seed)
    n = 2**n_qubits
    x = unit(gaussian(rng, n, rank))
    x = np.hstack([np.sqrt(1 - white) * x, np.sqrt(white / n) * np.eye(n)])
    labels = ["".join(letters) for letters in product("XYZ", repeat=n_qubits)]
    return Counts.simulate(labels, x @ x.conj().T, shots, rng.integers(2**31)), x


def likeliest(counts):
    """The iteration R rho R."""
    a = counts.measurements.a
    n = a.shape[1]
    f, rho, last = counts.frequencies, np.eye(n, dtype=complex) / n, -np.inf
    seen = f > 0
    f, a = f[seen] / len(counts.shots), a[seen]
    for _ in range(MOST):
        p = np.einsum("ij,ij->i", a.conj() @ rho, a).real
        value = float(f @ np.log(p))
        if value - last < LEAST_GAIN:
            break
        last = value
        r = (a.T * (f / p)) @ a.conj()
        rho = r @ rho @ r
        rho /= np.trace(rho).real
    return rho


def inverted(counts):
    """Linear inversion, and the density matrix that is nearest to it."""
    a = counts.measurements.a
    stack = (a.conj()[:, :, None] * a[:, None, :]).reshape(len(a), -1)
    free = np.linalg.lstsq(stack, counts.frequencies.astype(complex), rcond=None)[0]
    free = free.reshape(a.shape[1], -1)
    values, vectors = np.linalg.eigh((free + free.conj().T) / 2)
    # The nearest point of the simplex.
    falling = values[::-1]
    shifts = (np.cumsum(falling) - 1) / np.arange(1, len(values) + 1)
    shift = shifts[np.flatnonzero(falling > shifts)[-1]]
    return (vectors * np.maximum(values - shift, 0)) @ vectors.conj().T


def least_squares(counts, weighted):
    """The convex program."""
    import cvxpy as cp

    a = counts.measurements.a
    n = a.shape[1]
    stack = (a.conj()[:, :, None] * a[:, None, :]).reshape(len(a), -1)
    rho = cp.Variable((n, n), hermitian=True)
    seen = cp.real(stack @ cp.vec(rho, order="C"))
    roots = 1 / np.sqrt(counts.variances() if weighted else np.ones(len(a)))
    left = cp.multiply(roots / roots.mean(), seen - counts.frequencies)
    valid = [rho >> 0, cp.real(cp.trace(rho)) == 1]
    cp.Problem(cp.Minimize(cp.sum_squares(left)), valid).solve(solver="SCS")
    # What the solver leaves below zero is its tolerance.
    values, vectors = np.linalg.eigh(rho.value)
    values = np.maximum(values, 0.0)
    return (vectors * (values / values.sum())) @ vectors.conj().T


PEERS = {
    "skprecgd": lambda counts: fit_state(counts),
    "R rho R": likeliest,
    "inversion": inverted,
    "least squares": lambda counts: least_squares(counts, weighted=False),
    "weighted": lambda counts: least_squares(counts, weighted=True),
}


def held(state, x, rng):
    """Which intervals hold the truth, by kind."""
    n = len(x)
    leading = np.linalg.svd(x)[0][:, 0]
    near = unit(leading + unit(gaussian(rng, n)) / 3)
    vectors = [unit(gaussian(rng, n)) for _ in range(N_RANDOM)]
    vectors = np.array(
        [*vectors, near, leading, np.linalg.eigh(state.density_matrix)[1][:, -1]]
    )
    upper, above = np.triu_indices(n), np.triu_indices(n, 1)

    def numbers(rho):
        seen = np.einsum("ki,ij,kj->k", vectors.conj(), rho, vectors).real
        return np.concatenate([seen, rho.real[upper], rho.imag[above]])

    truth = numbers(x @ x.conj().T)
    low, high = state.interval(numbers, confidence=CONFIDENCE, limits=(-1, 1))
    # A fidelity of one is one but for rounding.
    within = (low - 1e-12 <= truth) & (truth <= high + 1e-12)
    kinds = np.split(within, [N_RANDOM, N_RANDOM + 1, N_RANDOM + 2, N_RANDOM + 3])
    return dict(
        zip(("random", "near", "leading", "own", "entries"), kinds, strict=True)
    )


def row(n_qubits, rank, white, shots, seeds, peers):
    infidelities = {name: [] for name in peers}
    errors = {name: [] for name in peers}
    seconds = {name: [] for name in peers}
    inside, ranks, whites = {}, [], []
    for seed in range(seeds):
        counts, x = drawn(seed, n_qubits, rank, white, shots)
        exact = x @ x.conj().T
        truth = x[:, 0] if rank == 1 and not white else exact
        for name in peers:
            started = time.process_time()
            found = PEERS[name](counts)
            seconds[name].append(time.process_time() - started)
            infidelities[name].append(1.0 - fidelity(found, truth))
            matrix = found.density_matrix if name == "skprecgd" else found
            errors[name].append(np.linalg.norm(matrix - exact) / np.linalg.norm(exact))
            if name == "skprecgd":
                ranks.append(found.rank)
                whites.append(found.white_share)
                rng = np.random.default_rng([seed, 1])
                for kind, which in held(found, x, rng).items():
                    inside.setdefault(kind, []).append(np.mean(which))
    own = np.mean(infidelities["skprecgd"])
    own_cpu = np.median(seconds["skprecgd"])
    for name in peers:
        each, cpu = np.array(infidelities[name]), np.median(seconds[name])
        print(
            f"{n_qubits:6d} {rank:4d} {shots:6d}  {name:14s} {each.mean():9.5f} "
            f"{each.max():9.5f} {own / each.mean():7.3f} {np.mean(errors[name]):8.4f} "
            f"{np.max(errors[name]):8.4f} {cpu:8.2f} {own_cpu / cpu:9.2f}",
            flush=True,
        )
    shares = {kind: np.mean(which) for kind, which in inside.items()}
    print(
        f"{'':20s}rank found {np.mean(np.array(ranks) == rank):.2f}, white noise "
        f"{np.mean(whites):.4f}; inside: entries {shares['entries']:.3f} (worst "
        f"{min(inside['entries']):.3f}), fidelity random {shares['random']:.3f}, near "
        f"{shares['near']:.2f}, leading {shares['leading']:.2f}, own "
        f"{shares['own']:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--qubits", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shots", type=int, nargs="+", default=[1000])
    parser.add_argument("--white", type=float, default=0.0, help="share of identity")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--quick", action="store_true", help="2 and 3 qubits, 5 seeds")
    args = parser.parse_args()
    if args.quick:
        args.qubits, args.seeds = [2, 3], 5
    peers = ["skprecgd", *(name for name in args.peers if name != "skprecgd")]
    warnings.simplefilter("ignore")
    print(
        "qubits rank  shots                  1 - F     worst   ratio    error    worst"
        "    CPU s CPU ratio\n"
        f"{'':38s}(skprecgd / peer)"
    )
    for n_qubits, rank, shots in product(args.qubits, args.ranks, args.shots):
        if rank <= 2**n_qubits:
            row(n_qubits, rank, args.white, shots, args.seeds, peers)


if __name__ == "__main__":
    main()
