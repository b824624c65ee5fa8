"""The iteration: Gaussian rows and columns, and the variances that follow from them."""

from __future__ import annotations

from copy import copy

import numpy as np

from skprecgd._linalg.leading import leading_right
from skprecgd._runtime.steps import tell_step
from skprecgd._runtime.typing import Array
from skprecgd.kernels import (
    Lines,
    Others,
    Totals,
    Unknown,
    packed_of,
    packed_squares,
    uncertain_lines,
    unpacked,
)
from skprecgd.unknown.coordinates import Coordinates, Side
from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.entry_lines import LeftOut, Residual, Shares, ShortSide
from skprecgd.variational.noise import Noise
from skprecgd.variational.tail import HeavyTail

# No prior variance falls below this share of the variance of the data.
_LEAST_VARIANCE = 1e-30


class Model:
    """The posterior at one point of the iteration; a `step` goes on from it.

    Parameters
    ----------
    entries : NoisyEntries
    noise : Noise
    tail : HeavyTail, default=None
        None is normal noise.

    Attributes
    ----------
    coordinates : Coordinates
    long : LongSide
    short : Lines
    long_prior, short_prior : ndarray
        Prior variances of the coordinates that are found.
    centre : float
        Prior mean of the offsets of the data's columns, or the one offset of all.
    n_steps : int
        How many steps have led here.
    """

    def __init__(
        self, entries: NoisyEntries, noise: Noise, tail: HeavyTail | None = None
    ) -> None:
        self.entries, self.noise, self.tail = entries, noise, tail
        self.coordinates = Coordinates.of(entries.center, entries.columns_are_long)
        n_short, size = entries.sides[1], self.coordinates.size
        self.centre, self.n_steps = 0.0, 0
        self.long = entries.lines.unknown_lines(size)
        self.long_prior = np.ones(len(self.coordinates.long.free))
        self.short_prior = np.ones(len(self.coordinates.short.free))
        mean = np.zeros((n_short, size))
        fixed = self.coordinates.short.fixed
        if fixed is not None:
            mean[:, fixed] = self._fixed_value
        second = packed_squares(mean)
        nothing = Totals(second.sum(axis=0), 0.0, np.zeros(len(self.short_prior)))
        self.short = Lines(mean, second, np.zeros(n_short), nothing)
        self.long_totals = nothing

    # -- what is known of the model ---------------------------------------------------

    @property
    def rank(self) -> int:
        return self.coordinates.rank

    @property
    def scales(self) -> tuple[Array, Array]:
        """Prior variances of the factors, of the longer and the shorter side."""
        return self.long_prior[: self.rank], self.short_prior[: self.rank]

    @property
    def exact(self) -> bool:
        """Whether the entries are explained, so that no noise is left.

        Heavy tails may leave it to a few.
        """
        return self.tail is None and self.explains_most

    @property
    def explains_most(self) -> bool:
        """Whether no noise is left of most entries."""
        return self.noise.mean_square < self.noise.tuning.exact

    def shares_known(self) -> Array:
        """How much of each factor is known: root of squared means over squares."""
        r, at = self.rank, self.coordinates.at
        diagonal = at[np.arange(r), np.arange(r)]
        pairs = (
            (self.long.squares(), self.long_totals),
            (np.sum(self.short.mean**2, axis=0), self.short.totals),
        )
        shares = [squares[:r] / totals.second[diagonal] for squares, totals in pairs]
        return np.sqrt(shares[0] * shares[1])

    def copied(self) -> Model:
        """The same point, from which another way can be gone."""
        other = copy(self)
        other.noise = copy(self.noise)
        return other

    @property
    def short_side(self) -> ShortSide:
        """What the lines of the longer side are found from, but for their entries."""
        noise = self.noise
        others = Others(self.short.mean, self.short.second, noise.short)
        freedom = np.inf if self.tail is None else self.tail.freedom
        own = None if noise.long_are_alike else noise.long
        return ShortSide(others, self.unknown(of_long=True), own, noise.rate, freedom)

    @property
    def shares(self) -> Shares | None:
        """The precisions that heavy tails leave to entries."""
        return None if self.tail is None else self.tail.shares

    @property
    def _fixed_value(self) -> float:
        return self.centre if self.coordinates.flat else 1.0

    # -- one step ---------------------------------------------------------------------

    def step(self, *, shared: bool = False, drop: bool = False) -> None:
        """Rows, columns, noise and prior variances, in turn.

        Parameters
        ----------
        shared : bool, default=False
            Whether the factors have one prior variance, the mean of their own.
        drop : bool, default=False
            Leave out the weakest column if the evidence is higher without it.
        """
        self.n_steps += 1
        tell_step(self.rank)
        if self.coordinates.size == 0:
            self._learn_noise_alone()
            return
        sweep = self.entries.lines.swept(self.short_side, self.shares)
        self.long, self.long_totals = sweep.long, sweep.totals
        if self.tail is not None and sweep.shares is not None:
            self.tail = self.tail.after(sweep.shares)
        if self.coordinates.flat:
            self._move_centre(sweep.grams, sweep.moments)
        self.short = uncertain_lines(
            sweep.grams,
            sweep.moments,
            self.noise.short,
            self.unknown(of_long=False),
        )
        self.noise.update(sweep.squares, self.short.squares)
        if drop:
            self._drop_weak(sweep.grams, sweep.moments)
        self._rotate()
        self._learn_priors(shared=shared)

    def _learn_noise_alone(self) -> None:
        """The noise of entries that nothing is to explain."""
        lines = self.entries.lines
        if self.tail is not None:
            shares = lines.shares_alone(self.short_side, self.tail.shares)
            self.tail = self.tail.after(shares)
        self.noise.update(*lines.squares_alone(self.short_side, self.shares))
        # The noise of the longer side weighs what the shorter one sees.
        _, short = lines.squares_alone(self.short_side, self.shares)
        self.short = self.short._replace(squares=short)

    def unknown(self, *, of_long: bool) -> Unknown:
        """What is to be found of the lines of a side, and their prior."""
        return self.unknown_line(of_long=of_long)

    def unknown_line(self, *, of_long: bool) -> Unknown:
        """What is to be found of a line of which nothing else is known."""
        side = self.coordinates.long if of_long else self.coordinates.short
        precision = 1.0 / (self.long_prior if of_long else self.short_prior)
        value = 1.0 if of_long else self._fixed_value
        pull = np.zeros(len(precision))
        if side.centred:
            pull[-1] = self.centre * precision[-1]
        fixed, at = side.fixed, self.coordinates.at
        return Unknown(side.free, precision, pull, fixed, value, at)

    def long_lines(self) -> Lines:
        """Lines of the longer side with their second moments, all in memory."""
        return self.entries.lines.lines(self.short_side, self.shares)

    def left_out(self, most: int) -> LeftOut:
        """What would be left of about so many entries, each if it had not been seen."""
        return self.entries.lines.left_out(self.short_side, self.shares, most)

    @property
    def precision_of_columns(self) -> Array:
        """Inverse variances of the noise of the data's columns."""
        return self.noise.precision(of_long=self.entries.columns_are_long)

    def _move_centre(self, grams: Array, moments: Array) -> None:
        """The one offset of all entries at which the evidence is highest."""
        at, last, rank = self.coordinates.at, self.coordinates.size - 1, self.rank
        explained = np.sum(
            self.short.mean[:, :rank] * grams[:, at[last, :rank]], axis=1
        )
        weight = self.noise.short
        left = weight @ (moments[:, last] - explained)
        self.centre = float(left / (weight @ grams[:, at[last, last]]))

    def _learn_priors(self, *, shared: bool) -> None:
        self.long_prior = self._variances(of_long=True)
        self.short_prior = self._variances(of_long=False)
        if shared and self.rank:
            for prior in (self.long_prior, self.short_prior):
                prior[: self.rank] = prior[: self.rank].mean()

    def _side(self, *, of_long: bool) -> tuple[Totals, Side, int]:
        """The sums over the lines of a side, its coordinates, and how many it has."""
        n_long, n_short = self.entries.sides
        if of_long:
            return self.long_totals, self.coordinates.long, n_long
        return self.short.totals, self.coordinates.short, n_short

    def _variances(self, *, of_long: bool) -> Array:
        """The prior variances at which the evidence is highest."""
        totals, side, n = self._side(of_long=of_long)
        at = self.coordinates.at
        squares = totals.second[at[side.free, side.free]] / n
        if side.centred:
            self.centre = self._mean_offset(side)
            squares[-1] -= self.centre**2
        return np.maximum(squares, _LEAST_VARIANCE)

    def _mean_offset(self, side: Side) -> float:
        """The mean of the offsets of the data's columns, which are that side."""
        assert side.offset is not None
        if self.entries.columns_are_long:
            return self.long.mean_of(side.offset)
        return float(self.short.mean[:, side.offset].mean())

    # -- rotation ---------------------------------------------------------------------

    def _rotate(self) -> None:
        """Turn the factors so that both sides have equal, diagonal second moments.

        The product stays the same, and no other turn and stretch of the factors has a
        higher evidence (parameter expansion).
        """
        if self.rank == 0:
            return
        n_long, n_short = self.entries.sides
        own = self._about_prior(of_long=True) / n_long
        other = self._about_prior(of_long=False) / n_short
        values, vectors = np.linalg.eigh(own)
        values = np.maximum(values, values[-1] * 1e-15)
        root = vectors * np.sqrt(values)
        squares, turn = np.linalg.eigh(root.T @ other @ root)
        squares, turn = squares[::-1], turn[:, ::-1]
        fourth = np.maximum(squares, squares[0] * 1e-30) ** 0.25
        inverse_root = vectors / np.sqrt(values)
        to_long = fourth[:, None] * (inverse_root @ turn).T
        to_short = (root @ turn).T / fourth[:, None]
        log = float(np.sum(np.log(fourth)) - 0.5 * np.sum(np.log(values)))
        self._turn(to_long, to_short, log)

    def _turn(self, to_long: Array, to_short: Array, log: float) -> None:
        """Turn the factors of both sides by matrices that leave their product.

        Parameters
        ----------
        to_long, to_short : ndarray of shape (rank, rank)
        log : float
            Log determinant of the first.
        """
        n_long, n_short = self.entries.sides
        whole_long, whole_short = self._whole(to_long), self._whole(to_short)
        self.long = self.long.turned(whole_long)
        self.long_totals = self._turned(self.long_totals, whole_long, n_long * log)
        totals = self._turned(self.short.totals, whole_short, -n_short * log)
        second = unpacked(self.short.second, self.coordinates.at)
        second = packed_of(whole_short @ second @ whole_short.T)
        mean = self.short.mean @ whole_short.T
        self.short = Lines(mean, second, self.short.squares, totals)

    def _about_prior(self, *, of_long: bool) -> Array:
        """The sum of the second moments of the factors about their prior means."""
        totals, r = self._side(of_long=of_long)[0], self.rank
        return unpacked(totals.second, self.coordinates.at)[:r, :r]

    def _whole(self, turn: Array) -> Array:
        """A turn of the factors as one of all coordinates."""
        whole = np.eye(self.coordinates.size)
        whole[: self.rank, : self.rank] = turn
        return whole

    def _turned(self, totals: Totals, whole: Array, log: float) -> Totals:
        second = whole @ unpacked(totals.second, self.coordinates.at) @ whole.T
        determinant = totals.log_determinant + 2.0 * log
        return Totals(packed_of(second), determinant, totals.log_diagonal)

    # -- evidence ---------------------------------------------------------------------

    def evidence(self) -> float:
        """The lower bound of the log density of the entries."""
        cost = sum(self._divergence(of_long=of_long) for of_long in (True, False))
        of_tail = 0.0 if self.tail is None else self.tail.evidence()
        return self.noise.evidence(self.short.squares) + of_tail - cost

    def _divergence(self, *, of_long: bool) -> float:
        """From the prior to the posterior of all lines of a side."""
        totals, side, n = self._side(of_long=of_long)
        prior = self.long_prior if of_long else self.short_prior
        at = self.coordinates.at
        squares = totals.second[at[side.free, side.free]].copy()
        if side.centred:
            squares[-1] += n * self.centre * (self.centre - 2 * self._mean_offset(side))
        each = squares / prior - n + n * np.log(prior)
        return 0.5 * (float(each.sum()) - totals.log_determinant)

    # -- columns come and go ----------------------------------------------------------

    def _drop_weak(self, grams: Array, moments: Array) -> None:
        """Leave out the weakest column, of many more, where that raises the evidence.

        What is left is the marginal posterior, and noise stays as it is. No more than
        a quarter, since those that are left still count as if the others were beside
        them, and of a few columns one, since the rest take over what it explained.
        """
        for _ in range(max(min(self.rank, 1), self.rank // 4)):
            k, more = self._weakest(grams, moments)
            if more is None:
                break
            self.short = self.short._replace(squares=self.short.squares + more)
            cells, kept = self.keep(np.delete(np.arange(self.rank), k))
            grams, moments = grams[:, cells], moments[:, [*kept, -1]]

    def _weakest(self, grams: Array, moments: Array) -> tuple[int, Array | None]:
        """The weakest column, and by what the squared residuals of the shorter side
        grow without it; None if the evidence falls."""
        n_long, n_short = self.entries.sides
        at, r = self.coordinates.at, self.rank
        diagonal = at[np.arange(r), np.arange(r)]
        long = self.long_totals.second[diagonal] / n_long
        short = self.short.totals.second[diagonal] / n_short
        k = int(np.argmin(long * short))
        long, short = (
            np.diag(self._about_prior(of_long=of_long)) / n
            for of_long, n in ((True, n_long), (False, n_short))
        )
        gain = self._cost_of_means(k) + n_long * np.log(max(long[k], _LEAST_VARIANCE))
        gain += self.long_totals.log_diagonal[k]
        gain += n_short * np.log(max(short[k], _LEAST_VARIANCE))
        gain += self.short.totals.log_diagonal[k]
        crossed = self.short.second[:, at[k]] * grams[:, at[k]]
        more = 2.0 * self.short.mean[:, k] * moments[:, k]
        more -= 2.0 * crossed.sum(axis=1) - crossed[:, k]
        return k, more if gain > float(self.noise.short @ more) else None

    def _cost_of_means(self, k: int) -> float:
        """Twice what learning prior means of a factor costs the evidence."""
        return 0.0

    def keep(self, columns: Array) -> tuple[Array, Array]:
        """Leave out all factors but some.

        Returns which numbers of packed matrices are kept, and which coordinates.
        """
        old, r = self.coordinates, self.rank
        kept = np.concatenate([columns, np.arange(r, old.size)]).astype(int)
        free_long = np.concatenate([columns, np.arange(r, len(self.long_prior))])
        free_short = np.concatenate([columns, np.arange(r, len(self.short_prior))])
        self.coordinates = old.with_rank(len(columns))
        upper = np.triu_indices(len(kept))
        cells = old.at[kept[upper[0]], kept[upper[1]]]
        self.long = self.long.kept(kept)
        self.long_prior = self.long_prior[free_long.astype(int)]
        self.short_prior = self.short_prior[free_short.astype(int)]
        lost = np.setdiff1d(np.arange(r), columns)
        self.long_totals = self._kept_totals(self.long_totals, cells, lost)
        totals = self._kept_totals(self.short.totals, cells, lost)
        self.short = Lines(
            self.short.mean[:, kept],
            self.short.second[:, cells],
            self.short.squares,
            totals,
        )
        return cells, kept

    @staticmethod
    def _kept_totals(totals: Totals, cells: Array, lost: Array) -> Totals:
        determinant = totals.log_determinant + float(totals.log_diagonal[lost].sum())
        logs = np.delete(totals.log_diagonal, lost)
        return Totals(totals.second[cells], determinant, logs)

    def grow(self, count: int) -> None:
        """New columns: the leading singular triplets of the weighted residual."""
        n_long, n_short = self.entries.sides
        count = min(count, min(n_long, n_short) - self.rank)
        if count <= 0:
            return
        s, v = self._residual_triplets(count)
        variance = s / np.sqrt(n_long * n_short)
        variance = np.maximum(variance, _LEAST_VARIANCE)
        columns = v * np.sqrt(n_short * variance)
        self._add(columns, variance)

    def _residual_triplets(self, count: int) -> tuple[Array, Array]:
        """Singular values and vectors of the residual, zero where nothing is observed.

        They are taken where the noise of all lines is the same, and they are as long as
        a matrix that is seen in full would have them, less what chance adds.
        """
        entries, short = self.entries, self.noise.short
        matrix = self.residual().whitened(self.short_side, self.shares)
        s, v = leading_right(matrix, count, 0, tol=0.1)
        share = min(1.0, entries.count / (entries.sides[0] * entries.sides[1]))
        columns = v / np.maximum(np.sqrt(short / short.max()), 1e-3)[:, None]
        length = np.maximum(np.sqrt(np.sum(columns**2, axis=0)), 1e-300)
        return s * length / np.sqrt(share), columns / length

    def over_chance(self, draws: int, seed: int = 0) -> float:
        """The leading singular value of the residual, over that of flipped signs.

        Of entries in memory.

        Parameters
        ----------
        draws : int
            Draws of the signs, whose mean is taken.
        seed : int, default=0
        """
        rng = np.random.RandomState(seed)
        matrix = self.residual().whitened(self.short_side, self.shares)
        residual, sizes = matrix.data, []
        for k in range(draws + 1):
            signs = rng.choice([-1.0, 1.0], len(residual)) if k else 1.0
            matrix.data = residual * signs
            sizes.append(float(leading_right(matrix, 1, 0, tol=0.03)[0][0]))
        chance = float(np.mean(sizes[1:]))
        return sizes[0] / chance if chance > 0 else 1.0

    def residual(self) -> Residual:
        """What the means leave of the entries."""
        return self.entries.lines.residual(self.long, self.short.mean)

    def _add(self, columns: Array, variance: Array) -> None:
        """New columns of the shorter side, before the longer one has been found."""
        old, r, count = self.coordinates, self.rank, len(variance)
        self.coordinates = old.with_rank(r + count)
        n_short = self.entries.sides[1]
        mean = np.insert(self.short.mean, [r] * count, columns, axis=1)
        wide = np.zeros((n_short, self.coordinates.size, self.coordinates.size))
        new, kept = slice(r, r + count), np.r_[:r, r + count : self.coordinates.size]
        wide[:, kept[:, None], kept] = unpacked(self.short.second, old.at)
        wide[:, new, :] = columns[:, :, None] * mean[:, None, :]
        wide[:, :, new] = mean[:, :, None] * columns[:, None, :]
        self.short = self.short._replace(mean=mean, second=packed_of(wide))
        self.long = self.long.grown(r, count)
        self.long_prior = np.insert(self.long_prior, r, variance)
        self.short_prior = np.insert(self.short_prior, r, variance)
