"""The methods that the tables are completed with beside ours.

Each gets the columns standardised by their observed mean and standard deviation (a
StandardScaler in front, as a user would put there) and returns the completed table in
these units. A result depends on its arguments alone, so that `joblib.Memory` can keep
it; delete the cache after changing a method or a mask.
"""

from __future__ import annotations

import warnings

import numpy as np
import soft_impute
from _common import Array, root_mean_square, timed
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.preprocessing import StandardScaler
from table_data import draw


def column_mean(Z: Array) -> Array:
    return np.where(np.isnan(Z), 0.0, Z)


def iterative_imputer(Z: Array) -> Array:
    return IterativeImputer(random_state=0).fit_transform(Z)


def knn_imputer(Z: Array) -> Array:
    return KNNImputer().fit_transform(Z)


def soft_imputer(Z: Array) -> Array:
    observed = ~np.isnan(Z)
    filled = np.where(observed, Z, 0.0)
    return soft_impute.by_hold_out(filled, observed, np.random.default_rng(0))


def admitted(Z: Array, rank: int) -> tuple[Array, ...]:
    """Rows and columns with `rank` observed entries or more, columns that vary."""
    rows, columns = (np.ones(size, dtype=bool) for size in Z.shape)
    observed = ~np.isnan(Z)
    for _ in range(10):
        columns &= np.sum(observed[rows], axis=0) >= max(rank, 2)
        columns[columns] = np.nanstd(Z[np.ix_(rows, columns)], axis=0) > 0
        rows &= np.sum(observed[:, columns], axis=1) >= rank
    return np.ix_(rows, columns)


def em_pca(Z: Array, rank: int) -> Array:
    """statsmodels' PCA; the mean in rows and columns that it refuses."""
    from statsmodels.multivariate.pca import PCA

    result = np.zeros(Z.shape)
    if rank:
        part = admitted(Z, rank)
        result[part] = PCA(Z[part], ncomp=rank, missing="fill-em").projection
    return result


def statsmodels_pca(Z: Array) -> Array:
    """EM PCA, its rank chosen on a tenth of the observed entries."""
    rng = np.random.default_rng(0)
    tested = ~np.isnan(Z) & (rng.random(Z.shape) < 0.1)
    fewer = np.where(tested, np.nan, Z)
    errors: dict[int, float] = {}
    for rank in (0, 1, 2, 3, 4, 6, 8, 11, 15, 20):
        if rank >= admitted(fewer, rank)[1].size:
            break
        errors[rank] = float(np.sum((Z - em_pca(fewer, rank))[tested] ** 2))
        if len(errors) > 3 and min(list(errors.values())[-3:]) > min(errors.values()):
            break
    return em_pca(Z, min(errors, key=lambda rank: errors[rank]))


def covariance_em(Z: Array, ridge: float = 1e-2, n_iter: int = 20) -> Array:
    """Multivariate normal with its full covariance, by EM; `ridge` on the variances."""
    observed = ~np.isnan(Z)
    mean, covariance = np.zeros(Z.shape[1]), np.eye(Z.shape[1])
    for _ in range(n_iter):
        filled = np.where(observed, Z, 0.0)
        spread = np.zeros_like(covariance)
        for row, seen in zip(filled, observed, strict=True):
            gone = ~seen
            cross = covariance[np.ix_(gone, seen)]
            weights = np.linalg.solve(covariance[np.ix_(seen, seen)], cross.T).T
            row[gone] = mean[gone] + weights @ (row[seen] - mean[seen])
            rest = covariance[np.ix_(gone, gone)] - weights @ cross.T
            spread[np.ix_(gone, gone)] += rest
        mean = filled.mean(axis=0)
        centred = filled - mean
        covariance = (centred.T @ centred + spread) / len(Z)
        covariance[np.diag_indices_from(covariance)] += ridge
    return filled


LINEAR = {
    "mean": column_mean,
    "iterative": iterative_imputer,
    "softimpute": soft_imputer,
    "em-pca": statsmodels_pca,
}
PEERS = {**LINEAR, "knn": knn_imputer, "cov-em": covariance_em}


def peer_result(
    method: str, table: str, mask: str, seed: int, quick: bool
) -> tuple[float, float]:
    """Error of the hidden cells in column standard deviations, and CPU seconds."""
    cell = draw(table, mask, seed, quick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaler = StandardScaler().fit(cell.seen)
        Z, cpu = timed(PEERS[method], scaler.transform(cell.seen))
    errors = (scaler.inverse_transform(Z) - cell.complete) / cell.spread
    return root_mean_square(errors[cell.hidden]), cpu
