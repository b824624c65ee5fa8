"""What Figures 2, 4 and 5 of JMLR 2023 share: truth, start, curves and panels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from _common import Array, error_curve, first_at_most, new_figure

from skprecgd.factors import SymmetricFactor
from skprecgd.objective import Objective, Ray
from skprecgd.optim.steps import ExactStep, StepRule

TRUE_RANK = 2
TARGET = 1e-12
CONDITION_NUMBERS = (1, 5)

Curves = dict[str, Array]


class Panel(NamedTuple):
    """One panel of a figure: ``M* = Z Z^T`` and ``X_0 = [Z 0] + 0.01 N(0, 1)``."""

    rank: int
    condition_number: float
    z: Array
    start: SymmetricFactor

    @classmethod
    def drawn(
        cls, rng: np.random.Generator, rank: int, condition_number: float, size: int
    ) -> Panel:
        """A truth with eigenvalues (1, 1 / kappa), and a start next to it."""
        basis, _ = np.linalg.qr(rng.standard_normal((size, TRUE_RANK)))
        z = np.zeros((size, rank))
        z[:, :TRUE_RANK] = basis * np.sqrt([1.0, 1.0 / condition_number])
        start = z + 1e-2 * rng.standard_normal(z.shape)
        return cls(rank, condition_number, z, SymmetricFactor(start))

    def of_size(self, size: float) -> Panel:
        """The same panel, with entries of M* of this root mean square."""
        factor = np.sqrt(size / np.sqrt(np.mean(self.truth**2)))
        start = SymmetricFactor(factor * self.start.left)
        return self._replace(z=factor * self.z, start=start)

    @property
    def truth(self) -> Array:
        return np.asarray(self.z @ self.z.T)

    @property
    def name(self) -> str:
        relation = "=" if self.rank == TRUE_RANK else ">"
        return f"r = {self.rank} {relation} r*, kappa = {self.condition_number:g}"

    def curve(
        self, objective: Objective, step: StepRule | None = None, **options: Any
    ) -> Array:
        """Relative error of every iterate; the exact step unless another is given."""
        return error_curve(
            objective,
            self.start,
            self.truth,
            step or ExactStep(),
            target=TARGET,
            **options,
        )


class PaperGDStep(StepRule):
    """Gradient descent with a constant step in the paper's units.

    The package's own divides by ``2 lambda_max(X^T X)``, the paper's does not.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def __call__(self, ray: Ray, slope: float) -> float:
        (gram,) = ray.advance(0.0).factors.metric_grams()
        return self._rate * float(np.linalg.eigvalsh(gram)[-1])


def reached(curve: Array) -> str:
    """The iterations to the target, or the last error."""
    count = first_at_most(curve, TARGET)
    return f"{count:g} its" if np.isfinite(count) else f"{curve[-1]:.1e}"


def draw(panels: dict[str, Curves], title: str) -> Any:
    """Search ranks from left to right, condition numbers from top to bottom."""
    n_rows = len(CONDITION_NUMBERS)
    figure, axes = new_figure(n_rows, len(panels) // n_rows)
    for ax, (name, curves) in zip(axes.T.ravel(), panels.items(), strict=True):
        # Curves that coincide stay visible: later ones are thinner.
        for i, (label, curve) in enumerate(curves.items()):
            ax.semilogy(curve, label=label, linewidth=3.5 - 0.6 * i)
        ax.set_title(name)
        ax.set_ylim(TARGET / 3, 1)
        ax.grid(alpha=0.3)
    for ax in axes[-1]:
        ax.set_xlabel("iteration")
    for ax in axes[:, 0]:
        ax.set_ylabel("relative error")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=axes.shape[1],
    )
    figure.suptitle(title)
    return figure
