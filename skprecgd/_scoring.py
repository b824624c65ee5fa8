"""Which entries `PrecGDFactorization.score` hides, and what a score says."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skprecgd._typing import Array
from skprecgd.losses import Loss, SquaredLoss
from skprecgd.robust import largest

# Hidden entries in all: enough for three digits of R^2, however large X is.
_MAX_HIDDEN = 1_000_000


def hidden_rounds(
    n_entries: int, fraction: float, rng: np.random.RandomState
) -> Iterator[Array]:
    """Random sets of entries to hide, sorted, each about `fraction` of all.

    Every entry is hidden once, because the difference between two ranks is a few
    percent of the noise: a single share would often not show it. Of very many
    entries one share is plenty.
    """
    n_hidden = min(max(1, round(fraction * n_entries)), _MAX_HIDDEN)
    if n_entries <= _MAX_HIDDEN:
        n_rounds = max(min(2, n_entries), round(n_entries / n_hidden))
        for hidden in np.array_split(rng.permutation(n_entries), n_rounds):
            yield np.sort(hidden)
        return
    # Twice too many, for some are drawn twice. (np.unique is slow here.)
    drawn = np.sort(rng.randint(n_entries, size=2 * n_hidden))
    drawn = drawn[np.diff(drawn, prepend=-1) > 0]
    yield np.sort(rng.permutation(drawn)[:n_hidden])


def explained(loss: Loss, values: Array, z: Array) -> float:
    """Share of the loss of the best constant that the predictions z take away.

    R^2 for the squared loss, the share of the deviance explained (D^2) otherwise.
    """
    if isinstance(loss, SquaredLoss):
        return r2(values, z)
    values, z = values.astype(np.float64), z.astype(np.float64)
    constant = np.full_like(values, loss.constant(values))
    total = loss.value(constant, values) if np.all(np.isfinite(constant)) else 0.0
    error = loss.value(z, values)
    if total == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / total


def r2(values: Array, predictions: Array) -> float:
    """1 is perfect; 0 is as good as the mean of the values."""
    residual = values.astype(np.float64) - predictions
    spread = values.astype(np.float64) - np.mean(values, dtype=np.float64)
    total, error = float(spread @ spread), float(residual @ residual)
    if total == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / total


def without_largest(
    values: Array, predictions: Array, share: float
) -> tuple[Array, Array]:
    """Both without the entries with the largest residuals, that share of them."""
    sizes = np.abs(values - predictions)
    kept = ~largest(sizes, round(share * len(sizes)))
    return values[kept], predictions[kept]
