"""Matrix sensing to a given error beside pymanopt and cvxpy; passes over the data.

50 x 50 of rank 5 from 1500 Gaussian measurements, to a relative error of 1e-8: search
rank 5 and 10, condition numbers 1 and 1e4. The loosest tolerance that gets there is
searched for outside the clock, for us and for pymanopt. pymanopt: conjugate gradients
on fixed-rank matrices, cost and gradient by hand from two products with the measurement
matrix, a spectral start. cvxpy (``--cvxpy``): least nuclear norm that agrees with the
measurements, by SCS; it needs no rank, and gets one run. All run in turn in one
process, ``--repeats`` times: medians of the rounds, ratios within a round.

Then, for 100 x 100 of rank 5 from 3000 measurements with search rank 10 and an error of
1e-10: how often the measurement matrix is read. Contracting it with both factors is
one pass, because it is done piece by piece in the cache.

    pip install pymanopt autograd cvxpy
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/sensing.py --cvxpy
    OPENBLAS_NUM_THREADS=1 python benchmarks/peers/sensing.py --size 20 --repeats 1
"""

from __future__ import annotations

import argparse
import warnings
from importlib.metadata import version as version_of
from statistics import median

import numpy as np
from _common import missed, parser, timed

import skprecgd
from skprecgd import PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_sensing
from skprecgd.measurements import DenseMeasurements
from skprecgd.objective import make_objective
from skprecgd.optim import rank_path

READ_ONCE = ("forward", "forward_ray", "ray_and_back", "forward_and_back", "adjoint")
TOLERANCES = (1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11)


class Counter:
    """Counts how often the stack of some dense measurements is read."""

    def __init__(self, measurements: DenseMeasurements) -> None:
        self.passes = 0
        self._tangent, self._contracts = measurements.tangent, measurements.contracts
        measurements.tangent = self.tangent
        for name in READ_ONCE:
            setattr(measurements, name, self.counting(getattr(measurements, name)))

    def counting(self, product):
        def counted(*arguments):
            self.passes += 1
            return product(*arguments)

        return counted

    def tangent(self, left, right):
        self.passes += self._contracts(left.shape[1])
        return self._tangent(left, right)


def precgd(A, y, n: int, rank: int, tol: float) -> np.ndarray:
    how = {"matrix_shape": (n, n), "tol": tol, "random_state": 0}
    return PrecGDMatrixSensing(rank, **how).fit(A, y).matrix_


def riemannian(A, y, n: int, rank: int, tol: float) -> np.ndarray:
    import pymanopt
    from pymanopt.manifolds import FixedRankEmbedded
    from pymanopt.optimizers import ConjugateGradient

    manifold = FixedRankEmbedded(n, n, rank)
    scale = 1.0 / len(y)

    @pymanopt.function.numpy(manifold)
    def cost(u, s, vt):
        residual = A @ ((u * s) @ vt).ravel() - y
        return 0.5 * scale * residual @ residual

    @pymanopt.function.numpy(manifold)
    def riemannian_gradient(u, s, vt):
        residual = A @ ((u * s) @ vt).ravel() - y
        gradient = scale * (residual @ A).reshape(n, n)
        left, right = gradient @ vt.T, gradient.T @ u
        middle = u.T @ left
        tangent = type(manifold.zero_vector(manifold.random_point()))
        return tangent(left - u @ middle, middle, right - vt.T @ middle.T)

    problem = pymanopt.Problem(manifold, cost, riemannian_gradient=riemannian_gradient)
    optimizer = ConjugateGradient(
        max_iterations=2000, min_gradient_norm=tol, max_time=60, verbosity=0
    )
    u, s, vt = np.linalg.svd((y @ A).reshape(n, n) * scale, full_matrices=False)
    start = manifold.random_point()
    start = type(start)(u[:, :rank], s[:rank], vt[:rank])
    point = optimizer.run(problem, initial_point=start).point
    return (point[0] * point[1]) @ point[2]


def nuclear_norm(A, y, n: int, rank: int, tol: float) -> np.ndarray:
    import cvxpy

    M = cvxpy.Variable((n, n))
    agrees = A @ cvxpy.vec(M, order="C") == y
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.normNuc(M)), [agrees])
    problem.solve(solver="SCS", eps=1e-9, max_iters=20000)
    return M.value


def relative_error(found: np.ndarray, truth) -> float:
    matrix = truth.left @ truth.right.T
    return float(np.linalg.norm(found - matrix) / np.linalg.norm(matrix))


def compare(args: argparse.Namespace, rank: int, condition: float) -> None:
    n, m = args.size, round(0.6 * args.size**2)
    A, y, truth = make_matrix_sensing(
        n,
        rank=args.rank,
        n_measurements=m,
        condition_number=condition,
        random_state=args.seed,
    )
    A = np.ascontiguousarray(A.reshape(m, -1))
    methods = {"skprecgd": precgd, "pymanopt": riemannian}
    tolerances, runs = {}, {name: [] for name in methods}
    for name, solve in methods.items():
        errors = {}
        for tol in TOLERANCES:
            errors[tol] = relative_error(solve(A, y, n, rank, tol), truth)
            if errors[tol] <= args.error:
                break
        tolerances[name] = min(errors, key=lambda tol: errors[tol])
    for _ in range(args.repeats):
        for name, solve in methods.items():
            tol = tolerances[name]
            found, cpu, wall = timed(solve, A, y, n, rank, tol)
            runs[name].append((cpu, wall, relative_error(found, truth)))
    if args.cvxpy:
        methods["cvxpy"] = nuclear_norm
        found, cpu, wall = timed(nuclear_norm, A, y, n, rank, 0.0)
        runs["cvxpy"] = [(cpu, wall, relative_error(found, truth))] * args.repeats
    for name, each in runs.items():
        own = name == "skprecgd"
        version = skprecgd.__version__ if own else version_of(name)
        pairs = zip(runs["skprecgd"], each, strict=True)
        ratio = median(ours[0] / theirs[0] for ours, theirs in pairs)
        cpu, wall, error = (median(r[i] for r in each) for i in range(3))
        print(
            f"r = {rank:2} kappa {condition:<6g} {name:10}"
            f"{version:12}{error:10.1e}{cpu:8.2f}{wall:8.2f}{ratio:13.3f}"
            + missed(error, args.error),
            flush=True,
        )


def count_passes(n: int, condition: float, seed: int) -> None:
    A, y, truth = make_matrix_sensing(
        n,
        rank=5,
        n_measurements=30 * n,
        condition_number=condition,
        random_state=seed,
    )
    measurements = DenseMeasurements(A, (n, n))
    counter = Counter(measurements)
    # The error is about as large as the residual.
    path = rank_path(make_objective(measurements, y), 10, tol=5e-11)
    error = truth.relative_error(path.factors.left, path.factors.right)
    print(
        f"kappa {condition:<6g} {counter.passes} passes, rank "
        f"{path.factors.rank}, error {error:.1e}",
        flush=True,
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", type=int, default=50)
    options.add_argument("--rank", type=int, default=5, help="of the truth")
    options.add_argument("--error", type=float, default=1e-8)
    options.add_argument("--cvxpy", action="store_true")
    args = options.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{'':33}{'version':12}{'error':>6}{'CPU s':>8}{'wall s':>8}{'ours/theirs':>13}"
    )
    for rank in (args.rank, 2 * args.rank):
        for condition in (1.0, 1e4):
            compare(args, rank, condition)
    for condition in (1.0, 1e2, 1e4):
        count_passes(2 * args.size, condition, args.seed)


if __name__ == "__main__":
    main()
