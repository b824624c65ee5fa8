"""Matrices with noise and holes, each from its seed, and simple answers for them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import soft_impute
from _common import Array, root_mean_square


class Problem(NamedTuple):
    """What is seen of a noisy matrix, the matrix without noise, and where to judge."""

    seen: Array  # NaN is hidden
    truth: Array
    judged: Array
    label: str
    noise: float

    def error(self, matrix: Array) -> float:
        return root_mean_square((matrix - self.truth)[self.judged])


class Answers(NamedTuple):
    """Errors of what anybody can do, and of softImpute with its best penalty."""

    overall: float
    columns: float
    rows_and_columns: float
    soft_impute: float

    @property
    def means(self) -> float:
        return min(self[:3])


def low_rank(shape: tuple[int, int], rank: int, rng: np.random.Generator) -> Array:
    """Normal factors; entries of root mean square one."""
    M = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    return M / root_mean_square(M)


def ratings_like(seed: int, share: float) -> Problem:
    """80 x 50, rank 3 with standard deviation 0.5, mean 3.5, noise 0.3."""
    rng = np.random.default_rng([seed, round(1000 * share)])
    truth = 3.5 + 0.5 * low_rank((80, 50), 3, rng)
    noisy = truth + 0.3 * rng.normal(size=truth.shape)
    hidden = rng.random(truth.shape) >= share
    label = f"{share:.0%} seen, seed {seed}"
    return Problem(np.where(hidden, np.nan, noisy), truth, hidden, label, 0.3)


def conditioned(
    shape: tuple[int, int], rank: int, kappa: float, rng: np.random.Generator
) -> Array:
    """Geometric singular values down to 1 / kappa; root mean square one."""
    left, right = (np.linalg.qr(rng.normal(size=(n, rank)))[0] for n in shape)
    return (left * np.geomspace(1, 1 / kappa, rank)) @ right.T


def pattern(
    shape: tuple[int, int], count: int, power: float, rng: np.random.Generator
) -> Array:
    """`count` cells, likelier in the first of shuffled rows and columns by a power.

    The largest of log-weights plus Gumbel numbers are a weighted draw without
    replacement.
    """
    weights = [-power * np.log1p(rng.permutation(size)) for size in shape]
    scores = weights[0][:, None] + weights[1] + rng.gumbel(size=shape)
    observed = np.zeros(shape, dtype=bool)
    observed.flat[np.argsort(scores, axis=None)[-count:]] = True
    return observed


def random_problem(seed: int) -> Problem:
    """Any size, rank, conditioning, mean, number of entries, noise and pattern.

    Sides 15 to 300, condition numbers 1 to 1e3 and 1.3 to 20 entries per degree of
    freedom are uniform in their logarithms; ranks 1 to 8, means 0 to 3 spreads, noise 0
    to 1 spread uniform, a fifth without noise. Half of the patterns are uniform, half
    follow a power law of exponent 0.3 to 1 in rows and columns. At most 95 % is seen.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.exp(rng.uniform(np.log(15), np.log(300), 2)).round().astype(int)
    rank, kappa = int(rng.integers(1, 9)), float(10 ** rng.uniform(0, 3))
    mean, noise = rng.uniform(0, 3), max(0.0, rng.uniform(-0.25, 1))
    per_freedom = np.exp(rng.uniform(np.log(1.3), np.log(20)))
    power = rng.uniform(0.3, 1) if rng.random() < 0.5 else 0.0
    truth = conditioned((rows, columns), rank, kappa, rng)
    truth = mean + truth / root_mean_square(truth)
    freedom = rank * (rows + columns - rank)
    count = int(min(per_freedom * freedom, 0.95 * truth.size))
    observed = pattern(truth.shape, count, power, rng)
    judged = ~observed & observed.any(axis=1)[:, None] & observed.any(axis=0)
    noisy = truth + noise * rng.normal(size=truth.shape)
    label = (
        f"seed {seed}: {rows} x {columns}, rank {rank}, kappa {kappa:.0f}, mean "
        f"{mean:.1f}, noise {noise:.2f}, {count / freedom:.1f} per degree, "
        f"{count / truth.size:.0%} seen, power {power:.1f}"
    )
    return Problem(np.where(observed, noisy, np.nan), truth, judged, label, noise)


def means(X: Array) -> tuple[Array, Array, Array]:
    """Overall mean, column means, and row plus column means, of what is seen."""
    observed = ~np.isnan(X)
    overall = float(np.nanmean(X))
    rest = np.where(observed, X - overall, 0)
    by_row, by_column = (
        rest.sum(axis=axis) / np.maximum(observed.sum(axis=axis), 1) for axis in (1, 0)
    )
    zero = np.zeros(X.shape)
    return (
        overall + zero,
        overall + by_column + zero,
        overall + by_row[:, None] + by_column,
    )


def soft_impute_in_hindsight(problem: Problem, count: int = 30) -> float:
    """The lowest error over the penalties; the overall mean is taken off before."""
    X, observed = problem.seen, ~np.isnan(problem.seen)
    overall = np.nanmean(X)
    rest = np.where(observed, X - overall, 0)
    lambdas = soft_impute.penalties(rest, observed, count, 1e-3)
    errors: list[float] = []
    for M in soft_impute.path(rest, observed, lambdas):
        errors.append(problem.error(overall + M))
        if len(errors) - np.argmin(errors) > 4:
            break
    return min(errors)


def answers(kind: str, seed: int, share: float = 1.0) -> Answers:
    """By the name of the problem, so that `joblib.Memory` can keep them."""
    problem = random_problem(seed) if kind == "random" else ratings_like(seed, share)
    simple = [problem.error(matrix) for matrix in means(problem.seen)]
    return Answers(*simple, soft_impute_in_hindsight(problem))
