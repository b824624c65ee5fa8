"""Errors and posterior of single entries: the recipe for those that are trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skprecgd._linalg.offsets import median_offsets
from skprecgd._runtime.typing import Array
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.robust import CorruptedTail
from skprecgd.variational.assumed import learn_posterior
from skprecgd.variational.posterior import Posterior
from skprecgd.variational.predictive import Predictive
from skprecgd.variational.trusted import (
    TRUST,
    Trusted,
    TrustTuning,
    of_one_unit,
    pooled,
    spreads_of_lines,
)


@dataclass(frozen=True)
class SomeEntries:
    """Entries of a matrix, sorted by rows, and how they are to be explained.

    Attributes
    ----------
    rows, columns, values : ndarray of shape (n_entries,)
    shape : tuple of int
    rank : int
        Factors at most.
    center : {None, "mean", "columns", "both"}
    noise : {"uniform", "columns", "auto"}
    noise_variance : float or None
        Of an entry of precision one, if it is known.
    weights : Weights
    """

    rows: Array
    columns: Array
    values: Array
    shape: tuple[int, int]
    rank: int
    center: str | None = None
    noise: str = "auto"
    noise_variance: float | None = None
    weights: Weights = ONCE

    def csr(self, kept: Array) -> sparse.csr_array:
        """Some of the entries."""
        counts = np.bincount(self.rows[kept], minlength=self.shape[0])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        stored = self.values[kept], self.columns[kept], indptr
        return sparse.csr_array(stored, shape=self.shape)

    def posterior(self, kept: Array) -> Posterior:
        """What some of the entries say."""
        return learn_posterior(
            self.csr(kept),
            self.rank,
            center=self.center,
            # What is not trusted has the place of loud rows and heavy tails.
            noise="columns" if self.noise == "auto" else self.noise,
            noise_tail="normal",
            noise_variance=self.noise_variance,
            weights=self.weights.at(kept),
        )

    def one_unit(self) -> bool:
        """Whether the noise of all columns is compared in the same unit."""
        return self.noise == "uniform" or self.noise_variance is not None

    def from_the_middle(self) -> Array:
        """Sizes of the deviations from the centre, which is one of medians."""
        cells = self.rows, self.columns, self.values
        of_rows, of_columns = median_offsets(*cells, self.shape, self.center)
        middle = of_rows[self.rows] + of_columns[self.columns]
        return np.abs(self.values.astype(np.float64) - middle)


def trust_entries(
    entries: SomeEntries, corruption: CorruptedTail, tuning: TrustTuning = TRUST
) -> Trusted:
    """The posterior of those of the entries that are to be trusted.

    Parameters
    ----------
    entries : SomeEntries
    corruption : CorruptedTail
        Of the same entries.
    tuning : TrustTuning, default=TRUST

    Returns
    -------
    Trusted
    """
    wrong = _far_from_the_middle(entries, corruption)
    before = np.inf
    for _ in range(tuning.most_recipes):
        posterior = entries.posterior(~wrong)
        sizes, scales = _sizes(entries, posterior, wrong, tuning)
        sizes = corruption.sizes(sizes)
        level = corruption.level(sizes)
        found = np.zeros(len(wrong), dtype=bool)
        found[corruption.beyond(sizes, level)] = True
        noise = _typical_noise(posterior)
        falls, before = noise <= tuning.falls * before, noise
        changed = np.count_nonzero(found != wrong)
        settled = bool(changed <= tuning.settled_recipes * np.count_nonzero(found))
        if posterior.exact or (settled and not falls):
            break
        # The posterior is that without the errors of the round before.
        wrong, kept = found, wrong
    else:
        wrong = kept
    if not np.isfinite(level):
        level = tuning.beyond * float(np.max(sizes[~wrong], initial=0.0))
    exact = posterior.exact or noise <= tuning.exact
    is_noise = not exact and not falls
    return Trusted(posterior, np.flatnonzero(wrong), scales, level, is_noise, noise)


def _typical_noise(posterior: Posterior) -> float:
    """Noise in units of the spread of its column, of a column like most."""
    units = posterior.columns.units.scale
    return float(np.median(np.sqrt(posterior.noise.variance) / units))


def _far_from_the_middle(entries: SomeEntries, corruption: CorruptedTail) -> Array:
    """What is not trusted at first."""
    sizes = entries.from_the_middle()
    scales = spreads_of_lines(sizes, entries.columns, entries.shape[1])
    if entries.one_unit() or entries.center in ("mean", "both"):
        scales = of_one_unit(scales)
    unit = np.where(scales > 0, scales, 1.0)
    wrong = np.zeros(len(sizes), dtype=bool)
    sizes = corruption.sizes(sizes / unit[entries.columns])
    wrong[corruption.beyond(sizes, corruption.robust_level(sizes))] = True
    return wrong


def _sizes(
    entries: SomeEntries, posterior: Posterior, wrong: Array, tuning: TrustTuning
) -> tuple[Array, Array]:
    """Residuals in units of their column's spread, as if each entry were left out.

    Returns
    -------
    sizes : ndarray of shape (n_entries,)
    scales : ndarray of shape (n_columns,)
        The spreads, in units of the data.
    """
    kept, columns, n = ~wrong, entries.columns, entries.shape[1]
    known = Predictive.of(
        posterior, entries.csr(kept), entries.weights.at(kept), rows_differ=False
    )
    cells = entries.rows, columns, entries.values
    each = entries.weights.of_losses
    sizes = left_out_sizes(known, cells, wrong, each, tuning)
    scales = spreads_of_lines(sizes, columns, n)
    counts = np.bincount(columns, minlength=n)
    if entries.one_unit():
        scales = np.full(n, of_one_unit(scales[counts > 0])[0])
    scales = pooled(scales, posterior.columns.units.scale, counts, tuning)
    return sizes / scales[columns], scales


def left_out_sizes(
    known: Predictive,
    cells: tuple[Array, Array, Array],
    wrong: Array,
    each: Array | None,
    tuning: TrustTuning = TRUST,
) -> Array:
    """Sizes of residuals, with the variance that they have where entries are left out.

    What an entry says of itself is taken off, and what others do not know is added.

    Parameters
    ----------
    known : Predictive
        Of the trusted entries.
    cells : tuple of ndarray
        Rows, columns and values of all entries.
    wrong : ndarray of bool, shape (n_entries,)
        Which are not trusted.
    each : ndarray of shape (n_entries,) or None
        Weights.
    tuning : TrustTuning, default=TRUST
    """
    rows, columns, values = cells
    told = known.at(rows, columns)
    noise = np.maximum(told.noise, np.finfo(np.float64).tiny)
    share = told.variance / noise * (1.0 if each is None else each)
    left = np.where(wrong, 1.0 + share, np.maximum(1.0 - share, tuning.least_left))
    return np.asarray(np.abs(values - told.mean) / np.sqrt(left))
