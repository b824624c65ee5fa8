"""Gross errors in a few of the measurements: found by thresholding, left out.

The data are ``y = A(M) + S + noise``, with S zero but for a few entries of any size.
`Corruption` finds the positions of S, given the residuals at some M, and
`TrimmedObjective` is the squared loss of all other measurements: at every point S
equals the residuals at its positions, so that only the factors are left to optimize.
The steps of a rank path then alternate with thresholding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from skprecgd._linalg.tails import NORMAL_SCALE, outstanding, tail_level
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.kernels import ray_point
from skprecgd.losses import SquaredLoss
from skprecgd.measurements import Measurements
from skprecgd.objective import (
    Evaluation,
    GrossErrors,
    Growth,
    SampledObjective,
)
from skprecgd.objective.weights import ONCE, Weights

AUTO_FRACTION = 0.3
"""The bound that ``outlier_fraction="auto"`` stands for."""


@dataclass(frozen=True)
class CorruptionTuning:
    """The numbers behind the choice of gross errors.

    Attributes
    ----------
    stands_out : float
        Robust standard deviations above which a residual stands out.
    chance : float
        Standard deviations by which the number of errors of a line may exceed its mean,
        because the places of errors are random.
    sample : int
        Number of residuals above which a random sample of that size gives their scale,
        accurate to half a percent.
    further : float
        Factor on the tol of a fit. The residual does not show measurements that are
        left out; their errors are about a hundred times as large, so the fit is taken
        further, as far as half the digits allow.
    finished : float
        Relative residual of a finished fit at most, in units of its tol.
    unfinished : float
        Error, in units of tol, that a measurement may still have after a finished fit
        that left it out until the end.

    Examples
    --------
    >>> from skprecgd.robust import CorruptionTuning
    >>> CorruptionTuning().stands_out
    5.0
    """

    stands_out: float = 5.0
    chance: float = 4.0
    sample: int = 1 << 16
    further: float = 1e-2
    finished: float = 10.0
    unfinished: float = 1e3


CORRUPTION = CorruptionTuning()
"""The default numbers behind the choice of gross errors."""


class Corruption:
    """Where the gross errors are: double thresholding of the residuals.

    A residual counts as a gross error if it is

    1. among the `fraction` largest of all, and more than 5 times the robust standard
       deviation of the others (estimated by the median of what is left if a share
       `fraction` is corrupted, so that the errors themselves cannot inflate it);
    2. where measurements are single entries, among the largest of what passed the first
       test in its row *and* its column: a share ``2 f (1 - f)`` of the line's
       entries, f being `fraction`, or four standard deviations more than f if the
       line is short, and never more than half of it.

    Without the second test whole rows could be left out, and nothing would determine
    them. The two are the operators H and T of [1]_, with the constants above.

    Parameters
    ----------
    fraction : float or "auto"
        Upper bound of the corrupted share, in (0, 0.5). How many errors there are is
        judged from the residuals; a bound far above their number costs iterations, and
        leaves room for wrong matrices. "auto" is 0.3.
    measurements : Measurements
        The measurements whose residuals are tested.
    weights : Weights, default=ONCE
        A residual counts as often as its measurement was made, and its size is relative
        to the noise that its precision stands for.
    tuning : CorruptionTuning, default=CORRUPTION
        The constants of both tests.

    References
    ----------
    .. [1] X. Zhang, L. Wang, Q. Gu, "A Unified Framework for Nonconvex Low-Rank plus
       Sparse Matrix Recovery", AISTATS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.robust import Corruption
    >>> residual = np.sin(np.arange(20.0))
    >>> residual[7] = 30.0
    >>> Corruption(0.1, FullObservation((4, 5))).positions(residual)
    array([7])
    """

    def __init__(
        self,
        fraction: float | str,
        measurements: Measurements,
        weights: Weights = ONCE,
        *,
        tuning: CorruptionTuning = CORRUPTION,
    ) -> None:
        self.fraction = upper_bound(fraction)
        self.measurements = measurements
        self.weights = whole_counts(weights)
        self.tuning = tuning

    def positions(self, residual: Array) -> Array:
        """Sorted positions of the gross errors.

        Parameters
        ----------
        residual : ndarray of shape (n_measurements,)

        Returns
        -------
        ndarray of int
        """
        sizes = self.sizes(residual)
        return self.beyond(sizes, self.level(sizes))

    def beyond(self, sizes: Array, level: float) -> Array:
        """Sorted positions of those of the sizes beyond a level that may be errors.

        Parameters
        ----------
        sizes : ndarray of shape (n_measurements,)
        level : float

        Returns
        -------
        ndarray of int
        """
        found = np.flatnonzero(sizes > level)
        found_sizes, often = sizes[found], self.weights.at(found).frequency
        allowed = round(self.fraction * self.weights.count(len(sizes)))
        kept = largest(found_sizes, allowed, often)
        lines = self.measurements.cells(found)
        for line, limits in zip(lines or (), self._limits, strict=True):
            kept &= largest_of_lines(found_sizes, line, limits, often)
        return found[kept]

    def sizes(self, residual: Array, index: Any = slice(None)) -> Array:
        """Sizes of the residuals of some measurements, in units of their noise.

        Parameters
        ----------
        residual : ndarray of shape (n,)
        index : slice or ndarray of int, default=slice(None)
            Which measurements the residuals are of.

        Returns
        -------
        ndarray of shape (n,)
        """
        sizes, precision = np.abs(residual), self.weights.at(index).precision
        if precision is not None:
            sizes *= np.sqrt(precision)
        return sizes

    def level(self, sizes: Array) -> float:
        """The size from which on a residual stands out from the uncorrupted ones.

        Parameters
        ----------
        sizes : ndarray of shape (n_measurements,)
            Absolute values of all residuals.

        Returns
        -------
        float
        """
        often = self.weights.frequency
        if self._sample is not None:
            sizes, often = sizes[self._sample], None
        count = len(sizes) if often is None else self.weights.count(len(sizes))
        middle = (count - round(self.fraction * count)) // 2
        scale = self.tuning.stands_out * NORMAL_SCALE
        return scale * _at_position(sizes, middle, often)

    @cached_property
    def _sample(self) -> Array | None:
        """The residuals from which their scale is estimated; None is all of them."""
        n, size = len(self.measurements), self.tuning.sample
        if n <= size:
            return None
        rng, often = np.random.RandomState(0), self.weights.frequency
        if often is None:
            return rng.randint(n, size=size)
        below = np.cumsum(often, dtype=np.float64)
        drawn = np.searchsorted(below, rng.uniform(0, below[-1], size=size), "right")
        return np.minimum(drawn, n - 1)

    @cached_property
    def _limits(self) -> list[Array]:
        """Largest numbers of errors of each row and each column.

        Empty unless measurements are single entries.
        """
        cells = self.measurements.cells()
        pairs = zip(cells or (), self.measurements.matrix_shape, strict=False)
        often = self.weights.frequency
        counts = (np.bincount(lines, often, minlength=n) for lines, n in pairs)
        return [line_limits(count, self.fraction, self.tuning) for count in counts]


class CorruptedTail(Corruption):
    """Where the gross errors are beside noise whose distribution is not known.

    In place of the first test of `Corruption`, a residual counts as a gross error if it
    does not fit the distribution of the others, heavy tails and all; see
    `skprecgd._linalg.tails`. That takes residuals in units of their own noise, and a
    fit that follows the structure of the data. Where all fit, there are no errors.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.robust import Corruption, CorruptedTail
    >>> tailed = np.random.default_rng(0).standard_t(2, size=400)
    >>> seen = FullObservation((20, 20))
    >>> len(Corruption(0.1, seen).positions(tailed)) > 0
    True
    >>> CorruptedTail(0.1, seen).positions(tailed)
    array([], dtype=int64)
    """

    def level(self, sizes: Array) -> float:
        return tail_level(sizes, self.fraction, self.weights.frequency)

    def robust_level(self, sizes: Array) -> float:
        """The size from which on a residual stands out, whatever the distribution."""
        return outstanding(sizes, self.fraction)


def upper_bound(fraction: float | str) -> float:
    """The bound that the value of `outlier_fraction` stands for.

    Parameters
    ----------
    fraction : float or "auto"

    Returns
    -------
    float
    """
    if fraction == "auto":
        return AUTO_FRACTION
    if isinstance(fraction, str) or not 0 < fraction < 0.5:
        raise ValueError(
            "outlier_fraction must be 'auto' or a number above 0 and below 0.5, the "
            f"share of the data that may be corrupted; got {fraction!r}."
        )
    return float(fraction)


def whole_counts(weights: Weights) -> Weights:
    """The weights, larger if measurements count less than once on average.

    Numbers of errors are rounded, and a share of less than one measurement is none.

    Parameters
    ----------
    weights : Weights

    Returns
    -------
    Weights
    """
    often = weights.frequency
    if often is None:
        return weights
    mean = float(np.mean(often[often > 0]))
    return weights if mean >= 1.0 else replace(weights, frequency=often / mean)


def largest(sizes: Array, count: float, often: Array | None = None) -> Array:
    """Which of some entries are among the `count` largest.

    Ties at the threshold are all excluded. An entry counts `often` times.
    """
    total = len(sizes) if often is None else float(np.sum(often))
    if total <= count:
        return np.ones(len(sizes), dtype=bool)
    # Counted from the largest down, so that entries that pass weigh at most `count`.
    return sizes > -_at_position(-sizes, count, often)


def _at_position(values: Array, position: float, often: Array | None) -> float:
    """The value at a position, counted from 0, of the values in ascending order."""
    if often is None:
        return float(np.partition(values, int(position))[int(position)])
    order = np.argsort(values)
    below = np.cumsum(often[order], dtype=np.float64)
    first = int(np.searchsorted(below, position, "right"))
    return float(values[order[min(first, len(values) - 1)]])


def line_limits(
    counts: Array, fraction: float, tuning: CorruptionTuning = CORRUPTION
) -> Array:
    """Largest numbers of gross errors of lines with `counts` entries, at most half.

    Parameters
    ----------
    counts : ndarray of shape (n_lines,)
    fraction : float
        Upper bound of the corrupted share.
    tuning : CorruptionTuning, default=CORRUPTION
    """
    mean = fraction * counts
    spread = np.sqrt(mean * (1 - fraction))
    limits = np.maximum(2 * (1 - fraction) * mean, mean + tuning.chance * spread)
    return np.minimum(np.ceil(limits), counts // 2).astype(int)


def largest_of_lines(
    sizes: Array, lines: Array, limits: Array, often: Array | None = None
) -> Array:
    """Which of some entries are among the largest of their lines.

    Parameters
    ----------
    sizes : ndarray of shape (n,)
    lines : ndarray of int, shape (n,)
        The line each entry lies in.
    limits : ndarray of int, shape (n_lines,)
        How many of a line's entries pass; ties at the limit are all excluded.
    often : ndarray of shape (n,), default=None
        How many times an entry counts; None is once.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    often = np.ones(len(sizes)) if often is None else often
    counts = np.bincount(lines, often, minlength=len(limits))
    crowded = counts > limits
    if not crowded.any():
        return np.ones(len(sizes), dtype=bool)
    members = np.flatnonzero(crowded[lines])
    order = members[np.lexsort((-sizes[members], lines[members]))]
    line = lines[order]
    # Weight of the entries of the same line from the largest one down to each entry.
    reached = np.cumsum(often[order])
    reached -= (np.cumsum(counts * crowded) - counts * crowded)[line]
    beyond = order[reached > limits[line]]
    # The size of the largest entry of each line that does not pass.
    filled, first = np.unique(lines[beyond], return_index=True)
    bounds = np.full(len(limits), -np.inf)
    bounds[filled] = sizes[beyond[first]]
    return sizes > bounds[lines]


@dataclass(frozen=True)
class TrimmedEvaluation(Evaluation):
    """An evaluation whose `state` are the predictions ``A(M) + S``.

    Attributes
    ----------
    positions : ndarray of int
        The positions where S is not zero.
    errors : ndarray
        The values of S there: the targets minus the predictions of M alone.
    """

    positions: Array
    errors: Array


class TrimmedObjective(SampledObjective):
    """Squared loss of the measurements that are no gross errors at that point.

    A pure function of the factors like every objective: its value at a point is the
    loss after the S that `Corruption` finds there is subtracted from the targets. A ray
    keeps the positions of S, and its values follow the step.

    Parameters
    ----------
    measurements : Measurements
    targets : array-like of shape (n_measurements,)
        For `FullObservation` also a matrix.
    fraction : float or "auto"
        See `Corruption`.
    weights : Weights, default=ONCE
        How often each measurement was made, and how precisely.
    tuning : CorruptionTuning, default=CORRUPTION
        The constants of `Corruption`.

    Notes
    -----
    There is no ridge. It would shrink large entries of the matrix, whose residuals then
    count as gross errors and are left out, and so it would shrink them even more.

    Examples
    --------
    >>> from skprecgd.datasets import make_robust_pca
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.optim import rank_path
    >>> from skprecgd.robust import TrimmedObjective
    >>> X, errors, truth = make_robust_pca(60, rank=2, random_state=0)
    >>> objective = TrimmedObjective(FullObservation(X.shape), X, 0.1)
    >>> path = rank_path(objective, 6)
    >>> path.factors.rank, bool(truth.relative_error(path.factors.matrix()) < 1e-7)
    (2, True)
    """

    def __init__(
        self,
        measurements: Measurements,
        targets: Array,
        fraction: float | str,
        weights: Weights = ONCE,
        *,
        tuning: CorruptionTuning = CORRUPTION,
    ) -> None:
        targets = np.ravel(targets)
        super().__init__(measurements, targets, SquaredLoss(), weights=weights)
        self.corruption = Corruption(fraction, measurements, weights, tuning=tuning)

    @property
    def plain_least_squares(self) -> bool:
        # Gross errors must not be explained.
        return False

    def errors(self, factors: Factors, level: float = 0.0) -> Array:
        """S at a point: the gross errors, zeros elsewhere.

        Parameters
        ----------
        factors : Factors
        level : float, default=0.0
            Residuals up to this size are no gross errors; see `error_level`.

        Returns
        -------
        ndarray of shape (n_measurements,)
        """
        z = self.measurements.forward(factors.left, factors.right)
        at, errors = self._found(z)
        gross = self.corruption.sizes(errors, at) > level
        out = np.zeros_like(z)
        out[at[gross]] = errors[gross]
        return out

    def error_level(self, factors: Factors, exact: float = 0.0) -> float:
        """The size that the residual of a gross error exceeds at a point.

        An exact fit leaves rounding errors and unfinished convergence behind, and some
        of these stand out from the rest, too.

        Parameters
        ----------
        factors : Factors
        exact : float, default=0.0
            Residuals up to this share of the root mean square of the predictions count
            as zero. The share is at least the root of the machine precision.

        Returns
        -------
        float
        """
        z = self.measurements.forward(factors.left, factors.right)
        exact = max(exact, float(np.sqrt(np.finfo(self.dtype).eps)))
        stands_out = self.corruption.level(self.corruption.sizes(z - self.targets))
        size = self.loss.size(z, 1.0 / self.n_measurements, self.weights.frequency)
        return max(stands_out, exact * size)

    def working_tol(self, tol: float) -> float:
        # With a loose tol, the fit would leave out measurements that it has not fitted
        # yet; see `CorruptionTuning.further`.
        half_the_digits = float(np.sqrt(np.finfo(self.dtype).eps))
        return max(self.corruption.tuning.further * tol, min(tol, half_the_digits))

    def gross_errors(
        self, factors: Factors, relative_residual: float, tol: float
    ) -> GrossErrors:
        # Measurements that were left out until the fit ended keep larger residuals than
        # the others: some hundreds of tol, where the others reach tol.
        tol, tuning = self.working_tol(tol), self.corruption.tuning
        finished = relative_residual <= tuning.finished * tol
        level = self.error_level(factors, tuning.unfinished * tol if finished else 0.0)
        return GrossErrors(
            self.errors(factors, level),
            level,
            self.corruption.fraction,
            self.measurements,
        )

    def without(self, errors: Array) -> SampledObjective:
        """The least-squares problem, convex in the matrix, that is left for known S.

        Parameters
        ----------
        errors : ndarray of shape (n_measurements,)

        Returns
        -------
        SampledObjective
        """
        return SampledObjective(
            self.measurements, self.targets - errors, self.loss, weights=self.weights
        )

    def bounded(self, share: float) -> Self:
        return self._with(fraction=share * self.corruption.fraction)

    @cached_property
    def data_norm(self) -> float:
        residual = -self.targets
        residual[self.corruption.positions(residual)] = 0
        return self.costs.size(residual, self._scale)

    def evaluate(self, factors: Factors) -> TrimmedEvaluation:
        z = self.measurements.forward(factors.left, factors.right)
        return self._evaluation(factors, z)

    def _polynomial(self, evaluation: Evaluation, z1: Array, z2: Array) -> Array:
        assert isinstance(evaluation, TrimmedEvaluation)
        whole = super()._polynomial(evaluation, z1, z2)
        # The residual is zero at the positions of S, where the ray must not count.
        at = evaluation.positions
        zero = np.zeros_like(z1[at])
        each = None if self.costs.each is None else self.costs.each[at]
        left_out = self.loss.polynomial(zero, zero, z1[at], z2[at], each)
        return np.asarray(whole - left_out)

    def _ray_point(
        self, evaluation: Evaluation, z1: Array, z2: Array, t: float
    ) -> Array:
        assert isinstance(evaluation, TrimmedEvaluation)
        z = ray_point(evaluation.state, z1, z2, t)
        z[evaluation.positions] -= evaluation.errors
        return z

    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        # The predictions include S, so the new point is evaluated afresh.
        return replace(super().growth(evaluation, u, v), arrive=self.evaluate)

    def _carries(self, evaluation: Evaluation) -> bool:
        # The positions of S change from point to point.
        return False

    def _evaluation(self, factors: Factors, z: Array) -> TrimmedEvaluation:
        """The evaluation at predictions z of M, to which S is added in place."""
        at, errors = self._found(z)
        z[at] = self.targets[at]
        trimmed = super()._evaluation(factors, z)
        return TrimmedEvaluation(**vars(trimmed), positions=at, errors=errors)

    def _found(self, z: Array) -> tuple[Array, Array]:
        """Positions and values of S at predictions z of M."""
        at = self.corruption.positions(z - self.targets)
        return at, self.targets[at] - z[at]

    def _curvature_weights(self, z: Array) -> Array:
        # Only at the positions of S, predictions equal targets to the last bit.
        weights = super()._curvature_weights(z)
        return np.where(z == self.targets, self.dtype.type(0), weights)

    def _with(self, **changed: Any) -> Self:
        # Loss and penalty are fixed here: the squared loss and none.
        changed.pop("loss", None), changed.pop("penalty", None)
        return super()._with(**changed)

    def _parts(self) -> dict[str, Any]:
        return {
            "measurements": self.measurements,
            "targets": self.targets,
            "fraction": self.corruption.fraction,
            "weights": self.weights,
            "tuning": self.corruption.tuning,
        }
