"""When a path has come to the noise: its stages explain no more than chance would.

A column that is fitted to noise takes about ``(sqrt(n) + sqrt(m))^2`` of the N squared
residuals off, those of the leading singular triplet of a matrix of noise. A path whose
stages do no better asks whether noise is all that is left.
"""

from __future__ import annotations

import numpy as np

from skprecgd.factors import Factors
from skprecgd.optim.path import scarce
from skprecgd.optim.path.freedom import degrees_of_freedom
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
        self._ask = walk.settings.signal_in_noise
        self._in_vain, self._best = 0, 0
        self.signal: int | None = None

    @property
    def is_left(self) -> bool:
        """Whether noise is left, unless fresh starts explain what looks like it."""
        return self.signal is not None

    def goes_on(self, stage: Factors) -> bool:
        """Whether to add columns after a stage."""
        if self._ask is None:
            return True
        if self._by_chance():
            self._in_vain += 1
        else:
            self._in_vain, self._best = 0, stage.rank
        if self._in_vain < self._tuning.stages:
            return True
        return not self.found(self._walk.visited.get(self._best, stage))

    def found(self, factors: Factors) -> bool:
        """Whether factors leave noise, and no other rank can explain it."""
        ask, self._ask = self._ask, None
        if ask is not None:
            self.signal = ask(factors.scaled(self._walk.journal.unit))
        return self.is_left and not self.in_doubt

    @property
    def in_doubt(self) -> bool:
        """Whether measurements are so scarce that what looks like noise may be none.

        Where they hardly determine a rank, both the path and the posterior may miss the
        matrix that explains them. It has all columns that stand out of the noise.
        """
        walk = self._walk
        if not scarce.applies(walk, self._max_rank):
            return False
        highest = walk.strategy.highest_determined(self._max_rank)
        per_unknown = walk.strategy.measurements_per_unknown
        least = max(1, self.signal or 0)
        return highest >= least and per_unknown(highest) < self._tuning.doubtful

    def _by_chance(self) -> bool:
        """Whether the last stage explained no more than columns fitted to noise do."""
        walk = self._walk
        stage, others = walk.stages[-1], walk.stages[:-1]
        before = others[-1].loss if others else 0.5 * walk.objective.data_norm**2
        rank = others[-1].rank if others else 0
        shape = walk.objective.matrix_shape
        left = walk.objective.n_measurements - degrees_of_freedom(shape, rank)
        roots = float(np.sum(np.sqrt(shape))) ** 2 * max(1, stage.rank - rank)
        chance = roots / max(left, 1.0)
        return stage.loss > (1.0 - self._tuning.chance * chance) * before

    @property
    def _tuning(self) -> NoiseTuning:
        return self._walk.settings.tuning.noise
