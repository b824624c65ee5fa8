"""A chain of exact draws of rows, columns, noise and prior variances (Gibbs sampling).

The model is that of the variational iteration, from whose end the chain starts. Rows
are not taken as independent of columns, so that draws are those of the posterior
itself, and their mean is the best prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from skprecgd._runtime.steps import tell_step
from skprecgd._runtime.typing import Array
from skprecgd.kernels import OthersDrawn, Pattern, Prior, drawn_rows, sampled_product
from skprecgd.unknown.coordinates import Side
from skprecgd.variational.informed_model import InformedModel
from skprecgd.variational.lines_in_memory import LongMeans
from skprecgd.variational.model import Model
from skprecgd.variational.precisions import Precisions, precisions_of
from skprecgd.variational.prior_means import Regression, expected_lines
from skprecgd.variational.tail import HeavyTail
from skprecgd.variational.tuning import CHAIN, ChainTuning

# No prior variance falls below this share of the variance of the data.
_LEAST_VARIANCE = 1e-30


class DrawnSide:
    """The lines of one side.

    Parameters
    ----------
    pattern : Pattern
        The entries by these lines.
    side : Side
    mean : ndarray of shape (n, size)
        Where the lines start.
    variances : ndarray of shape (f,)
        Prior variances at the start.
    precisions : Precisions
        Of their noise.
    prior_lines : float
        See `ChainTuning`.
    regressions : sequence of Regression, default=()
        On features, which move the prior means of the lines.

    Attributes
    ----------
    values : ndarray of shape (n, size)
        The draw.
    mean : ndarray of shape (n, size)
        The mean given the other side.
    given : float
        The coordinate that is not drawn.
    centre : float
        Prior mean of the offsets, zero but for those of the data's columns.
    """

    def __init__(
        self,
        pattern: Pattern,
        side: Side,
        mean: Array,
        variances: Array,
        precisions: Precisions,
        prior_lines: float,
        regressions: Sequence[Regression] = (),
    ) -> None:
        self.pattern, self.side, self.precisions = pattern, side, precisions
        self.regressions = list(regressions)
        self._first_weights = [each.variances for each in regressions]
        self.values, self.mean, self.variances = mean, mean, variances
        self._prior_lines, self._first = prior_lines, variances
        self.given, self.centre = 1.0, 0.0

    @property
    def prior(self) -> Prior:
        precision = 1.0 / self.variances
        pull = np.zeros(len(precision))
        if self.side.centred:
            pull[-1] = self.centre * precision[-1]
        if self.regressions:
            pull = pull + precision * expected_lines(self.regressions)
        return Prior(precision, pull)

    def seen_by(self, other: DrawnSide) -> OthersDrawn:
        """These lines, as those of the other side see them."""
        basis = np.ascontiguousarray(self.values[:, other.side.free])
        shift = np.zeros(len(basis))
        if other.side.fixed is not None:
            shift = other.given * self.values[:, other.side.fixed]
        return OthersDrawn(basis, shift, self.precisions.values)

    def draw(self, other: DrawnSide, rng: np.random.Generator) -> None:
        """Draw the lines and then their noise, given the other side."""
        chance = rng.standard_normal((len(self.values), len(self.side.free)))
        noise = self.precisions.values
        drawn = drawn_rows(self.pattern, other.seen_by(self), self.prior, noise, chance)
        self.mean, self.values = self._whole(drawn.mean), self._whole(drawn.values)
        self.precisions.draw(drawn.squares, rng)

    def _whole(self, free: Array) -> Array:
        whole = np.zeros_like(self.values)
        whole[:, self.side.free] = free
        if self.side.fixed is not None:
            whole[:, self.side.fixed] = self.given
        return whole

    def draw_prior(self, rng: np.random.Generator) -> None:
        """Draw the prior variances, and the prior means."""
        lines = self.values[:, self.side.free]
        if self.regressions:
            lines = lines - self._draw_regressions(lines, rng)
        squares = np.sum(lines**2, axis=0)
        n = len(lines)
        if self.side.centred:
            own = lines[:, -1]
            error = np.sqrt(self.variances[-1] / n)
            self.centre = float(own.mean() + error * rng.standard_normal())
            squares[-1] = np.sum((own - self.centre) ** 2)
        rate = 0.5 * (squares + self._prior_lines * self._first)
        shape = 0.5 * (n + self._prior_lines)
        drawn = rate / rng.standard_gamma(shape, len(squares))
        self.variances = np.maximum(drawn, _LEAST_VARIANCE)

    def _draw_regressions(self, lines: Array, rng: np.random.Generator) -> Array:
        """Draw the weights of features, and return what they expect of the lines."""
        each = [one.expected for one in self.regressions]
        base = np.zeros(lines.shape[1])
        if self.side.centred:
            base[-1] = self.centre
        for k, one in enumerate(self.regressions):
            left = lines - base - (np.sum(each, axis=0) - each[k])
            first = self._first_weights[k]
            self.regressions[k] = one.drawn(left, self.variances, first, rng)
            each[k] = self.regressions[k].expected
        return np.asarray(np.sum(each, axis=0))


class Chain:
    """The chain at one point; a `sweep` goes on from it.

    Parameters
    ----------
    model : Model
        The end of the variational iteration.
    kind : {"uniform", "columns", "auto"}
        What differs in noise; see `precisions_of`. "auto": rows only where they have
        enough entries.
    rng : Generator
    is_given : bool, default=False
        Whether the variance of the noise was given.
    tuning : ChainTuning

    Attributes
    ----------
    long, short : DrawnSide
    """

    def __init__(
        self,
        model: Model,
        kind: str,
        rng: np.random.Generator,
        *,
        is_given: bool = False,
        tuning: ChainTuning = CHAIN,
    ) -> None:
        self.entries, self.coordinates = model.entries, model.coordinates
        self._rng, coordinates = rng, model.coordinates
        lines = tuning.prior_lines
        few = self._per_coordinate < tuning.entries_of_row
        if kind == "auto" and few and model.noise.of_rows is None:
            kind = "columns"
        long, short = precisions_of(model.noise, model.entries, kind, is_given=is_given)
        self.tail = model.tail
        own = model.entries.in_memory.seen(model.shares)
        other = self._turned(own)
        assert isinstance(model.long, LongMeans)
        at_long = model.long.mean, model.long_prior, long
        at_short = model.short.mean, model.short_prior, short
        told: list[Sequence[Regression]] = [(), ()]
        if isinstance(model, InformedModel):
            told = [model.long_regressions, model.short_regressions]
        self.long = DrawnSide(own, coordinates.long, *at_long, lines, told[0])
        self.short = DrawnSide(other, coordinates.short, *at_short, lines, told[1])
        self.long.centre = self.short.centre = model.centre
        if coordinates.flat:
            self.short.given = model.centre

    @property
    def _per_coordinate(self) -> float:
        """Entries for each coordinate of a row, in the mean."""
        own = self.coordinates
        side = own.short if self.entries.columns_are_long else own.long
        return self.entries.count / (self.entries.shape[0] * max(1, len(side.free)))

    def _turned(self, pattern: Pattern) -> Pattern:
        """The entries by lines of the shorter side."""
        matrix = self.entries.in_memory.matrix
        values = matrix(pattern.values).tocsc()
        weights = pattern.weights
        if weights is not None:
            weights = matrix(weights).tocsc().data
        return Pattern(values.indptr, values.indices, values.data, weights)

    @property
    def rows(self) -> DrawnSide:
        """The lines that are rows of the data."""
        return self.short if self.entries.columns_are_long else self.long

    @property
    def columns(self) -> DrawnSide:
        return self.long if self.entries.columns_are_long else self.short

    @property
    def precision_of_columns(self) -> Array:
        """Inverse variances of the noise of the columns, in rows of no own noise."""
        return self.columns.precisions.values * self.rows.precisions.typical

    def sweep(self) -> None:
        """Draw everything once."""
        tell_step(self.coordinates.rank)
        self.long.draw(self.short, self._rng)
        self.short.draw(self.long, self._rng)
        if self.coordinates.flat:
            self._draw_offset()
        for side in (self.long, self.short):
            side.draw_prior(self._rng)
        if self.tail is not None:
            self._draw_shares(self.tail)

    def swept(self, tuning: ChainTuning, every: int) -> Iterator[bool]:
        """The sweeps after those of the burn-in, and whether each is to be kept."""
        for _ in range(tuning.burn_in):
            self.sweep()
        for k in range(tuning.kept):
            self.sweep()
            yield k % every == 0

    def factors(self) -> tuple[Array, Array]:
        """Factors whose product has the same mean as that of the draws.

        They are of the data's rows and columns, without offsets.
        """
        r = self.coordinates.rank
        pair = self.long.values[:, :r], self.short.mean[:, :r]
        return pair[::-1] if self.entries.columns_are_long else pair

    def _draw_shares(self, tail: HeavyTail) -> None:
        """Draw the precisions of entries, in units of those of their lines."""
        entries = self.entries.in_memory
        lines, (_, others, values, weights) = entries.along, entries.pattern
        residual = values - sampled_product(
            self.long.values, self.short.values, lines, others
        )
        each = self.long.precisions.values[lines] * self.short.precisions.values[others]
        if entries.precision is not None:
            each = each * entries.precision
        drawn = 2.0 * self._rng.standard_gamma(0.5 * (tail.freedom + 1.0), len(lines))
        shares = drawn / (tail.freedom + each * residual**2)
        if weights is not None:
            shares *= weights
        self.long.pattern = self.long.pattern._replace(weights=shares)
        turned = entries.matrix(shares).tocsc().data
        self.short.pattern = self.short.pattern._replace(weights=turned)

    def _draw_offset(self) -> None:
        """Draw the one offset of all entries."""
        lines, r = self.entries.in_memory.along, self.coordinates.rank
        _, others, values, weights = self.long.pattern
        left = self.long.values[:, :r], self.short.values[:, :r]
        residual = values - sampled_product(*left, lines, others)
        each = self.long.precisions.values[lines] * self.short.precisions.values[others]
        if weights is not None:
            each = each * weights
        total = float(each.sum())
        chance = self._rng.standard_normal() / np.sqrt(total)
        centre = float(each @ residual) / total + chance
        self.short.given = centre
        self.short.values[:, self.coordinates.short.fixed] = centre
        self.long.centre = self.short.centre = centre
