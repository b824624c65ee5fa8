"""Whole fits, small enough to repeat."""

from __future__ import annotations

import numpy as np

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing


class Completion:
    """1000 x 1000 of rank 5, five entries per degree of freedom."""

    params = ((1.0, 1e4), (5, 10))
    param_names = ("condition_number", "n_components")

    def setup(self, condition_number: float, n_components: int) -> None:
        self.X, self.truth = make_matrix_completion(
            1000,
            rank=5,
            oversampling=5,
            condition_number=condition_number,
            format="sparse",
            random_state=0,
        )
        self.model = PrecGDFactorization(
            n_components=n_components, missing_values=0, tol=1e-7, random_state=0
        )

    def time_fit(self, condition_number: float, n_components: int) -> None:
        self.model.fit(self.X)

    def track_iterations(self, condition_number: float, n_components: int) -> int:
        return int(self.model.fit(self.X).n_iter_)

    def track_error(self, condition_number: float, n_components: int) -> float:
        model = self.model.fit(self.X)
        return float(self.truth.relative_error(model.left_, model.right_))


class Sensing:
    """50 x 50 of rank 3 from 1500 dense measurements."""

    def setup(self) -> None:
        self.A, self.y, self.truth = make_matrix_sensing(
            50, rank=3, n_measurements=1500, condition_number=100, random_state=0
        )
        self.model = PrecGDMatrixSensing(n_components=6, tol=1e-7, random_state=0)

    def time_fit(self) -> None:
        self.model.fit(self.A, self.y)


class Complete:
    """Truncated SVD of a dense matrix."""

    def setup(self) -> None:
        self.X = np.random.default_rng(0).standard_normal((2000, 500))

    def time_fit(self) -> None:
        PrecGDFactorization(n_components=10, tol=1e-6, random_state=0).fit(self.X)
