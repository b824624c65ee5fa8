"""scikit-learn's own checks; the table of expected failures is empty."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
)


# Not here: PrecGDMatrixSensing with outliers. check_regressors_train gives whatever has
# an alpha the value 0.01, which outlier_fraction refuses.
# One check compares weights of 15 random samples with samples that are repeated. More
# than one component of a 6 x 5 matrix has more solutions than one there, and rounding
# picks another; and noise is fitted to 1e-7 only with a smaller tol.
# Some checks pass mostly-zero data, whose empty rows missing_values=0 warns about, and
# some pass noise, which cross-validation says that no rank predicts.
@pytest.mark.filterwarnings("ignore:.*no observed entry:UserWarning")
@pytest.mark.filterwarnings("ignore:The best candidate predicts:UserWarning")
@parametrize_with_checks(
    [
        PrecGDMatrixSensing(),
        PrecGDMatrixSensing(n_components=1, solver="gauss-newton", tol=1e-12),
        PrecGDFactorization(),
        PrecGDFactorization(n_components=1),
        PrecGDFactorization(n_components=1, center="both", solver="precgd-cg"),
        PrecGDFactorization(n_components=1, missing_values=0, center="columns"),
        PrecGDFactorization(outlier_fraction="auto"),
        PrecGDFactorization(n_components=1, missing_values=0, outlier_fraction=0.2),
        PrecGDMatrixSensingCV([1], cv=2),
        PrecGDFactorizationCV([1], cv=2),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)
