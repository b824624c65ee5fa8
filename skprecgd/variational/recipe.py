"""In which order the iteration is made, and from which starts.

1. The offsets alone: a matrix of rank zero is a candidate as good as any.
2. All columns from the singular vectors of what is left, first with one prior variance
   for all of them; and a few columns, one after the other. Then the weakest column is
   left out as long as that raises the evidence (automatic relevance determination), and
   the start with the higher evidence goes on.
3. Spare columns start again from what is left now, and stay if the evidence rises.
4. Columns that the evidence does not pay for come back for the prediction: each of them
   is worth less than what its uncertainty costs, but all together they are not nothing.
   Those whose means vanish within a few steps are chance, and are left out for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.model import Model
from skprecgd.variational.noise import EqualNoise, KnownNoise, Noise, NoiseOfLines
from skprecgd.variational.noise_choice import NoiseChoice
from skprecgd.variational.tuning import RECIPE, RecipeTuning


@dataclass(frozen=True)
class Learned:
    """Where the recipe ends.

    Attributes
    ----------
    model : Model
    evidence : float
        The lower bound, of the columns that carry signal.
    n_signal : int
        How many these are.
    exact : bool
        Whether there is no noise: the columns explain the entries.
    missed : float
        What one more column than allowed would add to the evidence, for each of its
        degrees of freedom; chance adds less than one.
    """

    model: Model
    evidence: float
    n_signal: int
    exact: bool = False
    missed: float = 0.0


def make_noise(entries: NoisyEntries, kind: str, variance: float | None) -> Noise:
    """The noise of a kind, as it is before anything is learned.

    Parameters
    ----------
    entries : NoisyEntries
    kind : {"uniform", "columns"}
    variance : float or None
        A known variance, in the units of the entries.
    """
    if variance is not None:
        return KnownNoise(entries.sides, entries.count, variance)
    if kind == "uniform":
        return EqualNoise(entries.sides, entries.count)
    of_long = entries.columns_are_long
    counts = entries.counts[0 if of_long else 1]
    return NoiseOfLines(entries.sides, counts, of_long)


def follow_recipe(
    offsets: Model,
    rank: int,
    choices: Sequence[NoiseChoice] = (),
    tuning: RecipeTuning = RECIPE,
) -> Learned:
    """Learn factors, offsets, noise and prior variances.

    Parameters
    ----------
    offsets : Model
        Of rank zero, as it is before anything is learned.
    rank : int
        Columns at most.
    choices : sequence of NoiseChoice, default=()
        Which noise entries may have as well.
    tuning : RecipeTuning

    Returns
    -------
    Learned
    """
    _find_offsets(offsets, tuning)
    rank = _at_most(offsets, rank)
    if offsets.exact:
        return Learned(offsets, offsets.evidence(), 0, exact=True)
    model, room = _best_grown(offsets, max(rank, 0), tuning)
    for choice in choices:
        model, room = _chosen(model, room, offsets, rank, choice, tuning)
    evidence, found = model.evidence(), model.rank
    if model.exact or found == 0:
        return Learned(model, evidence, found, model.exact)
    missed = _missed(model, tuning) if found == rank else 0.0
    best = _with_weak_columns(model, room, tuning)
    return Learned(best, evidence, min(found, best.rank), missed=missed)


def with_weak_columns(
    learned: Learned, rank: int, tuning: RecipeTuning = RECIPE
) -> Learned:
    """What was learned, with weak columns where no column carries signal.

    Parameters
    ----------
    learned : Learned
    rank : int
        Columns at most.
    tuning : RecipeTuning
    """
    room = _at_most(learned.model, rank)
    if learned.model.rank or learned.exact or room < 1:
        return learned
    return replace(learned, model=_with_weak_columns(learned.model, room, tuning))


def go_on(model: Model, rank: int, tuning: RecipeTuning = RECIPE) -> Learned:
    """Learn on from where a recipe has ended, with more entries than it saw.

    Columns that the evidence does not pay for are left out within a few steps, and
    spare ones start from what is left, as in the last part of the recipe: steps that
    went on with weak columns, chunk after chunk, would switch them off.

    Parameters
    ----------
    model : Model
        With columns, and lines of the shorter side that are known.
    rank : int
        Columns at most.
    tuning : RecipeTuning
    """
    rank = _at_most(model, rank)
    for _ in range(tuning.warm_steps):
        model.step(drop=True)
    evidence, found = model.evidence(), model.rank
    if model.exact:
        return Learned(model, evidence, found, exact=True)
    best = _with_weak_columns(
        model, max(rank, found), replace(tuning, last_steps=tuning.warm_last_steps)
    )
    return Learned(best, evidence, min(found, best.rank))


def is_doubtful(
    model: Model, rank: int, *, determined: bool, tuning: RecipeTuning = RECIPE
) -> bool:
    """Whether what a model leaves may be no noise, but signal of at most that rank.

    It may be none where there is little of it, or where a direction of it stands out of
    chance. Where most columns that are allowed carry signal, what stands out of the
    rest has rather a higher rank. But with hardly more entries than unknowns, columns
    of equal size are below the edge of chance, all of them, and a search finds them
    nevertheless.

    Parameters
    ----------
    model : Model
    rank : int
    determined : bool
        Whether there are more entries than unknowns of that rank.
    tuning : RecipeTuning
    """
    if model.noise.mean_square < tuning.little:
        return True
    if model.rank > tuning.crowded * rank:
        return False
    return determined or model.over_chance(tuning.sign_draws) > tuning.stands_out


def _at_most(model: Model, rank: int) -> int:
    """How many columns there may be; as many as the matrix has explain all of it."""
    return min(rank, min(model.entries.sides) - 1)


def _find_offsets(offsets: Model, tuning: RecipeTuning) -> None:
    """Steps of a model without factors."""
    for _ in range(tuning.offset_steps if offsets.coordinates.size else 1):
        offsets.step()


def _best_grown(offsets: Model, rank: int, tuning: RecipeTuning) -> tuple[Model, int]:
    """The model with the columns that carry signal, or without any; and its room."""
    if rank == 0:
        return offsets, 0
    model, room = _grown(offsets, rank, tuning)
    if model.exact or (model.rank and model.evidence() > offsets.evidence()):
        return model, room
    return offsets, room


def _chosen(
    model: Model,
    room: int,
    offsets: Model,
    rank: int,
    choice: NoiseChoice,
    tuning: RecipeTuning,
) -> tuple[Model, int]:
    """The model with another noise where that pays, and its room.

    It is tried where the model is, first with a few steps. Once it pays, it may begin
    with the offsets, too, as columns that have followed the noise may be in the way of
    others.
    """
    if model.exact or not choice.is_suggested(model):
        return model, room
    other, evidence = choice.added_to(model), model.evidence()
    for steps in tuning.trial_steps:
        other = _settled(other, steps, tuning, evidence)
        if choice.is_futile(model, other):
            return model, room
    if not choice.is_promising(model, other):
        return model, room
    other = _settled(other, tuning.most_steps, tuning)
    other = _respawned(other, room, replace(tuning, respawns=1))
    if not choice.pays(model, other):
        return model, room
    offsets = choice.added_to(offsets)
    _find_offsets(offsets, tuning)
    afresh, its_room = _best_grown(offsets, max(rank, 0), tuning)
    if choice.prefers(other, afresh):
        return afresh, its_room
    return other, room


def _grown(offsets: Model, rank: int, tuning: RecipeTuning) -> tuple[Model, int]:
    """The model with the columns that carry signal, and for how many it had room.

    There is room for twice as many once most of it is used.
    """
    room = min(rank, tuning.first_room)
    model = _respawned(_best_start(offsets, room, tuning), room, tuning)
    while room < rank and model.rank > tuning.crowded * room and not model.exact:
        room = min(rank, 2 * room)
        model = _respawned(model, room, replace(tuning, respawns=1))
    return model, room


def _missed(model: Model, tuning: RecipeTuning) -> float:
    """What one more column would add to the evidence, for each degree of freedom."""
    freedom = sum(model.entries.sides) - 2 * model.rank - 1
    if model.rank >= min(model.entries.sides) or freedom <= 0:
        return 0.0
    more = model.copied()
    more.grow(1)
    for _ in range(tuning.shared_steps):
        more.step()
    return (more.evidence() - model.evidence()) / freedom


def _best_start(offsets: Model, rank: int, tuning: RecipeTuning) -> Model:
    """The start with the highest evidence, without the columns that do not pay.

    One start has all columns at once: the leading singular vectors. The other adds one
    at a time, so that each is found beside those before it, which suits spectra that
    fall slowly.
    """
    together, single = offsets.copied(), offsets.copied()
    together.grow(rank)
    for _ in range(tuning.shared_steps):
        together.step(shared=True)
    for _ in range(min(rank, tuning.single)):
        single.grow(1)
        for _ in range(tuning.single_steps):
            single.step()
    together = _settled(together, tuning.screen_steps, tuning)
    if together.exact:
        return together
    reached = together.evidence()
    single = _settled(single, tuning.screen_steps, tuning, reached)
    better = single.exact or single.evidence() > reached
    best = single if better else together
    return _settled(best, tuning.most_steps - tuning.screen_steps, tuning)


def _settled(
    model: Model, most_steps: int, tuning: RecipeTuning, to_reach: float = -np.inf
) -> Model:
    """The model after steps in which columns are dropped, until that changes little.

    Or until it is plain that it will not reach some evidence within these steps.
    """
    last, enough = -np.inf, tuning.settled * model.entries.count
    for step in range(1, most_steps + 1):
        rank = model.rank
        model.step(drop=True)
        evidence = model.evidence()
        gain, last = evidence - last, evidence
        settled = gain < enough and model.rank == rank
        lost = evidence + gain * (most_steps - step) < to_reach
        if model.rank == 0 or model.exact:
            break
        if settled and step > tuning.least_steps:
            break
        if lost and step > tuning.hope_steps:
            break
    return model


def _respawned(model: Model, rank: int, tuning: RecipeTuning) -> Model:
    """The model with columns that fresh starts of the spare ones have found."""
    count = rank
    for _ in range(tuning.respawns):
        spare = min(count, rank - model.rank)
        if spare <= 0 or model.exact:
            break
        other = model.copied()
        other.grow(spare)
        least = model.evidence() + tuning.better * model.entries.count
        other = _settled(other, tuning.respawn_steps, tuning, least)
        grown = other.rank > model.rank
        better = other.exact or other.evidence() > least
        if better:
            model = other
        if better and (grown or model.noise.mean_square < tuning.little):
            continue
        # Without a new column, and if there is noise, it is but further steps.
        if spare == 1:
            break
        count = max(1, spare // tuning.fewer)
    return model


def _with_weak_columns(model: Model, rank: int, tuning: RecipeTuning) -> Model:
    """The model with all columns that help to predict.

    Those that vanish are left out as soon as they do. If none is left of them, the
    model goes on from where it was.
    """
    more = model.copied()
    more.grow(rank - model.rank)
    for step in range(tuning.last_steps):
        if more.rank <= model.rank:
            return _risen(model, tuning)
        more.step()
        vanish = more.shares_known() < tuning.vanished
        if step >= tuning.sure_steps and vanish.any():
            more.keep(np.flatnonzero(~vanish))
    more.step()
    return more


def _risen(model: Model, tuning: RecipeTuning) -> Model:
    """The model after further steps, as long as its evidence rises.

    Of data without noise it rises with every step.
    """
    model, last = model.copied(), model.evidence()
    for _ in range(tuning.last_steps):
        model.step()
        evidence = model.evidence()
        if evidence - last < tuning.settled * model.entries.count:
            break
        last = evidence
    return model
