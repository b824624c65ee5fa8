"""The optimizer core: usable without an estimator."""

from skprecgd.optim.certificate import Certificate, certificate
from skprecgd.optim.loop import minimize
from skprecgd.optim.path.rank_path import rank_path
from skprecgd.optim.path.result import PathResult, Stage
from skprecgd.optim.result import History, Record, Result, Status

__all__ = [
    "Certificate",
    "History",
    "PathResult",
    "Record",
    "Result",
    "Stage",
    "Status",
    "certificate",
    "minimize",
    "rank_path",
]
