"""What is fitted in the folds of a cross-validation, and how far it got.

All workers share the samples; a task gets the positions of its training and test
samples. Along a path, one fit of a fold serves for many candidates: a path of ranks for
every number of components, a path of ridges for every ridge. Where noise and prior are
learned, the estimator itself is fitted.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from skprecgd._estimators.base import BasePrecGD
from skprecgd._estimators.centre import (
    Offsets,
    Seen,
    joined_offsets,
    search_rank,
    without_rows,
)
from skprecgd._estimators.folds import read_splits
from skprecgd._estimators.groups import n_fitted
from skprecgd._estimators.learned import may_learn
from skprecgd._estimators.measured import Measured
from skprecgd._estimators.objectives import objective_of, subtracted_first
from skprecgd._estimators.parameters import learns_prior_of_loss
from skprecgd._estimators.recovered import Recovered
from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._estimators.weighting import positive
from skprecgd._linalg.groups import Block
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors, of_blocks
from skprecgd.kernels import are_compiled
from skprecgd.losses import Loss, make_loss
from skprecgd.measurements import Measurements
from skprecgd.objective import Objective, Weights
from skprecgd.objective.weights import ONCE
from skprecgd.optim.certificate import largest_multiple
from skprecgd.optim.path.freedom import highest_determined
from skprecgd.optim.path.groups import relative_size
from skprecgd.optim.path.rank_path import recover, visit_ranks, walk_to
from skprecgd.optim.path.result import PathResult, Stage
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.result import Status
from skprecgd.unknown.base import Unknown, unknown_of

T = TypeVar("T")

# From this many single entries on, a compiled pass takes so long that it hardly matters
# that threads wait for one another between two passes.
_MANY_ENTRIES = 1 << 19

# A ridge in a fold counts as solved at this relative gradient; scores at 1e-6 differ by
# less than folds can tell. Before new columns are added, those that the ridge removes
# must be gone: left close to zero they would be where the next ridge starts, which
# hardly moves them.
_RIDGE_TOL = 3e-3


@dataclass(frozen=True)
class Samples:
    """All samples, as every worker gets them.

    Attributes
    ----------
    measurements : Measurements
    targets : ndarray of shape (n,)
    center : str or None, default=None
        The offsets that each fold subtracts from its own training samples; only for
        entries.
    weights : Weights, default=ONCE
        Samples of weight zero are in no fold.
    groups : array-like of shape (n,), default=None
        The groups of the samples, for splitters that keep groups together.
    may_be_noisy : bool, default=False
        Whether a fit of all samples learns noise and prior if it is asked to: they are
        not entries of a matrix that are fitted in closed form.
    """

    measurements: Measurements
    targets: Array
    center: str | None = None
    weights: Weights = ONCE
    groups: Any = None
    may_be_noisy: bool = False

    def are_learned_by(self, model: BasePrecGD) -> bool:
        """Whether `model` learns noise and prior, where these samples leave noise.

        With another loss than the squared one, it learns the prior of any entries.
        """
        if not make_loss(model.loss).least_squares:
            entries = self.measurements.single_entries and not model.symmetric
            return entries and learns_prior_of_loss(model)
        return self.may_be_noisy and may_learn(model)

    def splits(self, cv: Any, random_state: Any) -> list[tuple[Array, Array]]:
        """Training and test samples of each fold, without those of weight zero."""
        splits = read_splits(
            cv,
            self.measurements,
            self.targets,
            self.groups,
            random_state=random_state,
        )
        counts = positive(self.weights)
        if counts is None:
            return splits
        return [(train[counts[train]], test[counts[test]]) for train, test in splits]

    def highest_determined(self, *, symmetric: bool) -> int:
        """The highest rank with fewer unknowns than there are samples; at least 1."""
        n, shape = self.weights.count(len(self.targets)), self.measurements.matrix_shape
        unknown = unknown_of(symmetric, of_complex=self.measurements.of_complex)
        return max(1, highest_determined(unknown, shape, n))

    @property
    def suits_threads(self) -> bool:
        """Whether the paths of the folds had better run on threads than in processes.

        Threads need no copies of the samples, but run side by side only during passes
        over the samples, which release the interpreter lock; so these must be long.
        """
        if self.measurements.single_entries:
            n = len(self.targets)
            return n >= _MANY_ENTRIES and are_compiled(n)
        return self.measurements.folds_share

    def measured(self, index: Array) -> Measured:
        """The samples at `index`."""
        part, weights = self.measurements.fold(index), self.weights.at(index)
        return Measured(part, self.targets[index], weights).in_natural_order()

    def in_groups(
        self,
        index: Array,
        most: int,
        fit: Callable[[Measured, Seen], T],
        model: BasePrecGD,
    ) -> tuple[list[T], list[Block], Measured]:
        """What `fit` makes of each group of the samples at `index`.

        Parameters
        ----------
        index : ndarray of int
        most : int
            The largest number of components.
        fit : callable
            Samples that are one group, and which lines they show.
        model : BasePrecGD

        Returns
        -------
        fits : list
        blocks : list of Block
            Those of the groups; empty if all samples are one group.
        samples : Measured
        """
        samples = self.measured(index)
        groups = samples.measurements.groups(symmetric=model.symmetric)
        if groups.n_groups < 2:
            return [fit(samples, groups.seen)], [], samples
        parts = samples.parts(groups, n_fitted(groups, most))
        fits = [fit(part.measured, part.block.all_seen()) for part in parts]
        return fits, [part.block for part in parts], samples

    def training(
        self,
        index: Array,
        most: int,
        fit: Callable[[Measured, Seen], OnePath],
        model: Any,
    ) -> Training:
        """The path that `fit` makes of the samples at `index`, or those of groups.

        Parameters
        ----------
        index, most, fit, model
            See `in_groups`.
        """
        paths, blocks, samples = self.in_groups(index, most, fit, model)
        if not blocks:
            return paths[0]
        elsewhere = subtracted_first(model, samples, without_rows(self.center))
        return TrainingInGroups(paths, blocks, elsewhere)

    def largest_ridge(self, model: BasePrecGD, random_state: int) -> float:
        """The smallest ridge that leaves nothing but offsets of all samples.

        Parameters
        ----------
        model : BasePrecGD
            Any of its numbers for `alpha` above zero.
        random_state : int
        """

        def largest(samples: Measured, seen: Seen) -> float:
            problem = Problem.of(model, samples, seen)
            scaled, _ = problem.objective.normalised()
            multiple = largest_multiple(scaled, problem.unknown, random_state)
            return multiple * float(model.alpha)

        index, most = np.arange(len(self.targets)), min(self.measurements.matrix_shape)
        counts = positive(self.weights)
        if counts is not None:
            index = np.flatnonzero(counts)
        return max(self.in_groups(index, most, largest, model)[0])


class Visited(ABC):
    """What the candidates of one fold found, told by one of their parameters.

    Its `value` is a number of components, or a ridge.
    """

    @property
    @abstractmethod
    def diverged(self) -> bool:
        """Whether a fit diverged, so that not all candidates were found."""

    @property
    @abstractmethod
    def is_cut(self) -> bool:
        """Whether `max_iter` ended a path before it had got to all candidates."""

    @abstractmethod
    def seconds(self, value: float) -> float:
        """From the start of the fit to where this candidate was found."""

    @abstractmethod
    def train_error(self, value: float) -> float:
        """Share of the training loss that the candidate leaves; nan if it diverged."""

    @abstractmethod
    def n_components(self, value: float) -> int:
        """How many components it uses, counted as `n_components_` is."""

    @abstractmethod
    def matrix(self, value: float) -> Factors:
        """Factors of the whole matrix that it finds, offsets included."""


class Training(ABC):
    """A fit of one fold that has yet to be made.

    Attributes
    ----------
    loss : Loss
        The loss of the samples held out.
    """

    loss: Loss

    @abstractmethod
    def visited(self) -> Visited:
        """The candidates, found."""


@dataclass(frozen=True)
class Centred:
    """What was subtracted from the targets of one fold.

    Attributes
    ----------
    means : Offsets
    center : str or None
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
        Rows and columns with an observed entry.
    """

    means: Offsets
    center: str | None
    seen: Seen

    def search_rank(self, n_components: int) -> int:
        """The rank that is searched for; see the function of that name."""
        shape = len(self.means.rows), len(self.means.columns)
        return search_rank(n_components, self.center, shape)

    def found(self, factors: Factors) -> tuple[Factors, Offsets]:
        """The components of a stage, and all offsets."""
        within = self.means.within(factors)
        return within, self.means.with_found(within, self.seen)


@dataclass(frozen=True)
class Problem:
    """Samples that are one group, as a path is to explain them.

    Attributes
    ----------
    model : BasePrecGD
    objective : Objective
        Of the samples without their means.
    unknown : Unknown
    centred : Centred
    """

    model: BasePrecGD
    objective: Objective
    unknown: Unknown
    centred: Centred

    @classmethod
    def of(cls, model: BasePrecGD, samples: Measured, seen: Seen) -> Problem:
        """The problem for samples that are one group."""
        offsets = subtracted_first(model, samples, model.center)
        targets = samples.without(offsets).targets
        weights = samples.weights
        objective = objective_of(model, samples.measurements, targets, weights)
        unknown = model._unknown(objective, seen)
        return cls(model, objective, unknown, Centred(offsets, model.center, seen))

    def settings(self, ranks: Sequence[int]) -> PathSettings:
        """The settings of a path through these search ranks."""
        return self.model._path_settings(self.objective, ranks[-1], self.unknown)

    def search_ranks(self, ranks: Sequence[int]) -> list[int]:
        """The ranks to search for with these numbers of components, ascending."""
        return sorted({self.centred.search_rank(rank) for rank in ranks})


class OnePath(Training):
    """The path of samples that are one group.

    Attributes
    ----------
    data_norm : float
        The norm of the targets without their means.
    """

    data_norm: float

    @abstractmethod
    def visited(self) -> VisitedStages: ...


class PathOfRanks(OnePath):
    """One path for every number of components.

    Parameters
    ----------
    model : BasePrecGD
    ranks : sequence of int
        Numbers of components, ascending.
    random_state : int
    samples : Measured
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
        Rows and columns with an observed entry.
    """

    def __init__(
        self,
        model: BasePrecGD,
        ranks: Sequence[int],
        random_state: int,
        samples: Measured,
        seen: Seen,
    ) -> None:
        problem = Problem.of(model, samples, seen)
        objective, search_ranks = problem.objective, problem.search_ranks(ranks)
        settings = problem.settings(search_ranks)
        self.loss, self.data_norm = objective.loss, objective.data_norm
        self.centred = problem.centred
        self._path: Callable[[], PathResult]
        if objective.has_closed_form:
            path = recover(objective, search_ranks[-1], settings, random_state)
            self._path = lambda: _of_one_rank(path)
        else:
            # The walk has targets of unit scale; the objective with the original
            # targets is not kept beside them.
            walk = walk_to(objective, search_ranks, settings, random_state)
            self._path = lambda: visit_ranks(walk)

    def visited(self) -> VisitedPath:
        return VisitedPath(self.centred, not_interrupted(self._path()))


class PathOfRidges(OnePath):
    """One path for every ridge: each starts from what the larger one before has found.

    Parameters
    ----------
    models : sequence of BasePrecGD
        Of descending ridges.
    rank : int
        The number of components of all.
    random_state, samples, seen
        See `PathOfRanks`.
    """

    def __init__(
        self,
        models: Sequence[BasePrecGD],
        rank: int,
        random_state: int,
        samples: Measured,
        seen: Seen,
    ) -> None:
        self._problems = models, samples, seen
        self._rank, self._random_state = rank, random_state
        first = Problem.of(models[0], samples, seen)
        self.loss, self.data_norm = first.objective.loss, first.objective.data_norm

    def visited(self) -> VisitedRidges:
        models, samples, seen = self._problems
        paths: dict[float, PathResult] = {}
        last: Factors | None = None
        for model in models:
            problem = Problem.of(model, samples, seen)
            path = not_interrupted(self._path(problem, last))
            paths[model.alpha] = path
            last = path.stages[-1].factors
        return VisitedRidges(problem.centred, paths)

    def _path(self, problem: Problem, last: Factors | None) -> PathResult:
        ranks = problem.search_ranks([self._rank])
        settings = problem.settings(ranks)
        if problem.objective.has_closed_form:
            path = recover(problem.objective, ranks[-1], settings, self._random_state)
            return _of_one_rank(path)
        settings = replace(settings, tol=max(settings.tol, _RIDGE_TOL))
        if settings.solver == "auto":
            # Few steps lead from one ridge to the next, and these are the cheapest.
            settings = replace(settings, solver="precgd-cg")
        if last is not None:
            settings = replace(settings, init=last)
        walk = walk_to(problem.objective, ranks, settings, self._random_state)
        return visit_ranks(walk)


def not_interrupted(path: PathResult) -> PathResult:
    """The path, unless the user has interrupted it, which ends all others."""
    if path.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return path


def _of_one_rank(path: PathResult) -> PathResult:
    """The closed form of a matrix of one row or column, as a path that is visited."""
    stage = replace(path.stages[0], factors=path.factors, seconds=0.0)
    return replace(path, stages=(stage,))


@dataclass(frozen=True)
class VisitedStages(Visited):
    """Candidates that are stages of paths of samples that are one group."""

    centred: Centred

    @property
    @abstractmethod
    def statuses(self) -> list[Status]:
        """How the paths ended."""

    @property
    def diverged(self) -> bool:
        return Status.DIVERGED in self.statuses

    @property
    def is_cut(self) -> bool:
        return Status.MAX_ITER in self.statuses

    @abstractmethod
    def path(self, value: float) -> PathResult:
        """The path of a candidate."""

    @abstractmethod
    def stage(self, value: float) -> Stage:
        """The stage of its path that stands for it."""

    def seconds(self, value: float) -> float:
        return self.stage(value).seconds

    def train_error(self, value: float) -> float:
        stage, path = self.stage(value), self.path(value)
        if path.status is Status.DIVERGED and stage is path.stages[-1]:
            return np.nan
        return stage.relative_residual**2

    def n_components(self, value: float) -> int:
        return self.stage(value).rank + self.centred.means.of_rows

    def matrix(self, value: float) -> Factors:
        factors, offsets = self.found(value)
        return offsets.with_all(factors)

    def found(self, value: float) -> tuple[Factors, Offsets]:
        """The components and the offsets."""
        factors = self.stage(value).factors
        assert factors is not None
        return self.centred.found(factors)


@dataclass(frozen=True)
class VisitedPath(VisitedStages):
    """Numbers of components, all on one path."""

    found_path: PathResult

    @property
    def statuses(self) -> list[Status]:
        return [self.found_path.status]

    def path(self, value: float) -> PathResult:
        return self.found_path

    def stage(self, value: float) -> Stage:
        return self.found_path.stage(self.centred.search_rank(int(value)))


@dataclass(frozen=True)
class VisitedRidges(VisitedStages):
    """Ridges, each at the end of a path of its own."""

    paths: dict[float, PathResult]

    @property
    def statuses(self) -> list[Status]:
        return [path.status for path in self.paths.values()]

    def path(self, value: float) -> PathResult:
        return self.paths[value]

    def stage(self, value: float) -> Stage:
        return self.paths[value].stages[-1]


@dataclass(frozen=True)
class TrainingInGroups(Training):
    """The paths of one fold whose samples fall into groups.

    Attributes
    ----------
    groups : list of OnePath
    blocks : list of Block
    elsewhere : Offsets
        Those of rows and columns in none of the groups.
    """

    groups: list[OnePath]
    blocks: list[Block]
    elsewhere: Offsets

    @property
    def loss(self) -> Loss:  # type: ignore[override]
        """The loss of the largest group."""
        return self.groups[0].loss

    def visited(self) -> VisitedGroups:
        """The paths, walked to their ends."""
        return VisitedGroups(
            [group.visited() for group in self.groups],
            self.blocks,
            self.elsewhere,
            np.array([group.data_norm for group in self.groups]),
        )


@dataclass(frozen=True)
class VisitedGroups(Visited):
    """The paths of groups; a number of components bounds the rank of each."""

    paths: list[VisitedStages]
    blocks: list[Block]
    elsewhere: Offsets
    data_norms: Array

    @property
    def diverged(self) -> bool:
        return any(path.diverged for path in self.paths)

    @property
    def is_cut(self) -> bool:
        return any(path.is_cut for path in self.paths)

    def seconds(self, value: float) -> float:
        return sum(path.seconds(value) for path in self.paths)

    def train_error(self, value: float) -> float:
        shares = [path.train_error(value) for path in self.paths]
        return relative_size(np.sqrt(shares), self.data_norms) ** 2

    def n_components(self, value: float) -> int:
        return sum(path.n_components(value) for path in self.paths)

    def matrix(self, value: float) -> Factors:
        found = [path.found(value) for path in self.paths]
        own = [offsets for _, offsets in found]
        parts = [offsets.with_rows(factors) for factors, offsets in found]
        factors, _ = of_blocks(self.blocks, parts, self.blocks[0].whole_shape)
        columns = joined_offsets(self.elsewhere, self.blocks, own).of_columns
        return columns.with_all(factors)


class LearnedFits(Training):
    """Fits of an estimator that learns noise and prior, for numbers of components.

    Parameters
    ----------
    model : BasePrecGD
    ranks : sequence of int
        Numbers of components, ascending.
    random_state : int
    samples : Measured
    """

    def __init__(
        self,
        model: BasePrecGD,
        ranks: Sequence[int],
        random_state: int,
        samples: Measured,
    ) -> None:
        self.loss = make_loss(model.loss)
        self._model, self._ranks = model, ranks
        self._random_state, self._samples = random_state, samples

    def visited(self) -> VisitedFits:
        """The fits, bounds ascending, until one uses fewer columns than it may.

        It serves for all bounds that leave it as many.
        """
        fits: dict[float, LearnedFit] = {}
        for rank in self._ranks:
            fit = self._fit(rank)
            fits[rank] = fit
            if fit.n_used < rank:
                fits.update({k: fit for k in self._ranks if k >= fit.n_used})
                break
        return VisitedFits(fits)

    def _fit(self, rank: int) -> LearnedFit:
        """The fit with at most so many components."""
        started = perf_counter()
        model, samples = self._model_of(rank), self._samples
        groups = samples.measurements.groups(symmetric=model.symmetric)
        recovered = model._search(samples, groups)
        if recovered.stopped:
            raise KeyboardInterrupt
        not_interrupted(recovered.result)
        return LearnedFit(recovered, perf_counter() - started)

    def _model_of(self, rank: int) -> PrecGDMatrixSensing:
        """The estimator that fits the samples as measurements."""
        names = inspect.signature(PrecGDMatrixSensing).parameters
        given = self._model.get_params(deep=False)
        return PrecGDMatrixSensing(
            **{name: value for name, value in given.items() if name in names}
        ).set_params(
            n_components=rank,
            matrix_shape=self._samples.measurements.matrix_shape,
            random_state=self._random_state,
        )


@dataclass(frozen=True)
class LearnedFit:
    """A fit of samples that learns noise and prior.

    Attributes
    ----------
    recovered : Recovered
    seconds : float
    """

    recovered: Recovered
    seconds: float

    @property
    def n_used(self) -> int:
        """No fewer columns than the fit of any group uses."""
        return self.recovered.factors.rank - self.recovered.offsets.of_rows


@dataclass(frozen=True)
class VisitedFits(Visited):
    """Numbers of components, each with a fit that learns noise and prior."""

    fits: dict[float, LearnedFit]

    @property
    def diverged(self) -> bool:
        fits = self.fits.values()
        return any(fit.recovered.result.status is Status.DIVERGED for fit in fits)

    @property
    def is_cut(self) -> bool:
        # Other than a path, a fit that `max_iter` ends has got to its rank.
        return False

    def seconds(self, value: float) -> float:
        return self.fits[value].seconds

    def train_error(self, value: float) -> float:
        result = self.fits[value].recovered.result
        if result.status is Status.DIVERGED:
            return np.nan
        return result.relative_residual**2

    def n_components(self, value: float) -> int:
        return self.fits[value].recovered.factors.rank

    def matrix(self, value: float) -> Factors:
        recovered = self.fits[value].recovered
        return recovered.offsets.of_columns.with_all(recovered.factors)
