"""From the result of a path to the fitted attributes of an estimator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import power_of_two
from skprecgd._runtime.typing import Array
from skprecgd.factors import FactorPair, Factors
from skprecgd.objective import GrossErrors, Objective
from skprecgd.optim.path.result import PathResult


@dataclass(frozen=True)
class SpareTuning:
    """Which trailing components of a fit hold only unfinished convergence.

    Attributes
    ----------
    explained : float
        Relative residual of a fit that explains its data at most, in units of its tol.
    spare : float
        Norm that such a fit leaves in spare columns at most, as a share of the norm of
        the matrix in units of tol.
    spare_loose : float
        The same for a loose tol, where `spare` times tol would no longer be negligible.
    negligible : float
        Share of the norm of the matrix that is always negligible.
    """

    explained: float = 10.0
    spare: float = 10.0
    spare_loose: float = 3.0
    negligible: float = 1e-6


SPARE = SpareTuning()


def found_factors(
    objective: Objective, result: PathResult, tol: float, tuning: SpareTuning = SPARE
) -> Factors:
    """The factors without the columns that hold only unfinished convergence.

    A fit that explains the data to `tol` leaves errors of a few `tol` in its spare
    columns, so trailing singular values count as zero while together they stay
    below ten times that (three times, if that is no longer negligible). Where noise
    or a ridge keeps the residual up, a loose `tol` says nothing of that kind, and only
    negligible singular values count as zero.
    """
    tol = objective.working_tol(tol)
    factors = result.factors
    s = factors.singular_values().astype(np.float64)
    # Squares of very small or very large numbers would be zero or infinite.
    s /= power_of_two(float(s[0]))
    eps = np.finfo(factors.dtype).eps
    explained = result.relative_residual <= tuning.explained * tol
    spare = min(tuning.spare * tol, max(tuning.spare_loose * tol, tuning.negligible))
    unfinished = spare if explained else min(tol, tuning.negligible)
    level = max(unfinished, max(factors.matrix_shape) * eps) * np.linalg.norm(s)
    tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]
    return factors.truncated(max(1, int(np.sum(tails > level))))


def kept_factors(
    objective: Objective, result: PathResult, tol: float, seen: tuple[Array, Array]
) -> Factors:
    """The factors that PrecGDFactorization keeps: all components, or those found.

    Parameters
    ----------
    objective : Objective
    result : PathResult
    tol : float
        The tolerance that was asked for.
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
        Rows and columns with an observed entry. The factors are set to zero in all
        others, where the fit has left them as they were at the start.
    """
    if objective.has_closed_form:
        return result.factors
    factors = found_factors(objective, result, tol)
    if all(np.all(mask) for mask in seen):
        return factors
    blocks = zip(factors.blocks, seen, strict=True)
    return FactorPair(*(block * mask[:, None] for block, mask in blocks))


def minimised(objective: Objective, result: PathResult) -> Objective:
    """The objective that the path minimised last; its loss may have been sharpened."""
    if result.sharpened is None:
        return objective
    return objective.with_loss(result.sharpened)


def signed_svd(factors: Factors) -> tuple[Array, Array, Array]:
    """``U, s, V`` with scikit-learn's signs: the largest loading is positive."""
    u, s, v = factors.svd()
    largest = np.argmax(np.abs(v), axis=0)
    signs = np.where(v[largest, np.arange(v.shape[1])] < 0, -1, 1).astype(v.dtype)
    return u * signs, s, v * signs


def outlier_matrix(objective: Objective, gross: GrossErrors | None) -> sparse.csr_array:
    """The gross errors of a fit as a sparse matrix, which stores nothing else."""
    if gross is None:
        return sparse.csr_array(objective.matrix_shape, dtype=objective.dtype)
    return gross.matrix()
