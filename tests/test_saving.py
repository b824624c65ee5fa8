"""Fitted models are saved and read again, also by formats that run no code.

skops writes a model as JSON and arrays, and makes each object anew from its type and
its state. It knows neither enumerations nor subclasses of tuples, so no state may hold
one.
"""

from __future__ import annotations

import pickle
from enum import Enum
from types import FunctionType

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    losses,
)
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.optim import SOLVERS

PLAIN = (type(None), bool, int, float, str, np.ndarray, np.generic, np.dtype)


def matrix(seed):
    X, _ = make_matrix_completion(
        30, 12, rank=2, observed_fraction=0.7, random_state=seed
    )
    return X


def sensing_data(seed):
    A, y, _ = make_matrix_sensing(10, 8, rank=1, n_measurements=90, random_state=seed)
    return A, y


def noisy(X):
    rng = np.random.default_rng(0)
    return X + 0.3 * np.nanstd(X) * rng.standard_normal(X.shape)


def counts(X):
    return np.where(np.isnan(X), np.nan, np.round(np.abs(X)))


def labels(X):
    return np.where(np.isnan(X), np.nan, X > 0)


FACTORIZATIONS = {
    "squared": (PrecGDFactorization(3), None),
    "complete": (PrecGDFactorization(2, center="both"), np.nan_to_num),
    "outliers": (PrecGDFactorization(3, outlier_fraction=0.1), None),
    "noise": (PrecGDFactorization(2, noise_variance="auto"), None),
    "learned": (PrecGDFactorization(4, center="both"), noisy),
    "logistic": (PrecGDFactorization(1, loss="logistic"), labels),
    "poisson": (PrecGDFactorization(1, loss="poisson"), counts),
    "huber": (PrecGDFactorization(3, loss=losses.HuberLoss(1.0)), None),
    "absolute": (PrecGDFactorization(3, loss="absolute"), None),
    "feedback": (
        PrecGDFactorization(2, solver=SOLVERS["feedback"], rank_search="fixed", tol=0),
        None,
    ),
    "CV": (PrecGDFactorizationCV([1, 2, 3], cv=2), None),
}
SENSING = {
    "squared": PrecGDMatrixSensing(2),
    "outliers": PrecGDMatrixSensing(2, outlier_fraction=0.1),
    "huber": PrecGDMatrixSensing(2, loss="huber"),
    "CV": PrecGDMatrixSensingCV([1, 2], cv=2),
}


def fitted(kind, name, seed):
    """A fitted estimator, and rows or measurements to use it on."""
    if kind == "sensing":
        A, y = sensing_data(seed)
        return clone(SENSING[name]).fit(A, y), A
    model, change = FACTORIZATIONS[name]
    X = matrix(seed) if change is None else change(matrix(seed))
    return clone(model).fit(X), X


def children(thing):
    """What a thing is made of, to a format that makes objects of their states."""
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, (list, tuple, set)):
        return list(thing)
    if isinstance(thing, type) or sparse.issparse(thing):
        return []
    return [thing.__getstate__()]


def odd_parts(thing, path=""):
    """Parts of a state that such a format cannot write, or would change."""
    if isinstance(thing, (Enum, FunctionType)):
        return [f"{path}: {thing!r}"]
    if isinstance(thing, tuple) and type(thing) is not tuple:
        return [f"{path}: {thing!r}"]
    if isinstance(thing, PLAIN):
        return []
    inside = f"{path}/{type(thing).__name__}"
    return [odd for child in children(thing) for odd in odd_parts(child, inside)]


def assert_same(copy, model, X):
    np.testing.assert_array_equal(copy.transform(X), model.transform(X))
    assert vars(copy).keys() == vars(model).keys()
    assert str(copy.history_) == str(model.history_)
    assert list(copy.history_.columns) == list(model.history_.columns)
    for column in model.history_.columns:
        np.testing.assert_array_equal(copy.history_[column], model.history_[column])
    if hasattr(model, "rank_path_"):
        path = model.rank_path_
        assert copy.rank_path_.status is path.status
        assert copy.rank_path_.converged == path.converged
        ranks = [stage.rank for stage in path.stages]
        assert [stage.rank for stage in copy.rank_path_.stages] == ranks


CASES = [
    *(("factorization", name) for name in FACTORIZATIONS),
    *(("sensing", name) for name in SENSING),
]


@pytest.mark.filterwarnings("ignore:The best candidate predicts:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_models_are_made_of_what_every_format_knows(kind, name, global_random_seed):
    model, X = fitted(kind, name, global_random_seed)
    assert odd_parts(vars(model)) == []
    assert_same(pickle.loads(pickle.dumps(model)), model, X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_skops(kind, name, global_random_seed):
    """Only types of this package have to be trusted, and SciPy's sparse array."""
    io = pytest.importorskip("skops.io")
    model, X = fitted(kind, name, global_random_seed)
    written = io.dumps(model)
    unknown = io.get_untrusted_types(data=written)
    others = {name for name in unknown if not name.startswith("skprecgd.")}
    assert others <= {"scipy.sparse._csr.csr_array"}
    assert_same(io.loads(written, trusted=unknown), model, X)


def test_a_fit_of_an_earlier_version_is_refused(global_random_seed):
    model, _ = fitted("factorization", "squared", global_random_seed)
    stored = {k: v for k, v in model.__getstate__().items() if k != "_noise"}
    with pytest.raises(ValueError, match=r"earlier version of skprecgd; fit it again"):
        PrecGDFactorization().__setstate__(stored)
