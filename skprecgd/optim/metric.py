"""The preconditioner and its damping.

The gradient with respect to L is measured, and divided, by ``R^T R + eta I``,
the one with respect to R by ``L^T L + eta I`` (PrecGD; eta = 0 is ScaledGD). The
identity scaled to the largest eigenvalue is plain gradient descent, with step
sizes that mean the same whatever the units of the data. `DAMPING_RULES` says what each
value of the `damping` parameter stands for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from numbers import Real

import numpy as np

from skprecgd._linalg.numerics import column_squares, in_precision
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective

# Rounding turns a zero eigenvalue of a Gram matrix into one of up to some twenty
# machine epsilons, as a share of the largest.
_ZERO_LEVEL = 32
_TINY = float(np.finfo(np.float64).tiny)


class Metric:
    """Inner product of directions at one point, and its inverse.

    Parameters
    ----------
    factors : Factors
        The point.
    damping : float, default=0.0
        eta, in units of the singular values of the matrix.
    identity : bool, default=False
        Use a multiple of the identity (gradient descent).

    Notes
    -----
    The r x r Gram matrices are diagonalised instead of factorised: r is small,
    it is safe when they are singular (eigenvalues at rounding level are left out,
    a pseudo-inverse), and every other damping at the same point is then free.

    Examples
    --------
    Undamped, the metric undoes the condition number of the factors:

    >>> import numpy as np
    >>> from skprecgd.factors import SymmetricFactor
    >>> from skprecgd.optim import Metric
    >>> factors = SymmetricFactor(np.diag([10.0, 0.1]))
    >>> gradient = SymmetricFactor(np.diag([100.0, 0.01]))
    >>> Metric(factors).apply(gradient).blocks[0]
    array([[0.5, 0. ],
           [0. , 0.5]])
    """

    def __init__(
        self, factors: Factors, damping: float = 0.0, *, identity: bool = False
    ) -> None:
        self._multiplicity = factors.multiplicity
        self._dtype = factors.dtype
        # One call for all blocks: the call itself takes longer than its small matrices.
        eigenvalues, self._bases = np.linalg.eigh(np.stack(factors.metric_grams()))
        self._eigenvalues = np.maximum(eigenvalues, 0.0)
        if identity:
            self._eigenvalues[:] = np.max(self._eigenvalues, initial=0.0)
        self._seen: tuple[Factors, Factors] | None = None
        self._damp(damping)

    def damped(self, damping: float) -> Metric:
        """The metric at the same point with another damping.

        Parameters
        ----------
        damping : float
        """
        other = copy(self)
        other._damp(damping)
        return other

    def apply(self, gradient: Factors) -> Factors:
        """Solve with the metric: ``grad (Gram + eta I)^-1``, block by block.

        Parameters
        ----------
        gradient : Factors

        Returns
        -------
        Factors
        """
        back = self._inverse[:, :, np.newaxis] * self._bases.conj().transpose(0, 2, 1)
        back = in_precision(back, self._dtype)
        return self._rotated(gradient).times_right(list(back))

    def roots(self) -> list[Array]:
        """Per block, W with ``W W^T = (Gram + eta I)^-1``.

        A gradient times W and a direction times ``W^-T`` are their coordinates in a
        basis in which the metric is the Euclidean one (``W^H``, if W is complex).

        Returns
        -------
        list of ndarray of shape (r, r)
        """
        scaled = self._bases * np.sqrt(self._inverse)[:, np.newaxis]
        return list(in_precision(scaled, self._dtype))

    def dual_norm(self, gradient: Factors) -> float:
        """``|| grad (Gram + eta I)^-1/2 ||_F``.

        Parameters
        ----------
        gradient : Factors

        Returns
        -------
        float
        """
        total = 0.0
        blocks = zip(self._rotated(gradient).blocks, self._inverse, strict=True)
        for block, inverse in blocks:
            total += float(column_squares(block) @ inverse)
        return float(np.sqrt(total))

    def _rotated(self, gradient: Factors) -> Factors:
        """The gradient in the eigenvectors: for its norm, and then for the step."""
        if self._seen is None or self._seen[0] is not gradient:
            bases = list(in_precision(self._bases, self._dtype))
            self._seen = gradient, gradient.times_right(bases)
        return self._seen[1]

    def _damp(self, damping: float) -> None:
        """Set `damping`, and with it the eigenvalues of the metric's inverse."""
        self.damping = damping
        shifted = self._eigenvalues + damping
        largest = shifted.max(axis=1, keepdims=True, initial=0.0)
        cutoff = _ZERO_LEVEL * float(np.finfo(self._dtype).eps) * largest
        # The inverse of a subnormal number may overflow.
        kept = (shifted > cutoff) & (shifted >= _TINY)
        self._inverse = np.zeros_like(shifted)
        np.divide(1.0 / self._multiplicity, shifted, out=self._inverse, where=kept)


@dataclass(frozen=True)
class DampingState:
    """The input of a damping rule; everything is in units of the data norm.

    Attributes
    ----------
    evaluation : Evaluation
        The point, with its `loss`.
    objective : Objective
        The objective, with its `data_norm`.
    undamped_dual_norm : float
        Norm of the gradient in the undamped metric: about the part of the error that
        moving the factors can still remove.
    iteration : int
        Number of steps before, at this rank.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import SymmetricFactor
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> from skprecgd.optim import DampingState, SqrtLossDamping
    >>> objective = make_objective(FullObservation((2, 2)), np.diag([4.0, 0.0]))
    >>> evaluation = objective.evaluate(SymmetricFactor(np.eye(2)))
    >>> state = DampingState(evaluation, objective, undamped_dual_norm=1.0, iteration=0)
    >>> bool(SqrtLossDamping()(state) == np.sqrt(10))
    True
    """

    evaluation: Evaluation
    objective: Objective
    undamped_dual_norm: float
    iteration: int


class Damping(ABC):
    """Contract of a damping rule: how eta of the metric follows the error.

    A rule is given as the `damping` of an estimator, of `minimize` or of `rank_path`.
    Every fit of an estimator uses a copy of it, so a rule may remember earlier points.

    See Also
    --------
    DampingState : What a rule is given.

    Examples
    --------
    A rule that never falls below a millionth of the norm of the data:

    >>> from skprecgd import PrecGDFactorization
    >>> from skprecgd.datasets import make_matrix_completion
    >>> from skprecgd.optim import Damping
    >>> class Floored(Damping):
    ...     def __call__(self, state):
    ...         return max(state.undamped_dual_norm, 1e-6 * state.objective.data_norm)
    >>> X, truth = make_matrix_completion(
    ...     60, 40, rank=2, observed_fraction=0.5, random_state=0
    ... )
    >>> PrecGDFactorization(4, damping=Floored()).fit(X).n_components_
    2
    """

    @abstractmethod
    def __call__(self, state: DampingState) -> float:
        """The damping eta >= 0 of the coming step.

        Parameters
        ----------
        state : DampingState

        Returns
        -------
        float
        """


@dataclass(frozen=True)
class ConstantDamping(Damping):
    """``eta = factor * data norm``: ScaledGD(lambda) for small factors.

    Parameters
    ----------
    factor : float

    Raises
    ------
    ValueError
        If `factor` is negative or not finite.

    Examples
    --------
    >>> from skprecgd.optim import ConstantDamping
    >>> ConstantDamping(1e-3)
    ConstantDamping(factor=0.001)
    """

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def __call__(self, state: DampingState) -> float:
        return self.factor * state.objective.data_norm


@dataclass(frozen=True)
class SqrtLossDamping(Damping):
    """``eta = factor * sqrt(2 f)``, the size of the error (PrecGD 2021, eq. 1.1).

    Parameters
    ----------
    factor : float, default=1.0

    Raises
    ------
    ValueError
        If `factor` is negative or not finite.

    Examples
    --------
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.optim import SqrtLossDamping
    >>> PrecGDMatrixSensing(damping=SqrtLossDamping(2.0))
    PrecGDMatrixSensing(damping=SqrtLossDamping(factor=2.0))
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def __call__(self, state: DampingState) -> float:
        return self.factor * float(np.sqrt(2 * state.evaluation.loss))


@dataclass(frozen=True)
class DualNormDamping(Damping):
    """``eta = factor * ||grad f (X^T X)^-1/2||_F`` (JMLR 2023, Corollary 5).

    Parameters
    ----------
    factor : float, default=1.0

    Raises
    ------
    ValueError
        If `factor` is negative or not finite.

    Examples
    --------
    >>> from skprecgd.optim import DualNormDamping
    >>> DualNormDamping()
    DualNormDamping(factor=1.0)
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def __call__(self, state: DampingState) -> float:
        return self.factor * state.undamped_dual_norm


@dataclass(frozen=True)
class VarianceProxyDamping(Damping):
    """``eta = sqrt(|2 f - sigma^2 / s|)``: the error without the noise's share.

    s is the measurements' mean squared entry, so ``sigma^2 / s`` is what noise of
    variance `sigma^2` adds to ``2 f``. `damping="variance_proxy"` computes it from the
    `noise_variance` of the fit.

    Parameters
    ----------
    noise_share : float
        ``sigma^2 / s`` in units of the square of the norm of the data.

    Raises
    ------
    ValueError
        If `noise_share` is negative or not finite.

    Examples
    --------
    >>> from skprecgd.optim import VarianceProxyDamping
    >>> VarianceProxyDamping(0.01)
    VarianceProxyDamping(noise_share=0.01)
    """

    noise_share: float

    def __post_init__(self) -> None:
        _check_factor(self.noise_share, "noise_share")

    def __call__(self, state: DampingState) -> float:
        return float(np.sqrt(abs(2 * state.evaluation.loss - self.noise_share)))


@dataclass(frozen=True)
class GeometricDamping(Damping):
    """``eta_k = ratio^k * data norm`` (Zhang, Chiu, Zhang, AISTATS 2024).

    Parameters
    ----------
    ratio : float, default=0.9

    Raises
    ------
    ValueError
        If `ratio` is negative or not finite.

    Examples
    --------
    >>> from skprecgd.optim import GeometricDamping
    >>> GeometricDamping(0.8)
    GeometricDamping(ratio=0.8)
    """

    ratio: float = 0.9

    def __post_init__(self) -> None:
        _check_factor(self.ratio, "ratio")

    def __call__(self, state: DampingState) -> float:
        # It starts from the size of the data and needs no estimate of the noise.
        return self.ratio**state.iteration * state.objective.data_norm


def _check_factor(value: float, name: str = "factor") -> None:
    if not 0 <= value < np.inf:
        raise ValueError(f"{name} must be a number >= 0, got {value!r}.")


def _by_noise(noise_share: float | None) -> Damping:
    """The rule of "auto" for a loss that measures the error."""
    return SqrtLossDamping() if noise_share is None else _variance_proxy(noise_share)


def _variance_proxy(noise_share: float | None) -> Damping:
    if noise_share is None:
        raise ValueError(
            "damping='variance_proxy' needs noise_variance, got None; give the "
            "variance of the noise or use damping='geometric'."
        )
    return VarianceProxyDamping(noise_share)


DAMPING_RULES: dict[str, Callable[[float | None], Damping]] = {
    "auto": _by_noise,
    "sqrt_loss": lambda noise_share: SqrtLossDamping(),
    "dual_norm": lambda noise_share: DualNormDamping(),
    "variance_proxy": _variance_proxy,
    "geometric": lambda noise_share: GeometricDamping(),
}
"""Functions that make the damping rule of each name, given the noise's share."""


def make_damping(
    damping: str | float | Damping,
    noise_share: float | None = None,
    *,
    measures_error: bool = True,
) -> Damping:
    """The damping rule behind the value of the `damping` parameter.

    Parameters
    ----------
    damping : str, float or Damping
        A name of `DAMPING_RULES`, the number of a `ConstantDamping` (in units of the
        data norm), or a rule.
    noise_share : float, default=None
        Noise variance divided by the measurements' mean squared entry, in units
        of the objective; needed by "variance_proxy".
    measures_error : bool, default=True
        Whether the loss measures the error (see `skprecgd.losses.Loss`). Where it does
        not, "auto" is "dual_norm".

    Raises
    ------
    ValueError
        If `damping` is none of these, or needs a `noise_share` that is not given.
    """
    if isinstance(damping, Damping):
        return damping
    if isinstance(damping, str) and damping in DAMPING_RULES:
        name = "dual_norm" if damping == "auto" and not measures_error else damping
        return DAMPING_RULES[name](noise_share)
    if not (isinstance(damping, Real) and 0 <= damping < np.inf):
        raise ValueError(
            f"damping must be one of {tuple(DAMPING_RULES)}, a number >= 0 or a "
            f"Damping, got {damping!r}."
        )
    return ConstantDamping(float(damping))
