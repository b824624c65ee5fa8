"""In which order the iteration is made, and from which starts."""

from __future__ import annotations

import numpy as np

from skprecgd.variational.entries import NoisyEntries
from skprecgd.variational.model import Model
from skprecgd.variational.noise import EqualNoise, Noise, NoiseOfLines
from skprecgd.variational.tuning import RECIPE, RecipeTuning


def make_noise(entries: NoisyEntries, kind: str) -> Noise:
    if kind == "uniform":
        return EqualNoise(entries.sides, entries.count)
    of_long = entries.columns_are_long
    counts = entries.counts[0 if of_long else 1]
    return NoiseOfLines(entries.sides, counts, of_long)


def learn(
    entries: NoisyEntries, rank: int, noise: str = "columns", tuning: RecipeTuning = RECIPE
) -> Model:
    offsets = Model(entries, make_noise(entries, noise))
    for _ in range(tuning.offset_steps):
        offsets.step()
    zero = offsets.evidence()
    model = offsets.copied()
    model.grow(rank)
    best = _pruned(model, tuning)
    best = _respawned(best, rank, tuning)
    if best.rank == 0 or best.evidence() < zero:
        offsets.found = 0
        offsets.ev = zero
        return offsets
    ev, found = best.evidence(), best.rank
    best = best.copied()
    best.grow(rank - best.rank)
    for _ in range(tuning.last_steps):
        best.step(pooled=tuning.pooled)
    best.found, best.ev = found, ev
    return best


def _pruned(model: Model, tuning: RecipeTuning) -> Model:
    """The model without the columns that the evidence does not pay for."""
    for _ in range(tuning.shared_steps):
        model.step(pooled=np.inf)
    return _settled(model, tuning.most_steps, tuning)


def _settled(model: Model, steps: int, tuning: RecipeTuning) -> Model:
    last, count = -np.inf, model.entries.count
    for step in range(steps):
        rank = model.rank
        model.step(drop=True)
        evidence = model.evidence()
        if model.rank == 0:
            break
        settled = evidence - last < tuning.settled * count and model.rank == rank
        if settled and step >= 5:
            break
        last = evidence
    return model


def _respawned(model: Model, rank: int, tuning: RecipeTuning) -> Model:
    """The model with columns that a fresh start of spare ones has found."""
    spare = rank - model.rank
    for _ in range(tuning.respawns):
        if spare <= 0:
            break
        other = model.copied()
        other.grow(min(spare, rank - model.rank))
        if other.rank == model.rank:
            break
        other = _settled(other, tuning.respawn_steps, tuning)
        better = model.evidence() + tuning.better * model.entries.count
        if other.evidence() > better:
            model = other
        elif spare == 1:
            break
        else:
            spare = 1 if spare < 4 else spare // 4
    return model
