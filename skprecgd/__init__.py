"""Low-rank matrix recovery when the rank is unknown, for scikit-learn."""

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
