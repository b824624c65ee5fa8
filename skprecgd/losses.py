"""Pointwise losses: what a prediction z costs when the target is y.

A loss sees vectors of predictions and targets, nothing of matrices or factors.
It is averaged over the measurements and scaled by the objective. Every loss here is
zero where the prediction is perfect, so that a share of the loss at ``z = 0`` means
something; for labels and counts that makes it half the deviance.

A loss also owns the arithmetic of all measurements together (`Loss.total`,
`Loss.slopes`, `Loss.curvatures`, `Loss.polynomial`, `Loss.size`): objectives call it
and never ask which loss it is. The base class computes these from what each
measurement costs; the squared loss has one compiled pass for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Self, TypeVar

import numpy as np
from scipy import special

from skprecgd._linalg.numerics import dot, norm
from skprecgd._runtime.arrays import empty
from skprecgd._runtime.typing import Array
from skprecgd.kernels import ray_sums, squared_distance

# The median of |N(0, 1)|: a median divided by it estimates a standard deviation.
_NORMAL_MEDIAN = 0.6744897501960817
# Distance of a prediction to its optimum, in log-odds, below which the logistic loss is
# computed from that distance, because a difference would cancel.
_NEAR = 0.5
# Smoothing that the absolute loss starts with, in units of its `scale`.
_SMOOTHING = 0.03
# What is added to counts before their logarithms are taken.
_UNSEEN = 0.1
# Another fit with less smoothing is worthwhile if the smoothing can at least be halved.
_WORTHWHILE = 0.5


L = TypeVar("L", bound="Loss")


class Loss(ABC):
    """Contract of a pointwise loss.

    Attributes
    ----------
    name : str
        What messages call the loss: the value of the estimators' `loss` parameter.
        The name of the class if there is no other.
    curvature_bound : float
        Upper bound of the second derivative in z; infinity if there is none.
    homogeneous : bool
        Whether scaling predictions and targets together (and what `rescaled`
        changes) only scales the loss, so that the data may be brought to unit scale
        before optimizing.
    generalized : bool
        Whether the prediction passes through a link before it is compared with
        targets, which as a rule are random draws (labels, counts) of that mean. Then
        larger predictions fit them ever better, so that held-out measurements say how
        far to go; and offsets of the targets mean nothing.
    least_squares : bool
        Whether the loss is half the squared residual and nothing else, so that there
        are closed forms: exact steps as roots of polynomials, rows as linear systems,
        complete data as a truncated SVD.
    measures_error : bool
        Whether the true matrix brings the loss of clean data to zero, quadratically, so
        that ``sqrt(2 * loss)`` measures the distance to it. Damping rules, the variance
        of the noise, and tests of whether the data are explained build on it.
    signs_are_chance : bool
        Whether the sign of a residual says nothing where only noise is left, so that
        flipping signs at random shows what chance alone does to the gradient.
    non_negative : bool
        Whether negative targets have no meaning, so that `target_check` refuses them.
    """

    name: str
    curvature_bound: float
    homogeneous: bool
    generalized: bool = False
    least_squares: bool = False
    measures_error: bool = False
    signs_are_chance: bool = False
    non_negative: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "name"):
            cls.name = cls.__name__

    @abstractmethod
    def value(self, z: Array, y: Array) -> float:
        """Sum of the losses over all measurements."""

    def pointwise(self, z: Array, y: Array) -> Array:
        """The loss of each measurement, shape (n_measurements,).

        The base class asks `value` for each one; a loss that can compute all of them at
        once overrides this.
        """
        pairs = zip(z[:, None], y[:, None], strict=True)
        return np.array([self.value(*pair) for pair in pairs], dtype=np.float64)

    @abstractmethod
    def gradient(self, z: Array, y: Array) -> Array:
        """Derivative with respect to each prediction, shape (n_measurements,)."""

    def curvature(self, z: Array, y: Array) -> Array:
        """Second derivative (or a bound of it) at each prediction.

        A loss may leave it out; solvers that need it then say so.
        """
        raise ValueError(f"loss={self.name!r} has no curvature.")

    @property
    def has_curvature(self) -> bool:
        """Whether the loss has a `curvature` of its own."""
        return type(self).curvature is not Loss.curvature

    # ---- all measurements together

    def total(self, z: Array, y: Array, weights: Array | None = None) -> float:
        """Sum of the losses, each times its weight if there are weights.

        Parameters
        ----------
        z, y : ndarray of shape (n_measurements,)
        weights : ndarray of shape (n_measurements,), default=None
            A measurement of weight two counts like two measurements. The same for the
            methods below.
        """
        if weights is None:
            return self.value(z, y)
        return dot(weights, self.pointwise(z, y))

    def slopes(
        self, z: Array, y: Array, scale: Any, weights: Array | None = None
    ) -> Array:
        """``scale * weights * gradient``, in an array of its own."""
        slopes = self.gradient(z, y)
        slopes = slopes * slopes.dtype.type(scale)
        if weights is not None:
            slopes *= weights
        return slopes

    def curvatures(
        self, z: Array, y: Array, scale: Any, weights: Array | None = None
    ) -> Any:
        """``scale * weights * curvature``, a number where they are all the same."""
        curvatures = scale * self.curvature(z, y)
        return curvatures if weights is None else curvatures * weights

    def polynomial(
        self,
        z: Array,
        y: Array,
        z1: Array,
        z2: Array,
        weights: Array | None = None,
    ) -> Array | None:
        """`total` along ``z + t z1 + t^2 z2``, where it is of degree four in t.

        Returns
        -------
        ndarray of shape (5,) or None
            The coefficients, constant term first. None for a loss that is no
            polynomial of the predictions.
        """
        return None

    def size(self, y: Array, scale: float, weights: Array | None = None) -> float:
        """``sqrt(2 * scale * total)`` at zero: how much there is to explain."""
        return float(np.sqrt(2 * scale * self.total(np.zeros_like(y), y, weights)))

    # ---- constants that depend on the data

    def typical_curvature(self, y: Array, weights: Array | None = None) -> float:
        """Curvature by which the objective is divided, so that its own is about 1."""
        return self.curvature_bound

    def relative_to(self, y: Array, weights: Array | None = None) -> Self:
        """The loss with constants that depend on the scale of the data filled in."""
        return self

    def rescaled(self, factor: float) -> Self:
        """The loss for predictions and targets that were multiplied by `factor`."""
        return self

    def sharpened(
        self, z: Array, y: Array, finest: float, weights: Array | None = None
    ) -> Self | None:
        """The loss with less smoothing, once predictions are as good as these.

        A smoothed loss is followed to the exact one step by step (continuation, or
        homotopy, of the smoothing). None if less smoothing would gain nothing, because
        the residuals are not an effect of the smoothing.

        Parameters
        ----------
        z, y : ndarray of shape (n_measurements,)
        finest : float
            Accuracy that is wanted, as a share of the scale of the data.
        weights : ndarray of shape (n_measurements,), default=None
        """
        return None

    def continuation(self) -> list[Self]:
        """The losses to minimise one after the other, the last one being this one.

        The first is the most smoothed; a loss that is not smoothed stands alone.
        """
        return [self]

    def drawn(self, y: Array) -> bool:
        """Whether the targets look like random draws, not like the means themselves."""
        return self.generalized

    def mean(self, z: Array) -> Array:
        """The target to expect at a prediction: z itself unless there is a link."""
        return z

    def near(self, y: Array) -> Array | None:
        """A prediction near each target, for a first fit without any predictions.

        It is finite also where the best one is not (a label, a count of zero). None,
        which is the default, starts at zero.

        Parameters
        ----------
        y : ndarray of shape (n_measurements,)

        Returns
        -------
        ndarray of shape (n_measurements,) or None
        """
        return None

    def constant(self, y: Array, weights: Array | None = None) -> float:
        """The constant prediction with the lowest loss.

        The base class assumes a loss of the residual, whose best constant lies between
        the smallest and the largest target.
        """
        # Imported here because it is rarely needed and takes long to load.
        from scipy import optimize

        low, width = float(np.min(y)), float(np.ptp(y))
        weights = np.ones(len(y)) if weights is None else weights

        def slope(share: float) -> float:
            at = np.full_like(y, low + share * width)
            return float(weights @ self.gradient(at, y))

        size = -slope(0.0)
        if not size > 0:
            return low
        share = optimize.brentq(lambda t: slope(t) / size, 0.0, 1.0, xtol=1e-14)
        return low + float(share) * width

    def target_check(self, y: Array) -> None:
        """Raise ValueError if `y` holds targets this loss has no meaning for."""
        if not np.all(np.isfinite(y)):
            raise ValueError(
                f"loss={self.name!r} needs finite targets; y holds NaN or infinity."
            )
        if self.non_negative and np.any(y < 0):
            # scikit-learn's words, which its own tools look for.
            raise ValueError(f"Negative values in data: {self._needs(y)}")

    def _needs(self, y: Array) -> str:
        """Which targets the loss needs, and which it was given."""
        return f"loss={self.name!r} needs targets >= 0; the smallest is {np.min(y):g}."


class SummedLoss(Loss):
    """A loss that is defined by what each measurement costs, its `pointwise`.

    It is the base class for a loss of your own. With `Loss`, everything that takes
    weights of samples calls `value` once for each measurement, which is slow.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import AbsoluteLoss, SummedLoss
    >>> isinstance(AbsoluteLoss(), SummedLoss)
    True
    >>> AbsoluteLoss(smoothing=1e-9).pointwise(np.array([3.0, 0.5]), np.zeros(2))
    array([3. , 0.5])
    """

    @abstractmethod
    def pointwise(self, z: Array, y: Array) -> Array:
        """The loss of each measurement, shape (n_measurements,)."""

    def value(self, z: Array, y: Array) -> float:
        return float(np.sum(self.pointwise(z, y), dtype=np.float64))


# Whatever a loss computes: who changes one of them has another loss. Which targets a
# loss takes, and what predictions stand for, say nothing of its arithmetic.
_METHODS = tuple(
    name
    for name, method in vars(Loss).items()
    if callable(method)
    and name[0] != "_"
    and name not in ("target_check", "mean", "near")
)
# What the squared loss computes in one pass, and any loss from its other methods.
_CLOSED_FORMS = ("total", "slopes", "curvatures", "polynomial", "size", "constant")
# Facts that hold because the loss is half the squared residual.
_FACTS_OF_SQUARES = ("least_squares", "measures_error", "signs_are_chance")


def _differs(kind: type, base: type, name: str) -> bool:
    return getattr(kind, name) is not getattr(base, name)


@dataclass(frozen=True)
class SquaredLoss(Loss):
    """Half the squared residual, ``(z - y)^2 / 2``.

    A subclass that overrides a method of the arithmetic is treated like any other loss:
    its own methods are called, and the closed forms of least squares are not used. If
    it has one of `value` and `pointwise`, the other follows from that.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import SquaredLoss
    >>> SquaredLoss().value(np.array([3.0, 0.0]), np.array([1.0, 0.0]))
    2.0
    """

    name = "squared"
    curvature_bound = 1.0
    homogeneous = True
    least_squares = True
    measures_error = True
    signs_are_chance = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        base = next(kind for kind in cls.__mro__[1:] if issubclass(kind, SquaredLoss))
        changed = {name for name in _METHODS if _differs(cls, base, name)}
        if not changed:
            return
        for fact in _FACTS_OF_SQUARES:
            if fact not in vars(cls):
                setattr(cls, fact, False)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        if cls.least_squares:
            return
        # What the squared loss has at hand is not true of another loss.
        general = SummedLoss if "pointwise" in changed else Loss
        closed = {"value", "pointwise", *_CLOSED_FORMS} - changed
        if not changed & {"value", "pointwise"}:
            closed -= {"value", "pointwise"}
        for name in closed:
            if not _differs(cls, SquaredLoss, name):
                setattr(cls, name, getattr(general, name))

    def value(self, z: Array, y: Array) -> float:
        residual = z - y
        return 0.5 * float(residual @ residual)

    def gradient(self, z: Array, y: Array) -> Array:
        return z - y

    def curvature(self, z: Array, y: Array) -> Array:
        return np.ones_like(z)

    def pointwise(self, z: Array, y: Array) -> Array:
        return 0.5 * (z - y) ** 2

    def total(self, z: Array, y: Array, weights: Array | None = None) -> float:
        return 0.5 * squared_distance(z, y, weights)

    def slopes(
        self, z: Array, y: Array, scale: Any, weights: Array | None = None
    ) -> Array:
        dtype = np.result_type(z, y)
        slopes = np.subtract(z, y, out=empty(len(z), dtype))
        slopes *= dtype.type(scale)
        if weights is not None:
            slopes *= weights
        return slopes

    def curvatures(
        self, z: Array, y: Array, scale: Any, weights: Array | None = None
    ) -> Any:
        return scale if weights is None else scale * weights

    def polynomial(
        self,
        z: Array,
        y: Array,
        z1: Array,
        z2: Array,
        weights: Array | None = None,
    ) -> Array | None:
        s00, s01, s11, s02, s12, s22 = ray_sums(z, y, z1, z2, weights)
        return np.array([0.5 * s00, s01, 0.5 * s11 + s02, s12, 0.5 * s22])

    def size(self, y: Array, scale: float, weights: Array | None = None) -> float:
        # The square of a very small or very large number might be zero or infinite.
        size = norm(y if weights is None else np.sqrt(weights) * y)
        return size * float(np.sqrt(scale))

    def constant(self, y: Array, weights: Array | None = None) -> float:
        return _mean(y, weights)


@dataclass(frozen=True)
class HuberLoss(SummedLoss):
    """Quadratic for small residuals, linear for large ones.

    ``r^2 / 2`` for residuals up to ``delta = threshold * scale``, and
    ``delta (|r| - delta / 2)`` beyond: an outlier pulls with a force that does not
    grow with its size.

    Parameters
    ----------
    threshold : float, default=0.1
        In units of `scale`. A small one comes close to the absolute loss; a large one
        is the squared loss.
    scale : float, default=None
        A size of the data, in their units. None: in a fit, the median of ``|y|``,
        times 1.48 so that it is the standard deviation of normal data; outside of
        one, 1.

    Raises
    ------
    ValueError
        If `threshold` or `scale` is not positive and finite.

    References
    ----------
    .. [1] P. J. Huber, "Robust Estimation of a Location Parameter", Ann. Math.
       Statist. 35, 1964.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import HuberLoss
    >>> HuberLoss(threshold=1.0).value(np.array([3.0, 0.0]), np.array([0.0, 1.0]))
    3.0
    """

    threshold: float = 0.1
    scale: float | None = None

    name = "huber"
    curvature_bound = 1.0
    homogeneous = True

    def __post_init__(self) -> None:
        _check_positive(self, "threshold", self.threshold)
        _check_positive(self, "scale", self.scale)

    @property
    def delta(self) -> float:
        """The residual at which the loss becomes linear."""
        return self.threshold * _or_one(self.scale)

    def pointwise(self, z: Array, y: Array) -> Array:
        return np.asarray(special.huber(self.delta, z - y))

    def gradient(self, z: Array, y: Array) -> Array:
        return np.clip(z - y, -self.delta, self.delta)

    def curvature(self, z: Array, y: Array) -> Array:
        # That of the parabola that touches the loss here and lies above it everywhere
        # (majorisation).
        return self.delta / np.maximum(np.abs(z - y), self.delta)

    def relative_to(self, y: Array, weights: Array | None = None) -> HuberLoss:
        if self.scale is not None:
            return self
        return _changed(self, scale=robust_scale(y, weights))

    def rescaled(self, factor: float) -> HuberLoss:
        return _changed(self, scale=_or_one(self.scale) * factor)


@dataclass(frozen=True)
class AbsoluteLoss(SummedLoss):
    """A power of the absolute residual, ``|z - y|^p`` with p from 1 to below 2.

    It is rounded off near zero, ``(r^2 + delta^2)^(p/2) - delta^p`` with
    ``delta = smoothing * scale``, so that it has a gradient and a curvature
    everywhere. A fit without residuals is a minimum for every delta. With outliers, the
    other targets are fitted to about a tenth of delta. A fit therefore starts at a
    large delta, which at the rank found follows the residuals down.

    Parameters
    ----------
    power : float, default=1.0
        p, ``1 <= p < 2``.
    smoothing : float, default=None
        In units of `scale`; a number stays as it is. None: 0.03 until the rank is
        found; from there on the median of the absolute residuals, as long as that at
        least halves the smoothing, and down to the `tol` of the fit. (It stays 0.03
        with a ridge, which leaves residuals of its own.)
    scale : float, default=None
        As for `HuberLoss`.
    refined : float, default=1.0
        The share of the first smoothing that is left; set by fits.

    Raises
    ------
    ValueError
        If `power` lies outside [1, 2), or `smoothing` or `scale` is not positive and
        finite.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import AbsoluteLoss
    >>> loss = AbsoluteLoss(smoothing=1e-6)
    >>> round(loss.value(np.array([3.0, 0.0]), np.array([0.0, 1.0])), 4)
    4.0
    """

    power: float = 1.0
    smoothing: float | None = None
    scale: float | None = None
    refined: float = field(default=1.0, repr=False, kw_only=True)

    name = "absolute"
    homogeneous = True

    def __post_init__(self) -> None:
        if not 1 <= self.power < 2:
            raise ValueError(
                f"AbsoluteLoss needs a power with 1 <= power < 2, got {self.power!r}; "
                "a power of 2 is loss='squared'."
            )
        _check_positive(self, "smoothing", self.smoothing)
        _check_positive(self, "scale", self.scale)
        _check_positive(self, "refined", self.refined)

    @property
    def delta(self) -> float:
        """The residual below which the loss is rounded off."""
        smoothing = _SMOOTHING if self.smoothing is None else self.smoothing
        return smoothing * self.refined * _or_one(self.scale)

    @property
    def curvature_bound(self) -> float:  # type: ignore[override]
        return float(self.power * self.delta ** (self.power - 2))

    def pointwise(self, z: Array, y: Array) -> Array:
        # Accurate for residuals far below delta, too, where a difference would cancel.
        growth = np.expm1(0.5 * self.power * np.log1p(self._ratio(z, y) ** 2))
        return np.asarray(self.delta**self.power * growth)

    def gradient(self, z: Array, y: Array) -> Array:
        return self.curvature(z, y) * (z - y)

    def curvature(self, z: Array, y: Array) -> Array:
        # That of the parabola that touches the loss here and lies above it everywhere
        # (majorisation).
        weight = (1 + self._ratio(z, y) ** 2) ** (0.5 * self.power - 1)
        return self.curvature_bound * weight

    def relative_to(self, y: Array, weights: Array | None = None) -> AbsoluteLoss:
        if self.scale is not None:
            return self
        return _changed(self, scale=robust_scale(y, weights))

    def rescaled(self, factor: float) -> AbsoluteLoss:
        return _changed(self, scale=_or_one(self.scale) * factor)

    def sharpened(
        self, z: Array, y: Array, finest: float, weights: Array | None = None
    ) -> AbsoluteLoss | None:
        if self.smoothing is not None:
            return None
        typical = weighted_median(np.abs(z - y), weights)
        share = max(typical, finest * _or_one(self.scale)) / self.delta
        if share > _WORTHWHILE:
            return None
        return _changed(self, refined=share * self.refined)

    def continuation(self) -> list[AbsoluteLoss]:
        # From a distant start, a loss with little smoothing is minimised slowly.
        n_steps = int(np.ceil(-np.log10(self.refined)))
        smoother = [_changed(self, refined=10.0**-k) for k in range(n_steps)]
        return [*smoother, self]

    def _ratio(self, z: Array, y: Array) -> Array:
        return (z - y) / self.delta


@dataclass(frozen=True)
class LogisticLoss(SummedLoss):
    """Labels or probabilities; the prediction z is the log-odds (1-bit sensing).

    With ``p = 1 / (1 + exp(-z))``: ``-log p`` for the label 1, ``-log(1 - p)`` for
    the label 0, and in between, for a target y that is itself a probability,
    ``y log(y / p) + (1 - y) log((1 - y) / (1 - p))``.

    Targets -1 and 1 are refused, because 0 would then mean either a label or nothing:
    pass ``(y + 1) / 2``.

    References
    ----------
    .. [1] M. A. Davenport, Y. Plan, E. van den Berg, M. Wootters, "1-Bit Matrix
       Completion", Information and Inference 3, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import LogisticLoss
    >>> loss = LogisticLoss()
    >>> float(loss.mean(np.array([0.0]))[0])
    0.5
    >>> round(loss.value(np.array([0.0]), np.array([1.0])), 6)
    0.693147
    """

    name = "logistic"
    curvature_bound = 0.25
    homogeneous = False
    generalized = True
    non_negative = True

    def pointwise(self, z: Array, y: Array) -> Array:
        # Targets above 1/2 are mirrored, so that those near one are as accurate as
        # those near zero.
        mirrored = y > 0.5
        z, y = np.where(mirrored, -z, z), np.where(mirrored, 1 - y, y)
        losses = np.logaddexp(0, z)
        if np.any(y):
            entropy = special.xlogy(y, y) + special.xlog1py(1 - y, -y)
            losses = losses - y * z + entropy
            distance = z - special.logit(y)
            near = np.abs(distance) < _NEAR
            d, y = distance[near], y[near]
            losses[near] = np.log1p(y * np.expm1(d)) - y * d
        return np.asarray(losses)

    def gradient(self, z: Array, y: Array) -> Array:
        return special.expit(z) - y

    def curvature(self, z: Array, y: Array) -> Array:
        return special.expit(z) * special.expit(-z)

    def drawn(self, y: Array) -> bool:
        return bool(np.all((y == 0) | (y == 1)))

    def mean(self, z: Array) -> Array:
        return special.expit(z)

    def constant(self, y: Array, weights: Array | None = None) -> float:
        return float(special.logit(_mean(y, weights)))

    def target_check(self, y: Array) -> None:
        super().target_check(y)
        if np.any(y > 1):
            raise ValueError(self._needs(y))

    def _needs(self, y: Array) -> str:
        hint = " Pass (y + 1) / 2." if set(np.unique(y)) == {-1.0, 1.0} else ""
        return (
            "loss='logistic' needs targets in [0, 1], labels or probabilities; they "
            f"run from {np.min(y):g} to {np.max(y):g}.{hint}"
        )


@dataclass(frozen=True)
class PoissonLoss(SummedLoss):
    """Counts; the prediction z is the logarithm of their mean.

    ``exp(z) - y z``, less its lowest value ``y - y log y``.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.losses import PoissonLoss
    >>> loss = PoissonLoss()
    >>> float(loss.mean(np.array([0.0]))[0])
    1.0
    >>> loss.value(np.array([0.0, 0.0]), np.array([1.0, 0.0]))
    1.0
    """

    name = "poisson"
    curvature_bound = np.inf
    homogeneous = False
    generalized = True
    non_negative = True

    def pointwise(self, z: Array, y: Array) -> Array:
        counted = y > 0
        positive = np.where(counted, y, 1)
        d = z - np.log(positive)
        return np.where(counted, positive * (np.expm1(d) - d), np.exp(z))

    def gradient(self, z: Array, y: Array) -> Array:
        return np.exp(z) - y

    def curvature(self, z: Array, y: Array) -> Array:
        return np.exp(z)

    def typical_curvature(self, y: Array, weights: Array | None = None) -> float:
        # At the optimum the second derivatives have the mean of the targets.
        return _mean(y, weights) or 1.0

    def drawn(self, y: Array) -> bool:
        return bool(np.all(y == np.rint(y)))

    def mean(self, z: Array) -> Array:
        # A mean beyond all numbers is the largest one.
        with np.errstate(over="ignore"):
            return np.asarray(np.minimum(np.exp(z), np.finfo(z.dtype).max))

    def near(self, y: Array) -> Array:
        return np.log(y + _UNSEEN)

    def constant(self, y: Array, weights: Array | None = None) -> float:
        mean = _mean(y, weights)
        return float(np.log(mean)) if mean > 0 else -np.inf

    def _needs(self, y: Array) -> str:
        return (
            "loss='poisson' needs targets >= 0, counts or rates; the smallest is "
            f"{np.min(y):g}."
        )


LOSSES: dict[str, type[Loss]] = {
    loss.name: loss
    for loss in (SquaredLoss, LogisticLoss, HuberLoss, AbsoluteLoss, PoissonLoss)
}


def make_loss(loss: str | Loss | None) -> Loss:
    """The loss behind the value of a `loss` parameter; None is the squared loss."""
    if loss is None:
        return SquaredLoss()
    if isinstance(loss, Loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(
            f"loss must be one of {sorted(LOSSES)} or an instance of a Loss, got "
            f"{loss!r}."
        )
    return LOSSES[loss]()


def robust_scale(y: Array, weights: Array | None = None) -> float:
    """Standard deviation about zero, robust to outliers in less than half of y.

    It is the root mean square of y if more than half of y is zero, and 1 if all of y
    is.
    """
    scale = weighted_median(np.abs(y), weights) / _NORMAL_MEDIAN
    if scale:
        return scale
    if weights is None:
        return norm(y) / np.sqrt(len(y)) or 1.0
    return norm(np.sqrt(weights) * y) / np.sqrt(np.sum(weights)) or 1.0


def weighted_median(values: Array, weights: Array | None = None) -> float:
    """The median of values that count as often as their weights say.

    Parameters
    ----------
    values : ndarray of shape (n,)
    weights : ndarray of shape (n,), default=None
        Not negative; None counts each value once.

    Returns
    -------
    float
        The mean of the two middle values where half of the weight lies on either side.
    """
    if weights is None:
        return float(np.median(values))
    order = np.argsort(values)
    below = np.cumsum(weights[order], dtype=np.float64)
    half, rounding = 0.5 * below[-1], len(values) * float(np.finfo(np.float64).eps)
    # Rounding of the sums must not decide whether half of the weight is reached.
    middle = (np.searchsorted(below, half * (1 + s * rounding)) for s in (-1, 1))
    lower, upper = (values[order[min(k, len(values) - 1)]] for k in middle)
    return 0.5 * (float(lower) + float(upper))


def _mean(y: Array, weights: Array | None) -> float:
    if weights is None:
        return float(np.mean(y, dtype=np.float64))
    return float(np.average(y.astype(np.float64, copy=False), weights=weights))


def _changed(loss: L, **constants: float) -> L:
    """The same loss with other constants.

    `dataclasses.replace` would call the constructor, which a subclass may have changed.
    """
    made = copy(loss)
    for name, value in constants.items():
        object.__setattr__(made, name, value)
    return made


def _or_one(scale: float | None) -> float:
    return 1.0 if scale is None else scale


def _check_positive(loss: Loss, name: str, value: float | None) -> None:
    if value is None:
        return
    if not (isinstance(value, Real) and value > 0 and np.isfinite(value)):
        raise ValueError(
            f"{type(loss).__name__} needs a positive, finite {name}, got {value!r}."
        )
