"""Noise and prior of noisy measurements that are no single entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from skprecgd._linalg.numerics import slabs, square
from skprecgd._runtime.typing import Array
from skprecgd.measurements import Measurements
from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.bilinear import FactorModel, PairModel, SquareModel
from skprecgd.variational.gauge import without_turns
from skprecgd.variational.iterative import Products
from skprecgd.variational.measured import (
    JointSpread,
    NoisyMeasurements,
    Normal,
    Observed,
)
from skprecgd.variational.tuning import SENSING, SensingTuning


class KnownMeasurements(Protocol):
    """What is known of measurements of the matrix, old ones or new."""

    def std(self, measurements: Measurements) -> Array:
        """Standard deviations of new measurements, noise included.

        Parameters
        ----------
        measurements : Measurements
        """

    def draws(self, count: int, rng: np.random.RandomState) -> tuple[Array, Array]:
        """Draws of both factors; the same array twice if they are one.

        Parameters
        ----------
        count : int
        rng : RandomState

        Returns
        -------
        left, right : ndarray of shape (count, n_rows, r), (count, n_columns, r)
        """


@dataclass(frozen=True)
class MeasuredDistribution:
    """What is known of measurements of the matrix, old ones or new.

    Attributes
    ----------
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
        Posterior means of the factors; one array if they are one.
    joint : JointSpread
    both : float
        Variance that both factors together add to an entry of the matrix.
    noise_variance : float
    """

    left: Array
    right: Array
    joint: JointSpread
    both: float
    noise_variance: float

    def std(self, measurements: Measurements) -> Array:
        """Standard deviations of new measurements, noise included.

        Parameters
        ----------
        measurements : Measurements

        Returns
        -------
        ndarray of shape (n_measurements,)
        """
        variance = np.empty(measurements.n_measurements)
        width = self.left.size + self.right.size
        for part in slabs((len(variance), width)):
            some = measurements.rows(np.arange(len(variance))[part])
            variance[part] = self.joint.variances(self._design(some))
            variance[part] += self.both * some.sizes().astype(np.float64) ** 2
        return np.sqrt(np.maximum(variance, 0.0) + self.noise_variance)

    def draws(self, count: int, rng: np.random.RandomState) -> tuple[Array, Array]:
        """Draws of both factors; the same array twice if they are one."""
        return around(self.left, self.right, *self.moves(count, rng))

    def moves(self, count: int, rng: np.random.RandomState) -> tuple[Array, Array]:
        """What draws add to the means of both factors."""
        flat = self.joint.draws(count, rng)
        left = flat[:, : self.left.size].reshape(count, *self.left.shape)
        if self.left is self.right:
            return left, left
        return left, flat[:, self.left.size :].reshape(count, *self.right.shape)

    def _design(self, measurements: Measurements) -> Array:
        """What each entry of the factors adds to the measurements."""
        sides = ((self.right, 0), (self.left, 1))
        of_left, of_right = (
            measurements.design(other, block).astype(np.float64)
            for other, block in sides
        )
        n = len(of_left)
        if self.left is self.right:
            return (of_left + of_right).reshape(n, -1)
        return np.hstack([of_left.reshape(n, -1), of_right.reshape(n, -1)])


def around(
    left: Array, right: Array, d_left: Array, d_right: Array
) -> tuple[Array, Array]:
    """Draws of factors, given their means and what draws add; see `without_turns`."""
    d_left, d_right = without_turns(left, right, d_left, d_right)
    first = left + d_left
    return first, first if right is left else right + d_right


@dataclass(frozen=True)
class SensingPosterior:
    """What was learned of measurements, in the units of the data.

    Attributes
    ----------
    left, right : ndarray of shape (n_rows, n_factors), (n_columns, n_factors)
        The posterior mean of the matrix, by its factors; one array if it is symmetric.
    noise_variance : float
    factor_scales : ndarray of shape (n_factors,)
        Prior standard deviation of what each factor adds to an entry, descending.
    evidence : float
        A lower bound of the log density of the targets.
    n_signal : int
        How many factors carry signal.
    exact : bool
        Whether there is no noise.
    share_left : float
        The noise variance, as a share of the mean squared target.
    measured : MeasuredDistribution
    """

    left: Array
    right: Array
    noise_variance: float
    factor_scales: Array
    evidence: float
    n_signal: int
    exact: bool
    share_left: float
    measured: MeasuredDistribution


def learn_sensing(
    measurements: Measurements,
    targets: Array,
    rank: int,
    *,
    symmetric: bool = False,
    noise_variance: float | None = None,
    weights: Weights = ONCE,
    tuning: SensingTuning = SENSING,
) -> SensingPosterior:
    """Learn factors, noise and prior variances.

    Parameters
    ----------
    measurements : Measurements
    targets : ndarray of shape (n_measurements,)
    rank : int
        Columns at most.
    symmetric : bool, default=False
        Whether the matrix is ``X X^T``.
    noise_variance : float, default=None
        That of a measurement of precision one, if it is known.
    weights : Weights
    tuning : SensingTuning
    """
    data = NoisyMeasurements.of(measurements, targets, weights, symmetric=symmetric)
    known = None if noise_variance is None else noise_variance / data.size / data.size
    kind = SquareModel if symmetric else PairModel
    model = _best(kind(_observed(data, tuning), known, tuning), rank, tuning)
    found = model.evidence(), int(np.sum(model.shares_known() > tuning.known))
    if not model.exact:
        noise = model.noise
        model = _with_less_noise(model, tuning)
        model = _with_weak_column(model, rank, tuning)
        # What the factors take of the noise by chance is noise all the same.
        model.noise = max(noise, model.noise)
    return _in_units(model, data, *found)


def _observed(data: NoisyMeasurements, tuning: SensingTuning) -> Observed:
    """The form of the data in which systems are solved."""
    few = data.shape[0] * data.shape[1] <= tuning.most_cells
    quick = data.measurements.has_design or len(data.targets) <= tuning.most_alone
    return Normal(data) if few and quick else Products(data)


def _best(nothing: FactorModel, rank: int, tuning: SensingTuning) -> FactorModel:
    """The model of the highest score, that without columns being one of them.

    Columns are added one at a time, and each number of them is a start of its own.
    """
    best, points, in_vain = nothing, nothing.copied(), 0
    while points.rank < rank and in_vain < tuning.in_vain:
        points.grow(1)
        for _ in range(tuning.point_steps):
            points.point_step(tuning.point_noise)
        model = _settled(points.copied(), tuning)
        if model.exact:
            return model
        gain = _score(model, tuning) - _score(best, tuning)
        better = gain > (0.0 if model.rank > best.rank else tuning.alike)
        best, in_vain = (model, 0) if better else (best, in_vain + 1)
    return best


def _with_less_noise(model: FactorModel, tuning: SensingTuning) -> FactorModel:
    """The model with the factors of less noise, if their score is higher.

    The bound of the evidence is loose where measurements are scarce, and then is
    highest at too much noise: factors depend on one another the more the less there is.
    """
    if model.known or not model.rank:
        return model
    best, score = model, _score(model, tuning)
    for _ in range(tuning.noises):
        other = best.copied()
        other.known, other.noise = True, best.noise * tuning.less_noise
        other = _settled(other, tuning)
        higher = _score(other, tuning)
        if higher <= score:
            break
        best, score = other, higher
    return best


def _score(model: FactorModel, tuning: SensingTuning) -> float:
    """The evidence, and what it misses."""
    if model.rank == 0:
        return model.evidence()
    known = float(np.sum(model.shares_known() ** 2))
    return model.evidence() + model.dependence() + tuning.column * known


def _settled(model: FactorModel, tuning: SensingTuning) -> FactorModel:
    """The model after steps until they change little.

    A column that has vanished is left out: its prior variance would go on to fall,
    slowly, to where the evidence is that without it.
    """
    last, enough = -np.inf, tuning.settled * model.data.count
    for step in range(tuning.most_steps):
        model.step()
        evidence = model.evidence()
        if model.exact or abs(evidence - last) < enough:
            break
        last = evidence
        there = np.flatnonzero(model.shares_known() > tuning.vanished)
        # A step has to follow: the evidence is that of columns that were together.
        may_leave = tuning.first_steps <= step < tuning.most_steps - 1
        if may_leave and 0 < len(there) < model.rank:
            model.keep(there)
    return model


def _with_weak_column(
    model: FactorModel, rank: int, tuning: SensingTuning
) -> FactorModel:
    """The model with a column that is too weak to be found, where signal is weak.

    Its prior variance vanishes within many steps, but not within few, and few do not
    follow chance.
    """
    model = model.copied()
    kept = np.flatnonzero(model.shares_known() > tuning.vanished)
    if model.rank > len(kept):
        model.keep(kept)
        if len(kept):
            model.step()
    if model.rank >= rank or model.share_left < tuning.mostly_noise:
        return model
    model.grow(1)
    for _ in range(tuning.weak_point_steps):
        model.point_step(model.share_left)
    for _ in range(tuning.weak_steps):
        model.step()
    return model


def _in_units(
    model: FactorModel, data: NoisyMeasurements, evidence: float, n_signal: int
) -> SensingPosterior:
    """The outcome in the units of the data."""
    unit = data.size / data.measurements.size
    sides = model.sides
    order = np.argsort(-sides[0].prior * sides[-1].prior)
    model.keep(order)
    blocks = [np.sqrt(unit) * side.mean for side in model.sides]
    totals = [side.spread.total() / side.n for side in model.sides]
    noise = model.noise * square(data.size)
    measured = MeasuredDistribution(
        blocks[0],
        blocks[-1],
        model.joint().in_units(unit),
        unit**2 * float(np.sum(totals[0] * totals[-1])),
        noise,
    )
    priors = [side.prior for side in model.sides]
    return SensingPosterior(
        blocks[0],
        blocks[-1],
        noise,
        unit * np.sqrt(priors[0] * priors[-1]),
        evidence - model.data.count * float(np.log(data.size)),
        n_signal,
        model.exact,
        model.share_left,
        measured,
    )
