"""DINEOF: gaps of a field filled by truncated SVDs, in turn with the SVDs themselves.

Beckers, Rixen, EOF calculations and data filling from incomplete oceanographic
datasets, Journal of Atmospheric and Oceanic Technology 20 (2003); Alvera-Azcarate and
others, Reconstruction of incomplete oceanographic data sets using empirical orthogonal
functions, Ocean Modelling 9 (2005). Gaps start at the mean and are filled from the
leading modes until they change no more; one mode after the other is added, each from
the fill of those before, and cells that were set aside say how many modes are best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from _common import Array

# Change of the gaps in an iteration, in standard deviations of the field, that ends it.
# The published program has this value; a tenth of it leads to larger errors here.
TOL = 1e-3
MOST_ITERATIONS = 300
# Modes without a better fill of the cells set aside that end the search.
PATIENCE = 4


class Choice(NamedTuple):
    """A number of modes, the means that were subtracted, and its error on cells."""

    error: float
    modes: int
    means: str


def means_of(X: Array, seen: Array, kind: str) -> Array:
    """One mean for the field, or that of each place where it is seen."""
    overall = np.full(X.shape[1], X[seen].mean())
    if kind == "field":
        return overall
    counts = seen.sum(axis=0)
    sums = np.where(seen, X, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), overall)


def leading(Y: Array, modes: int) -> Array:
    """The leading modes of a filled field; times are fewer than places."""
    _, U = np.linalg.eigh(Y @ Y.T)
    U = U[:, -modes:]
    return U @ (U.T @ Y)


def fills(X: Array, seen: Array, means: str) -> Iterator[Array]:
    """The filled field with one mode, two, and so on."""
    mean = means_of(X, seen, means)
    Y = np.where(seen, X - mean, 0.0)
    spread = float(np.sqrt(np.mean(Y[seen] ** 2)))
    for modes in range(1, min(X.shape)):
        for _ in range(MOST_ITERATIONS):
            filled = leading(Y, modes)
            change = np.sqrt(np.mean((filled - Y)[~seen] ** 2))
            Y = np.where(seen, Y, filled)
            if change < TOL * spread:
                break
        yield Y + mean


def best_modes(X: Array, seen: Array, aside: Array, means: str) -> Choice:
    """How many modes fill the cells best that are set aside."""
    errors: list[float] = []
    for filled in fills(X, seen & ~aside, means):
        errors.append(float(np.mean((filled - X)[aside] ** 2)))
        if len(errors) - np.argmin(errors) > PATIENCE:
            break
    return Choice(min(errors), int(np.argmin(errors)) + 1, means)


def random_cells(seen: Array, rng: np.random.Generator) -> Array:
    """One percent of the cells that are seen, and thirty."""
    cells = np.flatnonzero(seen)
    aside = np.zeros(seen.size, dtype=bool)
    aside[rng.choice(cells, int(0.01 * len(cells)) + 30, replace=False)] = True
    return aside.reshape(seen.shape)


def shifted_clouds(seen: Array, rng: np.random.Generator) -> Array:
    """Gaps of other times, as later versions set them aside: a tenth of the times."""
    aside = np.zeros(seen.shape, dtype=bool)
    times = rng.permutation(len(seen))[: max(3, len(seen) // 10)]
    aside[times] = ~seen[(times + 1 + rng.integers(len(seen) - 1)) % len(seen)]
    return aside & seen


def dineof(
    X: Array,
    seen: Array,
    rng: np.random.Generator,
    set_aside: Callable[[Array, np.random.Generator], Array] = random_cells,
) -> tuple[Array, Choice]:
    """The filled field, and what was chosen: number of modes, and which means.

    Parameters
    ----------
    X : ndarray of shape (n_times, n_places)
        Any numbers in the gaps.
    seen : ndarray of bool, of that shape
    rng : Generator
    set_aside : callable, default=random_cells
        What is set aside to choose by.
    """
    aside = set_aside(seen, rng)
    choice = min(best_modes(X, seen, aside, means) for means in ("field", "places"))
    for modes, filled in enumerate(fills(X, seen, choice.means), start=1):
        if modes == choice.modes:
            return filled, choice
    raise AssertionError("There are fewer modes than were chosen.")
