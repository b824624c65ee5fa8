"""The variational iteration for any loss: the model of its working responses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import Unknown, sampled_product
from skprecgd.losses import Loss
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.lines_in_memory import LongMeans
from skprecgd.variational.model import Model
from skprecgd.variational.noise import Noise
from skprecgd.variational.working import Working

# Prior variances of factors that have vanished; systems stay within double precision.
_LEAST_VARIANCE = 1e-12


class WorkingModel(Model):
    """A model whose entries are the working responses at its own predictions.

    Beside offsets, factors have prior means. They make up for nothing that offsets
    could not say, but say it at another price: how far a row follows a factor may then
    go with its offset. (On MovieLens 100k, that takes 1 % off the loss of labels left
    out, which films people like.)

    Parameters
    ----------
    entries : NoisyEntries
        The targets of the loss.
    loss : Loss
    noise : Noise
        Of an entry of curvature one.

    Attributes
    ----------
    least : float
        Prior variance of factors on each side at least, whatever the data say of it.
    long_centre, short_centre : ndarray of shape (rank,)
        Prior means of the factors; zero without offsets of the data's columns.
    """

    def __init__(self, entries: NoisyEntries, loss: Loss, noise: Noise) -> None:
        super().__init__(entries, noise)
        self.least = 0.0
        self.long_centre = self.short_centre = np.zeros(0)
        lines = entries.in_memory
        self._often, self._given = lines.pattern.weights, lines.precision
        self._working = Working(loss, lines.pattern.values)
        self._at: Array | None = None
        self._is_centre_fixed = False
        if entries.center is not None:
            # Prior means find the way to those of rare labels slowly.
            self._begin_at(self._working.constant(self._often))
        self._take_responses(self._working.first(self.centre))
        self._has_begun = False

    def _begin_at(self, constant: float) -> None:
        """Begin at the best constant prediction.

        It is infinite where all labels are alike, or no event was counted. A mean that
        has no prior is then what half an entry more of the other kind makes it.
        """
        if np.isfinite(constant):
            self.centre = constant
        elif self.coordinates.flat:
            self.centre = float(np.copysign(np.log(2 * self.entries.count), constant))
            self._is_centre_fixed = True

    @property
    def has_means(self) -> bool:
        """Whether factors have prior means."""
        return self.entries.center in ("columns", "both")

    def step(self, *, shared: bool = False, drop: bool = False) -> None:
        if self._has_begun:
            self._take_responses(self._predictions())
        self._has_begun = True
        super().step(shared=shared, drop=drop)

    def grow(self, count: int) -> None:
        self._take_responses(self._predictions())
        super().grow(count)
        new = np.zeros(self.rank - len(self.long_centre))
        self.long_centre = np.append(self.long_centre, new)
        self.short_centre = np.append(self.short_centre, new)

    def _move_centre(self, grams: Array, moments: Array) -> None:
        if not self._is_centre_fixed:
            super()._move_centre(grams, moments)

    def keep(self, columns: Array) -> tuple[Array, Array]:
        self.long_centre = self.long_centre[columns]
        self.short_centre = self.short_centre[columns]
        return super().keep(columns)

    def unknown_line(self, *, of_long: bool) -> Unknown:
        unknown = super().unknown_line(of_long=of_long)
        pull, r = unknown.pull, self.rank
        pull[:r] = unknown.precision[:r] * (
            self.long_centre if of_long else self.short_centre
        )
        return replace(unknown, pull=pull)

    @property
    def long_mean(self) -> Array:
        """Means of the lines of the longer side."""
        assert isinstance(self.long, LongMeans)
        return self.long.mean

    def _predictions(self) -> Array:
        """What the means predict of the entries, in the order of the pattern."""
        lines = self.entries.in_memory
        if not self.coordinates.size:
            return np.zeros(lines.n_entries)
        at = lines.along, lines.pattern.indices
        return sampled_product(self.long_mean, self.short.mean, *at)

    def _take_responses(self, predictions: Array) -> None:
        if self._at is not None:
            predictions = self._working.between(self._at, predictions, self._often)
        self._at = predictions
        values, precision = self._working.at(predictions)
        if self._given is not None:
            precision = precision * self._given
        lines = self.entries.in_memory.responding(values, precision)
        self.entries = replace(self.entries, lines=lines)

    def _learn_priors(self, *, shared: bool) -> None:
        super()._learn_priors(shared=shared)
        r, least = self.rank, max(self.least, _LEAST_VARIANCE)
        if self.has_means:
            self.long_centre = self.long_mean[:, :r].mean(axis=0)
            self.short_centre = self.short.mean[:, :r].mean(axis=0)
        pairs = (
            (self.long_prior, self.long_centre),
            (self.short_prior, self.short_centre),
        )
        for prior, centre in pairs:
            prior[:r] = np.maximum(prior[:r] - centre**2, least)
