"""The candidates of a cross-validation, and which of them one fit of a fold serves for.

A `Route` is a list of candidates that differ in one parameter. Each fold takes every
route once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from skprecgd._estimators.base import BasePrecGD
from skprecgd._estimators.cross_validation import (
    LearnedFits,
    PathOfRanks,
    PathOfRidges,
    Samples,
    Training,
)
from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class Candidate:
    """A line of the table.

    Attributes
    ----------
    params : dict
    route : Route
        How it is found. Candidates that are the same for these samples share it.
    value : float
        Which of those of the route it is.
    """

    params: dict[str, Any]
    route: Route
    value: float


class Route(ABC):
    """Candidates that one fit of each fold serves for.

    Attributes
    ----------
    values : sequence of float
        Of the parameter in which they differ.
    """

    values: Sequence[float]

    @abstractmethod
    def training(self, samples: Samples, index: Array, random_state: int) -> Training:
        """What is to be fitted to the samples at `index`."""


@dataclass(frozen=True, eq=False)
class RanksOnPath(Route):
    """Numbers of components without a learned prior, which are stages of one path."""

    model: BasePrecGD
    values: Sequence[int]

    def training(self, samples: Samples, index: Array, random_state: int) -> Training:
        path = partial(PathOfRanks, self.model, self.values, random_state)
        return samples.training(index, self.values[-1], path, self.model)


@dataclass(frozen=True, eq=False)
class LearnedRanks(Route):
    """Numbers of components that bound those of a learned prior."""

    model: BasePrecGD
    values: Sequence[int]

    def training(self, samples: Samples, index: Array, random_state: int) -> Training:
        part = samples.measured(index)
        return LearnedFits(self.model, self.values, random_state, part)


class RidgesAtRank(Route):
    """Ridges with the same number of components, each warm from a larger one.

    Parameters
    ----------
    models : sequence of BasePrecGD
        Of descending ridges.
    rank : int
    """

    def __init__(self, models: Sequence[BasePrecGD], rank: int) -> None:
        self.models, self.rank = models, rank
        self.values = [model.alpha for model in models]

    def training(self, samples: Samples, index: Array, random_state: int) -> Training:
        path = partial(PathOfRidges, self.models, self.rank, random_state)
        return samples.training(index, self.rank, path, self.models[0])
