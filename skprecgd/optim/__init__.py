"""The optimizer core: usable without an estimator."""

from .loop import minimize
from .rank_path import PathResult, Stage, rank_path
from .result import History, Record, Result, Status

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
