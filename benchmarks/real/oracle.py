"""The best that entries allow: the posterior mean of who knows all but the matrix."""

from __future__ import annotations

import numpy as np
from _common import Array


def drawn(
    residual: Array, seen: Array, other: Array, prior: float, noise: float, rng
) -> Array:
    """Factors of the rows, drawn from their posterior given those of the columns."""
    rank = other.shape[1]
    pairs = other[:, :, None] * other[:, None, :]
    grams = np.tensordot(seen / noise, pairs, 1) + np.eye(rank) / prior
    root = np.linalg.cholesky(grams)
    means = np.linalg.solve(grams, (residual @ other / noise)[:, :, None])
    chance = rng.normal(size=means.shape)
    spread = np.linalg.solve(np.swapaxes(root, 1, 2), chance)
    return (means + spread)[:, :, 0]


def posterior_mean(
    seen: Array,
    truth: Array,
    mean: float,
    rank: int,
    noise: float,
    *,
    draws: int = 350,
    skipped: int = 50,
    seed: int = 0,
) -> Array:
    """The mean of draws of the matrix (Gibbs) that start from the truth.

    `noise` is a variance, and the prior variances are those of the true factors: no
    method that must learn these, or find the matrix, can be expected to do better.
    """
    rng = np.random.default_rng(seed)
    observed = ~np.isnan(seen)
    residual = np.where(observed, seen - mean, 0.0)
    left, values, right = np.linalg.svd(truth - mean, full_matrices=False)
    roots = np.sqrt(values[:rank])
    U, V = left[:, :rank] * roots, right[:rank].T * roots
    priors = float(np.mean(U**2)), float(np.mean(V**2))
    total = np.zeros(truth.shape)
    for step in range(skipped + draws):
        U = drawn(residual, observed, V, priors[0], noise, rng)
        V = drawn(residual.T, observed.T, U, priors[1], noise, rng)
        if step >= skipped:
            total += U @ V.T
    return mean + total / draws
