"""Fits of groups of rows and columns that share no observed entry, each alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from skprecgd._linalg.groups import Block, Groups
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors, of_blocks
from skprecgd.objective import Objective
from skprecgd.optim.path.groups import GroupPath, joined_result
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.result import Status
from skprecgd.unknown.base import Unknown, unknown_of


@dataclass(frozen=True)
class GroupTuning:
    """How far groups of rows and columns are taken.

    Attributes
    ----------
    most_numbers : int
        Numbers that the factors of all groups together may hold (256 MB of float64).
        Each group brings components of its own, and a component has a number for every
        row and column of the whole matrix. The smallest groups, which come last, are
        left out beyond that.
    most_shapes : int
        Groups whose shapes the warning names.
    """

    most_numbers: int = 1 << 25
    most_shapes: int = 4


GROUPS = GroupTuning()


def n_fitted(groups: Groups, n_components: int, tuning: GroupTuning = GROUPS) -> int:
    """How many of the groups are fitted: all of them, unless they are very many.

    Parameters
    ----------
    groups : Groups
    n_components : int
    tuning : GroupTuning, default=GROUPS
    """
    ranks = [min(n_components, *shape) for shape in groups.shapes()]
    numbers = np.cumsum(ranks) * (len(groups.rows) + len(groups.columns))
    return max(1, int(np.sum(numbers <= tuning.most_numbers)))


def warn_about_groups(
    groups: Groups, n_components: int, between: str, tuning: GroupTuning = GROUPS
) -> None:
    """Say that there are several groups, and what becomes of the entries between them.

    Parameters
    ----------
    groups : Groups
    n_components : int
    between : str
        What entries between groups are predicted by, and where to find the groups.
    tuning : GroupTuning, default=GROUPS
    """
    shapes = groups.shapes()
    named = [f"{rows} x {columns}" for rows, columns in shapes[: tuning.most_shapes]]
    named += ["..."] if len(shapes) > len(named) else []
    left_out = len(shapes) - n_fitted(groups, n_components, tuning)
    but = f" but the {left_out} smallest, which would need too much memory,"
    warnings.warn(
        f"The observed entries fall into {len(shapes)} groups of rows and columns that "
        f"share none ({', '.join(named)}): all{but if left_out else ''} are fitted "
        f"each alone, with at most {n_components} components, and the entries "
        f"between them are predicted by {between}.",
        UserWarning,
        stacklevel=6,
    )


def within(pair: Sequence[Any], block: Block) -> tuple[Array, Array]:
    """The rows of a pair of factors that are in a group, without columns of zeros."""
    left, right = np.asarray(pair[0])[block.rows], np.asarray(pair[1])[block.columns]
    used = left.any(axis=0) | right.any(axis=0)
    return left[:, used], right[:, used]


def start_of_group(init: Any, block: Block, max_rank: int) -> Any:
    """The value of `init` for a group, given that for the whole matrix."""
    if isinstance(init, str):
        return init
    left, right = within(init, block)
    if left.shape[1] == 0:
        return "spectral"
    if left.shape[1] <= max_rank:
        return left, right
    # Equal factors stay equal: their matrix is symmetric, with signs that are positive.
    kind = unknown_of(np.array_equal(left, right))
    factors = kind.of_pair(left, right).truncated(max_rank)
    return factors.left, factors.right


# Joining ------------------------------------------------------------------------------


class GroupFit(Protocol):
    """What is known of the fit of a group."""

    @property
    def objective(self) -> Objective: ...
    @property
    def unknown(self) -> Unknown: ...
    @property
    def result(self) -> PathResult: ...
    @property
    def factors(self) -> Factors: ...
    @property
    def stopped(self) -> bool: ...


Fit = TypeVar("Fit", bound=GroupFit)


def fits_of(parts: Sequence[Any], fit: Callable[[Any], Fit]) -> list[Fit]:
    """The fit of each part, until the user stops one.

    Parameters
    ----------
    parts : sequence
    fit : callable
        Part -> its fit.
    """
    fits: list[Fit] = []
    for part in parts:
        try:
            fits.append(fit(part))
        except KeyboardInterrupt:
            if not fits:
                raise
            # This group has found nothing yet, but others have.
            fits[-1] = interrupted(fits[-1])
        ended = fits[-1].result.status in (Status.CALLBACK, Status.INTERRUPTED)
        if ended or fits[-1].stopped:
            break
    return fits


def interrupted(fit: Any) -> Any:
    """The fit as one that the user interrupted, though what it found is complete."""
    return replace(fit, result=replace(fit.result, status=Status.INTERRUPTED))


def joined(
    fits: Sequence[GroupFit], blocks: Sequence[Block]
) -> tuple[Factors, PathResult, list[Array]]:
    """One matrix and one result from the fits of groups.

    Parameters
    ----------
    fits : sequence
        Those of the first groups; the others are zero.
    blocks : sequence of Block

    Returns
    -------
    factors : Factors
    result : PathResult
    components : list of ndarray of int
        Which components each fit brought; see `of_blocks`.
    """
    blocks = blocks[: len(fits)]
    found = [fit.factors for fit in fits]
    factors, components = of_blocks(blocks, found, blocks[0].whole_shape)
    paths = [GroupPath.of(fit.objective, fit.result, fit.unknown) for fit in fits]
    return factors, joined_result(paths, factors), components
