"""scikit-learn's checks of a matrix that came in a container it cannot read itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_array, check_X_y, validate_data

from skprecgd._linalg.products import all_finite
from skprecgd._linalg.stored import stored_values

# What scikit-learn's function takes for no targets, where None is a mistake.
_NO_TARGETS = "no_validation"


def validated(
    estimator: Any, given: Any, matrix: Any, y: Any = _NO_TARGETS, **options: Any
) -> Any:
    """What `validate_data` returns for `matrix`, columns and names taken from `given`.

    Parameters
    ----------
    estimator : BaseEstimator
    given : matrix in any container
        What the user gave.
    matrix : matrix
        The same as `skprecgd._linalg.containers.marked` reads it.
    y : array-like, default="no_validation"
        The targets; by default only the matrix is checked and returned.
    **options
        Of `validate_data`.
    """
    if matrix is given:
        return validate_data(estimator, matrix, y, **options)
    reset = options.pop("reset", True)
    validate_data(estimator, given, y, reset=reset, skip_check_array=True)
    options["estimator"] = estimator
    if isinstance(y, str) and y == _NO_TARGETS:
        return check_array(matrix, input_name="X", **options)
    return check_X_y(matrix, y, **options)


def checked_finite(X: Any, allow_nan: bool, name: str) -> bool:
    """Whether X holds NaN; infinity is refused in scikit-learn's words.

    scikit-learn looks for infinity and does not tell whether there was NaN: that would
    take a second pass over X.

    Parameters
    ----------
    X : ndarray or sparse array
    allow_nan : bool
    name : str
        Of the estimator.
    """
    values = stored_values(X)
    if all_finite(values):
        return False
    has_nan = bool(np.any(np.isnan(values)))
    if not (has_nan and allow_nan) or np.any(np.isinf(values)):
        assert_all_finite(X, allow_nan=allow_nan, estimator_name=name, input_name="X")
    return has_nan
