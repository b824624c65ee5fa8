"""Products on a pattern of cells, and one iteration made of them."""

from __future__ import annotations

import numpy as np

from skprecgd.factors import FactorPair
from skprecgd.measurements import EntryMeasurements
from skprecgd.objective import make_objective


class Entries:
    """Half a million uniform entries of a 5000 x 5000 matrix."""

    params = ((5, 20), ("float32", "float64"))
    param_names = ("rank", "dtype")

    def setup(self, rank: int, dtype: str) -> None:
        n, n_entries = 5000, 500_000
        rng = np.random.default_rng(0)
        cells = np.sort(rng.choice(n * n, n_entries, replace=False))
        self.measurements = EntryMeasurements(*np.divmod(cells, n), (n, n), dtype)
        self.weights = rng.standard_normal(n_entries).astype(dtype)
        blocks = rng.standard_normal((4, n, rank)).astype(dtype)
        self.factors, self.direction = FactorPair(*blocks[:2]), FactorPair(*blocks[2:])
        self.objective = make_objective(self.measurements, self.weights)
        self.evaluation = self.objective.evaluate(self.factors)
        self.time_gradient(rank, dtype)
        self.time_ray(rank, dtype)

    def time_forward(self, rank: int, dtype: str) -> None:
        self.measurements.forward(self.factors.left, self.factors.right)

    def time_gradient(self, rank: int, dtype: str) -> None:
        self.objective.gradient(self.evaluation)

    def time_ray(self, rank: int, dtype: str) -> None:
        self.objective.ray(self.evaluation, self.direction).advance(0.1)

    def time_curvature_product(self, rank: int, dtype: str) -> None:
        self.objective.curvature(self.evaluation)(self.direction)

    def peakmem_ray(self, rank: int, dtype: str) -> None:
        self.time_ray(rank, dtype)
