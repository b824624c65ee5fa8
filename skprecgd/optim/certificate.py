"""An upper bound of the distance of a point to the global optimum.

For a convex loss phi of the matrix, ``S = grad phi(M)`` and a ridge alpha (all of them
as the objective has them, multiplied by its weight),

``f(M) - f* <= <grad f(X), X> / 2 + violation * trace(M*)``

holds for every M, whatever its rank: convexity bounds the gap by ``<S, M - M*>``
plus the change of the penalty, and ``-<S, M*>`` is at most the extreme eigenvalue of
S times the trace (JMLR 2023, proof of Proposition 11; for factor pairs the same
argument with the spectral and the nuclear norm). One extreme eigenvalue or singular
value of a linear operator is all it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skprecgd._runtime.extras import import_extra
from skprecgd._runtime.tables import html_table
from skprecgd._runtime.typing import RandomState
from skprecgd.factors import Factors
from skprecgd.objective import Objective
from skprecgd.unknown.base import GENERAL, Unknown, unknown_of

# What the numbers of a certificate are, for readers of its table.
_MEANINGS = {
    "gap": "the objective less that of the global optimum, at most",
    "relative_gap": "the same as a share of the objective at zero",
    "stationarity": "how far moving the factors could still go",
    "violation": "how much one more component could gain, for each unit of its size",
    "trace_bound": "the largest nuclear norm that the optimum is taken to have",
    "value_at_zero": "the objective of the zero matrix",
}


@dataclass(frozen=True, repr=False)
class Certificate:
    """An upper bound of the distance to the global optimum, with its ingredients.

    `gap` bounds ``f(M) - f*``; `relative_gap` is its share of the objective at zero.

    Attributes
    ----------
    stationarity : float
        ``<grad f(X), X> / 2``: zero at a stationary point.
    violation : float
        How far the gradient in the matrix is from optimal: the negative part of the
        smallest eigenvalue of ``S + alpha I`` (symmetric), or the excess of the
        spectral norm of S over alpha (factor pair).
    trace_bound : float
        The bound used for the trace (nuclear norm) of the optimum; with `alpha_scaling`
        that of the matrix whose rows and columns are scaled, see :ref:`ridge`.
    trace_source : {"iterate", "given"}
        "iterate": the nuclear norm of M itself stood in for that of the optimum;
        the bound is then an estimate. "given": it is rigorous if yours is.
    value_at_zero : float
        The objective at ``M = 0``.
    rank_deficient : bool
        Whether the rank found is below the search rank: then a second-order
        stationary point has no violation.

    Examples
    --------
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> A, y, truth = make_matrix_sensing(
    ...     12, rank=1, n_measurements=100, symmetric=True, random_state=0
    ... )
    >>> model = PrecGDMatrixSensing(4, symmetric=True).fit(A, y)
    >>> model.certificate_
    <Certificate: the objective is at most ... of its value at zero above the global \
optimum (estimated)>
    >>> model.certificate_.relative_gap < 1e-6
    True
    >>> model.certificate_.with_trace_bound(100.0).trace_source
    'given'
    """

    stationarity: float
    violation: float
    trace_bound: float
    trace_source: str
    value_at_zero: float
    rank_deficient: bool

    @property
    def gap(self) -> float:
        """The bound of ``f(M) - f*``."""
        return max(0.0, self.stationarity + self.violation * self.trace_bound)

    @property
    def relative_gap(self) -> float:
        """The bound as a share of the objective at zero.

        NaN for data so small that their squares are zero in double precision.
        """
        if self.value_at_zero > 0:
            return self.gap / self.value_at_zero
        return np.nan if self.trace_bound > 0 else 0.0

    def with_trace_bound(self, trace_bound: float) -> Certificate:
        """The certificate for a bound you know of the trace of the optimum."""
        if not trace_bound >= 0:
            raise ValueError(f"trace_bound must be >= 0, got {trace_bound!r}.")
        return replace(self, trace_bound=float(trace_bound), trace_source="given")

    def to_frame(self) -> Any:
        """All numbers in one row of a `pandas.DataFrame`, to be put below others.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        pandas = import_extra("pandas", "Certificate.to_frame", "frames")
        bounds = {"gap": self.gap, "relative_gap": self.relative_gap}
        return pandas.DataFrame([{**bounds, **vars(self)}])

    def __repr__(self) -> str:
        return f"<Certificate: {self._in_words()}>"

    def _repr_html_(self) -> str:
        rows = [
            (name.replace("_", " "), f"{getattr(self, name):.3g}", meaning)
            for name, meaning in _MEANINGS.items()
        ]
        return html_table(self._in_words(), ("", "value", "what it is"), rows)

    def _in_words(self) -> str:
        sure = "estimated" if self.trace_source == "iterate" else "proved"
        return (
            f"the objective is at most {self.relative_gap:.2g} of its value at zero "
            f"above the global optimum ({sure})"
        )

    @classmethod
    def of_groups(cls, parts: Sequence[Certificate]) -> Certificate:
        """The certificate of a problem that falls into others without common unknowns.

        The gap is at most what it says, because the largest violation stands for all.

        Parameters
        ----------
        parts : sequence of Certificate
            Those of the others.
        """
        return cls(
            stationarity=sum(part.stationarity for part in parts),
            violation=max(part.violation for part in parts),
            trace_bound=sum(part.trace_bound for part in parts),
            trace_source=parts[0].trace_source,
            value_at_zero=sum(part.value_at_zero for part in parts),
            rank_deficient=all(part.rank_deficient for part in parts),
        )


def certificate(
    objective: Objective,
    factors: Factors,
    unknown: Unknown | None = None,
    *,
    search_rank: int | None = None,
    random_state: RandomState = None,
) -> Certificate:
    """Bound the distance of `factors` to the global optimum.

    Parameters
    ----------
    objective : Objective
    factors : Factors
    unknown : Unknown, default=None
        What was searched for; None is all matrices of the kind of the factors.
    search_rank : int, default=None
        The rank that was allowed; None is that of `factors`.
    random_state : int, RandomState instance or None, default=None
        Start vector of the Lanczos iteration.

    Returns
    -------
    Certificate

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.optim import certificate
    >>> objective = make_objective(FullObservation((2, 2)), np.ones((2, 2)))
    >>> ones = FactorPair(np.ones((2, 1)), np.ones((2, 1)))
    >>> certificate(objective, ones).gap < 1e-12
    True
    """
    scaled, unit = objective.normalised()
    # Components with means would be another decomposition of the same matrix.
    point = factors.centred().scaled(1.0 / unit)
    evaluation = scaled.evaluate(point)
    stationarity = point.stationarity(scaled.gradient(evaluation))
    if unknown is None:
        symmetric = factors.multiplicity == 2
        unknown = unknown_of(symmetric, of_complex=factors.is_complex)
    gradient = scaled.matrix_gradient(evaluation)
    steepest = _steepest(scaled, gradient, unknown, random_state)
    violation = max(0.0, steepest - scaled.penalty.threshold)
    allowed = factors.rank if search_rank is None else search_rank
    return Certificate(
        stationarity=stationarity * unit**2,
        violation=violation * unit,
        trace_bound=scaled.penalty.size(point) * unit,
        trace_source="iterate",
        value_at_zero=0.5 * (scaled.data_norm * unit) ** 2,
        rank_deficient=factors.rank < allowed,
    )


def largest_multiple(
    objective: Objective, unknown: Unknown = GENERAL, random_state: RandomState = None
) -> float:
    """The multiple of its penalty from which on an objective is lowest at zero.

    It takes one Lanczos iteration with the gradient of the loss at zero; for the
    squared loss of entries, that is the matrix of the targets, zero where nothing was
    observed.

    Parameters
    ----------
    objective : Objective
        Of unit scale, with a penalty. Its loss is convex.
    unknown : Unknown, default=GENERAL
        What is searched for; its offsets have no part in the penalty.
    random_state : int, RandomState instance or None, default=None
        Start vector of the iteration.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.optim.certificate import largest_multiple
    >>> X = np.diag([3.0, 4.0])
    >>> objective = make_objective(FullObservation((2, 2)), X, alpha=2.0)
    >>> round(largest_multiple(objective), 9)
    2.0
    """
    gradient = objective.matrix_gradient_at_zero()
    steepest = _steepest(objective, gradient, unknown, random_state)
    return max(0.0, steepest) / objective.penalty.threshold


def _steepest(
    objective: Objective, gradient: Any, unknown: Unknown, random_state: RandomState
) -> float:
    """The fastest descent along a matrix of size one, given S."""
    gradient = objective.penalty.scaled_gradient(unknown.visible(gradient))
    return float(unknown.descent(gradient, 1, random_state)[1][0])
