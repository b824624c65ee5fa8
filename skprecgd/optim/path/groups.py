"""The results of several paths as one: those of groups that share no measurement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from skprecgd._linalg.numerics import norm
from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.optim.path.result import PathResult, Stage
from skprecgd.optim.result import History, Record
from skprecgd.unknown.base import Unknown


@dataclass(frozen=True)
class GroupPath:
    """The path of one group.

    Attributes
    ----------
    result : PathResult
    data_norm : float
        The norm of the group's data.
    spare : float
        Measurements that the fit leaves over: their number less its degrees of freedom.
    """

    result: PathResult
    data_norm: float
    spare: float

    @classmethod
    def of(
        cls, objective: Objective, result: PathResult, unknown: Unknown
    ) -> GroupPath:
        """The path of a group, given what it minimised, over what."""
        factors = result.factors
        freedom = unknown.degrees_of_freedom(factors.matrix_shape, factors.rank)
        spare = max(0.0, objective.n_measurements - freedom)
        return cls(result, objective.data_norm, spare)


def joined_result(paths: Sequence[GroupPath], factors: Factors) -> PathResult:
    """The result of a fit whose groups were fitted each alone.

    Losses and iterations are sums; it has converged if all groups have.

    Parameters
    ----------
    paths : sequence of GroupPath
        The largest group first.
    factors : Factors
        Of the whole matrix.
    """
    results = [path.result for path in paths]
    sizes = np.array([path.data_norm for path in paths])
    said, message = _message(results)
    residuals = np.array([result.relative_residual for result in results])
    return PathResult(
        factors=factors,
        status=said.status,
        message=message,
        n_iter=sum(result.n_iter for result in results),
        loss=sum(result.loss for result in results),
        relative_residual=relative_size(residuals, sizes),
        gradient_norm=norm(np.array([result.gradient_norm for result in results])),
        history=_history(results),
        stages=_stages(results, sizes),
        noise_variance=_variance(paths),
        sharpened=results[0].sharpened,
        largest_multiple=_largest(result.largest_multiple for result in results),
        worse_than_none=any(result.worse_than_none for result in results),
    )


def relative_size(shares: np.ndarray, sizes: np.ndarray) -> float:
    """Norm of all residuals relative to that of all data, given those of the groups."""
    whole = norm(sizes)
    if whole == 0.0:
        return float(np.max(shares, initial=0.0))
    # What a start leaves of zeros is no multiple of them: its share is infinite.
    return norm(np.where(sizes > 0, shares, 0.0) * (sizes / whole))


def _message(results: Sequence[PathResult]) -> tuple[PathResult, str]:
    """The group whose status is that of the fit, and what is said of it."""
    n = len(results)
    failed = [k for k, result in enumerate(results) if not result.converged]
    if not failed:
        cause = "groups that share no entry were fitted each alone; group 0"
        return results[0], f"{n} {cause}: {results[0].message}"
    said = results[failed[0]]
    shape = " x ".join(str(size) for size in said.factors.matrix_shape)
    message = f"In group {failed[0]} ({shape}) of {n}: {said.message}"
    if len(failed) > 1:
        message += f" In {len(failed) - 1} other group(s), too."
    return said, message


def _history(results: Sequence[PathResult]) -> History:
    """All lines, one group after another; a column says which group it is."""
    records: list[Record] = []
    iteration, seconds = 0, 0.0
    for k, result in enumerate(results):
        for record in result.history:
            moved = record._replace(
                iteration=record.iteration + iteration, seconds=record.seconds + seconds
            )
            records.append(moved.with_extra({**record.extra, "group": k}))
        if records:
            iteration, seconds = records[-1].iteration + 1, records[-1].seconds
    return History(records)


def _stages(results: Sequence[PathResult], sizes: np.ndarray) -> tuple[Stage, ...]:
    """What each rank leaves, if it bounds the rank of every group."""
    if not all(result.stages for result in results):
        return ()
    last = max(stage.rank for result in results for stage in result.stages)
    return tuple(
        _stage(rank, [result.stage(rank) for result in results], sizes)
        for rank in range(1, last + 1)
    )


def _stage(rank: int, stages: Sequence[Stage], sizes: np.ndarray) -> Stage:
    held_out = [s.validation_loss for s in stages if not np.isnan(s.validation_loss)]
    values = np.concatenate([stage.singular_values for stage in stages])
    residuals = np.array([stage.relative_residual for stage in stages])
    return Stage(
        rank=rank,
        loss=sum(stage.loss for stage in stages),
        relative_residual=relative_size(residuals, sizes),
        validation_loss=sum(held_out) if held_out else np.nan,
        singular_values=np.sort(values)[::-1],
        n_iter=sum(stage.n_iter for stage in stages if stage.rank == rank),
        seconds=sum(stage.seconds for stage in stages),
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _variance(paths: Sequence[GroupPath]) -> float | None:
    """The variance of the noise: that of a group counts by what its fit leaves over."""
    found = [path.result.noise_variance for path in paths]
    known = [variance for variance in found if variance is not None]
    if len(known) < len(found) or len(set(known)) == 1:
        return found[0]
    spare = [path.spare for path in paths]
    return float(np.average(known, weights=spare)) if any(spare) else 0.0
