"""The parameter `early_stopping`: when measurements are held out, and when a path ends.

True
    Measurements are held out at once, and choose the rank.
"auto"
    They are held out only if no rank explains the data to `tol`, and not with a ridge,
    which keeps the residual up by itself. The targets of labels and counts are drawn,
    so chance alone keeps the residual up: there they are held out at once.
False
    Nothing is held out, and the last rank is kept.

Where nothing can be held out, "auto" and True are the same as False. `held_out.py`
chooses the rank by the measurements held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.optim.path.settings import PathSettings


class HoldOut(Enum):
    """When measurements are held out to choose the rank."""

    NEVER = "never"
    AT_ONCE = "at once"
    IF_UNEXPLAINED = "if no rank explains the data"


def when_to_hold_out(
    objective: Objective, settings: PathSettings, max_rank: int
) -> HoldOut:
    """What the parameter `early_stopping` means for a problem."""
    asked, least = settings.early_stopping, settings.tuning.hold_out.least
    if not asked or not can_hold_out(objective, max_rank, least):
        return HoldOut.NEVER
    if not isinstance(asked, str):
        return HoldOut.AT_ONCE
    if objective.penalty.shrinks:
        return HoldOut.NEVER
    return HoldOut.AT_ONCE if objective.targets_are_drawn else HoldOut.IF_UNEXPLAINED


def can_hold_out(objective: Objective, max_rank: int, least: int) -> bool:
    """Whether there is something to choose and enough to choose it by.

    Parameters
    ----------
    objective : Objective
    max_rank : int
    least : int
        Measurements that there must be.
    """
    if not objective.can_split:
        return False
    # A single rank is no choice, but with a link there is still how far to follow it.
    if max_rank == 1 and not objective.loss.generalized:
        return False
    # A measurement is held out with all its weight, and some have to be left.
    return objective.n_measurements >= least and objective.n_samples > 1


@dataclass
class LowestHeldOutLoss:
    """The stage with the lowest held-out loss, and how many came after it.

    Attributes
    ----------
    share : float
        A stage counts as lower if its loss is lower than the lowest by this share.
    patience : int
        Number of stages without a lower loss after which the path ends
        (`n_iter_no_change`).
    """

    share: float
    patience: int
    factors: Factors | None = None
    loss: float = np.inf
    since: int = 0

    def goes_on(self, factors: Factors, loss: float) -> bool:
        """Whether to go on after one more stage."""
        if self.factors is None or loss < (1 - self.share) * self.loss:
            self.factors, self.loss, self.since = factors, loss, 0
        else:
            self.since += 1
        return self.since < self.patience
