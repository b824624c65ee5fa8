"""Labels, counts and the like: priors from wide to learned, each warm from the last.

Whatever the loss, the evidence of its parabolas does not say well which prior predicts:
single labels say so little that learned variances often vanish where there is signal.
So the priors are candidates, and entries that are left out choose.

1. No factors, only offsets.
2. The prior variances of all factors are held above a bound, at first so high that they
   follow chance as well, then above lower ones, until they are learned.
3. Columns that are weak then are left out, because learned variances vanish slowly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss, robust_scale
from skprecgd.variational.entries import Units
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.noise import EqualNoise
from skprecgd.variational.posterior import Problem
from skprecgd.variational.rows import RowPosterior
from skprecgd.variational.tuning import NOISE, PRIOR_PATH, PriorPathTuning
from skprecgd.variational.working import has_parabolas
from skprecgd.variational.working_columns import WorkingColumns
from skprecgd.variational.working_model import WorkingModel


@dataclass(frozen=True)
class LossProblem:
    """Entries of a data matrix, and their loss in units of their spread.

    Attributes
    ----------
    problem : Problem
    loss : Loss
    """

    problem: Problem
    loss: Loss

    @classmethod
    def of(cls, given: GivenInMemory, loss: Loss, center: str | None) -> LossProblem:
        """The problem of some entries.

        A loss of the residual may have a scale, which is that of the entries beside
        their offsets, and also their unit.
        """
        assert has_parabolas(loss)
        shift, unit = 0.0, 1.0
        if loss.homogeneous:
            values, each = given.matrix.data.astype(np.float64), given.weights.of_losses
            if center is not None:
                shift = loss.constant(values, each)
            loss = loss.relative_to(values - shift, each)
            unit = robust_scale(values - shift, each)
            loss = loss.rescaled(1.0 / unit)
        same = np.ones(given.shape[1])
        units = Units(shift * same, unit * same, same > 0, are_one=True)
        problem = Problem.of(given, center, own=False, units=units)
        return cls(problem, loss)

    def candidates(
        self, rank: int, tuning: PriorPathTuning = PRIOR_PATH
    ) -> Iterator[WorkingModel]:
        """The model with each prior in turn, beginning with the offsets alone.

        It is the same object that goes on: what is to be kept of it is to be taken
        before the next one.

        Parameters
        ----------
        rank : int
            Columns of the factors.
        tuning : PriorPathTuning
        """
        entries = self.problem.entries
        model = WorkingModel(entries, self.loss, self._noise())
        if model.coordinates.size:
            for _ in range(tuning.offset_steps):
                model.step()
        yield model
        rank = min(rank, min(entries.sides) - 1)
        if rank < 1:
            return
        model.least = tuning.variances[0]
        model.grow(rank)
        for k, least in enumerate(tuning.variances):
            model.least = least
            for _ in range(tuning.steps if k else tuning.first_steps):
                model.step()
            yield model
        model.keep(np.flatnonzero(model.shares_known() >= tuning.weak))
        for _ in range(tuning.last_steps):
            model.step()
        yield model

    def _noise(self) -> EqualNoise:
        """The dispersion: labels and counts vary as much as their means say, or more.

        How much other losses mean is for the data to say.
        """
        entries = self.problem.entries
        least = 1.0 if self.loss.generalized else NOISE.least
        return EqualNoise(
            entries.sides, entries.count, 1.0, replace(NOISE, least=least)
        )

    def predictions(self, model: WorkingModel, rows: Array, columns: Array) -> Array:
        """What a model predicts of any entries, in units of the spread."""
        if not model.coordinates.size:
            return np.zeros(len(rows))
        lines = self._lines(model, of_rows=True), self._lines(model, of_rows=False)
        return sampled_product(*lines, rows, columns)

    def scaled(self, values: Array, columns: Array) -> Array:
        """Entries of some columns in units of the spread."""
        units = self.problem.units
        return np.asarray((values - units.shift[columns]) / units.scale[columns])

    def columns(self, model: WorkingModel) -> WorkingColumns:
        """What a model says of rows."""
        columns = self.problem.columns(model)
        mean = self._lines(model, of_rows=False)
        return WorkingColumns(replace(columns, mean=mean), self.loss)

    def rows(self, columns: WorkingColumns) -> RowPosterior:
        """All rows, given their columns."""
        given = self.problem.given
        assert isinstance(given, GivenInMemory)
        return columns.rows(given.matrix, given.weights)

    def _lines(self, model: WorkingModel, *, of_rows: bool) -> Array:
        """All rows or columns; those of which nothing is seen are at the prior mean."""
        problem = self.problem
        of_long = of_rows != problem.entries.columns_are_long
        kept = problem.useful.rows if of_rows else problem.useful.columns
        unknown = model.unknown(of_long=of_long)
        whole = np.zeros(
            (problem.given.shape[0 if of_rows else 1], model.coordinates.size)
        )
        whole[:, unknown.free] = unknown.pull / unknown.precision
        if unknown.fixed is not None:
            whole[:, unknown.fixed] = unknown.value
        whole[kept] = model.long_mean if of_long else model.short.mean
        return whole


def known_columns(model: WorkingModel, tuning: PriorPathTuning = PRIOR_PATH) -> Array:
    """The columns of the factors that have not vanished."""
    if model.rank == 0:
        return np.arange(0)
    return np.flatnonzero(model.shares_known() >= tuning.vanished)
