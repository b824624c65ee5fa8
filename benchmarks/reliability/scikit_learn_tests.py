"""scikit-learn's own tests of TruncatedSVD and PCA, with PrecGDFactorization instead.

The installed `test_truncated_svd.py` and the fitting parts of `test_pca.py` are run as
they are; only the name `TruncatedSVD`, or `PCA`, means a stand-in: PrecGDFactorization
with default parameters, which drops the parameters of the other's algorithms and, for
PCA, takes off the columns' means, counts variances with one degree of freedom less, and
has ``tol=1e-9``, since vectors are compared with exact ones.
Where a test compares two algorithms, the exact one ("arpack", "full") stays
scikit-learn's, so that the comparison is one with it. What is left out is printed with
its reason: an algorithm's own limits and error messages, `n_components` as a share or
"mle", the probabilistic model of PCA, whitening.

    python benchmarks/reliability/scikit_learn_tests.py             # half a minute
    python benchmarks/reliability/scikit_learn_tests.py -k sparse   # options of pytest
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import sklearn.decomposition
from threadpoolctl import threadpool_limits

from skprecgd import PrecGDFactorization

# ---- the stand-ins


class InsteadOfTruncatedSVD(PrecGDFactorization):
    """PrecGDFactorization without the parameters of TruncatedSVD's algorithms."""

    def __init__(
        self, n_components: int = 2, *, random_state: Any = None, **of_algorithms: Any
    ) -> None:
        super().__init__(n_components, random_state=random_state)


class InsteadOfPCA(PrecGDFactorization):
    """PrecGDFactorization of data without column means, with the attributes of PCA."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PrecGDFactorization._parameter_constraints,
        "n_components": [Integral, None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        random_state: Any = None,
        **of_algorithms: Any,
    ) -> None:
        # These tests compare vectors with those of a full decomposition.
        super().__init__(
            n_components, center="columns", tol=1e-9, random_state=random_state
        )

    def fit(self, X: Any, y: Any = None, *, entry_weight: Any = None) -> Any:
        shape = X.shape if hasattr(X, "shape") else np.shape(X)
        wanted = self.n_components
        self.n_components = min(shape) if wanted is None else wanted
        try:
            super().fit(X, entry_weight=entry_weight)
        finally:
            self.n_components = wanted
        self.n_samples_, self.mean_ = shape[0], self.center_
        self.explained_variance_ = self.explained_variance_ * shape[0] / (shape[0] - 1)
        left_out = min(shape) - self.n_components_
        total = self.explained_variance_[0] / self.explained_variance_ratio_[0]
        rest = total - self.explained_variance_.sum()
        self.noise_variance_ = rest / left_out if left_out else 0.0
        return self


def beside(instead: type, exact: type, parameter: str, name: str) -> Callable[..., Any]:
    """A class that is `instead`, or `exact` where a test asks for that algorithm."""

    def make(*args: Any, **keywords: Any) -> Any:
        chosen = exact if keywords.get(parameter) == name else instead
        return chosen(*args, **keywords)

    return make


# ---- which tests


class Suite(NamedTuple):
    """A test module of scikit-learn, and what stands in its place where.

    Attributes
    ----------
    module : str
    name : str
        The class that is replaced.
    instead : type
    exact : tuple of str
        The parameter and its value that say "the exact algorithm".
    compared : set of str
        Tests in which that algorithm stays scikit-learn's, to compare with.
    left_out : dict
        Patterns that tests' names begin with, and why these are left out.
    """

    module: str
    name: str
    instead: type
    exact: tuple[str, str]
    compared: set[str]
    left_out: dict[str, str]


_LIMIT = "a limit, or an error message, of one of the algorithms"
_CHOICE = "n_components as a share or 'mle', which PrecGDFactorization has not"
_MODEL = "covariance and likelihood of the probabilistic model"

SUITES = [
    Suite(
        "test_truncated_svd",
        "TruncatedSVD",
        InsteadOfTruncatedSVD,
        ("algorithm", "arpack"),
        {"test_solvers"},
        {r"test_too_many_components\[arpack-55": _LIMIT},
    ),
    Suite(
        "test_pca",
        "PCA",
        InsteadOfPCA,
        ("svd_solver", "full"),
        {
            "test_pca_solver_equivalence",
            "test_pca_singular_values_consistency",
            "test_pca_randomized_svd_n_oversamples",
        },
        {
            r"test_pca\[": _MODEL,
            "test_sparse_pca_solver_error": _LIMIT,
            r"test_pca_sparse\[\d+-covariance_eigh": "the same fits again",
            "test_whitening": "whitening",
            r"test_pca_solver_equivalence\[\w+-True-": "whitening",
            r"test_pca_inverse\[True-": "whitening",
            "test_pca_validation": _LIMIT,
            "test_n_components_none": _LIMIT,
            "test_n_components_mle": _CHOICE,
            "test_pca_dim": _CHOICE,
            "test_infer_dim_by": _CHOICE,
            "test_pca_score": _MODEL,
            "test_pca_zero_noise_variance_edge_cases": _MODEL,
            "test_pca_svd_solver_auto": _LIMIT,
            "test_pca_n_components_mostly": _CHOICE,
            "test_assess_dimension": "a function of scikit-learn alone",
            "test_small_eigenvalues_mle": "a function of scikit-learn alone",
            "test_mle_redundant_data": _CHOICE,
            "test_fit_mle_too_few_samples": _CHOICE,
            "test_mle_simple_case": _CHOICE,
            "test_feature_names_out": "the names are those of the class",
            "test_pca_array_api": "array API dispatch",
            "test_pca_mle_array_api": "array API dispatch",
            "test_array_api": "array API dispatch",
        },
    ),
]


class Replacing:
    """A plugin of pytest that replaces the name in a suite's module, test by test."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.reasons: Counter[str] = Counter()

    # What scikit-learn's own configuration of pytest provides.

    @pytest.fixture
    def global_random_seed(self) -> int:
        return int(os.environ.get("SKLEARN_TESTS_GLOBAL_RANDOM_SEED", "42"))

    @pytest.fixture(params=[np.float64, np.float32])
    def global_dtype(self, request: Any) -> type:
        return request.param  # type: ignore[no-any-return]

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        kept, out = [], []
        for item in items:
            reason = self.reason(item.name)
            (out if reason else kept).append(item)
            self.reasons[reason] += bool(reason)
        config.hook.pytest_deselected(items=out)
        items[:] = kept

    def reason(self, test: str) -> str:
        left_out = self.suite.left_out.items()
        return next((why for name, why in left_out if re.match(name, test)), "")

    def pytest_runtest_setup(self, item: Any) -> None:
        suite = self.suite
        own = getattr(sklearn.decomposition, suite.name)
        chosen: Any = suite.instead
        if item.originalname in suite.compared:
            chosen = beside(suite.instead, own, *suite.exact)
        setattr(item.module, suite.name, chosen)


def main() -> None:
    folder = Path(sklearn.decomposition.__file__).parent / "tests"
    failed = False
    for suite in SUITES:
        plugin = Replacing(suite)
        options = ["-q", "-p", "no:cacheprovider", "--tb=short", *sys.argv[1:]]
        path = str(folder / f"{suite.module}.py")
        # The matrices are small: more threads would wait for one another.
        with threadpool_limits(1):
            failed |= bool(pytest.main([path, *options], plugins=[plugin]))
        for reason, count in plugin.reasons.items():
            if reason:
                print(f"{count:4} left out: {reason}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
