"""The optimizer core: usable without an estimator."""

from skprecgd.optim.loop import minimize
from skprecgd.optim.result import History, Record, Result, Status

__all__ = ["History", "Record", "Result", "Status", "minimize"]
