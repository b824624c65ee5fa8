"""Errors and posterior of a matrix of which every entry was observed.

But for the entries that are not trusted, the data are complete, and the posterior of
complete data is known in closed form (`complete.py`). So the entries that are missing
are filled in with what the others say of them, in the manner of the EM algorithm. The
lines of the longer side are samples of a Gaussian whose covariance, in the variables of
the shorter side, is ``noise * inverse(P)``, where P takes from a sample its residual:
``P = I - V diag(shrinkage) V^T``. So no system is larger than the number of errors in a
line, and of every entry it is known what the others of its line say of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.typing import Array
from skprecgd.kernels import Unknown, packed_index, packed_squares
from skprecgd.robust import CorruptedTail
from skprecgd.variational.complete import CompletePosterior, complete_posterior
from skprecgd.variational.entries import Units
from skprecgd.variational.posterior import ColumnNoise, Posterior
from skprecgd.variational.rows import ColumnPosterior, RowPosterior
from skprecgd.variational.trusted import (
    TRUST,
    Trusted,
    TrustTuning,
    of_one_unit,
    pooled,
    spreads,
)

# Numbers of the systems that are solved at a time (32 MB).
_NUMBERS = 1 << 22


def trust_matrix(
    X: Array,
    rank: int,
    corruption: CorruptedTail,
    *,
    center: str | None = None,
    noise: str = "auto",
    tuning: TrustTuning = TRUST,
) -> Trusted:
    """The posterior of what is to be trusted of a complete matrix.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
    rank : int
        Factors at most.
    corruption : CorruptedTail
        Of the entries, row by row.
    center : {None, "mean", "columns", "both"}, default=None
    noise : {"uniform", "columns", "auto"}, default="auto"
    tuning : TrustTuning, default=TRUST

    Returns
    -------
    Trusted
    """
    search = _Search(X, rank, corruption, center, noise, tuning)
    return search.trusted()


@dataclass(frozen=True)
class _Frame:
    """Offsets and units of a matrix whose rows are samples, of the trusted entries.

    Attributes
    ----------
    centred : ndarray of shape (n_samples, n_variables)
        The matrix without offsets, in units of its columns; zero where these do not
        vary.
    of_samples, of_variables : ndarray of shape (n_samples,), (n_variables,)
        Offsets.
    units : ndarray of shape (n_samples, 1) or (1, n_variables)
    varies : ndarray of bool, of the same shape
    """

    centred: Array
    of_samples: Array
    of_variables: Array
    units: Array
    varies: Array

    def scaled(self, matrix: Array) -> Array:
        """A matrix without the offsets, in units of the columns."""
        own = matrix - self.of_variables - self.of_samples[:, None]
        return np.asarray(own / self.units)

    def unscaled(self, matrix: Array) -> Array:
        own = matrix * self.units
        return np.asarray(own + self.of_variables + self.of_samples[:, None])


@dataclass(frozen=True)
class _Model:
    """The Gaussian that samples are of.

    Attributes
    ----------
    posterior : CompletePosterior
    vectors : ndarray of shape (n_variables, rank)
    shrinkage : ndarray of shape (rank,)
    offset : ndarray of shape (n_variables,) or None
        The direction of the offsets of samples, which are not shrunk.
    """

    posterior: CompletePosterior
    vectors: Array
    shrinkage: Array
    offset: Array | None

    @property
    def noise(self) -> float:
        return self.posterior.noise_variance

    @cached_property
    def to_residual(self) -> Array:
        """P: symmetric, of shape (n_variables, n_variables)."""
        fitted = (self.vectors * self.shrinkage) @ self.vectors.T
        if self.offset is not None:
            fitted += np.multiply.outer(self.offset, self.offset)
        return np.asarray(np.eye(len(fitted)) - fitted)

    def left(self, certain: float) -> Array:
        """The share of each variable's noise that residuals show."""
        return np.maximum(np.diag(self.to_residual), certain)


@dataclass(frozen=True)
class _Filled:
    """Samples whose errors are replaced by what the others say.

    Attributes
    ----------
    values : ndarray of shape (n_samples, n_variables)
        In units of the columns, without offsets.
    residual : ndarray of shape (n_samples, n_variables)
        Of these.
    inverse : ndarray of shape (n_samples, n_variables)
        Variance of what the others say of an error, noise included, in units of the
        noise; one elsewhere.
    covariance : ndarray of shape (n_variables, n_variables)
        Sum over the samples of the covariances of what was filled in.
    """

    values: Array
    residual: Array
    inverse: Array
    covariance: Array


class _Search:
    """The iteration; its matrix has the shorter side of the data as variables."""

    def __init__(
        self,
        X: Array,
        rank: int,
        corruption: CorruptedTail,
        center: str | None,
        noise: str,
        tuning: TrustTuning,
    ) -> None:
        self.turned = X.shape[1] > X.shape[0]
        self.rank, self.corruption, self.tuning = rank, corruption, tuning
        self.center = center
        self.own_units = noise != "uniform" and center in (None, "columns")
        self.own_noise = noise != "uniform"
        of_rows, of_columns = center == "both", center in ("columns", "both")
        offsets = (of_columns, of_rows) if self.turned else (of_rows, of_columns)
        self.offset_samples, self.offset_variables = offsets
        values = X.T if self.turned else X
        self.given = np.ascontiguousarray(values, dtype=np.float64)
        self.wrong = np.zeros(self.given.shape, dtype=bool)
        # What was not trusted in the round before.
        self.before: Array | None = None
        self.filled, self.covariance = self.given, np.zeros(())
        self._start()

    # -- the iteration ----------------------------------------------------------------

    def trusted(self) -> Trusted:
        """Rounds until errors and noise stay the same, or the noise vanishes."""
        tuning, ratios, before = self.tuning, [np.inf], np.inf
        for _ in range(tuning.most_rounds):
            wrong = self._round()
            noise = self.model.posterior.noise_scale
            if noise <= tuning.exact:
                return self._outcome(is_noise=False)
            ratios.append(noise / before if np.isfinite(before) else np.inf)
            before = noise
            same = abs(ratios[-1] - 1.0) <= tuning.same_noise
            vanishes = max(ratios[-tuning.in_a_row :]) <= tuning.vanishes
            if vanishes or (same and self._has_settled(wrong)):
                break
            self._trust(wrong)
        return self._outcome(is_noise=ratios[-1] > tuning.falls)

    def _has_settled(self, wrong: Array) -> bool:
        """Whether the errors are those of this round, or of the one before."""
        enough = self.tuning.settled * np.count_nonzero(wrong)
        known = (self.wrong,) if self.before is None else (self.wrong, self.before)
        return any(np.count_nonzero(wrong != other) <= enough for other in known)

    def _start(self) -> None:
        """What is far from the middle of its column is not trusted at first."""
        sides = {None: None, "mean": None, "columns": 0, "both": 0}
        data = self._of_data(self.given)
        middle = np.zeros(data.shape[1])
        if self.center is not None:
            middle = middle + np.median(data, axis=sides[self.center])
        sizes = np.abs(data - middle)
        if self.center == "both":
            middle = middle + np.median(data - middle, axis=1)[:, None]
            sizes = np.abs(data - middle)
        scales = spreads(sizes)
        # Units stay within this range, however few numbers of a column are trusted.
        self.first = scales if self.own_units else of_one_unit(scales)
        self.first = np.where(self.first > 0, self.first, 1.0)
        sizes = np.ravel(sizes / self.first)
        far = self.corruption.beyond(sizes, self.corruption.robust_level(sizes))
        self.wrong = self._mask(far)
        middle = np.broadcast_to(middle, data.shape)
        self.filled = np.where(self.wrong, self._of_data(middle), self.given)

    def _round(self) -> Array:
        """Offsets, units, model, and what the entries say of each other."""
        self.frame = self._frame()
        self.model = self._model(self.frame)
        self.state = self._completed(self.frame, self.model)
        self.covariance = self.model.noise * self.state.covariance
        self.covariance_unit = self.frame.units
        sizes = self._of_data(self._sizes() * self.frame.units)
        self.scales = self._scales(sizes)
        self.level, positions = self._beyond(sizes / self.scales)
        self.largest = float(
            np.max(np.where(self._of_data(self.wrong), 0, sizes) / self.scales)
        )
        return self._mask(positions)

    def _sizes(self) -> Array:
        """Differences of entries from what the others of their line say.

        They have the variance of the noise.
        """
        state, left = self.state, self.model.left(self.tuning.certain)
        given = self.frame.scaled(self.given)
        out = np.abs(state.residual) / np.sqrt(left)
        wrong = self.wrong
        own = np.abs(given[wrong] - state.values[wrong])
        out[wrong] = own / np.sqrt(state.inverse[wrong])
        return out

    def _trust(self, wrong: Array) -> None:
        """Take other entries for errors; these are filled in by what others say."""
        state, left = self.state, self.model.left(self.tuning.certain)
        alone = self.frame.scaled(self.given) - state.residual / left
        said = np.where(self.wrong, state.values, alone)
        self.filled = np.where(wrong, self.frame.unscaled(said), self.given)
        self.before, self.wrong = self.wrong, wrong

    # -- its parts --------------------------------------------------------------------

    def _of_data(self, matrix: Array) -> Array:
        """A matrix as the data lie, or the other way round."""
        return matrix.T if self.turned else matrix

    def _mask(self, positions: Array) -> Array:
        mask = np.zeros(self._of_data(self.given).shape, dtype=bool)
        mask.flat[positions] = True
        return np.ascontiguousarray(self._of_data(mask))

    def _beyond(self, sizes: Array) -> tuple[float, Array]:
        """From which size on entries are errors, and which are."""
        sizes = np.ravel(sizes)
        level = self.corruption.level(sizes)
        return level, self.corruption.beyond(sizes, level)

    def _scales(self, sizes: Array) -> Array:
        """Spreads of the residuals of the columns of the data, nearly independent ones.

        Each counts a few numbers as large as those of the others.
        """
        scales = spreads(sizes)
        if not self.own_noise:
            scales = of_one_unit(scales)
        units = self._of_data(np.broadcast_to(self.frame.units, self.given.shape))[0]
        counts = np.full(len(scales), len(sizes))
        return pooled(scales, units, counts, self.tuning)

    def _frame(self) -> _Frame:
        filled = self.filled
        of_samples, of_variables = (np.zeros(n) for n in filled.shape)
        if self.center == "mean":
            of_variables = of_variables + np.mean(filled)
        if self.offset_variables:
            of_variables = np.mean(filled, axis=0)
        if self.offset_samples:
            of_samples = np.mean(filled - of_variables, axis=1)
        centred = filled - of_variables - of_samples[:, None]
        first = self._of_data(np.broadcast_to(self.first, self._of_data(filled).shape))
        axis = 1 if self.turned else 0
        first = np.take(first, [0], axis=axis)
        units, varies = first, np.ones_like(first, dtype=bool)
        if self.own_units:
            squares = centred / first
            squares *= squares
            second = np.mean(squares, axis=axis, keepdims=True)
            squares *= squares
            fourth = np.mean(squares, axis=axis, keepdims=True)
            normal = 3.0 * filled.shape[axis] * second**2
            varies = (normal > self.tuning.enough * fourth) & (
                second > self.tuning.constant**2
            )
            units = np.where(varies, first * np.sqrt(second), first)
            units = units * self._noise_ratio(units)
        centred /= units
        if not varies.all():
            centred = np.where(varies, centred, 0.0)
        return _Frame(centred, of_samples, of_variables, units, varies)

    def _noise_ratio(self, spread: Array) -> Array:
        """The noise of columns in units of their spread, as they compare.

        In units of their own noise, columns have noise of one variance, which is that
        of the closed form.
        """
        if self.before is None:
            return np.ones_like(spread)
        axis = 1 if self.turned else 0
        state, wrong = self.state, self.before
        left = self.model.left(self.tuning.certain)
        squares = np.where(wrong, 0.0, state.residual**2 / left)
        own = np.sqrt(np.mean(squares, axis=axis, keepdims=True))
        own = own * self.frame.units / spread
        middle = float(np.median(own))
        if middle == 0:
            return np.ones_like(spread)
        contrast = self.tuning.contrast
        return np.asarray(np.clip(own / middle, 1.0 / contrast, contrast))

    def _model(self, frame: _Frame) -> _Model:
        squares = frame.centred.T @ frame.centred
        offset, n_variables = None, len(squares)
        if self.covariance.ndim:
            ratio = np.ones(n_variables)
            if not self.turned:
                ratio = (self.covariance_unit / frame.units)[0] * frame.varies[0]
            squares += self.covariance * np.multiply.outer(ratio, ratio)
        if self.offset_samples:
            offset = np.full(n_variables, 1.0 / np.sqrt(n_variables))
            squares -= np.multiply.outer(offset, offset @ squares)
            squares -= np.multiply.outer(squares @ offset, offset)
        values, vectors = linalg.eigh(squares, check_finite=False)
        values, vectors = values[::-1], vectors[:, ::-1]
        s = np.sqrt(np.maximum(values, 0.0))
        rounding = float(np.sqrt(np.finfo(np.float64).eps) * np.linalg.norm(s))
        n_samples, n_varying = self._directions(frame)
        dependent = n_varying - int(np.count_nonzero(s[:n_varying] > rounding))
        if dependent <= self.tuning.dependent * n_varying:
            n_varying -= dependent
        sides = n_samples, n_varying
        s = s[: min(sides)]
        self.spectrum = s, sides, rounding
        posterior = complete_posterior(
            s, sides, rounding=rounding, max_components=self.rank
        )
        n = posterior.n_components
        shrinkage = posterior.singular_values / s[:n]
        shrinkage = np.minimum(shrinkage, 1.0 - self.tuning.certain)
        return _Model(posterior, vectors[:, :n], shrinkage, offset)

    def _directions(self, frame: _Frame) -> tuple[int, int]:
        """In how many directions samples and variables vary."""
        n_samples, n_variables = frame.centred.shape
        constant = int(np.count_nonzero(~frame.varies))
        if self.turned:
            n_samples -= constant
        else:
            n_variables -= constant
        n_samples -= self.offset_variables
        return max(1, n_samples), max(1, n_variables - self.offset_samples)

    def _completed(self, frame: _Frame, model: _Model) -> _Filled:
        """The errors filled in with what the other entries of their sample say."""
        to_residual = model.to_residual
        values, wrong = frame.scaled(self.filled), self.wrong
        residual = values @ to_residual
        inverse, covariance = np.ones_like(values), np.zeros_like(to_residual)
        counts = np.count_nonzero(wrong, axis=1)
        values = values.copy()
        for count in np.unique(counts[counts > 0]):
            samples = np.flatnonzero(counts == count)
            for part in slabs((len(samples), int(count) ** 2), _NUMBERS):
                self._fill(samples[part], count, values, residual, inverse, covariance)
        residual = values @ to_residual
        return _Filled(values, residual, inverse, covariance)

    def _fill(
        self,
        samples: Array,
        count: int,
        values: Array,
        residual: Array,
        inverse: Array,
        covariance: Array,
    ) -> None:
        """Samples with the same number of errors."""
        at = np.nonzero(self.wrong[samples])[1].reshape(len(samples), count)
        cells = samples[:, None], at
        pairs = at[:, :, None], at[:, None, :]
        solved = np.linalg.inv(self.model.to_residual[pairs])
        values[cells] -= np.einsum("nij,nj->ni", solved, residual[cells])
        inverse[cells] = np.einsum("nii->ni", solved)
        np.add.at(covariance, pairs, solved)

    # -- the outcome ------------------------------------------------------------------

    def _outcome(self, *, is_noise: bool) -> Trusted:
        wrong = self._of_data(self.wrong)
        level = self.level
        if not np.isfinite(level):
            level = self.tuning.beyond * self.largest
        return Trusted(
            self._posterior(),
            np.flatnonzero(wrong),
            self.scales,
            level,
            is_noise,
            self.model.posterior.noise_scale,
        )

    def _posterior(self) -> Posterior:
        """The posterior in the units and lines of the data."""
        rank = self.model.posterior.n_components
        columns, rows, factor_scales = self._sides()
        noise, squares, counts = self._noise(columns.units.scale)
        alike = np.ones(len(rows)), np.ones(self.given.size)
        return Posterior(
            columns,
            RowPosterior(rows, squares, *alike),
            self.center == "both",
            rank,
            rank,
            self._evidence(),
            noise,
            counts,
            factor_scales,
            False,
            self._missed(),
            None,
            None,
        )

    def _sides(self) -> tuple[ColumnPosterior, Array, Array]:
        """The columns, the coordinates of the rows, and the scales of the factors."""
        frame, model = self.frame, self.model
        basis, rows = self._turned_back()
        shift, row_offsets = frame.of_variables, frame.of_samples
        if self.turned:
            shift, row_offsets = row_offsets, shift
        if self.center == "mean":
            shift = np.full(len(basis), frame.of_variables[0])
        units = np.broadcast_to(np.ravel(frame.units), len(basis))
        varies = np.broadcast_to(np.ravel(frame.varies), len(basis))
        prior = model.noise * model.shrinkage / (1.0 - model.shrinkage)
        factor_scales = np.sqrt(prior * np.mean(units**2) / len(basis))
        if self.center == "both":
            # The offset of a row is a coordinate whose prior says nothing.
            basis = np.column_stack([basis, np.ones(len(basis))])
            rows = np.column_stack([rows, row_offsets / units[0]])
            prior = np.append(prior, np.inf)
        columns = ColumnPosterior(
            Units(shift, units, varies, not self.own_units),
            basis,
            packed_squares(basis),
            np.where(varies, 1.0 / max(model.noise, _TINY), 0.0),
            np.ones(len(basis)),
            self._unknown(prior),
        )
        return columns, rows, factor_scales

    def _turned_back(self) -> tuple[Array, Array]:
        """A basis for the rows of the data, and their coordinates in it."""
        model = self.model
        scores = self.state.values @ model.vectors
        if not self.turned:
            return model.vectors, scores * model.shrinkage
        lengths = np.linalg.norm(scores, axis=0)
        basis = scores / np.where(lengths > 0, lengths, 1.0)
        return basis, model.vectors * (lengths * model.shrinkage)

    @staticmethod
    def _unknown(prior: Array) -> Unknown:
        n = len(prior)
        # No precision is zero, which a row that shows nothing would divide by.
        precision = np.where(np.isinf(prior), _TINY, 1.0 / np.maximum(prior, _TINY))
        return Unknown(np.arange(n), precision, np.zeros(n), None, 0.0, packed_index(n))

    def _noise(self, units: Array) -> tuple[ColumnNoise, Array, Array]:
        """Of the columns, and what the rows leave in units of it."""
        left = self.model.left(self.tuning.certain)
        squares = self._of_data(
            np.where(self.wrong, 0.0, self.state.residual**2 / left)
        )
        trusted = ~self._of_data(self.wrong)
        counts = trusted.sum(axis=0).astype(np.float64)
        own = squares.sum(axis=0) / np.maximum(counts, 1.0)
        if not self.own_noise:
            own = np.full(len(own), squares.sum() / counts.sum())
        noise = max(self.model.noise, _TINY)
        return (
            ColumnNoise(units**2 * own, counts, not self.own_noise),
            squares.sum(axis=1) / noise,
            trusted.sum(axis=1).astype(np.float64),
        )

    def _evidence(self) -> float:
        """Of the trusted entries, those filled in taken off at their expectation."""
        posterior, n_wrong = self.model.posterior, np.count_nonzero(self.wrong)
        noise = max(self.model.noise, _TINY)
        trusted = self.given.size - n_wrong
        units = np.broadcast_to(self.frame.units, self.given.shape)[~self.wrong]
        logs = float(np.sum(np.log(units))) if trusted else 0.0
        filled = 0.5 * n_wrong * float(np.log(2.0 * np.pi * noise))
        return filled - posterior.free_energy - logs

    def _missed(self) -> float:
        """What one more component than allowed would add to the evidence."""
        n, allowed = self.model.posterior.n_components, self.rank
        s, sides, rounding = self.spectrum
        freedom = sum(sides) - 2 * n - 1
        if n < allowed or n + 1 >= min(sides) or freedom <= 0:
            return 0.0
        more = complete_posterior(
            s, sides, rounding=rounding, max_components=allowed + 1
        )
        gain = self.model.posterior.free_energy - more.free_energy
        return max(0.0, gain / freedom)


_TINY = float(np.finfo(np.float64).tiny) ** 0.5
