"""Choice of the entries that `PrecGDFactorization.score` hides, and the scores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skprecgd._estimators.weighting import checked_numbers
from skprecgd._linalg.numerics import largest_size, power_of_two
from skprecgd._runtime.typing import Array
from skprecgd.losses import Loss
from skprecgd.robust import largest

# Most entries that one round hides: enough for three digits of R^2, however large X is.
_MAX_HIDDEN = 1_000_000


def hidden_rounds(
    n_entries: int, fraction: float, rng: np.random.RandomState
) -> Iterator[Array]:
    """Random sets of entries to hide, sorted, each about `fraction` of all.

    Every entry is hidden once, because the difference between two ranks is a few
    percent of the noise: a single share would often not show it. With more than
    `_MAX_HIDDEN` entries, one share is enough.
    """
    n_hidden = min(max(1, round(fraction * n_entries)), _MAX_HIDDEN)
    if n_entries <= _MAX_HIDDEN:
        n_rounds = max(min(2, n_entries), round(n_entries / n_hidden))
        for hidden in np.array_split(rng.permutation(n_entries), n_rounds):
            yield np.sort(hidden)
        return
    # Twice as many draws as needed, because some repeat. (np.unique is slow here.)
    drawn = np.sort(rng.randint(n_entries, size=2 * n_hidden))
    drawn = drawn[np.diff(drawn, prepend=-1) > 0]
    yield np.sort(rng.permutation(drawn)[:n_hidden])


def explained_share(
    loss: Loss, values: Array, z: Array, weight: Array | None = None
) -> float:
    """Share of the loss of the best constant that the predictions z take away.

    R^2 for the squared loss, the share of the deviance explained (D^2) otherwise. A
    value of weight two counts like two values.
    """
    values, z, loss = at_unit_scale(values, z, loss)
    constant = np.full_like(values, loss.constant(values, weight))
    whole = 0.0
    if np.all(np.isfinite(constant)):
        whole = loss.total(constant, values, weight)
    with np.errstate(over="ignore"):
        error = loss.total(z, values, weight)
    if whole == 0.0:
        return 1.0 if error == 0.0 else 0.0
    # The logarithm of a mean may be so far off that its loss is beyond all numbers.
    return 1.0 - min(error / whole, float(np.finfo(np.float64).max))


def explained_share_of_parts(
    loss: Loss, values: Array, z: Array, weight: Array | None = None
) -> float:
    """The same of complex numbers, whose real and imaginary parts come in turn.

    The best constant is a complex number.
    """
    values, z, loss = at_unit_scale(values, z, loss)
    parts = slice(0, None, 2), slice(1, None, 2)
    whole = error = 0.0
    for part in parts:
        each = None if weight is None else weight[part]
        constant = np.full_like(values[part], loss.constant(values[part], each))
        whole += loss.total(constant, values[part], each)
        error += loss.total(z[part], values[part], each)
    if whole == 0.0:
        return 1.0 if error == 0.0 else 0.0
    return 1.0 - error / whole


def at_unit_scale(values: Array, z: Array, loss: Loss) -> tuple[Array, Array, Loss]:
    """Targets, predictions and their loss in double precision, in units of the targets.

    Squares of very small or very large numbers would be zero or infinite. Without a
    unit (labels, counts) nothing is divided.
    """
    values, z = values.astype(np.float64), z.astype(np.float64)
    unit = power_of_two(largest_size(values)) if loss.homogeneous else 1.0
    if unit == 1.0:
        return values, z, loss
    return values / unit, z / unit, loss.rescaled(1.0 / unit)


def checked_weight(sample_weight: Any, n_samples: int) -> Array | None:
    """Weights of samples, their mean one, or None for none."""
    if sample_weight is None:
        return None
    weight = checked_numbers(sample_weight, "sample_weight")
    if weight.shape != (n_samples,):
        raise ValueError(
            f"sample_weight must hold one number for each of the {n_samples} samples, "
            f"got shape {weight.shape}."
        )
    if np.any(weight < 0) or not np.any(weight > 0):
        raise ValueError(
            "sample_weight must not be negative, nor zero everywhere; it runs from "
            f"{np.min(weight):g} to {np.max(weight):g}."
        )
    # The sum of large weights could overflow.
    weight = weight / np.max(weight)
    return np.asarray(weight / np.mean(weight))


def without_largest(
    values: Array, predictions: Array, share: float, weight: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """All entries but the share of them that has the largest residuals.

    With weights it is a share of the total weight, and the smallest of the residuals
    left out may keep a part of its weight.
    """
    sizes = np.abs(values - predictions)
    if weight is None:
        kept = ~largest(sizes, round(share * len(sizes)))
        return values[kept], predictions[kept], None
    order = np.argsort(sizes)
    room = (1 - share) * np.sum(weight)
    before = np.cumsum(weight[order]) - weight[order]
    left = np.empty_like(weight)
    left[order] = np.clip(room - before, 0.0, weight[order])
    return values, predictions, left
