"""What the scripts of this folder share: the true error, tables, figures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skprecgd.factors import Factors
from skprecgd.objective import Objective, Ray
from skprecgd.optim import Record, minimize
from skprecgd.optim.steps import StepRule

Array = npt.NDArray[Any]

RESULTS = Path(__file__).resolve().parents[1] / "results"


class ErrorRecorder(StepRule):
    """A step rule that also notes the relative error of every iterate.

    A callback of `minimize` sees the history's line, not the factors; a step rule
    sees the ray, and the ray can be asked for the point it leads to.

    Parameters
    ----------
    rule : StepRule
        What chooses the step.
    error : callable
        From the factors, in units of the data norm, to a number.

    Attributes
    ----------
    errors : list of float
        One for the start, then one for each iteration.
    """

    def __init__(self, rule: StepRule, error: Callable[[Factors], float]) -> None:
        self._rule = rule
        self._error = error
        self.errors: list[float] = []

    def __call__(self, ray: Ray, slope: float) -> float:
        if not self.errors:
            self.errors.append(self._error(ray.advance(0.0).factors))
        step = self._rule(ray, slope)
        self.errors.append(self._error(ray.advance(step).factors))
        return step


def error_curve(
    objective: Objective,
    start: Factors,
    truth: Array,
    step: StepRule,
    *,
    target: float,
    **options: Any,
) -> Array:
    """Relative Frobenius error of every iterate of `minimize` against the truth.

    Parameters
    ----------
    objective, start, **options
        As for `minimize`.
    truth : ndarray of shape (n_rows, n_columns)
    step : StepRule
    target : float
        Stop at the first iterate with at most this error.

    Returns
    -------
    ndarray of shape (n_iter + 1,)
    """
    # What `minimize` divides the matrix by; 1 where the loss has a scale of its own.
    unit, size = objective.normalised()[1], np.linalg.norm(truth)

    def error(factors: Factors) -> float:
        return float(np.linalg.norm(unit * factors.matrix() - truth) / size)

    recorder = ErrorRecorder(step, error)

    def reached(record: Record) -> bool:
        return bool(recorder.errors) and recorder.errors[-1] <= target

    minimize(objective, start, step_size=recorder, tol=0, callback=reached, **options)
    return np.array(recorder.errors)


def first_at_most(errors: Array, target: float) -> float:
    """The first iteration with at most that error, infinity if there is none."""
    reached = np.flatnonzero(errors <= target)
    return int(reached[0]) if len(reached) else np.inf


def print_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    """One line of a table, at once: the next one may take a while."""
    line = "  ".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
    print(line, flush=True)


def parser(description: str, *, figures: bool = True) -> argparse.ArgumentParser:
    """The options every script has, and those of a script with figures."""
    result = argparse.ArgumentParser(description=description)
    if figures:
        result.add_argument(
            "--out",
            type=Path,
            default=RESULTS,
            metavar="DIR",
            help="where the figures go (default: benchmarks/results, ignored by git)",
        )
    shown = "; the figures show the first" if figures else ""
    result.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[0],
        metavar="S",
        help=f"one or more seeds{shown} (default: 0)",
    )
    return result


def new_figure(
    n_rows: int, n_columns: int, *, sharey: bool | str = True
) -> tuple[Any, Any]:
    """A figure and its (n_rows, n_columns) array of axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit(
            "The figures need matplotlib: pip install 'skprecgd[bench]'."
        ) from error
    figure = Figure(figsize=(3.6 * n_columns, 2.9 * n_rows), layout="constrained")
    return figure, figure.subplots(
        n_rows, n_columns, sharex=True, sharey=sharey, squeeze=False
    )


def draw_panels(panels: dict[str, dict[str, Array]], ylabel: str) -> Any:
    """Curves by iteration on a logarithmic axis, one panel beside the other."""
    figure, axes = new_figure(1, len(panels))
    for ax, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for label, curve in curves.items():
            ax.semilogy(curve, label=label)
        ax.set(title=title, xlabel="iteration")
        ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel(ylabel)
    axes[0, 0].legend()
    return figure


def save_figure(figure: Any, directory: Path, name: str) -> None:
    """Write the figure and say where."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    figure.savefig(path, dpi=150)
    print(f"figure: {path}")
