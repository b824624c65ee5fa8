"""What PrecGDMatrixSensing finds, or finds in each group of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skprecgd._estimators.groups import joined
from skprecgd._estimators.measured import Measured, MeasuredPart
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.losses import Loss
from skprecgd.objective import Objective
from skprecgd.optim.certificate import Certificate
from skprecgd.optim.path.result import PathResult
from skprecgd.unknown.base import Unknown


@dataclass(frozen=True)
class Recovered:
    """The fit of a list of measurements.

    Attributes
    ----------
    objective : Objective
        That of the fit, or of the largest group.
    result : PathResult
    factors : Factors
        Those that the estimator keeps.
    errors : ndarray of shape (n,) or None
        Errors of the targets that were left out, zero for the others; None if the
        objective leaves nothing out.
    loss : Loss
        The loss that was minimised in the end.
    certificate : Certificate or None, default=None
        None if the user interrupted its computation.
    stopped : bool, default=False
        Whether the user interrupted what followed the search.
    """

    objective: Objective
    result: PathResult
    factors: Factors
    errors: Array | None
    loss: Loss
    certificate: Certificate | None = None
    stopped: bool = False

    @classmethod
    def in_groups(
        cls,
        measured: Measured,
        parts: Sequence[MeasuredPart],
        fits: Sequence[Recovered],
        unknown: Unknown,
    ) -> Recovered:
        """The fit of measurements whose groups were fitted each alone.

        Parameters
        ----------
        measured : Measured
        parts : sequence of MeasuredPart
        fits : sequence of Recovered
            Those of the first parts; the matrix is zero elsewhere.
        unknown : Unknown
            What each fit searched for.
        """
        factors, result, _ = joined(fits, [part.block for part in parts], unknown)
        errors = None
        for part, fit in zip(parts, fits, strict=False):
            if fit.errors is not None:
                errors = np.zeros_like(measured.targets) if errors is None else errors
                errors[part.index] = fit.errors
        bounds = [fit.certificate for fit in fits if fit.certificate is not None]
        bound = Certificate.of_groups(bounds) if len(bounds) == len(fits) else None
        first, stopped = fits[0], any(fit.stopped for fit in fits)
        return cls(first.objective, result, factors, errors, first.loss, bound, stopped)
