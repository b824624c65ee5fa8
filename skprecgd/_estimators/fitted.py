"""From the result of a path to the fitted attributes of an estimator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skprecgd._linalg.numerics import norm, power_of_two
from skprecgd._linalg.orthogonal import loading_signs
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
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
    factors = result.factors
    s = factors.singular_values().astype(np.float64)
    # Squares of very small or very large numbers would be zero or infinite.
    s /= power_of_two(float(s[0]))
    share = max(_unfinished(objective, result, tol, tuning), factors.rounding)
    tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]
    return factors.truncated(max(1, int(np.sum(tails > share * np.linalg.norm(s)))))


def kept_factors(
    objective: Objective,
    result: PathResult,
    tol: float,
    seen: tuple[Array, Array],
    rank: int,
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
    rank : int
        The rank that was searched for. All components of complete data are kept, also
        those of a matrix of lower rank, which a path may not have come to.
    """
    if objective.has_closed_form:
        return result.factors.with_zeros(rank)
    return seen_part(found_factors(objective, result, tol), seen)


def seen_part(factors: Factors, seen: tuple[Array, Array]) -> Factors:
    """The factors without the rows and columns of which no entry was observed.

    Parameters
    ----------
    factors : Factors
    seen : tuple of ndarray of bool, shape (n_rows,), (n_columns,)
    """
    if all(np.all(mask) for mask in seen):
        return factors
    return factors.masked(*seen)


def numerical_rank(
    objective: Objective, result: PathResult, tol: float, factors: Factors, size: float
) -> int:
    """The number of components that stand for more than rounding errors of the data.

    As for `numpy.linalg.matrix_rank`, a singular value is rounding up to the larger
    side of the matrix times the machine precision, relative to the size of the data.
    Where steps have led to the factors of complete data, what they left unfinished in
    spare components counts as rounding, too.

    Parameters
    ----------
    objective : Objective
    result : PathResult
    tol : float
        The tolerance that was asked for.
    factors : Factors
        The factors that the estimator keeps.
    size : float
        Norm of the offsets that were subtracted from the data.
    """
    s = factors.singular_values().astype(np.float64)
    level = factors.rounding * float(np.hypot(s[0], size))
    stepped = objective.has_closed_form and len(result.history) > 0
    if stepped:
        level = max(level, _unfinished(objective, result, tol, SPARE) * float(norm(s)))
    return int(np.sum(s > level))


def _unfinished(
    objective: Objective, result: PathResult, tol: float, tuning: SpareTuning
) -> float:
    """What a fit leaves in spare columns, as a share of the norm of the matrix."""
    tol = objective.working_tol(tol)
    if result.relative_residual > tuning.explained * tol:
        return min(tol, tuning.negligible)
    return min(tuning.spare * tol, max(tuning.spare_loose * tol, tuning.negligible))


def mean_square_left(
    objective: Objective,
    result: PathResult,
    factors: Factors,
    gross: GrossErrors | None,
    unit: float,
) -> float:
    """Mean squared residual of the entries that a fit has not left out.

    It is not corrected for degrees of freedom, as explained variances are not either.

    Parameters
    ----------
    objective : Objective
    result : PathResult
    factors : Factors
        Those of the result that are kept.
    gross : GrossErrors or None
        The errors that the fit left out.
    unit : float
        The mean is in units of its square, which may be no number itself.
    """
    # Without a factor, the offsets of the rows took the only component.
    residual = result.relative_residual if factors.rank else 1.0
    return objective.mean_square_residual(factors, residual, gross, unit)


def minimised(objective: Objective, result: PathResult) -> Objective:
    """The objective that the path minimised last; its loss may have been sharpened."""
    if result.sharpened is None:
        return objective
    return objective.with_loss(result.sharpened)


def signed_svd(factors: Factors) -> tuple[Array, Array, Array]:
    """``U, s, V`` with scikit-learn's signs: the largest loading is positive."""
    u, s, v = factors.svd()
    signs = loading_signs(v)
    # Long vectors are not copied where nothing changes.
    return (u, s, v) if np.all(signs == 1) else (u * signs, s, v * signs)


def outlier_matrix(
    shape: tuple[int, int], dtype: np.dtype, gross: GrossErrors | None
) -> sparse.csr_array:
    """The gross errors of a fit as a sparse matrix, which stores nothing else."""
    if gross is None:
        return sparse.csr_array(shape, dtype=dtype)
    return gross.matrix()
