"""What a path in rank returns: a result with its stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.losses import Loss
from skprecgd.optim.path.settings import Solved
from skprecgd.optim.result import Result


@dataclass(frozen=True)
class Stage:
    """One rank of the path.

    Attributes
    ----------
    rank : int
    loss, relative_residual : float
        At the end of the stage.
    validation_loss : float
        On held-out measurements; nan where none were held out.
    singular_values : ndarray of shape (rank,)
    n_iter : int
        Iterations spent at this rank.
    seconds : float
        From the start of the path to the end of the stage.
    factors : Factors or None
        Only with ``keep_factors=True``.
    """

    rank: int
    loss: float
    relative_residual: float
    validation_loss: float
    singular_values: Array
    n_iter: int
    seconds: float = np.nan
    factors: Factors | None = field(default=None, repr=False)

    def scaled(self, unit: float) -> Stage:
        """The same stage in the data's units (loss times unit squared)."""
        return replace(
            self,
            loss=self.loss * unit**2,
            validation_loss=self.validation_loss * unit**2,
            singular_values=self.singular_values * unit,
            factors=None if self.factors is None else self.factors.scaled(unit),
        )


@dataclass(frozen=True, repr=False)
class PathResult(Result):
    """A `Result` with the stages of the path, in the order they were visited.

    Attributes
    ----------
    stages : tuple of Stage
    noise_variance : float or None
        The given or, with ``noise_variance="auto"``, the estimated variance.
    sharpened : Loss or None
        The loss with less smoothing, if the smoothing became less on the way
        (continuation).
    largest_multiple : float or None
        The multiple of the penalty from which on nothing is left of the matrix; None
        without a penalty.
    solved : Solved or None
        What a search of the same kind needs to know, if it starts here.
    worse_than_none : bool
        Whether held-out measurements have shown that without any component, by offsets
        alone, they are predicted better.
    """

    stages: tuple[Stage, ...] = ()
    noise_variance: float | None = None
    sharpened: Loss | None = None
    largest_multiple: float | None = None
    solved: Solved | None = field(default=None, repr=False)
    worse_than_none: bool = False

    def stage(self, rank: int) -> Stage:
        """Where a search of at most that rank ends: the last stage within it.

        Parameters
        ----------
        rank : int

        Returns
        -------
        Stage
            The first one where the path began above `rank`.
        """
        within = [stage for stage in self.stages if stage.rank <= rank]
        return within[-1] if within else self.stages[0]
