"""Noisy measurements that are no single entries: what is fitted where noise is left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skprecgd._estimators.centre import Offsets
from skprecgd._estimators.learned import (
    NO_ENTRIES,
    NO_TAIL,
    NoiseFound,
    PriorLearner,
    may_learn,
)
from skprecgd._estimators.measured import Measured
from skprecgd._estimators.parameters import (
    draws_posterior,
    looks_for_outliers,
    tolerance_of,
)
from skprecgd._estimators.reports import report_of
from skprecgd._estimators.weighting import is_number
from skprecgd._runtime.threads import running_fit
from skprecgd._runtime.typing import Array
from skprecgd.distributed.measurements import ChunkedMeasurements
from skprecgd.factors import FactorPair, Factors, SymmetricFactor
from skprecgd.measurements import Measurements
from skprecgd.measurements.real_numbers import RealNumbers, RealParts, RealValues
from skprecgd.measurements.tall import TallMeasurements, as_complex
from skprecgd.unknown.base import Unknown, unknown_of
from skprecgd.variational.sensing import (
    KnownMeasurements,
    MeasuredDistribution,
    SensingPosterior,
    around,
    learn_sensing,
)
from skprecgd.variational.tuning import SENSING


class SensingLearner(PriorLearner):
    """The posterior of noisy measurements, which is learned when first asked for.

    Parameters
    ----------
    measured : Measured
    rank : int
        Columns of the factors at most.
    estimator : PrecGDMatrixSensing
        Its `noise_variance` is read.
    """

    def __init__(self, measured: Measured, rank: int, estimator: Any) -> None:
        self.measured, self.rank = measured, rank
        self.report = report_of(estimator)
        self._keeps_pattern = estimator.store_pattern
        self.unknown: Unknown = self._unknown_of(estimator.symmetric)
        given = estimator.noise_variance
        known = measured.weights.unit_variance
        self.variance = given if is_number(given) else known

    def _unknown_of(self, symmetric: bool) -> Unknown:
        return unknown_of(symmetric)

    def _measurements(self) -> Measurements:
        """What the posterior is learned of."""
        return self.measured.measurements

    def _block(self, mean: Array) -> Array:
        """A block of the factors, given its posterior mean."""
        return mean

    @property
    def n_iter(self) -> float:
        # The posterior is dear, and asked for only where a path has ended.
        return np.inf

    def signal(self) -> int | None:
        return None if self.posterior.exact else self.posterior.n_signal

    @property
    def share_left(self) -> float:
        return self.posterior.share_left

    @property
    def answers_at_once(self) -> bool:
        # Where there is noise for certain, a path would only be thrown away.
        return self._is_known

    @property
    def _is_known(self) -> bool:
        """Whether the variance of the noise was given."""
        return bool(self.variance)

    def in_doubt(self) -> bool:
        return not self._is_known and self.share_left < SENSING.little

    def doubts(self, factors: Factors, offsets: Offsets) -> bool:
        shape, n = factors.matrix_shape, len(self.measured.measurements)
        if n < sum(shape):
            # So few measurements say nothing of noise.
            return False
        freedom = self.unknown.degrees_of_freedom(shape, factors.rank)
        # As many unknowns as measurements explain anything, at a rank below the full.
        rank_deficient = factors.rank < min(shape)
        few = n <= freedom if rank_deficient else n < freedom
        return few and self.signal() is not None

    @cached_property
    def posterior(self) -> SensingPosterior:
        measured = self.measured
        learning = self.report.during("learning noise and prior")
        with learning, running_fit(one_blas_thread=True):
            return learn_sensing(
                self._measurements(),
                measured.targets,
                self.rank,
                symmetric=not self.unknown.has_two_factors,
                noise_variance=self.variance,
                weights=measured.weights,
            )

    @cached_property
    def factors(self) -> Factors:
        posterior, dtype = self.posterior, self.measured.targets.dtype
        left, right = posterior.left.astype(dtype), posterior.right.astype(dtype)
        if left.shape[1] == 0:
            left, right = (np.zeros((len(each), 1), dtype) for each in (left, right))
        if not self.unknown.has_two_factors:
            return SymmetricFactor(self._block(left))
        return FactorPair(self._block(left), self._block(right))

    @property
    def offsets(self) -> Offsets:
        return Offsets.none(self.factors.matrix_shape)

    def found(self) -> NoiseFound:
        posterior = self.posterior
        return NoiseFound(
            posterior.noise_variance,
            posterior.factor_scales,
            posterior.evidence,
            measured=self._distribution() if self._keeps_pattern else None,
            n_signal=posterior.n_signal,
        )

    def _distribution(self) -> KnownMeasurements:
        """What is known of measurements, old ones or new."""
        return self.posterior.measured

    def in_words(self) -> str:
        posterior = self.posterior
        size = f"{np.sqrt(posterior.noise_variance):.2g}"
        if posterior.n_signal == 0:
            return f"Noise of about {size} was left; no column carries signal."
        return (
            f"Noise of about {size} was left; {posterior.n_signal} of {self.rank} "
            "columns carry signal."
        )


class ComplexSensingLearner(SensingLearner):
    """The same of complex matrices, whose factors are real ones twice as tall."""

    def _unknown_of(self, symmetric: bool) -> Unknown:
        return unknown_of(symmetric, of_complex=True)

    def _measurements(self) -> Measurements:
        numbers = self.measured.measurements
        assert isinstance(numbers, RealNumbers)
        return TallMeasurements(numbers)

    def _block(self, mean: Array) -> Array:
        return as_complex(mean)

    def _distribution(self) -> KnownMeasurements:
        hermitian = not self.unknown.has_two_factors
        return ComplexDistribution(self.posterior.measured, hermitian)


@dataclass(frozen=True)
class ComplexDistribution:
    """What is known of complex measurements of a matrix.

    Attributes
    ----------
    measured : MeasuredDistribution
        Of the real matrix that is twice as tall.
    hermitian : bool
        Whether the complex one is.
    """

    measured: MeasuredDistribution
    hermitian: bool

    def std(self, measurements: Measurements) -> Array:
        """Standard deviations, of a complex number the root of both variances.

        Parameters
        ----------
        measurements : Measurements
            Of complex numbers.

        Returns
        -------
        ndarray of shape (n_measurements,)
        """
        if self.hermitian and measurements.hermitian:
            return self.measured.std(TallMeasurements(RealValues(measurements)))
        parts = self.measured.std(TallMeasurements(RealParts(measurements)))
        return np.hypot(parts[::2], parts[1::2])

    def draws(self, count: int, rng: np.random.RandomState) -> tuple[Array, Array]:
        """Draws of both factors; the same array twice if they are one."""
        moves = self.measured.moves(count, rng)
        left, d_left = as_complex(self.measured.left), as_complex(moves[0])
        if self.hermitian:
            return around(left, left, d_left, d_left)
        right, d_right = as_complex(self.measured.right), as_complex(moves[1])
        return around(left, right, d_left, d_right)


def sensing_learner_of(
    estimator: Any, measured: Measured, rank: int
) -> SensingLearner | None:
    """What learns the prior of noisy measurements, or None where nothing is learned.

    Parameters
    ----------
    estimator : PrecGDMatrixSensing
    measured : Measured
        No entries of a matrix that is not symmetric.
    rank : int
        Columns of the factors at most.

    Raises
    ------
    ValueError
        If what can be learned of single entries alone is asked for.
    """
    if draws_posterior(estimator):
        raise ValueError(NO_ENTRIES)
    if estimator.noise_tail == "t":
        raise ValueError(NO_TAIL)
    chunked = isinstance(measured.measurements, ChunkedMeasurements)
    held_out = estimator.early_stopping is True
    # Without a tolerance it is not known whether a path would have explained the data.
    endless = tolerance_of(estimator) == 0
    nothing = not may_learn(estimator) or looks_for_outliers(estimator)
    of_complex = measured.measurements.of_complex
    many_rows = measured.measurements.matrix_shape[0] > SENSING.most_hermitian
    too_large = of_complex and estimator.symmetric and many_rows
    if chunked or held_out or endless or nothing or too_large:
        return None
    kind = ComplexSensingLearner if of_complex else SensingLearner
    return kind(measured, rank, estimator)


def no_std(estimator: Any, asked: str = "return_std=True") -> str:
    """Why a fit knows no standard deviations of measurements, in one sentence.

    Parameters
    ----------
    estimator : PrecGDMatrixSensing
    asked : str, default="return_std=True"
        What needs them.
    """
    noise = estimator._noise
    if noise is None or noise.lower_bound is None:
        return (
            f"{asked} needs a fit that has learned the noise of its "
            "measurements, with alpha='auto' (stop_reason_: "
            f"{estimator.stop_reason_!r})."
        )
    if noise.entries is not None:
        return (
            f"{asked} needs single entries (observed_entries), to which the "
            "matrix was fitted; got measurements of another kind."
        )
    return (
        f"{asked} needs what the fit knows of its factors, which "
        "store_pattern=False does not keep; fit with store_pattern=True."
    )
