"""A data matrix in chunks of whole rows, complete or with missing entries."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from skprecgd._estimators.centre import Offsets, Seen
from skprecgd._estimators.chunked_entries import ChunkedEntries, less
from skprecgd._estimators.data import Data, GroupData, MakeObjective
from skprecgd._linalg.groups import Block, Groups
from skprecgd._linalg.ratings import StoredValues
from skprecgd.distributed.matrix import ChunkedMatrix
from skprecgd.distributed.measurements import ChunkedMeasurements, chunked_entries
from skprecgd.distributed.rows import RowChunks, Survey
from skprecgd.measurements import FullObservation
from skprecgd.objective import Objective, Weights


class ChunkedData(Data):
    """A matrix in chunks of whole rows, complete or with missing entries.

    Parameters
    ----------
    chunks : RowChunks
    missing_values : nan or 0
    """

    def __init__(self, chunks: RowChunks, missing_values: float) -> None:
        self.chunks, self.missing_values = chunks, missing_values
        self.shape = chunks.shape

    @cached_property
    def survey(self) -> Survey:
        """Statistics of the data, from one pass that is made when first asked for."""
        return self.chunks.survey(self.missing_values)

    def seen(self) -> Seen:
        return self.survey.seen_rows, self.survey.counts > 0

    def stored_values(self) -> StoredValues | None:
        return self.survey.stored_values

    def groups(self, seen: Seen) -> Groups:
        if self.survey.complete:
            return super().groups(seen)
        return self.chunks.groups(self.survey)

    def parts(self, groups: Groups, count: int) -> list[GroupData]:
        return [self._of_group(block) for block in groups.blocks()[:count]]

    def _of_group(self, block: Block) -> GroupData:
        chunks = self.chunks.of_block(block, self.missing_values)
        data = ChunkedData(chunks, self.missing_values)
        return GroupData(data, block, slice(None), slice(None))

    def noisy(self) -> ChunkedEntries | None:
        return None if self.survey.complete else self._entries

    @cached_property
    def _entries(self) -> ChunkedEntries:
        measurements, values, weights = self._measured
        return ChunkedEntries.of(measurements, values, weights)

    @cached_property
    def _measured(self) -> tuple[ChunkedMeasurements, list[Any], Weights]:
        """The observed entries, kept with dask."""
        given = self.chunks, self.missing_values, self.survey
        measurements, values, often = chunked_entries(*given)
        return measurements, values, Weights(frequency=often)

    def offsets(self, center: str | None) -> Offsets:
        if center == "both" and not self.survey.complete:
            return Offsets.of(center, self._entries.offsets(center))
        return Offsets.of(center, self.survey.offsets(center))

    def objective(self, offsets: Offsets, make: MakeObjective) -> Objective:
        chunks, survey = self.chunks, self.survey
        if survey.complete:
            observed = FullObservation(chunks.shape, chunks.dtype)
            return make(observed, ChunkedMatrix(chunks, *offsets.pair))
        measurements, values, weights = self._measured
        return make(measurements, less(offsets, measurements, values), weights=weights)

    def variance(
        self, objective: Objective, offsets: Offsets, unit: float
    ) -> float | None:
        return self.survey.variance(unit) if self.survey.complete else None
