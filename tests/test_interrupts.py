"""Ctrl-C at any moment of a fit: what was found is kept, and the interrupt passed on.

Measurements that press Ctrl-C at a given product are the moments; they cover what lies
between two descents, and what follows the search.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator

from skprecgd import PrecGDMatrixSensing, PrecGDMatrixSensingCV
from skprecgd.datasets import make_matrix_sensing

SHAPE = (12, 10)
# Products before the first iterate: measurements are tried, scaled and summed.
BEFORE_THE_FIRST_ITERATE = 15


class Products:
    """A LinearOperator that counts its products and presses Ctrl-C at one of them."""

    def __init__(self, A, press_at=None):
        self.A, self.press_at, self.count = A, press_at, 0

    def _product(self, matrix, x):
        self.count += 1
        if self.count == self.press_at:
            raise KeyboardInterrupt
        return matrix @ x

    def operator(self):
        def forward(x):
            return self._product(self.A, x)

        def adjoint(w):
            return self._product(self.A.T, w)

        return LinearOperator(
            self.A.shape,
            matvec=forward,
            matmat=forward,
            rmatvec=adjoint,
            rmatmat=adjoint,
            dtype=self.A.dtype,
        )


def problem(seed, noise):
    A, y, _ = make_matrix_sensing(*SHAPE, rank=2, n_measurements=110, random_state=seed)
    rng = np.random.default_rng(seed)
    size = noise * np.linalg.norm(y) / np.sqrt(len(y))
    return A, y + size * rng.standard_normal(len(y))


def model(**options):
    options = {"matrix_shape": SHAPE, "random_state": 0, **options}
    return PrecGDMatrixSensing(4, **options)


def n_products(options, A, y):
    products = Products(A)
    model(**options).fit(products.operator(), y)
    return products.count


@pytest.mark.parametrize(
    ("options", "noise", "n_moments"),
    [
        ({}, 0.0, 60),
        ({"rank_search": "fixed"}, 0.0, 60),
        ({"outlier_fraction": 0.1}, 0.0, 60),
        ({}, 0.1, 60),
    ],
    ids=["path", "fixed", "outliers", "held out"],
)
def test_a_fit_is_kept_whenever_it_is_interrupted(
    options, noise, n_moments, global_random_seed
):
    A, y = problem(global_random_seed, noise)
    last = n_products(options, A, y)
    moments = np.linspace(BEFORE_THE_FIRST_ITERATE, last, n_moments).astype(int)
    for moment in np.unique(moments):
        interrupted = model(**options)
        with pytest.raises(KeyboardInterrupt):
            interrupted.fit(Products(A, moment).operator(), y)
        residual = np.linalg.norm(interrupted.predict(A) - y)
        assert residual <= np.linalg.norm(y) * (1 + 1e-12), moment
        if not interrupted.converged_:
            assert "Interrupted" in interrupted.stop_reason_, moment


@pytest.mark.parametrize("kind", ["estimator", "CV"])
def test_only_the_certificate_is_missing_if_it_is_interrupted(kind, global_random_seed):
    A, y = problem(global_random_seed, 0.0)
    fitted = model()
    if kind == "CV":
        fitted = PrecGDMatrixSensingCV(
            [1, 2, 3], matrix_shape=SHAPE, cv=2, random_state=0
        )
    products = Products(A)
    fitted.fit(products.operator(), y)
    assert fitted.certificate_.gap >= 0
    matrix = fitted.matrix_
    # Nothing follows the certificate, so the last product belongs to it.
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(Products(A, products.count).operator(), y)
    assert not hasattr(fitted, "certificate_")
    assert fitted.converged_
    np.testing.assert_array_equal(fitted.matrix_, matrix)
    if kind == "CV":
        rank = fitted.best_params_["n_components"]
        assert fitted.rank_path_.factors.rank <= rank


def test_a_second_interrupt_is_obeyed(global_random_seed):
    """What turns the search into attributes is started again, but only once."""
    A, y = problem(global_random_seed, 0.0)
    products = Products(A)
    options = {"outlier_fraction": 0.1}

    class PressedEverAfter(Products):
        def _product(self, matrix, x):
            self.count += 1
            if self.count >= self.press_at:
                raise KeyboardInterrupt
            return matrix @ x

    model(**options).fit(products.operator(), y)
    fitted = model(**options)
    with pytest.raises(KeyboardInterrupt):
        # Gross errors are told apart after the search, by products.
        fitted.fit(PressedEverAfter(A, products.count - 4).operator(), y)
    assert not hasattr(fitted, "left_")
