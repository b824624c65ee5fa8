"""What several test modules build on."""

from __future__ import annotations

import numpy as np

from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.losses import Loss


class LogCosh(Loss):
    """A smooth loss, neither quadratic nor homogeneous: right in every respect."""

    name = "log_cosh"
    curvature_bound = 1.0
    homogeneous = False

    def value(self, z, y):
        r = np.abs(z - y)
        return float(np.sum(r + np.log1p(np.exp(-2 * r)) - np.log(2)))

    def gradient(self, z, y):
        return np.tanh(z - y)

    def curvature(self, z, y):
        return 1 / np.cosh(z - y) ** 2


def sensing_problem(seed, noise=0.0, symmetric=False):
    A, y, _ = make_matrix_sensing(
        10,
        10 if symmetric else 8,
        rank=2,
        n_measurements=100,
        noise=noise,
        condition_number=3,
        symmetric=symmetric,
        random_state=seed,
    )
    return A, y


def completion_problem(seed, noise=0.0):
    X, _ = make_matrix_completion(
        25,
        18,
        rank=2,
        oversampling=4,
        min_per_line=5,
        noise=noise,
        condition_number=3,
        random_state=seed,
    )
    return X
