"""Loss of (measurements of the factors) plus penalty, as a function of the factors.

``f(L, R) = 1/(m s c) [sum_i loss(<A_i, L R^T>, y_i) + alpha/2 (||L||^2 + ||R||^2)]``

with m measurements, s their mean squared entry and c the typical curvature of the
loss. So normalised, the curvature of f in the matrix is about one whatever the
measurements, and ``sqrt(2 f)`` is the size of the error: the damping rules and
the step sizes build on it. With the squared loss, minimising f over factors of
sufficient rank is minimising ``sum_i loss + alpha ||M||_*`` over matrices.

An objective is a pure function: it holds data, never an iterate.
"""

from skprecgd.objective.base import Evaluation, Objective
from skprecgd.objective.base import GrossErrors as GrossErrors
from skprecgd.objective.base import Growth as Growth
from skprecgd.objective.base import PendingEvaluation as PendingEvaluation
from skprecgd.objective.base import Ray as Ray
from skprecgd.objective.full import FullObjective as FullObjective
from skprecgd.objective.make import make_objective
from skprecgd.objective.rays import Quartic as Quartic
from skprecgd.objective.sampled import SampledObjective as SampledObjective
from skprecgd.objective.weights import Weights

__all__ = ["Evaluation", "Objective", "Weights", "make_objective"]
