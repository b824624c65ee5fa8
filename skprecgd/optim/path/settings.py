"""Everything that says how to search for a rank, in one object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from skprecgd._linalg.numerics import in_precision
from skprecgd.factors import Factors
from skprecgd.losses import Loss
from skprecgd.objective import Objective
from skprecgd.objective.penalty import Penalty
from skprecgd.optim.metric import Damping
from skprecgd.optim.path.tuning import PathTuning
from skprecgd.optim.solvers import Method, Solver, make_method
from skprecgd.optim.steps import StepRule
from skprecgd.unknown.base import GENERAL, Unknown

RANK_SEARCHES = ("path", "fixed")
"""The values of the `rank_search` parameter."""


@dataclass(frozen=True)
class Solved:
    """Where a search has ended, so that the same search of the same data ends at once.

    Fitted estimators keep it, so it is made of what any kind of storage can hold.

    Attributes
    ----------
    search : dict
        What the search was asked for, but for its start; see `PathSettings.asked`.
    max_rank : int
    penalty : Penalty
    loss : Loss
    unit : float
        Norm of the data.
    status : str
        The name of a `Status`.
    relative_residual : float
    sharpened : Loss or None
        The loss with less smoothing that was minimised in the end, if there is one.
    """

    search: dict[str, Any]
    max_rank: int
    penalty: Penalty
    loss: Loss
    unit: float
    status: str
    relative_residual: float
    sharpened: Loss | None

    def is_of(
        self, objective: Objective, max_rank: int, settings: PathSettings
    ) -> bool:
        """Whether another search, perhaps of other data, is asked for the same."""
        return (
            (self.max_rank, self.penalty) == (max_rank, objective.penalty_of_sum)
            and self.loss == objective.loss
            and self.search == settings.asked()
        )


class NoiseJudge(ABC):
    """Says whether what no rank explains is noise."""

    @property
    def answers_at_once(self) -> bool:
        """Whether it is asked before there is a path."""
        return False

    @property
    def n_iter(self) -> float:
        """How many iterations of a path an answer costs: it is not asked before these.

        The end of a path does not wait for them; if they are infinite, it is asked
        there alone.
        """
        return 0.0

    @property
    def share_left(self) -> float:
        """Share of the squared data that is noise to it; zero if it does not say."""
        return 0.0

    def in_doubt(self) -> bool:
        """Whether what looks like noise may be none.

        Where so few measurements determine a rank that a matrix which explains them may
        have been missed, it is looked for then.
        """
        return True

    @abstractmethod
    def signal(self) -> int | None:
        """How many columns stand out of the noise; None if there is no noise."""


@dataclass(frozen=True)
class PathSettings:
    """Settings of a rank search; the defaults are those of `rank_path`.

    Attributes
    ----------
    unknown : Unknown
        The kind of matrix that is searched for.
    solver, rank_search, damping, step_size, noise_variance, init, \
    early_stopping, validation_fraction, n_iter_no_change, max_iter, tol, keep_factors
        See `rank_path`.
    ranks_to_visit : tuple of int, default=()
        Ascending ranks that the path must not skip: a block of new columns ends at the
        next of them.
    finish_stages : bool, default=False
        Whether every stage is solved so far that little is left to gain at its rank,
        because others judge the stages.
    by_energy : bool, default=False
        Whether complete data are decomposed to the accuracy that the captured energy
        asks for, in place of `tol`.
    solved : Solved or None, default=None
        The search that has found `init`, if one has.
    judge : NoiseJudge or None, default=None
        Is asked where no rank explains the data; the search ends if noise is left.
    tuning : PathTuning
        The constants of the search.
    """

    unknown: Unknown = GENERAL
    solver: str | Solver = "auto"
    rank_search: str = "path"
    damping: str | float | Damping = "auto"
    step_size: str | float | StepRule = "auto"
    noise_variance: float | str | None = None
    init: Any = "spectral"
    early_stopping: str | bool = "auto"
    validation_fraction: float = 0.1
    n_iter_no_change: int = 2
    max_iter: int = 1000
    tol: float = 1e-9
    keep_factors: bool = False
    ranks_to_visit: tuple[int, ...] = ()
    finish_stages: bool = False
    by_energy: bool = False
    solved: Solved | None = None
    judge: NoiseJudge | None = field(default=None, repr=False)
    tuning: PathTuning = field(default=PathTuning(), repr=False)

    @property
    def estimates_noise(self) -> bool:
        """Whether the variance of the noise is to be estimated."""
        return isinstance(self.noise_variance, str)

    def start_rank(self, most: int) -> int:
        """The rank of the factors that are given as a start, and `most` at most."""
        init = self.init
        given = init.rank if isinstance(init, Factors) else np.shape(init[0])[-1]
        return min(most, given)

    def without_start(self) -> PathSettings:
        """The settings with the usual start."""
        return replace(self, init="spectral", solved=None)

    def asked(self) -> dict[str, Any]:
        """What the user asked for, but for the start, by name."""
        others = "init", "solved", "judge", "tuning", "unknown"
        asked = {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.name not in others
        }
        return {"unknown": self.unknown.name, **asked}

    def in_units(self, unit: float, target_unit: float) -> PathSettings:
        """The settings for the matrix and the targets, each divided by its unit."""
        init, variance = self.init, self.noise_variance
        root = np.sqrt(unit)
        if isinstance(init, Factors):
            precise = init.in_precision(np.dtype(np.float64))
            init = precise.divided([root] * len(init.blocks))
        elif not isinstance(init, str):
            init = tuple(
                in_precision(np.asarray(block), np.float64) / root for block in init
            )
        if variance is not None and not isinstance(variance, str):
            variance = variance / target_unit / target_unit
        return replace(self, init=init, noise_variance=variance)

    def to_visit(self, ranks: tuple[int, ...]) -> PathSettings:
        """The settings of a path whose stages at these ranks others will judge.

        It chooses no rank itself. Only labels and counts are held out, to end stages.
        """
        return replace(
            self,
            early_stopping="auto",
            keep_factors=True,
            finish_stages=True,
            ranks_to_visit=ranks,
        )

    def method(
        self, solver: Solver, objective: Objective, rng: np.random.RandomState
    ) -> Method:
        """A solver ready to run on an objective of unit scale.

        It has rules of its own: what a rule remembers of this run belongs neither to
        the other solvers of a stage nor to the next fit of an estimator.
        """
        damping, noise_variance = deepcopy(self.damping), self.noise_variance
        if isinstance(noise_variance, str):
            # It is not estimated yet. The gradient's norm does not see the noise.
            noise_variance = None
            if damping in ("auto", "variance_proxy"):
                damping = "dual_norm"
        return make_method(
            solver,
            objective,
            damping=damping,
            step_size=deepcopy(self.step_size),
            noise_variance=noise_variance,
            has_two_factors=self.unknown.has_two_factors,
            random_state=rng,
        )
