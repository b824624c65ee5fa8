"""From which size on numbers do not fit the distribution of the others.

Residuals of real data have heavy tails: those of a low-rank approximation of a natural
image are no normal numbers with a few errors among them. Whether the largest of some
sizes are errors is a question of evidence. Without errors, sizes are those of numbers
with a Student's t distribution, whose scale and degrees of freedom are learned, so that
the bulk says how many there are of each size. With errors, a share of the sizes is
something else, of any size beyond the bulk: the logarithm of those is uniform. The
second needs a gap in the first, or at least a tail that stops falling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from skprecgd._runtime.typing import Array

# Standard deviation of a normal variable over the median of its absolute value.
NORMAL_SCALE = 1.4826


@dataclass(frozen=True)
class TailTuning:
    """How the distribution of sizes is learned.

    Attributes
    ----------
    stands_out : float
        Robust standard deviations of the others that an error exceeds at least.
    freedoms : tuple of float
        Degrees of freedom that are tried, from those of a Cauchy to those of a normal
        variable.
    scales, narrowest, widest : int, float, float
        Scales of the bulk that are tried, and the range of their logarithms, relative
        to the scale that the median of the bulk suggests.
    bins : int
        Bins of the logarithms of sizes: of a width of at most 15 %.
    most : float
        By what factor errors may exceed the least of them; larger ones count as that.
    rounds : int
        Rounds in which the share of errors is learned, twice as many as it takes.
    evidence : float
        By how much errors must raise the log likelihood, in units of the logarithm of
        the number of sizes. Their share and their largest size are learned, which
        chance would pay half of that each; the bulk is not quite a t distribution.
    fewest : int
        Sizes of which the distribution can be learned.
    """

    stands_out: float = 5.0
    freedoms: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 200.0)
    scales: int = 21
    narrowest: float = -0.5
    widest: float = 1.5
    bins: int = 96
    most: float = 1e4
    rounds: int = 16
    evidence: float = 3.0
    fewest: int = 20


TAILS = TailTuning()


class _Histogram(NamedTuple):
    """How many sizes there are, by their logarithms, from the middle of the bulk up."""

    counts: Array
    centres: Array
    width: float


def tail_level(
    sizes: Array,
    bound: float,
    often: Array | None = None,
    tuning: TailTuning = TAILS,
) -> float:
    """The size above which numbers do not fit the distribution of the others.

    Parameters
    ----------
    sizes : ndarray of shape (n,)
        Not negative. Zeros are no part of a distribution, and are left out.
    bound : float
        Largest share of the sizes that may be errors.
    often : ndarray of shape (n,), default=None
        How often each size is there; None is once.
    tuning : TailTuning, default=TAILS

    Returns
    -------
    float
        Infinite where all sizes fit.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd._linalg.tails import tail_level
    >>> sizes = np.abs(np.random.default_rng(0).standard_normal(1000))
    >>> tail_level(sizes, 0.3)
    inf
    >>> sizes[:50] += 20.0
    >>> 3.0 < tail_level(sizes, 0.3) < 20.0
    True
    """
    some = _some(sizes)
    if often is not None:
        often = often[some]
    sizes = sizes[some]
    if len(sizes) < tuning.fewest:
        return np.inf
    least, top = outstanding(sizes, bound, tuning), float(np.max(sizes))
    if top <= least:
        return np.inf
    middle = least / (tuning.stands_out * NORMAL_SCALE)
    histogram = _histogram(sizes, often, middle, min(top, tuning.most * least), tuning)
    return _level(histogram, least, tuning)


def outstanding(sizes: Array, bound: float, tuning: TailTuning = TAILS) -> float:
    """The size from which on a number stands out from the others: so many of their
    standard deviations, which the median of what is no error tells if they are normal.

    Parameters
    ----------
    sizes, bound, tuning
        See `tail_level`.

    Returns
    -------
    float
        Infinite where all is zero.
    """
    sizes = sizes[_some(sizes)]
    if not len(sizes):
        return np.inf
    place = int(0.5 * (1.0 - bound) * len(sizes))
    return tuning.stands_out * NORMAL_SCALE * float(np.partition(sizes, place)[place])


def _some(sizes: Array) -> Array:
    """Which sizes are more than rounding."""
    return sizes > np.finfo(np.float64).eps * np.max(sizes, initial=0.0)


def _histogram(
    sizes: Array, often: Array | None, low: float, high: float, tuning: TailTuning
) -> _Histogram:
    kept = sizes >= low
    width = float(np.log(high / low)) / tuning.bins
    place = (np.log(sizes[kept] / low) / width).astype(int)
    weights = None if often is None else often[kept]
    place = np.minimum(place, tuning.bins - 1)
    counts = np.bincount(place, weights, tuning.bins).astype(np.float64)
    # Sizes are in units of the lowest.
    return _Histogram(counts, width * (np.arange(tuning.bins) + 0.5), width)


def _level(histogram: _Histogram, least: float, tuning: TailTuning) -> float:
    """The size from which on errors are likelier than a tail of the bulk."""
    counts, centres, width = histogram
    bulk = _bulk(centres, width, tuning)
    beyond = centres > np.log(tuning.stands_out * NORMAL_SCALE)
    errors = beyond / max(1.0, beyond.sum() * width)
    share = np.full((*bulk.shape[:2], 1), 0.1)
    total = counts.sum()
    for _ in range(tuning.rounds):
        both = share * errors + (1.0 - share) * bulk
        share = share * ((errors / both) @ counts)[..., None] / total
    tiny = np.finfo(np.float64).tiny
    both = np.maximum(share * errors + (1.0 - share) * bulk, tiny)
    with_errors, without = np.log(both) @ counts, np.log(bulk) @ counts
    best = np.unravel_index(np.argmax(with_errors), with_errors.shape)
    gain = float(with_errors[best] - np.max(without))
    if not gain > tuning.evidence * np.log(total):
        return np.inf
    rest = (1.0 - share[best]) * bulk[best]
    last = int(np.max(np.flatnonzero(share[best] * errors <= rest), initial=-1))
    if last + 1 == len(centres):
        return np.inf
    unit = least / (tuning.stands_out * NORMAL_SCALE)
    return unit * float(np.exp(centres[last] + 0.5 * width))


def _bulk(centres: Array, width: float, tuning: TailTuning) -> Array:
    """Densities of the logarithms of sizes, by degrees of freedom and scales."""
    spread = np.linspace(tuning.narrowest, tuning.widest, tuning.scales)
    logs = centres - (np.log(NORMAL_SCALE) + spread)[:, None]
    freedom = np.array(tuning.freedoms)[:, None, None]
    factor = gammaln(0.5 * (freedom + 1.0)) - gammaln(0.5 * freedom)
    factor -= 0.5 * np.log(freedom)
    log_density = (
        factor + logs - 0.5 * (freedom + 1.0) * np.log1p(np.exp(2.0 * logs) / freedom)
    )
    log_density -= log_density.max(axis=-1, keepdims=True)
    density = np.exp(log_density)
    density /= width * density.sum(axis=-1, keepdims=True)
    return np.asarray(np.maximum(density, np.finfo(np.float64).tiny))
