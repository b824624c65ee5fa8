"""What is learned of data of which a share is not to be trusted at all.

The data are a matrix of low rank plus noise, and a few gross errors. Errors and
posterior are found in turn: the posterior is that of the entries that are trusted, and
an entry is not trusted if it is far from what the others say of it, in units of the
noise of its column, and does not fit the distribution of the residuals
(`robust.CorruptedTail`). Nothing that is not trusted has a part in offsets, units,
noise or prior variances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.variational.posterior import Posterior


@dataclass(frozen=True)
class TrustTuning:
    """How errors and posterior are found in turn.

    Attributes
    ----------
    quantiles : tuple of (float, float)
        Levels of quantiles, and those quantiles of the size of a normal variable. The
        first that is not zero tells of the scale of a column, and is not moved by fewer
        errors than lie beyond.
    winsorised : float
        Scales as which a larger deviation counts, in the root mean square that tells of
        the spread of a column: errors of any size move it by little, and columns of
        which most numbers are equal still have one.
    pooled : float
        Numbers as which the spread that columns have in common counts, in the spread of
        a column.
    enough : float
        Normal numbers of as many of which the variance is known well enough for a unit:
        columns that hardly vary once their errors are gone have fewer.
    constant : float
        Share of the spread of all its numbers below which the trusted ones of a column
        do not vary.
    contrast : float
        By what factor columns may differ in their noise, in units of their spread, from
        most, in the units of the closed form. A column that others explain would
        otherwise outweigh them all.
    dependent : float
        Share of the directions at most in which data that are noisy do not vary at all:
        constant columns, and those that say the same.
    most_rounds, most_recipes : int
        Rounds at most, with the closed form of complete data and without.
    settled, settled_recipes : float
        Errors that come and go in the last round (or in the last two, as where a level
        lies between two), as a share of their number: with the closed form, and
        without, where rounds are fewer and each finds more.
    same_noise : float
        Relative change of the noise in the last round. Where it is still falling after
        all rounds, the data are rather without noise.
    certain : float
        Share of the variance that is left of the most certain direction: systems are
        solved in double precision.
    least_left : float
        Share of the noise at least that residuals of entries show, however much an
        entry says of itself.
    exact : float
        Noise, as a share of the spread of the data, below which there is none.
    falls : float
        By what factor the noise falls from round to round where there is none.
    vanishes, in_a_row : float, int
        By what factor it falls at least in so many rounds in a row where there
        certainly is none. It falls to a third where there is none, and to half at most,
        once or twice, where there is.
    beyond : float
        Factor on the largest trusted residual above which new ones are not to be
        trusted, where no errors were found.
    """

    quantiles: tuple[tuple[float, float], ...] = (
        (0.7, 1.036),
        (0.8, 1.282),
        (0.9, 1.645),
        (0.95, 1.960),
        (0.99, 2.576),
        (1.0, 3.0),
    )
    winsorised: float = 4.0
    pooled: float = 10.0
    enough: float = 10.0
    constant: float = 0.05
    contrast: float = 5.0
    dependent: float = 0.25
    most_rounds: int = 12
    most_recipes: int = 5
    settled: float = 0.05
    settled_recipes: float = 0.01
    same_noise: float = 0.1
    certain: float = 1e-6
    least_left: float = 0.05
    exact: float = 1e-6
    falls: float = 0.7
    vanishes: float = 0.5
    in_a_row: int = 3
    beyond: float = 2.0


TRUST = TrustTuning()


@dataclass(frozen=True)
class Trusted:
    """The posterior of what is trusted, and what is not.

    Attributes
    ----------
    posterior : Posterior
    wrong : ndarray of int
        Positions of the entries that are not trusted, ascending.
    scales : ndarray of shape (n_columns,)
        Spread of the residuals of the columns, in units of the data.
    level : float
        The size, in units of these, from which on a residual is not trusted.
    is_noise : bool
        Whether what is left of the trusted entries is noise.
    noise : float
        Its standard deviation in units of the spread of the column, in most columns.
    """

    posterior: Posterior
    wrong: Array
    scales: Array
    level: float
    is_noise: bool
    noise: float


def spreads(sizes: Array, tuning: TrustTuning = TRUST) -> Array:
    """The spread of each column by the sizes of its deviations, whatever the largest.

    Parameters
    ----------
    sizes : ndarray of shape (n_rows, n_columns)
    tuning : TrustTuning, default=TRUST

    Returns
    -------
    ndarray of shape (n_columns,)
        Zero for columns of zeros.
    """
    n_rows, n_columns = sizes.shape
    ascending = np.sort(sizes.T, axis=1)
    return _spreads(ascending.ravel(), np.full(n_columns, n_rows), tuning)


def spreads_of_lines(
    sizes: Array, lines: Array, n_lines: int, tuning: TrustTuning = TRUST
) -> Array:
    """The same of entries, given the line that each lies in; zero for empty lines."""
    ascending = sizes[np.lexsort((sizes, lines))]
    return _spreads(ascending, np.bincount(lines, minlength=n_lines), tuning)


def _spreads(ascending: Array, counts: Array, tuning: TrustTuning) -> Array:
    """Of lines that follow one another, each in ascending order."""
    starts, out = np.cumsum(counts) - counts, np.zeros(len(counts))
    some = np.flatnonzero(counts)
    for level, normal in tuning.quantiles:
        zero = some[out[some] == 0]
        if not len(zero):
            break
        place = np.maximum(np.ceil(level * counts[zero]).astype(int) - 1, 0)
        out[zero] = ascending[starts[zero] + place] / normal
    unit = np.where(out > 0, out, 1.0)
    relative = np.minimum(ascending / np.repeat(unit, counts), tuning.winsorised)
    squares = np.zeros(len(counts))
    squares[some] = np.add.reduceat(relative * relative, starts[some])
    return out * np.sqrt(squares / np.maximum(counts, 1))


def of_one_unit(scales: Array) -> Array:
    """Scales that are the same for all columns."""
    return np.full(len(scales), np.sqrt(np.mean(scales**2)))


def pooled(
    scales: Array, units: Array, counts: Array, tuning: TrustTuning = TRUST
) -> Array:
    """Spreads of residuals, each of which counts a few that are like the others'.

    Parameters
    ----------
    scales, units, counts : ndarray of shape (n_columns,)
        Spreads, units in which columns compare, and numbers of residuals.
    tuning : TrustTuning, default=TRUST
    """
    relative = scales / units
    some = relative > 0
    common = float(np.median(relative[some])) if some.any() else 1.0
    more = tuning.pooled
    squares = (counts * relative**2 + more * common**2) / (counts + more)
    return np.asarray(units * np.sqrt(squares))
