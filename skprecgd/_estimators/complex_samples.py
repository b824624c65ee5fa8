"""Samples of complex numbers for cross-validation: both parts are held out together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skprecgd._estimators.complex_measured import both_parts, in_real_numbers
from skprecgd._estimators.cross_validation import Samples
from skprecgd._estimators.measured import Measured
from skprecgd._runtime.typing import Array
from skprecgd.losses import Loss
from skprecgd.measurements.real_numbers import RealParts


@dataclass(frozen=True)
class ComplexSamples(Samples):
    """Real numbers of complex measurements, each of which is held out as a whole.

    Attributes
    ----------
    given : Samples
        The complex measurements and their targets.
    """

    given: Samples | None = None

    def splits(self, cv: Any, random_state: Any) -> list[tuple[Array, Array]]:
        assert self.given is not None
        splits = self.given.splits(cv, random_state)
        if not isinstance(self.measurements, RealParts):
            return splits
        return [(both_parts(train), both_parts(test)) for train, test in splits]


def in_real_samples(samples: Samples, loss: Loss, *, hermitian: bool) -> Samples:
    """Samples as the paths of the folds see them; real ones are what they are.

    Parameters
    ----------
    samples : Samples
    loss : Loss
    hermitian : bool
        Whether the matrix is.
    """
    if not samples.measurements.of_complex:
        return samples
    measured = Measured(samples.measurements, samples.targets, samples.weights)
    numbers = in_real_numbers(measured, loss, hermitian=hermitian)
    return ComplexSamples(
        numbers.measurements,
        numbers.targets,
        weights=numbers.weights,
        may_be_noisy=samples.may_be_noisy,
        given=samples,
    )
