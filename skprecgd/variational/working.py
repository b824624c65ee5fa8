"""Other losses than the squared one, as noisy responses near what is predicted.

Near a prediction z a loss is a parabola, that of a Gaussian observation: the *working
response* ``z - slope / curvature`` of precision ``curvature`` (iteratively reweighted
least squares). So what learns the prior of noisy entries learns it for any loss, if the
parabolas are taken afresh at every step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.losses import Loss
from skprecgd.variational.tuning import WORKING, WorkingTuning


class Responses(NamedTuple):
    """What a loss says of each entry, as a Gaussian observation.

    Attributes
    ----------
    values : ndarray of shape (n_entries,)
    precision : ndarray of shape (n_entries,)
    """

    values: Array
    precision: Array


def has_parabolas(loss: Loss) -> bool:
    """Whether a loss says how it is bent, at a prediction or at most."""
    return loss.has_curvature or bool(np.isfinite(loss.curvature_bound))


@dataclass(frozen=True)
class Working:
    """Targets of a loss, and their working responses at any predictions.

    Attributes
    ----------
    loss : Loss
        It has parabolas.
    targets : ndarray of shape (n_entries,)
    tuning : WorkingTuning
    """

    loss: Loss
    targets: Array
    tuning: WorkingTuning = WORKING

    def constant(self, each: Array | None = None) -> float:
        """The best constant prediction, which may be infinite.

        Parameters
        ----------
        each : ndarray of shape (n_entries,), default=None
            Weights of the entries.
        """
        with np.errstate(divide="ignore"):
            return self.loss.constant(self.targets, each)

    def first(self, constant: float = 0.0) -> Array:
        """Predictions to begin with."""
        near = self.loss.near(self.targets)
        return np.full(len(self.targets), constant) if near is None else near

    def at(self, predictions: Array) -> Responses:
        """The responses at some predictions.

        Where a slope is steep and hardly bent, as that of a label which is predicted
        wrong with certainty, the curvature is raised, so that no response is further
        away than a parabola can be believed.
        """
        z, tuning = predictions, self.tuning
        slope, curvature = self._bent(z)
        longest = self._longest(z, slope)
        steep = np.abs(slope) > curvature * longest
        curvature[steep] = np.abs(slope[steep]) / longest[steep]
        flattest = tuning.flattest * float(np.max(curvature, initial=0.0))
        curvature = np.clip(curvature, max(flattest, tuning.least), tuning.most)
        return Responses(z - slope / curvature, curvature)

    def _longest(self, z: Array, slope: Array) -> Array:
        """How far responses may be from predictions.

        Without a link that is as far as the target. A slope of counts may point far
        beyond, and is believed as far as the logarithm of the count.
        """
        loss, tuning = self.loss, self.tuning
        if not loss.generalized:
            return np.abs(z - self.targets)
        near = loss.near(self.targets)
        if near is None:
            return np.full(len(z), tuning.longest)
        ahead = (near - z) * -np.sign(slope)
        return np.where(ahead > 0, np.maximum(ahead, tuning.least_far), tuning.longest)

    def between(self, before: Array, after: Array, each: Array | None) -> Array:
        """Predictions at which to take the next parabolas, `after` as a rule.

        Where the parabolas before have led far astray, as exponentials may, those on
        the way there are better.

        Parameters
        ----------
        before, after : ndarray of shape (n_entries,)
            Predictions at the last parabolas, and those that they have led to.
        each : ndarray of shape (n_entries,) or None
            Weights of the entries.
        """
        loss, y = self.loss, self.targets
        if np.isfinite(loss.curvature_bound):
            return after
        with np.errstate(over="ignore", invalid="ignore"):
            most = loss.total(before, y, each) + 0.5 * len(y)
            for _ in range(self.tuning.halvings):
                if loss.total(after, y, each) <= most:
                    break
                after = 0.5 * (before + after)
        return after

    def _bent(self, z: Array) -> tuple[Array, Array]:
        """Slopes and curvatures, whose exponentials may be beyond all numbers.

        A loss that states a bound of its curvature alone has that of the parabola which
        touches it and is lowest at the target, as robust losses state it themselves.
        """
        loss, most = self.loss, self.tuning.most
        with np.errstate(over="ignore"):
            slope = np.clip(loss.gradient(z, self.targets), -most, most)
            if loss.has_curvature:
                curvature = loss.curvature(z, self.targets).astype(np.float64)
                return slope, np.minimum(curvature, most)
        curvature = np.full(len(z), float(loss.curvature_bound))
        if not loss.generalized:
            residual = np.abs(z - self.targets)
            bent = np.abs(slope) < curvature * residual
            curvature[bent] = np.abs(slope[bent]) / residual[bent]
        return slope, curvature
