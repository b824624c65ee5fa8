"""The one place that decides which kind of data a data matrix is."""

from __future__ import annotations

from typing import Any

from skprecgd._estimators.chunked_data import ChunkedData
from skprecgd._estimators.data import Data, check_names, read_weighted
from skprecgd._estimators.lazy import check_columns
from skprecgd._estimators.parameters import needs_each_entry
from skprecgd._estimators.weighting import has_variances
from skprecgd._runtime.dask_kinds import is_dask
from skprecgd.distributed.rows import RowChunks


def read_data(estimator: Any, X: Any, entry_weight: Any = None) -> Data:
    """Validated data for a fit, as an object of the kind that X is of.

    Parameters
    ----------
    estimator : PrecGDFactorization
        Number and names of the columns are set on it.
    X : array-like, sparse array or dask collection of shape (n_samples, n_features)
    entry_weight : matrix of that shape or None
        As in `PrecGDFactorization.fit`.

    Raises
    ------
    ValueError
        If X is not a matrix of real, finite numbers, if nothing is observed, or if a
        parameter needs single entries of data that allow only products.
    """
    if not is_dask(X):
        return read_weighted(estimator, X, entry_weight).that_count()
    each_entry = needs_each_entry(estimator)
    if has_variances(estimator.noise_variance):
        each_entry = "A noise_variance for each entry"
    if each_entry is not None:
        raise ValueError(f"{each_entry} needs X in memory, got a dask collection.")
    check_columns(estimator, X, reset=True)
    check_names(estimator, entry_weight, "entry_weight")
    return ChunkedData(RowChunks(X, entry_weight), estimator.missing_values)
