"""Low-rank matrix recovery when the rank is unknown, for scikit-learn.

``import skprecgd`` is enough to write ``skprecgd.datasets.make_low_rank``: a module
that nothing else needs is imported when it is first asked for.
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

from skprecgd._estimators.factorization import PrecGDFactorization
from skprecgd._estimators.factorization_cv import PrecGDFactorizationCV
from skprecgd._estimators.imputer import PrecGDImputer
from skprecgd._estimators.recommender import PrecGDRecommender
from skprecgd._estimators.recommender_cv import PrecGDRecommenderCV
from skprecgd._estimators.sensing import PrecGDMatrixSensing
from skprecgd._estimators.sensing_cv import PrecGDMatrixSensingCV
from skprecgd._estimators.truncated_svd import TruncatedSVD
from skprecgd._show_versions import show_versions
from skprecgd._version import __version__
from skprecgd.measurements import observed_entries

__all__ = [
    "PrecGDFactorization",
    "PrecGDFactorizationCV",
    "PrecGDImputer",
    "PrecGDMatrixSensing",
    "PrecGDMatrixSensingCV",
    "PrecGDRecommender",
    "PrecGDRecommenderCV",
    "TruncatedSVD",
    "__version__",
    "observed_entries",
    "show_versions",
]

# Public modules that no estimator imports.
_ON_DEMAND = (
    "datasets",
    "display",
    "metrics",
    "model_selection",
    "progress",
    "states",
    "testing",
)


def __getattr__(name: str) -> _ModuleType:
    if name in _ON_DEMAND:
        return _import_module(f"skprecgd.{name}")
    raise AttributeError(f"module 'skprecgd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
