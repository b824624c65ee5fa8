"""Low-rank matrix recovery when the rank is unknown, for scikit-learn."""

from skprecgd._factorization import PrecGDFactorization
from skprecgd._sensing import PrecGDMatrixSensing
from skprecgd._show_versions import show_versions
from skprecgd._version import __version__
from skprecgd.measurements import observed_entries

__all__ = [
    "PrecGDFactorization",
    "PrecGDMatrixSensing",
    "__version__",
    "observed_entries",
    "show_versions",
]
