"""The optimizer core: usable without an estimator."""

from skprecgd.optim.loop import minimize
from skprecgd.optim.rank_path import PathResult, rank_path
from skprecgd.optim.result import History, Record, Result, Status
from skprecgd.optim.walk import Stage

__all__ = [
    "History",
    "PathResult",
    "Record",
    "Result",
    "Stage",
    "Status",
    "minimize",
    "rank_path",
]
