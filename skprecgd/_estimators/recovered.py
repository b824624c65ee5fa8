"""What PrecGDMatrixSensing finds, or finds in each group of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skprecgd._estimators.centre import Offsets, joined_offsets
from skprecgd._estimators.groups import joined
from skprecgd._estimators.learned import NoiseFound
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
    unknown : Unknown
        What was searched for.
    result : PathResult
    factors : Factors
        Those that the estimator keeps.
    offsets : Offsets
        The offsets that were found.
    errors : ndarray of shape (n,) or None
        Errors of the targets that were left out, zero for the others; None if the
        objective leaves nothing out.
    loss : Loss
        The loss that was minimised in the end.
    certificate : Certificate or None, default=None
        None if the user interrupted its computation.
    noise : NoiseFound or None, default=None
        None where the loss does not know noise.
    stopped : bool, default=False
        Whether the user interrupted what followed the search.
    """

    objective: Objective
    unknown: Unknown
    result: PathResult
    factors: Factors
    offsets: Offsets
    errors: Array | None
    loss: Loss
    certificate: Certificate | None = None
    noise: NoiseFound | None = None
    stopped: bool = False

    @classmethod
    def in_groups(
        cls,
        measured: Measured,
        parts: Sequence[MeasuredPart],
        fits: Sequence[Recovered],
        elsewhere: Offsets,
    ) -> Recovered:
        """The fit of measurements whose groups were fitted each alone.

        Parameters
        ----------
        measured : Measured
        parts : sequence of MeasuredPart
        fits : sequence of Recovered
            Those of the first parts; elsewhere the matrix is zero, or the centre.
        elsewhere : Offsets
            Of the whole, for rows and columns of none of them.
        """
        blocks = [part.block for part in parts[: len(fits)]]
        factors, result, _ = joined(fits, blocks)
        offsets = joined_offsets(elsewhere, blocks, [fit.offsets for fit in fits])
        errors = None
        for part, fit in zip(parts, fits, strict=False):
            if fit.errors is not None:
                errors = np.zeros_like(measured.targets) if errors is None else errors
                errors[part.index] = fit.errors
        bounds = [fit.certificate for fit in fits if fit.certificate is not None]
        bound = Certificate.of_groups(bounds) if len(bounds) == len(fits) else None
        first, stopped = fits[0], any(fit.stopped for fit in fits)
        return cls(
            first.objective,
            first.unknown,
            result,
            factors,
            offsets,
            errors,
            first.loss,
            bound,
            NoiseFound.of_groups(
                [fit.noise for fit in fits],
                blocks,
                [fit.objective.n_measurements for fit in fits],
                offsets.columns,
            ),
            stopped,
        )
