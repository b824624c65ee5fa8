"""The optimizer core: usable without an estimator."""

from skprecgd.objective import Ray
from skprecgd.optim.certificate import Certificate, certificate
from skprecgd.optim.directions import Direction, Local
from skprecgd.optim.loop import minimize
from skprecgd.optim.metric import (
    DAMPING_RULES,
    ConstantDamping,
    Damping,
    DampingState,
    DualNormDamping,
    GeometricDamping,
    Metric,
    SqrtLossDamping,
    VarianceProxyDamping,
)
from skprecgd.optim.path.rank_path import rank_path
from skprecgd.optim.path.result import PathResult, Stage
from skprecgd.optim.path.settings import RANK_SEARCHES
from skprecgd.optim.result import History, Record, Result, Status
from skprecgd.optim.solvers import SOLVERS, Solver
from skprecgd.optim.steps import (
    STEP_RULES,
    BacktrackingStep,
    ExactStep,
    FixedStep,
    PolyakStep,
    StepRule,
)

# In the order of `sorted`, which puts constants among the classes.
__all__ = [  # noqa: RUF022
    "BacktrackingStep",
    "Certificate",
    "ConstantDamping",
    "DAMPING_RULES",
    "Damping",
    "DampingState",
    "Direction",
    "DualNormDamping",
    "ExactStep",
    "FixedStep",
    "GeometricDamping",
    "History",
    "Local",
    "Metric",
    "PathResult",
    "PolyakStep",
    "RANK_SEARCHES",
    "Ray",
    "Record",
    "Result",
    "SOLVERS",
    "STEP_RULES",
    "Solver",
    "SqrtLossDamping",
    "Stage",
    "Status",
    "StepRule",
    "VarianceProxyDamping",
    "certificate",
    "minimize",
    "rank_path",
]
