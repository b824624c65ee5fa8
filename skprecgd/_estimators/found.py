"""What PrecGDFactorization finds in a data matrix, or in each group of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from skprecgd._estimators.centre import Offsets, joined_offsets
from skprecgd._estimators.data import Data, EntryData, GroupData
from skprecgd._estimators.grouped_rows import GroupedRows
from skprecgd._estimators.groups import joined
from skprecgd._estimators.learned import NoiseFound
from skprecgd._estimators.rows import RowSolver
from skprecgd.factors import Factors
from skprecgd.objective import GrossErrors, Objective
from skprecgd.optim.path.result import PathResult
from skprecgd.unknown.base import Unknown


@dataclass(frozen=True)
class Found:
    """The fit of a data matrix.

    Attributes
    ----------
    objective : Objective
        That of the fit, or of the largest group.
    unknown : Unknown
        What was searched for.
    offsets : Offsets
        The offsets that were found.
    result : PathResult
    factors : Factors
        Those that the estimator keeps.
    gross : GrossErrors or None
    row_solver : RowSolver
    numerical_rank : int
        The leading factors that stand for more than rounding.
    mean_square_left : callable
        Unit -> mean squared residual of the entries, in units of its square; a pass
        over them for some losses.
    noise : NoiseFound or None, default=None
        None where the loss does not know noise.
    stopped : bool, default=False
        Whether the user interrupted what followed the search.
    """

    objective: Objective
    unknown: Unknown
    offsets: Offsets
    result: PathResult
    factors: Factors
    gross: GrossErrors | None
    row_solver: RowSolver
    numerical_rank: int
    mean_square_left: Callable[[float], float]
    noise: NoiseFound | None = None
    stopped: bool = False

    @classmethod
    def in_groups(
        cls,
        data: Data,
        parts: Sequence[GroupData],
        fits: Sequence[Found],
        elsewhere: Offsets,
    ) -> Found:
        """The fit of a matrix whose groups were fitted each alone.

        Parameters
        ----------
        data : Data
        parts : sequence of GroupData
        fits : sequence of Found
            Those of the first parts; the others are predicted by the centre.
        elsewhere : Offsets
            Of the whole, for rows and columns of none of them.
        """
        parts = parts[: len(fits)]
        blocks = [part.block for part in parts]
        factors, result, components = joined(fits, blocks)
        offsets = joined_offsets(elsewhere, blocks, [fit.offsets for fit in fits])
        solver = GroupedRows(
            [fit.row_solver for fit in fits],
            [fit.numerical_rank for fit in fits],
            [block.columns for block in blocks],
            components,
        )
        gross = _joined_errors(data, parts, fits)
        left = partial(_pooled, fits)
        first, unknown = fits[0].objective, fits[0].unknown
        # Which components are rounding is asked within each group.
        rank = factors.rank
        stopped = any(fit.stopped for fit in fits)
        noise = NoiseFound.of_groups(
            [fit.noise for fit in fits],
            blocks,
            [fit.objective.n_measurements for fit in fits],
            offsets.columns,
        )
        return cls(
            *(first, unknown, offsets, result, factors, gross, solver, rank, left),
            noise=noise,
            stopped=stopped,
        )


def _pooled(fits: Sequence[Found], unit: float) -> float:
    counts = [fit.objective.n_measurements for fit in fits]
    squares = [fit.mean_square_left(unit) for fit in fits]
    return float(np.average(squares, weights=counts))


def _joined_errors(
    data: Data, parts: Sequence[GroupData], fits: Sequence[Found]
) -> GrossErrors | None:
    gross = [fit.gross for fit in fits if fit.gross is not None]
    if not gross:
        return None
    # Gross errors are looked for in memory only.
    assert isinstance(data, EntryData)
    values = np.zeros(len(data.values), gross[0].values.dtype)
    for part, errors in zip(parts, gross, strict=True):
        values[part.index] = errors.values[part.order]
    level = max(errors.level for errors in gross)
    whole = data.measurements()
    return replace(gross[0], values=values, level=level, measurements=whole)
