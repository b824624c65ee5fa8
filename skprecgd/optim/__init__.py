"""The optimizer core: usable without an estimator."""

from .loop import minimize
from .result import History, Record, Result, Status

__all__ = ["History", "Record", "Result", "Status", "minimize"]
