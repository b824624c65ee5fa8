"""When a path has come to the noise: its stages explain no more than chance would.

A column that is fitted to noise takes about ``(sqrt(n) + sqrt(m))^2`` of the N squared
residuals off, those of the leading singular triplet of a matrix of noise. A path whose
stages do no better asks whether noise is all that is left.
"""

from __future__ import annotations

import numpy as np

from skprecgd.factors import Factors
from skprecgd.objective import Evaluation
from skprecgd.optim.path import scarce
from skprecgd.optim.path.tuning import NoiseTuning
from skprecgd.optim.path.walk import Walk


class NoiseWatch:
    """Watches the stages of a path, and asks once whether they have come to the noise.

    Parameters
    ----------
    walk : Walk
    max_rank : int

    Attributes
    ----------
    signal : int or None
        The columns that stand out of the noise; None unless noise is known to be left.
    """

    def __init__(self, walk: Walk, max_rank: int) -> None:
        self._walk, self._max_rank = walk, max_rank
        self._judge, self._asked = walk.settings.judge, False
        self._in_vain, self._slowly = 0, 0
        # What the judge said, and what is left of it beside the path.
        self._said: int | None = None
        self.signal: int | None = None

    @property
    def is_left(self) -> bool:
        """Whether noise is left, unless fresh starts explain what looks like it."""
        return self.signal is not None

    def goes_on(self, stage: Factors) -> bool:
        """Whether to add columns after a stage."""
        if self._judge is None or self._asked or np.isinf(self._judge.n_iter):
            return True
        self._in_vain = self._in_vain + 1 if self._by_chance() else 0
        much = self._share_left() < self._tuning.much_left
        self._slowly = 0 if much else self._slowly + 1
        tuning = self._tuning
        if self._in_vain < tuning.stages and self._slowly < tuning.slow_stages:
            return True
        if len(self._walk.journal.history) < self._judge.n_iter:
            return True
        return not self.found()

    def found_at_once(self) -> bool:
        """Whether noise is left, asked before there is a path.

        Some judges answer at less than the cost of a few stages.
        """
        return self._judge is not None and self._judge.answers_at_once and self.found()

    def found(self) -> bool:
        """Whether noise is left, and no other rank can explain it."""
        if self._judge is not None and not self._asked:
            self._said, self._asked = self._judge.signal(), True
            last = self._walk.stages[-1:]
            explained = any(self._is_far_below(each.rank, each.loss) for each in last)
            self.signal = None if explained else self._said
        return self.is_left and not self.in_doubt

    def is_left_by(self, chosen: Evaluation) -> bool:
        """Whether a rank that held-out measurements chose leaves noise.

        The judge may have been overruled by a higher rank, which explained the noise
        because it was hardly determined.
        """
        return self._said is not None and not self._is_far_below(
            chosen.factors.rank, chosen.loss
        )

    def _is_far_below(self, rank: int, loss: float) -> bool:
        """Whether a fit leaves much less than what the judge takes for noise.

        Noise is not explained that well, but signal is that comes out slowly. Of noise,
        N measurements and f degrees of freedom leave ``1 - f / N`` on average, and
        less where a path chooses its columns: as many degrees of freedom explain
        anything. Where measurements are too few to tell noise, the path is believed.
        """
        assert self._judge is not None
        walk, share = self._walk, self._judge.share_left
        if share == 0.0:
            return False
        by_freedom = 1.0
        if walk.strategy.can_tell_noise:
            per_unknown = walk.strategy.measurements_per_unknown(rank)
            by_freedom = max(0.0, 1.0 - 1.0 / per_unknown) ** 2
        at_zero = 0.5 * walk.objective.data_norm**2
        return loss < self._tuning.far_below * by_freedom * share * at_zero

    @property
    def in_doubt(self) -> bool:
        """Whether measurements are so scarce that what looks like noise may be none.

        Where they hardly determine a rank, both the path and the posterior may miss the
        matrix that explains them. It has all columns that stand out of the noise.
        """
        walk, judge = self._walk, self._judge
        if judge is None or not scarce.applies(walk, self._max_rank):
            return False
        highest = walk.strategy.highest_determined(self._max_rank)
        per_unknown = walk.strategy.measurements_per_unknown
        least = max(1, self.signal or 0)
        if highest < least or per_unknown(highest) >= self._tuning.doubtful:
            return False
        # The judge needs some products with the data for this, so it is asked last.
        return judge.in_doubt()

    def _by_chance(self) -> bool:
        """Whether the last stage explained no more than columns fitted to noise do."""
        walk = self._walk
        stage, others = walk.stages[-1], walk.stages[:-1]
        rank = others[-1].rank if others else 0
        shape = walk.objective.matrix_shape
        freedom = walk.settings.unknown.degrees_of_freedom(shape, rank)
        left = walk.objective.n_measurements - freedom
        roots = float(np.sum(np.sqrt(shape))) ** 2 * max(1, stage.rank - rank)
        return self._share_left() > 1.0 - self._tuning.chance * roots / max(left, 1.0)

    def _share_left(self) -> float:
        """What the last stage left of the loss before it."""
        stages = self._walk.stages
        at_zero = 0.5 * self._walk.objective.data_norm**2
        before = stages[-2].loss if len(stages) > 1 else at_zero
        return stages[-1].loss / before if before > 0 else 0.0

    @property
    def _tuning(self) -> NoiseTuning:
        return self._walk.settings.tuning.noise
