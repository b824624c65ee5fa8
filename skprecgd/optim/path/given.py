"""Starts that are given: factors of the user, or those of an earlier fit.

Their matrix may be in other units than the data, or have nothing to do with them. It is
therefore taken at the length at which the objective is lowest along its own direction,
and not at all where that is no lower than the objective of the zero matrix. `resumed`
recognises where an earlier search of the same kind ended: this one ends there, too.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skprecgd._linalg.numerics import largest_size, power_of_two
from skprecgd.factors import Factors
from skprecgd.initialization import given_factors
from skprecgd.objective import Evaluation, Objective
from skprecgd.objective.penalty import Penalty
from skprecgd.optim.path.settings import PathSettings
from skprecgd.optim.path.walk import Ending, Walk
from skprecgd.optim.result import Status

_SAME_START = " The fit started where the last one had ended."


def with_useful_start(
    objective: Objective, settings: PathSettings, max_rank: int
) -> PathSettings:
    """The settings with the given factors as a descent is to start from them.

    Parameters
    ----------
    objective : Objective
        Of unit scale.
    settings : PathSettings
        In the units of the objective.
    max_rank : int

    Returns
    -------
    PathSettings
        With the usual start where the zero matrix is as good as the given factors.
    """
    if isinstance(settings.init, str):
        return settings
    start = _start(objective, settings, max_rank)
    if start is None:
        return settings.without_start()
    return replace(settings, init=start)


def _start(
    objective: Objective, settings: PathSettings, max_rank: int
) -> Factors | None:
    """The factors to start from, or None where the zero matrix is as good."""
    # No step would move columns that are zero; a pursuit fills them.
    factors = given_factors(
        settings.init, objective.matrix_shape, settings.unknown
    ).without_empty_columns()
    if factors.rank == 0 or objective.data_norm == 0.0:
        return None
    direction = _direction(factors, max_rank, objective.penalty)
    if direction is None:
        # One of the two factors is zero: the first step gives it a length.
        return _cast(factors, objective)
    along = _cast(direction, objective)
    growth = objective.growth(None, along.left, along.right)
    if not growth.length > 0:
        return None
    best = growth.arrive(along.scaled(growth.length))
    if factors.rank <= max_rank:
        with np.errstate(over="ignore", invalid="ignore"):
            given = objective.evaluate(_cast(factors, objective))
        best = _better(given, best, settings)
    return best.factors if best.value < 0.5 * objective.data_norm**2 else None


def _better(given: Evaluation, best: Evaluation, settings: PathSettings) -> Evaluation:
    """The factors as they were given, unless another length is worth the change."""
    if given.relative_residual <= settings.tol:
        return given
    kept = 1.0 - settings.tuning.given.another_length
    return best if not kept * given.value <= best.value else given


def _direction(factors: Factors, max_rank: int, penalty: Penalty) -> Factors | None:
    """The leading part of the matrix, its size one; None for zero."""
    # The product of very small or very large factors might be zero or infinite.
    units = [power_of_two(largest_size(block)) for block in factors.blocks]
    near = factors.divided(units)
    leading = near.truncated(min(near.rank, max_rank))
    size = penalty.size(leading)
    return leading.scaled(1.0 / size) if size > 0 else None


def _cast(factors: Factors, objective: Objective) -> Factors:
    """The factors in the precision of the objective."""
    with np.errstate(over="ignore", under="ignore"):
        return factors.in_precision(objective.dtype)


def resumed(walk: Walk) -> Ending | None:
    """The end of a search that starts where one of the same kind has ended.

    The same loss of the same matrix says that the data are the same. None unless they
    are, or where the earlier search did not converge.
    """
    settings, solved = walk.settings, walk.settings.solved
    if solved is None or not Status[solved.status].converged:
        return None
    objective = walk.objective
    close = float(np.sqrt(np.finfo(objective.dtype).eps))
    if abs(walk.journal.unit - solved.unit) > close * solved.unit:
        return None
    if solved.sharpened is not None:
        loss = solved.sharpened.rescaled(1.0 / objective.target_unit)
        objective = objective.with_loss(loss)
    factors = given_factors(settings.init, objective.matrix_shape, settings.unknown)
    here = objective.evaluate(_cast(factors, objective))
    change = abs(here.relative_residual - solved.relative_residual)
    tuning = settings.tuning.given
    left_out = min(tuning.components_left_out * settings.tol, tuning.most_left_out)
    if not change <= close * solved.relative_residual + left_out:
        return None
    outcome = walk.stay(here, Status[solved.status], objective)
    return Ending.of(walk, outcome, _SAME_START)
