"""Checks for your own measurements, losses and objectives.

Each check compares a part with the definition it has to satisfy, on random numbers,
and raises an AssertionError that says what does not hold. The package tests its own
parts with them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skprecgd._linalg.numerics import (
    adjoint_of,
    complex_dtype,
    dot,
    gram,
    in_precision,
    norm,
)
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.factors import Factors
from skprecgd.losses import Loss
from skprecgd.measurements import LinearOperatorMeasurements, Measurements
from skprecgd.measurements.real_numbers import RealNumbers
from skprecgd.objective import Evaluation, Objective

__all__ = ["check_loss", "check_measurements", "check_objective"]

# Sizes that errors are measured against are the largest of this many random draws: a
# single draw may cancel by chance.
_N_DRAWS = 4
# Up to this many numbers the measurement matrices are formed to check their size.
_MAX_FORMED = 1 << 18
# Difference quotients, extrapolated once, are right to about this much in float64.
_DIFFERENCE_STEP = 1e-4
_DIFFERENCE_TOLERANCE = 1e-6


class _Report:
    """Compares, remembers the largest relative error, complains in a sentence."""

    def __init__(self, subject: object, tolerance: float) -> None:
        self._subject = type(subject).__name__
        self._tolerance = tolerance
        self.largest = 0.0

    def compare(
        self,
        what: str,
        found: Any,
        expected: Any,
        size: float = 0.0,
        *,
        tolerance: float | None = None,
    ) -> None:
        """Norm of the difference, relative to `size` or to what is compared."""
        found, expected = _in_double(found), _in_double(expected)
        self.ensure(
            found.shape == expected.shape,
            f"{what}: the shape is {found.shape} and should be {expected.shape}",
        )
        self.ensure(bool(np.all(np.isfinite(found))), f"{what}: not finite")
        difference = norm(found - expected)
        size = max(size, norm(found), norm(expected))
        self.bound(what, difference / size if difference > 0 else 0.0, tolerance)

    def bound(self, what: str, error: float, tolerance: float | None = None) -> None:
        """The relative error of a statement, against the tolerance."""
        tolerance = self._tolerance if tolerance is None else tolerance
        self.ensure(
            error <= tolerance,
            f"{what}: relative error {error:.1e}, more than rounding explains "
            f"({tolerance:.1e})",
        )
        self.largest = max(self.largest, error)

    def ensure(self, holds: bool, sentence: str) -> None:
        """Raise AssertionError with the sentence unless it holds."""
        if not holds:
            raise AssertionError(f"{self._subject}: {sentence}.")


# --------------------------------------------------------------------------------------
# Measurements
# --------------------------------------------------------------------------------------


def check_measurements(
    measurements: Measurements, rank: int = 2, random_state: RandomState = 0
) -> float:
    """Check that measurements keep the contract of `Measurements`.

    On random factors: `forward` is linear in the matrix; `adjoint` is its adjoint,
    ``<A(L R^T), w> = <L, A*(w) R>``, and so are the products with it; `forward_ray`,
    `forward_tangent` and `tangent` are what `forward` and the adjoint give; a selection
    of measurements measures the same numbers; the symmetric use (left *is* right) is
    the general one; `mean_square` is the mean squared entry of the measurement
    matrices, with weights too (they are formed for it if they have at most 2^18
    numbers); `cells` and `row_solutions` are what `single_entries` and `forward` say;
    nothing writes to its arguments. Factors and weights of complex measurements are
    complex.

    Parameters
    ----------
    measurements : Measurements
        What to check.
    rank : int, default=2
        Number of columns of the random factors.
    random_state : int, RandomState instance or None, default=0
        Seed of the random factors and weights.

    Returns
    -------
    error : float
        The largest relative error met: rounding, if all is well.

    Raises
    ------
    AssertionError
        If something does not hold to ``200 + 10 sqrt(numbers in play)`` rounding
        errors of the measurements' dtype.

    Examples
    --------
    >>> from skprecgd.measurements import EntryMeasurements
    >>> from skprecgd.testing import check_measurements
    >>> A = EntryMeasurements([0, 2, 2], [1, 0, 1], (3, 2))
    >>> check_measurements(A) < 1e-13
    True
    """
    rng = check_random_state(random_state)
    report = _Report(measurements, _rounding(measurements))
    _check_container(measurements, report)
    draws = [_draw_factors(measurements, rank, rng) for _ in range(_N_DRAWS)]
    weights = _normal(rng, measurements.n_measurements, measurements.dtype)
    _check_arguments_kept(measurements, draws[0], weights, report)
    _check_forward(measurements, draws, report)
    _check_adjoint(measurements, draws, weights, report)
    _check_tangent(measurements, draws, weights, report)
    _check_selection(measurements, draws, rng, report)
    _check_cells(measurements, draws, report)
    _check_row_solutions(measurements, draws, report)
    if measurements.matrix_shape[0] == measurements.matrix_shape[1]:
        _check_symmetric_use(measurements, draws, report)
    formed = measurements.n_measurements * measurements.shape[1] <= _MAX_FORMED
    if formed and not isinstance(measurements, RealNumbers):
        _check_mean_square(measurements, report)
    return report.largest


def _check_container(measurements: Measurements, report: _Report) -> None:
    n, (n_rows, n_columns) = measurements.n_measurements, measurements.matrix_shape
    report.ensure(len(measurements) == n, f"len() is not n_measurements = {n}")
    report.ensure(
        measurements.shape == (n, n_rows * n_columns),
        f"shape is {measurements.shape} and should be {(n, n_rows * n_columns)}",
    )
    report.ensure(
        measurements.dtype in (np.float32, np.float64, np.complex64, np.complex128),
        f"dtype is {measurements.dtype} and should be float32 or float64, or complex",
    )


def _check_arguments_kept(
    measurements: Measurements,
    draw: tuple[Array, ...],
    weights: Array,
    report: _Report,
) -> None:
    left, right, d_left, d_right = draw
    given = [*draw, weights]
    copies = [array.copy() for array in given]
    measurements.forward(left, right)
    measurements.forward_ray(left, right, d_left, d_right)
    adjoint = measurements.adjoint(weights)
    adjoint @ right, adjoint_of(adjoint) @ left
    measurements.adjoint_products(weights, left, right)
    if measurements.keeps_adjoint:
        measurements.forward_and_back(left, right, 1.0)
        measurements.ray_and_back(left, right, d_left, d_right, 1.0)
    tangent = measurements.tangent(left, right)
    tangent.forward(d_left, d_right)
    tangent.adjoint(weights)
    tangent.normal(d_left, d_right, weights)
    report.ensure(
        all(np.array_equal(a, b) for a, b in zip(given, copies, strict=True)),
        "a method writes to its arguments",
    )


def _check_forward(
    measurements: Measurements, draws: list[tuple[Array, ...]], report: _Report
) -> None:
    left, right, d_left, d_right = draws[0]
    size = _forward_size(measurements, draws)
    measured = measurements.forward(left, right)
    report.ensure(
        measured.dtype == measurements.dtype,
        f"forward returns {measured.dtype} for factors of its own dtype, "
        f"{measurements.dtype}",
    )
    quadratic = measurements.forward(d_left, d_right)
    linear = measurements.forward(d_left, right) + measurements.forward(left, d_right)
    report.compare(
        "forward of stacked factors against the sum of both",
        measurements.forward(np.hstack([left, d_left]), np.hstack([right, d_right])),
        measured + quadratic,
        size,
    )
    times = -3j if measurements.dtype.kind == "c" else -3
    report.compare(
        f"forward of {times} L against {times} times that of L",
        measurements.forward(times * left, right),
        times * measured,
        size,
    )
    report.compare(
        "forward_tangent against forward",
        measurements.forward_tangent(left, right, d_left, d_right),
        linear,
        size,
    )
    ray = measurements.forward_ray(left, right, d_left, d_right)
    report.compare("linear part of forward_ray against forward", ray[0], linear, size)
    report.compare(
        "quadratic part of forward_ray against forward", ray[1], quadratic, size
    )


def _check_adjoint(
    measurements: Measurements,
    draws: list[tuple[Array, ...]],
    weights: Array,
    report: _Report,
) -> None:
    left, right, d_left, _ = draws[0]
    size = _forward_size(measurements, draws) * norm(weights)
    adjoint = measurements.adjoint(weights)
    shape = tuple(adjoint.shape)
    report.ensure(
        shape == measurements.matrix_shape,
        f"adjoint has shape {shape} and should have {measurements.matrix_shape}",
    )
    report.ensure(
        isinstance(adjoint, np.ndarray) or not measurements.keeps_adjoint,
        f"keeps_adjoint is set and adjoint is a {type(adjoint).__name__}, not an array",
    )
    times_right, times_left = _adjoint_times(measurements, weights, left, right)
    inner = dot(measurements.forward(left, right), weights)
    report.compare(
        "<A(L R^T), w> against <L, A*(w) R>", dot(left, times_right), inner, size
    )
    report.compare(
        "<A(L R^T), w> against <A*(w)^T L, R>", dot(times_left, right), inner, size
    )
    # Once more with a second left factor: the identity above fixes one number only.
    report.compare(
        "<A(D R^T), w> against <D, A*(w) R>",
        dot(d_left, times_right),
        dot(measurements.forward(d_left, right), weights),
        size,
    )
    both = measurements.adjoint_products(weights, left, right)
    report.compare("adjoint_products against adjoint @ R", both[0], times_right)
    report.compare("adjoint_products against adjoint.T @ L", both[1], times_left)
    if measurements.keeps_adjoint:
        _check_way_back(measurements, draws[0], report)


def _check_way_back(
    measurements: Measurements, draw: tuple[Array, ...], report: _Report
) -> None:
    left, right, d_left, d_right = draw
    ray = measurements.forward_ray(left, right, d_left, d_right)
    there = measurements.ray_and_back(left, right, d_left, d_right, 2.0)
    report.compare("ray_and_back against forward_ray", np.stack(there[:2]), ray)
    back = np.stack([2 * measurements.adjoint(z) for z in ray])
    report.compare(
        "ray_and_back against adjoint of forward_ray", np.stack(there[2:]), back
    )
    measured, back = measurements.forward_and_back(left, right, 2.0)
    expected = measurements.forward(left, right)
    report.compare("forward_and_back against forward", measured, expected)
    expected = 2 * measurements.adjoint(expected)
    report.compare("forward_and_back against adjoint of forward", back, expected)


def _check_tangent(
    measurements: Measurements,
    draws: list[tuple[Array, ...]],
    weights: Array,
    report: _Report,
) -> None:
    left, right, d_left, d_right = draws[0]
    size = _forward_size(measurements, draws)
    tangent = measurements.tangent(left, right)
    measured = tangent.forward(d_left, d_right)
    report.compare(
        "tangent(L, R).forward against forward_tangent",
        measured,
        measurements.forward_tangent(left, right, d_left, d_right),
        size,
    )
    # Directions need few digits: single precision will do.
    rounding = _rounding(measurements, np.dtype(np.float32))
    in_two = tangent.adjoint(weights * measured)
    size = norm(np.concatenate([part.ravel() for part in in_two]))
    normal = tangent.normal(d_left, d_right, weights)
    for factor, found, expected in zip(("left", "right"), normal, in_two, strict=True):
        report.ensure(
            found.shape == expected.shape and norm(found - expected) <= rounding * size,
            f"tangent(L, R).normal against adjoint of forward, {factor} factor: more "
            "than rounding to single precision explains",
        )
    to_left, to_right = tangent.adjoint(weights)
    report.compare(
        "<A(D R^T + L E^T), w> against its adjoint, from tangent(L, R)",
        dot(d_left, to_left) + dot(d_right, to_right),
        dot(measured, weights),
        size * norm(weights),
    )
    times_right, times_left = _adjoint_times(measurements, weights, left, right)
    for what, found, expected in (
        ("adjoint @ R", to_left, times_right),
        ("adjoint.T @ L", to_right, times_left),
    ):
        report.compare(f"tangent(L, R).adjoint against {what}", found, expected)


def _check_selection(
    measurements: Measurements,
    draws: list[tuple[Array, ...]],
    rng: np.random.RandomState,
    report: _Report,
) -> None:
    n = measurements.n_measurements
    if n == 0:
        return
    left, right, _, _ = draws[0]
    size = _forward_size(measurements, draws)
    measured = measurements.forward(left, right)
    # The selection has repetitions and no order, as a bootstrap draws it.
    index = rng.randint(n, size=min(n + 1, 50))
    chosen = measurements[index]
    report.ensure(
        chosen.matrix_shape == measurements.matrix_shape and len(chosen) == len(index),
        "a selection has another matrix_shape, or not as many measurements as chosen",
    )
    report.compare(
        "forward of a selection against the selected measurements",
        chosen.forward(left, right),
        measured[index],
        size,
    )
    weights = _normal(rng, len(index), measurements.dtype)
    report.compare(
        "<A(L R^T), w> against <L, A*(w) R> for a selection",
        dot(left, _adjoint_times(chosen, weights, left, right)[0]),
        dot(measured[index], weights),
        size * norm(weights),
    )
    report.compare(
        "forward of a slice against the sliced measurements",
        measurements[: max(1, n // 2)].forward(left, right),
        measured[: max(1, n // 2)],
        size,
    )


def _check_symmetric_use(
    measurements: Measurements, draws: list[tuple[Array, ...]], report: _Report
) -> None:
    x, _, d, _ = draws[0]
    size = _forward_size(measurements, [(x, x, d, d), *draws])
    same = measurements.forward_ray(x, x, d, d)
    general = measurements.forward_ray(x, x.copy(), d, d.copy())
    report.compare(
        "forward of (X, X) against that of X and a copy of it",
        measurements.forward(x, x),
        measurements.forward(x, x.copy()),
        size,
    )
    for name, first, second in zip(("linear", "quadratic"), same, general, strict=True):
        report.compare(
            f"{name} part of forward_ray of (X, X) against that of X and a copy of it",
            first,
            second,
            size,
        )


def _check_cells(
    measurements: Measurements, draws: list[tuple[Array, ...]], report: _Report
) -> None:
    cells = measurements.cells()
    report.ensure(
        (cells is not None) == measurements.single_entries,
        "single_entries and cells() do not agree on whether measurements are entries",
    )
    if cells is None:
        return
    left, right, _, _ = draws[0]
    rows, columns = cells
    expected = np.einsum("ij,ij->i", left[rows], right[columns])
    size = _forward_size(measurements, draws)
    measured = measurements.forward(left, right)
    report.compare("forward against the entries at cells()", measured, expected, size)
    some = np.arange(measurements.n_measurements)[::2]
    found = np.stack(measurements.cells(some) or ())
    report.compare("cells(index) against cells()", found, np.stack(cells)[:, some])
    for seen, lines in zip(measurements.groups().seen, cells, strict=True):
        report.ensure(
            np.array_equal(np.flatnonzero(seen), np.unique(lines)),
            "groups() and cells() do not agree on which rows and columns are measured",
        )


def _check_row_solutions(
    measurements: Measurements, draws: list[tuple[Array, ...]], report: _Report
) -> None:
    """The gradient of the problem that `row_solutions` solves is zero there."""
    left, right, d_left, d_right = draws[0]
    weights = np.linspace(0.5, 2.0, measurements.n_measurements)
    weights = weights.astype(measurements.dtype)
    # As large as the curvature can be, so that rounding is not magnified.
    ridge = float(np.sum(weights.real)) or 1.0
    for block, other, wanted in ((0, right, d_left), (1, left, d_right)):
        found = measurements.row_solutions(weights, wanted, other, ridge, block)
        if found is None:
            continue
        pair = (found, right) if block == 0 else (left, found)
        slopes = weights * measurements.forward(*pair)
        gradient = measurements.adjoint_products(slopes, *pair)[block]
        report.compare(
            "gradient where row_solutions leads against the right-hand side",
            gradient + found.dtype.type(ridge) * found,
            wanted,
        )


def _check_mean_square(measurements: Measurements, report: _Report) -> None:
    n = measurements.n_measurements
    if n == 0:
        return
    matrices = np.array([_formed(measurements, i).ravel() for i in range(n)])
    expected = float(np.mean(np.abs(matrices) ** 2))
    tolerance = None
    if isinstance(measurements, LinearOperatorMeasurements):
        # That kind estimates the mean square from 8 random sums of the matrices.
        products = np.abs(matrices @ matrices.conj().T)
        spread = norm(products - np.diag(np.diag(products)))
        trace = float(np.trace(products))
        tolerance = 1e-4 + (6 * np.sqrt(2 / 8) * spread / trace if trace > 0 else 0.0)
    weights = np.linspace(0.5, 2.0, n)
    if tolerance is None:
        report.compare(
            "weighted_mean_square against the weighted mean of the squared entries",
            measurements.weighted_mean_square(weights),
            float(np.average(np.mean(np.abs(matrices) ** 2, axis=1), weights=weights)),
        )
    error = abs(measurements.mean_square - expected)
    what = "mean_square against the mean squared entry of the measurement matrices"
    if tolerance is None:
        report.compare(what, measurements.mean_square, expected)
    else:
        # This is no rounding error, so it is not among those that are returned.
        report.ensure(
            error <= tolerance * expected,
            f"{what}: {measurements.mean_square:.3g} against {expected:.3g}",
        )


def _formed(measurements: Measurements, i: int) -> Array:
    """The i-th measurement matrix."""
    unit = np.zeros(measurements.n_measurements, measurements.dtype)
    unit[i] = 1.0
    identity = np.eye(measurements.matrix_shape[1], dtype=measurements.dtype)
    matrix = np.asarray(measurements.adjoint(unit) @ identity)
    return np.asarray(matrix, dtype=np.result_type(matrix, np.float64))


def _adjoint_times(
    measurements: Measurements, weights: Array, left: Array, right: Array
) -> tuple[Array, Array]:
    """``A*(weights) @ right`` and ``A*(weights).T @ left``, by the adjoint itself."""
    adjoint = measurements.adjoint(weights)
    return np.asarray(adjoint @ right), np.asarray(adjoint_of(adjoint) @ left)


def _forward_size(measurements: Measurements, draws: list[tuple[Array, ...]]) -> float:
    """Norm that measurements of such factors have when nothing cancels."""
    return max(
        norm(measurements.forward(first, second))
        for left, right, d_left, d_right in draws
        for first, second in ((left, right), (d_left, d_right), (d_left, right))
    )


def _draw_factors(
    measurements: Measurements, rank: int, rng: np.random.RandomState
) -> tuple[Array, ...]:
    n_rows, n_columns = measurements.matrix_shape
    sizes = (n_rows, n_columns, n_rows, n_columns)
    dtype = measurements.dtype
    if measurements.of_complex:
        dtype = complex_dtype(dtype)
    return tuple(_normal(rng, (n, rank), dtype) for n in sizes)


def _rounding(measurements: Measurements, dtype: np.dtype | None = None) -> float:
    numbers = measurements.shape[0] + measurements.shape[1]
    eps = float(np.finfo(measurements.dtype if dtype is None else dtype).eps)
    return eps * (200 + 10 * float(np.sqrt(numbers)))


# --------------------------------------------------------------------------------------
# Losses
# --------------------------------------------------------------------------------------


def check_loss(loss: Loss, z: Any, y: Any, *, exact_curvature: bool = True) -> float:
    """Check that a loss keeps the contract of `Loss` at given points.

    `value` is a sum over measurements; `gradient` is its derivative and `curvature`
    (if there is one) that of the gradient, by difference quotients in float64; the
    curvature is never negative and at most `curvature_bound`; a loss that calls itself
    homogeneous is only scaled when predictions and targets are, and it is `rescaled`
    accordingly; float32 predictions give a float32 gradient; the targets pass
    `target_check`, and NaN does not.

    Parameters
    ----------
    loss : Loss
        What to check.
    z : array-like of shape (n_measurements,)
        Predictions at which to check. Keep them 1e-4 (relative) away from points
        where the gradient has a kink: there a difference quotient means nothing.
    y : array-like of shape (n_measurements,)
        Targets the loss has a meaning for.
    exact_curvature : bool, default=True
        Whether `curvature` is the second derivative. False: it is an upper bound.

    Returns
    -------
    error : float
        The largest relative error met; about 1e-9 if all is well.

    Raises
    ------
    AssertionError
        If something does not hold to a relative 1e-6.

    Examples
    --------
    >>> from skprecgd.losses import SquaredLoss
    >>> from skprecgd.testing import check_loss
    >>> check_loss(SquaredLoss(), z=[0.0, 1.0, -2.0], y=[0.5, 1.0, 3.0]) < 1e-6
    True
    """
    z, y = np.array(z, dtype=np.float64), np.array(y, dtype=np.float64)
    report = _Report(loss, _DIFFERENCE_TOLERANCE)
    report.ensure(
        z.shape == y.shape and z.ndim == 1, "z and y must be 1-D, equally long"
    )
    loss.target_check(y)
    _check_refuses_nan(loss, y, report)
    _check_loss_arguments_kept(loss, z, y, report)
    gradient = loss.gradient(z, y)
    _check_pointwise_values(loss, z, y, report)
    step = _difference_steps(z, y)
    ends = [z - step, z + step]
    _compare_pointwise(
        "gradient against difference quotients of value",
        gradient,
        _difference_quotient(lambda at: _pointwise_values(loss, at, y), z, step),
        [loss.gradient(end, y) for end in ends],
        report,
    )
    if loss.has_curvature:
        curvature = loss.curvature(z, y)
        slope = _difference_quotient(lambda at: loss.gradient(at, y), z, step)
        _check_curvature_bounds(loss, curvature, slope, report)
        if exact_curvature:
            _compare_pointwise(
                "curvature against difference quotients of gradient (with "
                "exact_curvature=False it may be an upper bound)",
                curvature,
                slope,
                [loss.curvature(end, y) for end in ends],
                report,
            )
    if loss.homogeneous:
        _check_homogeneous(loss, z, y, report)
    _check_single_precision(loss, z, y, report)
    return report.largest


def _check_refuses_nan(loss: Loss, y: Array, report: _Report) -> None:
    broken = np.append(y, np.nan)
    try:
        loss.target_check(broken)
    except ValueError:
        return
    report.ensure(False, "target_check accepts NaN among the targets")


def _pointwise_methods(loss: Loss) -> list[Callable[..., Any]]:
    """`value`, and after it the methods that return a number for each measurement."""
    methods: list[Callable[..., Any]] = [loss.value, loss.gradient]
    return [*methods, loss.curvature] if loss.has_curvature else methods


def _check_loss_arguments_kept(loss: Loss, z: Array, y: Array, report: _Report) -> None:
    z_given, y_given = z.copy(), y.copy()
    for method in _pointwise_methods(loss):
        method(z_given, y_given)
    report.ensure(
        np.array_equal(z, z_given) and np.array_equal(y, y_given),
        "a method writes to its arguments",
    )


def _check_pointwise_values(loss: Loss, z: Array, y: Array, report: _Report) -> None:
    values = _pointwise_values(loss, z, y)
    report.compare(
        "value against the sum of the single losses",
        loss.value(z, y),
        np.sum(values),
        float(np.sum(np.abs(values))),
    )
    report.compare(
        "pointwise against the value of each measurement by itself",
        loss.pointwise(z, y),
        values,
    )
    shapes = [method(z, y).shape for method in _pointwise_methods(loss)[1:]]
    report.ensure(
        all(shape == z.shape for shape in shapes),
        f"gradient and curvature have shapes {shapes} for predictions of {z.shape}",
    )


def _check_curvature_bounds(
    loss: Loss, curvature: Array, slope: Array, report: _Report
) -> None:
    report.ensure(
        bool(np.all(curvature >= 0)),
        f"the curvature is negative ({np.min(curvature, initial=0.0):.3g}); "
        "Gauss-Newton needs a positive semidefinite Hessian",
    )
    excess = float(np.max(slope - curvature, initial=0.0))
    if excess > 0:
        report.bound(
            "excess of the second derivative over curvature",
            excess / float(np.max(np.abs(slope))),
        )
    highest = max(np.max(slope, initial=0.0), np.max(curvature, initial=0.0))
    report.ensure(
        highest <= loss.curvature_bound * (1 + _DIFFERENCE_TOLERANCE),
        f"the second derivative reaches {highest:.6g}, above curvature_bound = "
        f"{loss.curvature_bound:.6g}",
    )


def _check_homogeneous(loss: Loss, z: Array, y: Array, report: _Report) -> None:
    before, after = loss.gradient(z, y), loss.rescaled(2.0).gradient(2 * z, 2 * y)
    square = dot(before, before)
    if square == 0:
        return
    report.compare(
        "homogeneous: gradient at twice predictions and targets against a multiple",
        after,
        dot(after, before) / square * before,
    )


def _check_single_precision(loss: Loss, z: Array, y: Array, report: _Report) -> None:
    largest = max(np.max(np.abs(z), initial=0.0), np.max(np.abs(y), initial=0.0))
    if not 1e-15 < largest < 1e15:
        # Squares of such numbers leave the range of float32.
        return
    z32, y32 = z.astype(np.float32), y.astype(np.float32)
    single = loss.gradient(z32, y32)
    report.ensure(
        single.dtype == np.float32,
        f"gradient returns {single.dtype} for float32 predictions and targets",
    )
    double = loss.gradient(z32.astype(np.float64), y32.astype(np.float64))
    tolerance = 1e3 * float(np.finfo(np.float32).eps)
    # This is rounding of float32, so it is not among the errors that are returned.
    difference = norm(single - double)
    report.ensure(
        difference <= tolerance * norm(double),
        "the gradient in float32 is not the one in float64",
    )


def _pointwise_values(loss: Loss, z: Array, y: Array) -> Array:
    return np.array([loss.value(z[i : i + 1], y[i : i + 1]) for i in range(len(z))])


def _difference_steps(z: Array, y: Array) -> Array:
    """Steps small beside the predictions, but not lost in the rounding of targets."""
    largest = max(np.max(np.abs(z), initial=0.0), np.max(np.abs(y), initial=0.0))
    return _DIFFERENCE_STEP * np.maximum(np.abs(z), 1e-3 * (largest or 1.0))


def _difference_quotient(
    function: Callable[[Array], Array], z: Array, step: Array
) -> Array:
    """Central difference quotient, with one step of Richardson extrapolation."""
    coarse = (function(z + step) - function(z - step)) / (2 * step)
    fine = (function(z + step / 2) - function(z - step / 2)) / step
    return (4 * fine - coarse) / 3


def _compare_pointwise(
    what: str, found: Array, expected: Array, ends: list[Array], report: _Report
) -> None:
    """Largest single error, relative to the number or to a thousandth of the largest.

    `ends` are the numbers at both ends of the difference quotient: they give the scale
    where the number itself is zero.
    """
    size = np.max(np.abs([found, expected, *ends]), axis=0)
    size = np.maximum(size, 1e-3 * np.max(size, initial=0.0))
    difference = np.abs(found - expected)
    errors = np.divide(difference, size, out=np.zeros_like(size), where=difference > 0)
    report.bound(what, float(np.max(errors, initial=0.0)))


# --------------------------------------------------------------------------------------
# Objectives
# --------------------------------------------------------------------------------------


def check_objective(
    objective: Objective, factors: Factors, random_state: RandomState = 0
) -> float:
    """Check that an objective and its derivatives agree at given factors.

    In random directions: the change of the value differs from what the gradient
    predicts by the square of the step; the gradient is the chain rule applied to the
    one in the matrix, plus the ridge; `ray` gives the value, and `advance` the whole
    evaluation, that `evaluate` gives at the moved factors; `curvature` is
    symmetric, positive semidefinite and the Gauss-Newton Hessian: the second
    derivative along the direction without the curvature of ``L R^T`` itself,
    ``<d, H d> = f''(0) - 2 <S, dL dR^T>`` with S the gradient in the matrix.

    Parameters
    ----------
    objective : Objective
        What to check. Its loss has to be smooth near the predictions.
    factors : Factors
        Where to check.
    random_state : int, RandomState instance or None, default=0
        Seed of the directions.

    Returns
    -------
    error : float
        The largest relative error met: rounding and, at about 1e-9, difference
        quotients, if all is well.

    Raises
    ------
    AssertionError
        If something does not hold.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> from skprecgd.measurements import DenseMeasurements
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.testing import check_objective
    >>> rng = np.random.default_rng(0)
    >>> A = DenseMeasurements(rng.standard_normal((10, 12)), (4, 3))
    >>> objective = make_objective(A, rng.standard_normal(10), alpha=0.1)
    >>> factors = FactorPair(rng.standard_normal((4, 2)), rng.standard_normal((3, 2)))
    >>> check_objective(objective, factors) < 1e-6
    True
    """
    rng = check_random_state(random_state)
    eps = float(np.finfo(factors.dtype).eps)
    report = _Report(objective, 1e4 * eps)
    evaluation = objective.evaluate(factors)
    gradient = objective.gradient(evaluation)
    first, second = (_draw_direction(factors, rng) for _ in range(2))

    _check_chain_rule(objective, evaluation, gradient, report)
    _check_slope(objective, evaluation, gradient, first, report)
    for direction in (first, gradient):
        _check_ray(objective, evaluation, direction, report)
    _check_gauss_newton(objective, evaluation, first, second, report)
    return report.largest


def _check_chain_rule(
    objective: Objective, evaluation: Evaluation, gradient: Factors, report: _Report
) -> None:
    factors = evaluation.factors
    matrix_gradient = objective.matrix_gradient(evaluation)
    expected = factors.gradient_from(matrix_gradient)
    expected = objective.penalty.added(expected, factors)
    # The data part may be a small difference of the two products it consists of.
    at_zero = factors.gradient_from(objective.matrix_gradient_at_zero())
    size = max(_size(at_zero), _size(expected))
    for i, (found, block) in enumerate(
        zip(gradient.blocks, expected.blocks, strict=True)
    ):
        report.compare(
            f"block {i} of gradient against the chain rule", found, block, size
        )


def _check_slope(
    objective: Objective,
    evaluation: Evaluation,
    gradient: Factors,
    direction: Factors,
    report: _Report,
) -> None:
    factors = evaluation.factors
    eps = float(np.finfo(factors.dtype).eps)
    steps = 2.0 ** -np.arange(1, 1 - int(np.log2(eps)) // 2)
    remainders = []
    for t in steps:
        moved = factors.moved(direction, t)
        # The move after rounding: in float32 the rounding of the factors changes the
        # value by more than the second order does.
        pairs = zip(gradient.blocks, moved.blocks, factors.blocks, strict=True)
        slope = sum(dot(g, _in_double(m) - _in_double(b)) for g, m, b in pairs)
        value = objective.evaluate(moved).value
        remainders.append(abs(value - evaluation.value - slope))
    ratios = np.array(remainders) / steps**2
    noise = 100 * eps * _value_size(objective, evaluation)
    above = np.flatnonzero(np.array(remainders) > noise)
    if len(above) == 0 or above[-1] < 4:
        # The objective is linear as far as rounding can tell.
        return
    # A wrong slope shows at the smallest steps above the noise: there the ratio doubles
    # with every halving, where otherwise it has long become the second derivative.
    last = above[-1]
    order = np.log2(remainders[last - 4] / remainders[last]) / 4
    report.ensure(
        ratios[last] <= 4 * np.max(ratios[: last - 3]),
        "the gradient is not the derivative of the value: what it leaves of the change "
        f"falls with the power {order:.2f} of the step, and should with 2 or more",
    )


def _check_ray(
    objective: Objective, evaluation: Evaluation, direction: Factors, report: _Report
) -> None:
    # The direction is as long as the point itself, so that every power of the step
    # matters.
    length = _size(direction)
    if length == 0:
        return
    direction = direction.times(_unit_length(evaluation.factors) / length)
    ray = objective.ray(evaluation, direction)
    report.compare(
        "ray.value(0) against the value at the point",
        ray.value(0.0),
        evaluation.value,
        _value_size(objective, evaluation),
    )
    for t in (-0.75, 0.25, 1.0):
        fresh = objective.evaluate(evaluation.factors.moved(direction, t))
        size = max(_value_size(objective, evaluation), _value_size(objective, fresh))
        report.compare(
            f"ray.value({t}) against evaluate", ray.value(t), fresh.value, size
        )
        _check_advanced(objective, ray.advance(t), fresh, size, report)


def _check_advanced(
    objective: Objective,
    advanced: Evaluation,
    fresh: Evaluation,
    size: float,
    report: _Report,
) -> None:
    for name in ("loss", "value"):
        report.compare(
            f"{name} of ray.advance against evaluate",
            getattr(advanced, name),
            getattr(fresh, name),
            size,
        )
    if objective.data_norm > 0:
        # Squared: the root of a loss at rounding level has half the digits.
        report.compare(
            "squared relative_residual of ray.advance against evaluate",
            advanced.relative_residual**2,
            fresh.relative_residual**2,
            2 * size / objective.data_norm**2,
        )
    for block, expected in zip(
        advanced.factors.blocks, fresh.factors.blocks, strict=True
    ):
        report.compare("factors of ray.advance against moved", block, expected)
    gradients = objective.gradient(advanced), objective.gradient(fresh)
    length = _unit_length(fresh.factors)
    for block, expected in zip(gradients[0].blocks, gradients[1].blocks, strict=True):
        report.compare(
            "gradient after ray.advance against the one after evaluate",
            block,
            expected,
            size / length,
        )


def _check_gauss_newton(
    objective: Objective,
    evaluation: Evaluation,
    first: Factors,
    second: Factors,
    report: _Report,
) -> None:
    curvature = objective.curvature(evaluation)
    product, other = curvature(first), curvature(second)
    size = _size(product) * _size(second) + _size(other) * _size(first)
    report.compare(
        "<d, H e> against <H d, e> for curvature",
        first.inner(other),
        second.inner(product),
        size,
    )
    eps = float(np.finfo(evaluation.factors.dtype).eps)
    form = first.inner(product)
    report.ensure(
        form >= -1e3 * eps * size,
        f"curvature is not positive semidefinite: <d, H d> = {form:.3g}",
    )
    matrix_gradient = objective.matrix_gradient(evaluation)
    twist = dot(first.left, np.asarray(matrix_gradient @ first.right))
    second_derivative = _difference_of_slopes(objective, evaluation, first)
    report.compare(
        "<d, H d> of curvature against f''(0) - 2 <S, dL dR^T>",
        form,
        second_derivative - 2 * twist,
        abs(second_derivative) + _value_size(objective, evaluation),
        # The error of the difference quotient, or that of rounding divided by its step.
        tolerance=max(1e-6, 100 * eps ** (4 / 5)),
    )
    _check_coordinates(objective, evaluation, first, report)


def _check_coordinates(
    objective: Objective, evaluation: Evaluation, direction: Factors, report: _Report
) -> None:
    grams = [gram(block) for block in direction.blocks]
    roots = [
        in_precision(
            np.eye(len(g)) + g / max(norm(g), np.finfo(float).tiny), direction.dtype
        )
        for g in grams
    ]
    moved = direction.times_right([root.conj().T for root in roots])
    expected = objective.curvature(evaluation)(moved).times_right(roots).flat()
    report.compare(
        "curvature_in against curvature in those coordinates",
        objective.curvature_in(evaluation, roots)(direction.flat()),
        expected,
        # Directions need few digits: both may be rounded to single precision.
        tolerance=1e3 * float(np.finfo(np.float32).eps),
    )


def _difference_of_slopes(
    objective: Objective, evaluation: Evaluation, direction: Factors
) -> float:
    """Second derivative of the objective along a direction, from its gradients."""
    factors = evaluation.factors

    def slope(t: Array) -> Array:
        moved = objective.evaluate(factors.moved(direction, float(t[0])))
        return np.array([objective.gradient(moved).inner(direction)])

    eps = float(np.finfo(factors.dtype).eps)
    step = np.array([eps ** (1 / 5)])
    return float(_difference_quotient(slope, np.zeros(1), step)[0])


def _draw_direction(factors: Factors, rng: np.random.RandomState) -> Factors:
    """Random direction as long as the factors are."""
    blocks = [_normal(rng, b.shape, b.dtype) for b in factors.blocks]
    direction = type(factors)(*blocks)
    return direction.times(_unit_length(factors) / _size(direction))


def _unit_length(factors: Factors) -> float:
    return _size(factors) or 1.0


def _size(factors: Factors) -> float:
    return norm(np.array([norm(block) for block in factors.blocks]))


def _value_size(objective: Objective, evaluation: Evaluation) -> float:
    """Size of the terms the value is the sum or the difference of."""
    factors = evaluation.factors
    model = float(np.vdot(gram(factors.left), gram(factors.right)).real)
    return max(evaluation.value, 0.5 * objective.data_norm**2, model)


def _in_double(numbers: Any) -> Array:
    return in_precision(np.asarray(numbers), np.float64)


def _normal(
    rng: np.random.RandomState, shape: int | tuple[int, ...], dtype: np.dtype
) -> Array:
    numbers = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        numbers = numbers + 1j * rng.standard_normal(shape)
    return np.asarray(numbers, dtype=dtype)
