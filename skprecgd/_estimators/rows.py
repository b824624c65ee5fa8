"""Solvers for the coordinates of rows in the row space found; a fit chooses one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy import sparse

from skprecgd._estimators.data import Rows, VisibleRows
from skprecgd._estimators.fitted import minimised, signed_svd
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.scoring import explained_share, without_largest
from skprecgd._linalg.row_systems import (
    normal_matrices,
    row_products,
    row_slabs,
    solve_rows,
    solve_systems,
    weighted_least_squares,
    with_values,
)
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.kernels import sampled_product
from skprecgd.losses import Loss
from skprecgd.objective import GrossErrors, Objective, Weights
from skprecgd.objective.penalty import ALIKE, RowWeight
from skprecgd.objective.weights import ONCE
from skprecgd.optim.path.result import PathResult
from skprecgd.optim.result import Status
from skprecgd.robust import largest_of_lines, line_limits, whole_counts


@dataclass(frozen=True)
class RowTuning:
    """How far the iterations for coordinates of rows go.

    Attributes
    ----------
    max_newton : int
        Newton steps at most, each of them for many rows together.
    max_cuts : int
        Trials of lengths of a Newton step at most.
    tolerance : float
        Length of a row's step, relative to the coordinates, that ends the iteration.
    max_rounds : int
        Fits of a row at most, before its gross errors are taken as they are. Most rows
        need five.
    """

    max_newton: int = 100
    max_cuts: int = 30
    tolerance: float = 1e-10
    max_rounds: int = 50


ROW_TUNING = RowTuning()


class RowSolver(ABC):
    """Coordinates of rows from their visible entries, and scores of hidden ones.

    It holds what the fit decided, except for the row space, which is among the fitted
    attributes of the estimator.

    Parameters
    ----------
    loss : Loss
        The loss that was minimised in the end.
    ridge : ndarray of shape (r,) or (n_rows, r)
        Ridge on each coordinate (of each row); see `row_ridge`.
    each_entry : str, default=None
        The parameter of the estimator that needs single entries of a row, if there is
        one; see `needs_each_entry`.
    tuning : RowTuning, default=ROW_TUNING
    """

    def __init__(
        self,
        loss: Loss,
        ridge: Array,
        each_entry: str | None = None,
        *,
        tuning: RowTuning = ROW_TUNING,
    ) -> None:
        self.loss, self.ridge, self.each_entry = loss, ridge, each_entry
        self.tuning = tuning

    def leading(self, r: int) -> Self:
        """The same solver for the first `r` components of the row space."""
        solver = copy(self)
        solver.ridge = self.ridge[:r]
        return solver

    @abstractmethod
    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        """Coordinates of each row, by its visible entries alone.

        Parameters
        ----------
        rows : VisibleRows
        space : RowSpace

        Returns
        -------
        ndarray of shape (n_rows, r)
        """

    def predict_hidden(
        self, rows: Rows, space: RowSpace, share: float, rng: np.random.RandomState
    ) -> Iterator[tuple[Array, Array, Array]]:
        """Rows, values and predictions of the entries hidden in each round.

        Parameters
        ----------
        rows : Rows
        space : RowSpace
        share : float
            Share of the entries that is hidden in each round.
        rng : RandomState
        """
        for visible, hidden in rows.rounds(share, rng):
            self.loss.target_check(hidden.values)
            z = self.coordinates(visible, space)
            predictions = space.entries(z, hidden.rows, hidden.columns)
            yield hidden.rows, hidden.values, predictions

    def score(self, values: Array, predictions: Array, weight: Array | None) -> float:
        """R^2 or D^2 of predictions, for entries that were hidden.

        Parameters
        ----------
        values, predictions : ndarray of shape (n,)
        weight : ndarray of shape (n,) or None
        """
        return explained_share(self.loss, values, predictions, weight)


class LeastSquaresRows(RowSolver):
    """Least squares, of least norm where a row has too few visible entries."""

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        return rows.least_squares(space, self.ridge)


class LossRows(RowSolver):
    """The lowest loss, one small convex problem a row.

    Minimises ``sum_j w_j loss(basis_j z + offset_j, x_j) + z^T diag(ridge) z / 2`` over
    the visible entries j of a row, by Newton steps (with the curvature's bound where
    the loss gives one), for many rows at once.
    """

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        entries = rows.entries()
        self.loss.target_check(entries.values)
        weights = entries.weights.of_losses
        weighted = None if weights is None else entries.csr(weights)
        return self.of_entries(entries.csr(), space, weighted)

    def of_entries(
        self,
        visible: sparse.csr_array,
        space: RowSpace,
        weights: sparse.csr_array | None = None,
    ) -> Array:
        """Coordinates of each row.

        Parameters
        ----------
        visible : csr_array of shape (n_rows, n_columns)
            Its stored values are the visible entries, explicit zeros included.
        space : RowSpace
        weights : csr_array of the same pattern, default=None
            The factor of each entry's loss; None is one.

        Returns
        -------
        ndarray of shape (n_rows, r)
        """
        basis = space.determined.basis.astype(np.float64)
        rank = basis.shape[1]
        products = row_products(basis)
        out = np.zeros((visible.shape[0], rank))
        ridge = np.broadcast_to(self.ridge[..., :rank], out.shape)
        for part in row_slabs(out):
            factors = 1.0 if weights is None else weights[part].data
            for stage in self.loss.continuation():
                problem = _RowProblem(
                    stage, visible[part], basis, space.offsets, factors
                )
                out[part] = _newton(
                    problem, products, ridge[part], out[part], self.tuning
                )
        return space.padded(out.astype(space.basis.dtype))


class TrimmedRows(RowSolver):
    """Least squares of those entries of a row that are no gross errors.

    Least-squares fits and choices of the gross errors alternate, for each row by
    itself. The gross errors of a row are its largest residuals: at most as many as
    `robust.line_limits` allows, and only those above a level.

    Parameters
    ----------
    loss, ridge, each_entry, tuning
        See `RowSolver`.
    fraction : float
        Upper bound of the corrupted share of a row.
    level : float
        Residuals up to this size are no gross errors.
    """

    def __init__(
        self,
        loss: Loss,
        ridge: Array,
        each_entry: str | None = None,
        *,
        fraction: float,
        level: float,
        tuning: RowTuning = ROW_TUNING,
    ) -> None:
        super().__init__(loss, ridge, each_entry, tuning=tuning)
        self.fraction, self.level = fraction, level

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        entries, basis = rows.entries(), space.determined.basis
        z = self.of_entries(entries.centred(space), basis, entries.weights)
        return space.padded(z)

    def of_entries(
        self, visible: sparse.csr_array, basis: Array, weights: Weights = ONCE
    ) -> Array:
        """Coordinates of each row.

        Parameters
        ----------
        visible : csr_array of shape (n_rows, n_columns)
            The visible entries, explicit zeros included.
        basis : ndarray of shape (n_columns, r)
            Orthonormal columns.
        weights : Weights, default=ONCE
            Weights of the visible entries.

        Returns
        -------
        ndarray of shape (n_rows, r)
        """
        weights = whole_counts(weights)
        limits = self._limits(visible, weights)
        numbers = with_values(visible, np.arange(visible.nnz))
        out = np.zeros((visible.shape[0], basis.shape[1]), dtype=basis.dtype)
        pending = np.arange(visible.shape[0])
        before: Array | None = None
        for _ in range(self.tuning.max_rounds):
            part = _Part(visible[pending], weights.at(numbers[pending].data))
            errors = self._errors(part, out[pending], basis, limits[pending])
            moved = np.ones(len(pending), dtype=bool)
            if before is not None:
                changed = part.lines[errors != before]
                moved = np.bincount(changed, minlength=len(pending)) > 0
            if not moved.any():
                break
            pending, before = pending[moved], errors[moved[part.lines]]
            kept = ~errors & moved[part.lines]
            ridge = self.ridge[: basis.shape[1]]
            out[pending] = part.least_squares(moved, kept, basis, ridge)
        return out

    def _limits(self, visible: sparse.csr_array, weights: Weights) -> Array:
        """Largest numbers of gross errors of each row."""
        if weights.frequency is None:
            return line_limits(np.diff(visible.indptr), self.fraction)
        often = with_values(visible, weights.frequency)
        return line_limits(np.asarray(often.sum(axis=1)).ravel(), self.fraction)

    def _errors(self, part: _Part, z: Array, basis: Array, limits: Array) -> Array:
        """Which entries are gross errors, given coordinates z of their rows."""
        lines, often = part.lines, part.weights.frequency
        fitted = sampled_product(z, basis, lines, part.visible.indices)
        sizes = np.abs(part.visible.data - fitted)
        if part.weights.precision is not None:
            sizes *= np.sqrt(part.weights.precision)
        large = np.flatnonzero(sizes > self.level)
        errors = np.zeros(len(sizes), dtype=bool)
        errors[large] = largest_of_lines(
            sizes[large], lines[large], limits, None if often is None else often[large]
        )
        return errors

    def score(self, values: Array, predictions: Array, weight: Array | None) -> float:
        return super().score(
            *without_largest(values, predictions, self.fraction, weight)
        )


class CountedRows(RowSolver):
    """Rows whose ridge depends on how many entries they show.

    It is a quadratic form of the coordinates that is diagonal in another basis of the
    row space than that of the singular vectors. There, another solver finds them.

    Parameters
    ----------
    solver : RowSolver
    form : ndarray of shape (k, k)
        That of a row of weight one, in the first k coordinates; the others are zero.
    weight : RowWeight
    """

    def __init__(self, solver: RowSolver, form: Array, weight: RowWeight) -> None:
        super().__init__(
            solver.loss, solver.ridge, solver.each_entry, tuning=solver.tuning
        )
        self.solver, self.form, self.weight = solver, form, weight

    def leading(self, r: int) -> Self:
        made = super().leading(r)
        made.form = self.form[:r, :r]
        return made

    def coordinates(self, rows: VisibleRows, space: RowSpace) -> Array:
        basis = space.determined.basis
        k = min(len(self.form), basis.shape[1])
        values, turn = np.linalg.eigh(self.form[:k, :k])
        turned = RowSpace(basis[:, :k] @ turn.astype(basis.dtype), space.offsets)
        solver = copy(self.solver)
        solver.ridge = self.weight(rows.counts())[:, None] * np.maximum(values, 0.0)
        z = solver.coordinates(rows, turned) @ turn.T.astype(basis.dtype)
        return space.padded(z)


def make_row_solver(
    objective: Objective,
    result: PathResult,
    factors: Factors,
    gross: GrossErrors | None,
    each_entry: str | None,
    components: Factors | None = None,
) -> RowSolver:
    """The solver for rows like those of a fit.

    Parameters
    ----------
    objective : Objective
        The objective of the fit.
    result : PathResult
    factors : Factors
        The factors that the estimator keeps.
    gross : GrossErrors or None
        The errors that the fit left out; None if the objective leaves nothing out.
    each_entry : str or None
        See `RowSolver`.
    components : Factors, default=None
        The factors without the component that offsets of rows are; None if there are
        no such offsets. A penalty is on these alone.
    """
    loss = minimised(objective, result).loss
    ridge = row_ridge(objective, result, factors)
    if gross is not None:
        fraction, level = gross.fraction, gross.level
        return TrimmedRows(loss, ridge, each_entry, fraction=fraction, level=level)
    kind = LeastSquaresRows if loss.least_squares else LossRows
    solver, penalty = kind(loss, ridge, each_entry), objective.penalty_of_sum
    beside = components is not None and penalty.shrinks
    diagonal = penalty.row_weight is None and not beside
    if diagonal or result.status is Status.HELD_OUT:
        return solver
    weight, k = penalty.row_weight or ALIKE, factors.numerical_rank
    basis = signed_svd(factors)[2][:, :k]
    if components is None:
        form = penalty.row_form(factors.truncated(k), basis)
        return CountedRows(solver, form, weight)
    own = components.truncated(components.numerical_rank)
    if own.rank != k - 1:
        # All rows have the same offset, so that no coordinate stands for it.
        return solver
    form = penalty.row_form(own, basis, constant=True)
    return CountedRows(solver, form, weight)


def row_ridge(objective: Objective, result: PathResult, factors: Factors) -> Array:
    """The ridge on coordinates of rows that goes with a fit, shape (r,).

    A ridge alpha on the factors is a ridge ``alpha / s`` on the coordinates, because a
    row of the left factor is its coordinates divided by the roots of the singular
    values s. It holds the coordinate at zero where the ridge has removed a component.

    A fit that held-out entries ended needs another one: the few labels of a single row
    are often explained best by infinite coordinates, and no entries of it are held out.
    The coordinates of the fitted rows have mean square ``s^2 / n_rows``. With that
    variance as a Gaussian prior, the ridge is ``n_rows / s^2``.
    """
    s = factors.singular_values().astype(np.float64)
    safe = np.where(s > 0, s, 1.0)
    if result.status is Status.HELD_OUT:
        return np.where(s > 0, objective.matrix_shape[0] / safe**2, np.inf)
    if not objective.penalty_of_sum.shrinks:
        return np.zeros_like(s)
    alpha = objective.penalty_of_sum.threshold
    return np.where(s > 0, alpha / safe, np.inf)


# Other losses than the squared one ----------------------------------------------------


class _RowProblem:
    """The losses of some rows as functions of their predictions."""

    def __init__(
        self,
        loss: Loss,
        visible: sparse.csr_array,
        basis: Array,
        offsets: Array,
        weights: Array | float,
    ) -> None:
        self.loss, self.basis, self.pattern = loss, basis, visible
        self.weights, self._factors, self._offsets = weights, weights, offsets
        self.n_rows = visible.shape[0]
        self.columns = visible.indices
        self.rows = np.repeat(np.arange(self.n_rows), np.diff(visible.indptr))
        self.targets = visible.data.astype(np.float64)
        self.start = offsets[self.columns].astype(np.float64)
        # Dividing the problem of a row by a number leaves its solution, and sums over
        # large counts finite.
        self.units = np.ones(self.n_rows)
        if loss.generalized:
            np.maximum.at(self.units, self.rows, self.targets)
            self.weights = weights / self.units[self.rows]

    def products(self, z: Array) -> Array:
        return sampled_product(z, self.basis, self.rows, self.columns)

    def of(self, rows: Array) -> _RowProblem:
        """The problem of the rows where a mask is true."""
        factors = self._factors
        if isinstance(factors, np.ndarray):
            factors = factors[rows[self.rows]]
        pattern = self.pattern[rows]
        return _RowProblem(self.loss, pattern, self.basis, self._offsets, factors)

    def near(self) -> Array | None:
        """Predictions near the targets; None if zero is as good a start."""
        return self.loss.near(self.targets) if self.loss.generalized else None

    def adjoint(self, values: Array) -> Array:
        """Sum of the entries' values times their rows of the basis, in each row."""
        return np.asarray(with_values(self.pattern, values) @ self.basis)

    def gradient(self, predictions: Array) -> Array:
        with np.errstate(over="ignore"):
            return self.weights * self.loss.gradient(predictions, self.targets)

    def curvature(self, predictions: Array) -> Array:
        if self.loss.has_curvature:
            return self.weights * self.loss.curvature(predictions, self.targets)
        typical = self.loss.typical_curvature(self.targets)
        return self.weights * np.full_like(predictions, typical)

    def sums(self, values: Array) -> Array:
        """Sum of the entries' values in each row."""
        sums = np.bincount(self.rows, weights=values, minlength=self.n_rows)
        # NumPy counts in integers where there is nothing to add up.
        return sums.astype(np.float64, copy=False)


def _newton(
    problem: _RowProblem, products: Array, ridge: Array, start: Array, tuning: RowTuning
) -> Array:
    """The minimum for each row, by Newton steps from some coordinates."""
    z, predictions = start, problem.start + problem.products(start)
    scaled = ridge / problem.units[:, None]
    step = _first_step(problem, products, scaled) if not np.any(start) else None
    pending = np.ones(problem.n_rows, dtype=bool)
    for left in range(tuning.max_newton - 1, -1, -1):
        gradient = problem.adjoint(problem.gradient(predictions)) + scaled * z
        if step is None:
            curvature = problem.curvature(predictions)
            step = -_solution(problem, curvature, products, scaled, gradient)
        # A row that is done stays where it is, whichever rows it is solved with.
        step[~pending] = 0.0
        ray = _RowRays(problem, predictions, z, step, gradient, scaled)
        length = ray.lengths(tuning.max_cuts)
        z = z + length[:, None] * step
        predictions = predictions + length[problem.rows] * ray.ahead
        sizes, steps = (np.max(np.abs(rows), axis=1, initial=0.0) for rows in (z, step))
        pending &= steps > tuning.tolerance * sizes
        if np.sum(pending) <= 0.5 * len(pending):
            # The others are done, and a step costs as much as there are entries.
            if left and pending.any():
                fewer, part = replace(tuning, max_newton=left), problem.of(pending)
                z[pending] = _newton(part, products, ridge[pending], z[pending], fewer)
            break
        step = None
    return z


def _first_step(problem: _RowProblem, products: Array, ridge: Array) -> Array | None:
    """The step from zero to the minimum of parabolas that touch near the targets.

    Those that touch at zero say little where a link bends: a count of a million looks
    there like a logarithmic mean of a million. A start near the targets, before there
    are coordinates, is that of generalized linear models.
    """
    near = problem.near()
    if near is None:
        return None
    curvature = problem.curvature(near)
    rhs = problem.adjoint(curvature * (near - problem.start) - problem.gradient(near))
    return _solution(problem, curvature, products, ridge, rhs)


def _solution(
    problem: _RowProblem, curvature: Array, products: Array, ridge: Array, rhs: Array
) -> Array:
    """Solutions of the rows' systems of these curvatures and the ridge."""
    r = rhs.shape[1]
    normal = normal_matrices(with_values(problem.pattern, curvature), products, r)
    normal[:, np.arange(r), np.arange(r)] += ridge
    return solve_systems(normal, rhs, np.finfo(np.float64).eps, relative=True)


class _RowRays:
    """The losses of some rows along one step each."""

    def __init__(
        self,
        problem: _RowProblem,
        predictions: Array,
        z: Array,
        step: Array,
        gradient: Array,
        ridge: Array,
    ) -> None:
        self.problem, self.predictions = problem, predictions
        self.ahead = problem.products(step)
        self._z, self._step, self._ridge = z, step, ridge
        self._start = np.einsum("ij,ij->i", gradient, step)

    def slopes(self, length: Array) -> Array:
        """The slope of each row at these lengths of its step."""
        at = self.predictions + length[self.problem.rows] * self.ahead
        with np.errstate(over="ignore", invalid="ignore"):
            slopes = self.problem.sums(self.problem.gradient(at) * self.ahead)
        moved = self._z + length[:, None] * self._step
        return slopes + np.einsum("ij,ij->i", self._ridge * moved, self._step)

    def lengths(self, max_cuts: int) -> Array:
        """The length of each row's step: 1, cut while it overshoots (backtracking).

        A step overshoots if the slope at its end is more than half as steep upwards as
        the slope at its start was downwards. The losses are convex, so any other step
        ends before the minimum along it or not far beyond. A step may be too long by
        orders of magnitude, where the curvature at its start was that of a flat tail:
        cuts become larger, until bisection goes back to half of the longest that does
        not overshoot at least.
        """
        down = np.abs(self._start)
        length, least = np.ones(len(down)), np.zeros(len(down))
        most = np.full(len(down), np.inf)
        for _ in range(max_cuts):
            slopes = self.slopes(length)
            steep = ~(slopes <= 0.5 * down) & (down > 0)
            most = np.where(steep, length, most)
            least = np.where(steep, least, length)
            short = ~steep & (slopes < -0.5 * down) & (2 * least < most)
            pending = steep | (short & np.isfinite(most))
            if not pending.any():
                break
            cut = np.where(
                least > 0, np.sqrt(least * most), length * np.minimum(0.5, length)
            )
            length = np.where(pending, cut, length)
        return least


# Gross errors -------------------------------------------------------------------------


class _Part:
    """Some rows with the weights of their visible entries."""

    def __init__(self, visible: sparse.csr_array, weights: Weights) -> None:
        self.visible, self.weights = visible, weights
        self.lines = np.repeat(np.arange(visible.shape[0]), np.diff(visible.indptr))

    def least_squares(
        self, rows: Array, kept: Array, basis: Array, ridge: Array
    ) -> Array:
        """Coordinates of the rows where a mask is true, from the entries kept."""
        part = _where(self.visible, kept)[rows]
        weights = self.weights.at(kept).of_losses
        if weights is not None:
            return weighted_least_squares(part, weights, basis, ridge)
        return solve_rows(part, part @ basis, basis, ridge)


def _where(matrix: sparse.csr_array, mask: Array) -> sparse.csr_array:
    """The stored entries where `mask` is true, and no others."""
    indptr = np.concatenate([[0], np.cumsum(mask)])[matrix.indptr]
    return sparse.csr_array(
        (matrix.data[mask], matrix.indices[mask], indptr), shape=matrix.shape
    )
