"""Starting points: spectral, Nystrom, random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._runtime.typing import RandomState
from skprecgd.factors import Factors
from skprecgd.measurements.validation import as_number_array, as_real_array
from skprecgd.objective import Objective
from skprecgd.unknown.base import GENERAL, Unknown, unknown_of


@dataclass(frozen=True)
class StartTuning:
    """The numbers behind the starts.

    Attributes
    ----------
    spare_columns : int
        Columns that a Gaussian sketch has more than `rank` at least. Without them it is
        a square Gaussian matrix, which is badly conditioned one time in ten.
    columns_per_spare : int
        Columns of `rank` for each such column, where that gives more of them.
    random_scale : float
        Norm of a random start in units of the data norm: small, so that it hides no
        structure, but not so small that leaving the saddle at zero takes long.
    max_halvings : int
        Halvings of a spectral start at most. Ten divide logarithms of counts by a
        thousand; sixty are beyond any need.

    Examples
    --------
    >>> from skprecgd.initialization import StartTuning
    >>> StartTuning().random_scale
    0.01
    """

    spare_columns: int = 10
    columns_per_spare: int = 2
    random_scale: float = 1e-2
    max_halvings: int = 60


START = StartTuning()
"""The default numbers behind the starts."""


def spectral(
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
) -> Factors:
    """Leading part of the back-projected data, ``P_r(A*(y))`` suitably scaled.

    It is a step along the gradient at zero. Where the curvature of a loss has no bound,
    as for counts, it may be far too long, and is halved as often as that helps.

    Parameters
    ----------
    objective : Objective
    rank : int
        Search rank.
    symmetric : bool, default=False
        Return a `SymmetricFactor` (only positive eigenvalues are used; columns
        without one start at zero).
    random_state : int, RandomState instance or None, default=None
        Start vector of the iterative decomposition.

    Returns
    -------
    Factors

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import spectral
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    >>> bool(np.allclose(spectral(objective, 1).matrix(), 1.0))
    True
    """
    return _spectral(objective, rank, _unknown(symmetric, objective), random_state)


def _spectral(
    objective: Objective, rank: int, unknown: Unknown, random_state: RandomState
) -> Factors:
    _check(objective, rank, unknown)
    gradient = unknown.visible(objective.matrix_gradient_at_zero())
    u, slopes, v = unknown.descent(gradient, rank, random_state)
    start = unknown.of_svd(u, np.maximum(slopes, 0.0), v)
    return _shortened(start.in_precision(objective.dtype), objective)


def nystrom(
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
    tuning: StartTuning = START,
) -> Factors:
    """Sketch of the back-projected data: ``X = B Omega``, or ``L = B Omega, R = 0``.

    One product with the back-projection B and no eigensolver. Every later iterate
    stays in the range of B where all entries are observed (Li et al., ICLR 2025).
    Omega has `rank` columns: the combinations of some more Gaussian columns that
    capture most of B (oversampling). Without spare columns, a Gaussian sketch now and
    then almost misses a direction, and the first step of a constant size then
    overshoots a thousandfold.

    Parameters
    ----------
    objective : Objective
    rank : int
        Search rank.
    symmetric : bool, default=False
        Return a `SymmetricFactor`. The factors of a complex matrix are complex.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers.
    tuning : StartTuning, default=START
        How many columns the sketch has to spare.

    Returns
    -------
    Factors

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import nystrom
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    >>> nystrom(objective, 1, random_state=0).right
    array([[0.],
           [0.]])
    """
    return _nystrom(
        objective, rank, _unknown(symmetric, objective), random_state, tuning
    )


def _nystrom(
    objective: Objective,
    rank: int,
    unknown: Unknown,
    random_state: RandomState,
    tuning: StartTuning = START,
) -> Factors:
    _check(objective, rank, unknown)
    back_projection = -1.0 * objective.matrix_gradient_at_zero()
    rng = check_random_state(random_state)
    _n_rows, n_columns = objective.matrix_shape
    width = rank + max(tuning.spare_columns, rank // tuning.columns_per_spare)
    sketch = rng.standard_normal((n_columns, min(width, n_columns)))
    seen = np.asarray(back_projection @ sketch.astype(objective.dtype))
    u, s, _ = np.linalg.svd(seen, full_matrices=False)
    left = u[:, :rank] * s[:rank]
    # Only the range of the left factor matters to the metric. Its norm is the root of
    # the data norm, as in balanced factors.
    size = np.linalg.norm(left)
    if size > 0:
        left *= np.sqrt(objective.data_norm) / size
    return unknown.of_sketch(left, n_columns).in_precision(objective.dtype)


def random(
    objective: Objective,
    rank: int,
    *,
    symmetric: bool = False,
    random_state: RandomState = None,
    tuning: StartTuning = START,
) -> Factors:
    """Small Gaussian factors, the norm of the matrix 1e-2 of the data norm.

    Parameters
    ----------
    objective : Objective
    rank : int
        Search rank.
    symmetric : bool, default=False
        Return a `SymmetricFactor`. The factors of a complex matrix are complex.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers.
    tuning : StartTuning, default=START
        How small the factors are.

    Returns
    -------
    Factors

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import random
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((3, 2)), np.ones((3, 2)))
    >>> start = random(objective, 1, random_state=0)
    >>> float(np.linalg.norm(start.matrix()) / objective.data_norm)
    0.01
    """
    return _random(
        objective, rank, _unknown(symmetric, objective), random_state, tuning
    )


def _random(
    objective: Objective,
    rank: int,
    unknown: Unknown,
    random_state: RandomState,
    tuning: StartTuning = START,
) -> Factors:
    _check(objective, rank, unknown)
    rng = check_random_state(random_state)
    start = unknown.drawn(objective.matrix_shape, rank, rng)
    size = float(np.linalg.norm(start.singular_values()))
    scale = tuning.random_scale * objective.data_norm / size
    return start.scaled(scale).in_precision(objective.dtype)


STARTS = {"spectral": spectral, "nystrom": nystrom, "random": random}
"""The public functions behind the names of starts."""
_OF_UNKNOWN = {"spectral": _spectral, "nystrom": _nystrom, "random": _random}


def make_start(
    init: str | tuple[Any, Any] | Any,
    objective: Objective,
    rank: int,
    unknown: Unknown = GENERAL,
    random_state: RandomState = None,
) -> Factors:
    """The start behind the value of the `init` parameter.

    Parameters
    ----------
    init : {"spectral", "nystrom", "random"}, pair of array-like or Factors
        A pair is ``(left, right)`` of shape (n_rows, rank), (n_columns, rank).
    objective : Objective
    rank : int
        Search rank; a given pair must have it.
    unknown : Unknown, default=GENERAL
    random_state : int, RandomState instance or None, default=None
    """
    if isinstance(init, str):
        if init not in STARTS:
            raise ValueError(
                f"init must be one of {sorted(STARTS)} or a pair of arrays, "
                f"got {init!r}."
            )
        return _OF_UNKNOWN[init](objective, rank, unknown, random_state)
    factors = given_factors(init, objective.matrix_shape, unknown, rank=rank)
    return factors.in_precision(objective.dtype)


def given_factors(
    init: Any,
    matrix_shape: tuple[int, int],
    unknown: Unknown = GENERAL,
    *,
    rank: int | None = None,
) -> Factors:
    """A pair of arrays as factors, in their own units and precision.

    Parameters
    ----------
    init : pair of array-like or Factors
        ``(left, right)``, or points of the unknown.
    matrix_shape : tuple of int
    unknown : Unknown, default=GENERAL
        What the factors are to be a start for.
    rank : int, default=None
        The number of columns that they must have; None is any.

    Raises
    ------
    ValueError
        If these are no real, finite factors of a matrix of that shape.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.initialization import given_factors
    >>> given_factors((np.ones((3, 2)), np.ones((4, 2))), (3, 4)).rank
    2
    """
    if isinstance(init, Factors):
        return unknown.of_factors(init)
    if len(init) != 2:
        raise ValueError(
            f"init as arrays must be a pair (left, right), got {len(init)} items."
        )
    checked = as_number_array if unknown.of_complex else as_real_array
    left, right = (checked(block, "init", (2,)) for block in init)
    rank = left.shape[1] if rank is None else rank
    wanted = tuple((n, rank) for n in matrix_shape)
    if (left.shape, right.shape) != wanted:
        raise ValueError(
            f"init must hold arrays of shape {wanted[0]} and {wanted[1]}, got "
            f"{left.shape} and {right.shape}."
        )
    return unknown.of_pair(left, right)


def check_rank(
    rank: int, matrix_shape: tuple[int, int], name: str = "matrix_shape"
) -> None:
    """Raise ValueError unless a matrix of that shape can have the search rank.

    Parameters
    ----------
    rank : int
    matrix_shape : tuple of int
    name : {"matrix_shape", "X.shape"}, default="matrix_shape"
        The user's name of the shape, for the message.
    """
    least = min(matrix_shape)
    if 1 <= rank <= least:
        return
    of_samples = name == "X.shape"
    sides = ("n_samples", "n_features") if of_samples else ("n_rows", "n_columns")
    shape = " and ".join(f"{s}={n}" for s, n in zip(sides, matrix_shape, strict=True))
    bound = f"at most min({name})={least}" if rank > 0 else "at least 1"
    raise ValueError(f"n_components={rank} must be {bound}: the matrix has {shape}.")


def _check(objective: Objective, rank: int, unknown: Unknown) -> None:
    check_rank(rank, objective.matrix_shape)
    unknown.check_shape(objective.matrix_shape)


def _shortened(start: Factors, objective: Objective) -> Factors:
    """A start that is worse than zero, halved as long as that helps.

    The squared loss needs none of it: the first exact step finds the right length.
    """
    if objective.loss.least_squares:
        return start
    at_zero = 0.5 * objective.data_norm**2
    with np.errstate(over="ignore", invalid="ignore"):
        value = objective.evaluate(start).value
        if value <= at_zero:
            return start
        for _ in range(START.max_halvings):
            shorter = start.scaled(0.5)
            below = objective.evaluate(shorter).value
            if value <= at_zero and not below < value:
                break
            start, value = shorter, below
    return start


def _unknown(symmetric: bool, objective: Objective) -> Unknown:
    return unknown_of(symmetric, of_complex=objective.of_complex)
