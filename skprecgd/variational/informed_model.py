"""The variational iteration where features of lines move their prior means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._runtime.typing import Array
from skprecgd.kernels import Unknown
from skprecgd.unknown.coordinates import Side
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.given import GivenEntries, GivenInMemory, Useful
from skprecgd.variational.lines_in_memory import LongMeans
from skprecgd.variational.model import Model
from skprecgd.variational.noise import Noise
from skprecgd.variational.prior_means import Features, Regression, expected_lines

# No prior variance falls below this share of the variance of the data.
_LEAST_VARIANCE = 1e-30
# Rounds in which several kinds of features of the same lines are regressed on in turn.
_ROUNDS = 3


@dataclass(frozen=True)
class SideInformation:
    """Features of the rows and of the columns of a data matrix.

    Attributes
    ----------
    rows, columns : array or csr_array of shape (n_lines, n_features), default=None
    seen : bool, default=False
        Whether which entries a line has are features of it, too: ones over the root of
        how many these are.
    """

    rows: Any = None
    columns: Any = None
    seen: bool = False

    def of_useful(
        self, given: GivenEntries, useful: Useful
    ) -> tuple[list[Features], list[Features]]:
        """The features that tell lines with entries apart, of rows and columns."""
        assert isinstance(given, GivenInMemory)
        of_rows = self._of_side(self.rows, useful.rows, given.matrix)
        turned = given.matrix.T.tocsr()
        return of_rows, self._of_side(self.columns, useful.columns, turned)

    def _of_side(
        self, matrix: Any, useful: Array, entries: sparse.csr_array
    ) -> list[Features]:
        found = []
        if matrix is not None:
            found.append(Features.of(matrix, useful, of_new=True))
        if self.seen:
            found.append(Features.of(_seen(entries), useful, of_new=False))
        return [each for each in found if each is not None]


def _seen(entries: sparse.csr_array) -> sparse.csr_array:
    """Which entries lines have, each over the root of how many."""
    pattern = sparse.csr_array(
        (np.ones(entries.nnz), entries.indices.copy(), entries.indptr.copy()),
        shape=entries.shape,
    )
    pattern.sum_duplicates()
    counts = np.diff(pattern.indptr)
    pattern.data = np.repeat(1.0 / np.sqrt(np.maximum(counts, 1)), counts)
    return pattern


class InformedModel(Model):
    """A model whose lines have prior means that are linear in their features.

    Parameters
    ----------
    entries : NoisyEntries
    noise : Noise
    rows, columns : sequence of Features
        Of the lines of the entries.

    Attributes
    ----------
    long_regressions, short_regressions : tuple of Regression
        On the features of the lines of each side.
    """

    def __init__(
        self,
        entries: NoisyEntries,
        noise: Noise,
        rows: Sequence[Features],
        columns: Sequence[Features],
    ) -> None:
        super().__init__(entries, noise)
        long, short = (columns, rows) if entries.columns_are_long else (rows, columns)
        f_long, f_short = len(self.long_prior), len(self.short_prior)
        self.long_regressions = tuple(each.unknown(f_long) for each in long)
        self.short_regressions = tuple(each.unknown(f_short) for each in short)

    def regressions(self, *, of_long: bool) -> tuple[Regression, ...]:
        return self.long_regressions if of_long else self.short_regressions

    def unknown(self, *, of_long: bool) -> Unknown:
        unknown, own = (
            super().unknown(of_long=of_long),
            self.regressions(of_long=of_long),
        )
        if not own or not len(unknown.free):
            return unknown
        pull = unknown.pull + unknown.precision * expected_lines(own)
        return replace(unknown, pull=pull)

    def _means(self, *, of_long: bool) -> Array:
        """The means of the coordinates that are found, of the lines of a side."""
        side = self._side(of_long=of_long)[1]
        if of_long:
            assert isinstance(self.long, LongMeans)
            return self.long.mean[:, side.free]
        return self.short.mean[:, side.free]

    def _squares(self, expected: Array, *, of_long: bool) -> Array:
        """The sums of the expected squares of coordinates about prior means."""
        totals, side, _ = self._side(of_long=of_long)
        second = totals.second[self.coordinates.at[side.free, side.free]]
        means = self._means(of_long=of_long)
        squares = second + np.sum(expected * (expected - 2.0 * means), axis=0)
        uncertain = [each.uncertain for each in self.regressions(of_long=of_long)]
        return np.asarray(squares + np.sum(uncertain, axis=0))

    def _expected(self, side: Side, *, of_long: bool) -> Array:
        """The prior means of the lines of a side."""
        expected = expected_lines(self.regressions(of_long=of_long))
        if side.centred:
            expected[:, -1] += self.centre
        return expected

    def _variances(self, *, of_long: bool) -> Array:
        own = self.regressions(of_long=of_long)
        _, side, n = self._side(of_long=of_long)
        if not own or not len(side.free):
            return super()._variances(of_long=of_long)
        for _ in range(_ROUNDS if len(own) > 1 else 1):
            own = self._regressed(own, side, n, of_long=of_long)
        expected = self._expected(side, of_long=of_long)
        squares = self._squares(expected, of_long=of_long) / n
        return np.maximum(squares, _LEAST_VARIANCE)

    def _regressed(
        self, own: tuple[Regression, ...], side: Side, n: int, *, of_long: bool
    ) -> tuple[Regression, ...]:
        """Each regression given the others, the last prior variances and the centre."""
        means, each = self._means(of_long=of_long), [one.expected for one in own]
        for k, one in enumerate(own):
            total = np.sum(each, axis=0)
            if side.centred:
                self.centre = float(np.mean(means[:, -1] - total[:, -1]))
            expected = self._expected(side, of_long=of_long)
            prior = self._squares(expected, of_long=of_long) / n
            left = means - (expected - each[k])
            new = one.learned(left, np.maximum(prior, _LEAST_VARIANCE))
            own = (*own[:k], new, *own[k + 1 :])
            each[k] = new.expected
            self._take(own, of_long=of_long)
        if side.centred:
            total = np.sum(each, axis=0)
            self.centre = float(np.mean(means[:, -1] - total[:, -1]))
        return own

    def _take(self, own: tuple[Regression, ...], *, of_long: bool) -> None:
        if of_long:
            self.long_regressions = own
        else:
            self.short_regressions = own

    def _about_prior(self, *, of_long: bool) -> Array:
        second, r = super()._about_prior(of_long=of_long), self.rank
        own = self.regressions(of_long=of_long)
        if not own:
            return second
        expected = expected_lines(own)[:, :r]
        crossed = self._means(of_long=of_long)[:, :r].T @ expected
        second = second - crossed - crossed.T + expected.T @ expected
        return second + np.diag(np.sum([each.uncertain[:r] for each in own], axis=0))

    def _turn(self, to_long: Array, to_short: Array, log: float) -> None:
        super()._turn(to_long, to_short, log)
        for of_long, turn in ((True, to_long), (False, to_short)):
            side = self._side(of_long=of_long)[1]
            whole = np.eye(len(side.free))
            whole[: len(turn), : len(turn)] = turn
            own = self.regressions(of_long=of_long)
            self._take(tuple(each.turned(whole) for each in own), of_long=of_long)

    def _divergence(self, *, of_long: bool) -> float:
        own = self.regressions(of_long=of_long)
        totals, side, n = self._side(of_long=of_long)
        if not own or not len(side.free):
            return super()._divergence(of_long=of_long)
        prior = self.long_prior if of_long else self.short_prior
        squares = self._squares(self._expected(side, of_long=of_long), of_long=of_long)
        each = squares / prior - n + n * np.log(prior)
        cost = 0.5 * (float(each.sum()) - totals.log_determinant)
        return cost + float(sum(one.divergence().sum() for one in own))

    def _cost_of_means(self, k: int) -> float:
        both = (*self.long_regressions, *self.short_regressions)
        return float(sum(2.0 * each.divergence()[k] for each in both))

    def keep(self, columns: Array) -> tuple[Array, Array]:
        r = self.rank
        for of_long in (True, False):
            own = self.regressions(of_long=of_long)
            f = len(self._side(of_long=of_long)[1].free)
            kept = np.concatenate([columns, np.arange(r, f)]).astype(int)
            self._take(tuple(each.kept(kept) for each in own), of_long=of_long)
        return super().keep(columns)

    def _add(self, columns: Array, variance: Array) -> None:
        r = self.rank
        super()._add(columns, variance)
        for of_long in (True, False):
            own = self.regressions(of_long=of_long)
            grown = tuple(each.grown(r, variance) for each in own)
            self._take(grown, of_long=of_long)
