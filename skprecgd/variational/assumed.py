"""What is assumed of the noise of entries, and what is learned under it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd.objective import Weights
from skprecgd.objective.weights import ONCE
from skprecgd.variational.given import GivenEntries, GivenInMemory
from skprecgd.variational.informed_model import InformedModel, SideInformation
from skprecgd.variational.model import Model
from skprecgd.variational.noise import EqualNoise
from skprecgd.variational.noise_choice import (
    HeavyTails,
    LoudRows,
    NoiseChoice,
    SameNoise,
    errs_less_in_most,
)
from skprecgd.variational.posterior import Posterior, Problem
from skprecgd.variational.recipe import (
    Learned,
    follow_recipe,
    go_on,
    make_noise,
    with_weak_columns,
)
from skprecgd.variational.rows import RowPosterior
from skprecgd.variational.trial import Learn, best_of
from skprecgd.variational.tuning import CHOICE
from skprecgd.variational.warm import Start


def learn_posterior(
    entries: sparse.csr_array,
    rank: int,
    *,
    center: str | None = None,
    noise: str = "auto",
    noise_tail: str = "auto",
    noise_variance: float | None = None,
    weights: Weights = ONCE,
) -> Posterior:
    """Learn factors, offsets, noise and prior variances from entries.

    Parameters
    ----------
    entries : csr_array of shape (n_rows, n_columns)
        Whatever is stored is observed, explicit zeros too.
    rank : int
        Factors at most.
    center : {None, "mean", "columns", "both"}, default=None
        Which offsets the model has.
    noise : {"uniform", "columns", "auto"}, default="auto"
        Whether all entries have noise of the same variance, or each column its own.
        "auto": of columns, whose variances may turn out the same, and of rows where
        that pays.
    noise_tail : {"normal", "t", "auto"}, default="auto"
        Whether it is normal, or Student's t. "auto": what predicts better.
    noise_variance : float, default=None
        A known variance, of an entry of precision one.
    weights : Weights
        Of the stored entries.

    Returns
    -------
    Posterior
    """
    return posterior_of(
        GivenInMemory(entries, weights),
        rank,
        center=center,
        noise=noise,
        noise_tail=noise_tail,
        noise_variance=noise_variance,
    )


def posterior_of(
    given: GivenEntries,
    rank: int,
    *,
    center: str | None,
    noise: str,
    noise_tail: str,
    noise_variance: float | None,
    features: SideInformation | None = None,
    start: Start | None = None,
) -> Posterior:
    """`learn_posterior` of entries wherever they are.

    Parameters
    ----------
    given : GivenEntries
    rank, center, noise, noise_tail, noise_variance
        See `learn_posterior`.
    features : SideInformation, default=None
        What moves the prior means of rows and columns; with ``center="both"``.
    start : Start, default=None
        What was learned of most of the entries, with the same centre.
    """
    # Noise of one variance in all columns presupposes that they have the same unit.
    own = noise != "uniform" and noise_variance is None
    units = None if start is None else start.units
    problem = Problem.of(given, center, own=own, units=units)
    assumed = Assumed(noise, noise_tail, noise_variance, features)
    if start is not None:
        return problem.posterior(assumed.learned_on(problem, rank, start))
    plain = None if noise_tail == "normal" else problem.without_gross_errors()
    if plain is None:
        problem, learned = assumed.chosen(problem, rank)
        return problem.posterior(learned)
    # Gross errors are plain to heavy tails, in units without them, and to nothing else.
    robust = replace(assumed, tail="t").learned(plain, rank)
    if noise_tail == "t":
        return plain.posterior(robust)
    chosen, usual = assumed.chosen(problem, rank)
    if errs_less_in_most(usual.model, robust.model):
        # Errors are chance, and predicted by nothing. What predicts large entries has
        # found that their rows are large.
        ways = (replace(assumed, tail="t"), plain), (assumed.as_found(usual), chosen)
        parts = [each.of_part(its, rank) for each, its in ways]
        if not best_of(given, parts, problem.units.scale):
            return plain.posterior(robust)
    return chosen.posterior(usual)


@dataclass(frozen=True)
class Assumed:
    """What is assumed of the noise, and known of rows and columns.

    Attributes
    ----------
    noise : {"uniform", "columns", "loud rows", "auto"}
        Loud rows have noise of their own, times that of the columns.
    tail : {"normal", "t", "auto"}
    variance : float or None
        See `learn_posterior`.
    features : SideInformation or None
        See `posterior_of`.
    weak : bool, default=False
        Whether columns that the evidence does not pay for predict also where it pays
        for none.
    """

    noise: str
    tail: str
    variance: float | None
    features: SideInformation | None = None
    weak: bool = False

    def learned(self, problem: Problem, rank: int) -> Learned:
        """What the recipe ends with under that noise."""
        offsets = self._offsets(problem)
        if self.noise == "loud rows":
            offsets = LoudRows().added_to(offsets)
        if self.tail == "t":
            offsets = HeavyTails().added_to(offsets)
        choices: list[NoiseChoice] = []
        if self.noise == "auto" and self.variance is None:
            choices += [SameNoise(), LoudRows()]
        if self.tail == "auto" and self.variance is None:
            choices.append(HeavyTails())
        learned = follow_recipe(offsets, rank, choices)
        return with_weak_columns(learned, rank) if self.weak else learned

    def chosen(self, problem: Problem, rank: int) -> tuple[Problem, Learned]:
        """The same, if nothing else predicts better what it has not seen.

        In tables whose columns are skewed, the large entries of a row are large
        together. Heavy tails and loud rows take them for noise, columns that only these
        entries show vanish, and where few entries make most of the spread of a column,
        it is not trusted. In tables of few columns, the evidence may pay for no factor
        although some would predict.
        """
        learned = self.learned(problem, rank)
        others = [*self._others(problem, learned)]
        if not others:
            return problem, learned
        ways = [(self.as_found(learned), problem), *others]
        parts = [each.of_part(its, rank) for each, its in ways]
        best = best_of(problem.given, parts, problem.units.scale)
        if not best:
            return problem, learned
        other, its = ways[best]
        return other.chosen(its, rank)

    def _others(
        self, problem: Problem, learned: Learned
    ) -> Iterator[tuple[Assumed, Problem]]:
        """What else may be assumed where what was learned is doubtful."""
        model = learned.model
        if self.variance is not None or self.features is not None or learned.exact:
            return
        heavy = self.tail == "auto" and model.tail is not None
        loud = self.noise == "auto" and model.noise.of_rows is not None
        normal = replace(self, tail="normal") if heavy else self
        plain = replace(normal, noise="columns") if self.noise == "auto" else normal
        if heavy:
            yield normal, problem
        if loud:
            yield plain, problem
        if np.median(problem.useful.trust) < CHOICE.distrusted:
            yield self, problem.with_trust()
            if heavy or loud:
                yield plain, problem.with_trust()
        elif not (model.rank or self.weak) and CHOICE.is_narrow(model.entries.sides):
            yield replace(self, weak=True), problem

    def as_found(self, learned: Learned) -> Assumed:
        """The same, with what was learned of the noise in place of "auto"."""
        noise, tail, model = self.noise, self.tail, learned.model
        if noise == "auto":
            of_rows = model.noise.of_rows is not None
            equal = isinstance(model.noise, EqualNoise)
            noise = "loud rows" if of_rows else "uniform" if equal else "columns"
        if tail == "auto":
            tail = "normal" if model.tail is None else "t"
        return replace(self, noise=noise, tail=tail)

    def of_part(self, problem: Problem, rank: int) -> Learn:
        """What is learned like that of some of the entries."""

        def learn(part: GivenInMemory) -> tuple[Any, RowPosterior]:
            its = problem.of_part(part)
            posterior = its.posterior(self.learned(its, rank))
            return posterior.columns, posterior.rows

        return learn

    def learned_on(self, problem: Problem, rank: int, start: Start) -> Learned:
        """What is learned from where another iteration has ended."""
        given = problem.given
        assert isinstance(given, GivenInMemory)
        begun = start.begun(self._offsets(problem), given, problem.useful)
        return go_on(begun, rank)

    def _offsets(self, problem: Problem) -> Model:
        """The model without factors, before anything is learned."""
        scaled, known = problem.entries, None
        if self.variance is not None:
            known = self.variance / float(scaled.units.scale[0]) ** 2
        kind = "uniform" if self.noise == "uniform" else "columns"
        noise = make_noise(scaled, kind, known)
        if self.features is None:
            return Model(scaled, noise)
        told = self.features.of_useful(problem.given, problem.useful)
        return InformedModel(scaled, noise, *told)
