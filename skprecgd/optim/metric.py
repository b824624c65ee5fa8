"""The preconditioner and its damping.

The gradient with respect to L is measured, and divided, by ``R^T R + eta I``,
the one with respect to R by ``L^T L + eta I`` (PrecGD; eta = 0 is ScaledGD). The
identity scaled to the largest eigenvalue is plain gradient descent, with step
sizes that mean the same whatever the units of the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors
from skprecgd.objective import Evaluation, Objective

DAMPING_RULES = ("auto", "sqrt_loss", "dual_norm", "variance_proxy", "geometric")

# A zero eigenvalue of a Gram matrix comes out as up to some twenty epsilon.
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
    """

    def __init__(
        self, factors: Factors, damping: float = 0.0, *, identity: bool = False
    ) -> None:
        self._multiplicity = factors.multiplicity
        self._dtype = factors.dtype
        # Of all blocks at once: a call costs more than its few numbers.
        eigenvalues, self._bases = np.linalg.eigh(np.stack(factors.metric_grams()))
        self._eigenvalues = np.maximum(eigenvalues, 0.0)
        if identity:
            self._eigenvalues[:] = np.max(self._eigenvalues, initial=0.0)
        self._seen: tuple[Factors, Factors] | None = None
        self._damp(damping)

    def damped(self, damping: float) -> Metric:
        """The metric at the same point with another damping."""
        other = copy(self)
        other._damp(damping)
        return other

    def apply(self, gradient: Factors) -> Factors:
        """Solve with the metric: ``grad (Gram + eta I)^-1``, block by block."""
        back = self._inverse[:, :, np.newaxis] * self._bases.transpose(0, 2, 1)
        return self._rotated(gradient).times_right(list(back.astype(self._dtype)))

    def roots(self) -> list[Array]:
        """Per block, W with ``W W^T = (Gram + eta I)^-1``.

        A gradient times W and a direction times ``W^-T`` are what they are where the
        metric is the Euclidean one.
        """
        scaled = self._bases * np.sqrt(self._inverse)[:, np.newaxis]
        return list(scaled.astype(self._dtype))

    def dual_norm(self, gradient: Factors) -> float:
        """``|| grad (Gram + eta I)^-1/2 ||_F``."""
        total = 0.0
        blocks = zip(self._rotated(gradient).blocks, self._inverse, strict=True)
        for block, inverse in blocks:
            squares = np.einsum("ij,ij->j", block, block, dtype=np.float64)
            total += float(squares @ inverse)
        return float(np.sqrt(total))

    def _rotated(self, gradient: Factors) -> Factors:
        """The gradient in the eigenvectors: for its norm, and then for the step."""
        if self._seen is None or self._seen[0] is not gradient:
            bases = list(self._bases.astype(self._dtype, copy=False))
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
    """What a damping rule may look at; everything is in units of the data norm."""

    evaluation: Evaluation
    objective: Objective
    undamped_dual_norm: float
    iteration: int


class Damping(ABC):
    """How eta follows the error."""

    @abstractmethod
    def __call__(self, state: DampingState) -> float:
        """The damping of the coming step."""


@dataclass(frozen=True)
class ConstantDamping(Damping):
    """``eta = factor * data norm``: ScaledGD(lambda) for small factors."""

    factor: float

    def __call__(self, state: DampingState) -> float:
        return self.factor * state.objective.data_norm


@dataclass(frozen=True)
class SqrtLossDamping(Damping):
    """``eta = factor * sqrt(2 f)``, the size of the error (PrecGD 2021, eq. 1.1)."""

    factor: float = 1.0

    def __call__(self, state: DampingState) -> float:
        return self.factor * float(np.sqrt(2 * state.evaluation.loss))


@dataclass(frozen=True)
class DualNormDamping(Damping):
    """``eta = factor * ||grad f (X^T X)^-1/2||_F`` (JMLR 2023, Corollary 5)."""

    factor: float = 1.0

    def __call__(self, state: DampingState) -> float:
        return self.factor * state.undamped_dual_norm


@dataclass(frozen=True)
class VarianceProxyDamping(Damping):
    """``eta = sqrt(|2 f - sigma^2 / s|)``: the error without the noise's share.

    s is the measurements' mean squared entry, so ``sigma^2 / s`` is what noise of
    variance `sigma^2` adds to ``2 f``.
    """

    noise_share: float

    def __call__(self, state: DampingState) -> float:
        return float(np.sqrt(abs(2 * state.evaluation.loss - self.noise_share)))


@dataclass(frozen=True)
class GeometricDamping(Damping):
    """``eta_k = ratio^k * data norm`` (Zhang, Chiu, Zhang, AISTATS 2024)."""

    ratio: float = 0.9

    def __call__(self, state: DampingState) -> float:
        # The start's error, not a power of a shrinking number: no noise level needed.
        return self.ratio**state.iteration * state.objective.data_norm


def make_damping(
    damping: str | float | Damping, noise_share: float | None = None
) -> Damping:
    """The damping rule behind the value of the `damping` parameter.

    Parameters
    ----------
    damping : {"auto", "sqrt_loss", "dual_norm", "variance_proxy", "geometric"}, \
            float or Damping
        A number is in units of the data norm.
    noise_share : float, default=None
        Noise variance divided by the measurements' mean squared entry, in units
        of the objective; needed by "variance_proxy".
    """
    if isinstance(damping, Damping):
        return damping
    if damping == "auto":
        damping = "sqrt_loss" if noise_share is None else "variance_proxy"
    if damping == "variance_proxy":
        if noise_share is None:
            raise ValueError(
                "damping='variance_proxy' needs noise_variance, got None; give the "
                "variance of the noise or use damping='geometric'."
            )
        return VarianceProxyDamping(noise_share)
    rules: dict[Any, Damping] = {
        "sqrt_loss": SqrtLossDamping(),
        "dual_norm": DualNormDamping(),
        "geometric": GeometricDamping(),
    }
    if damping in rules:
        return rules[damping]
    if isinstance(damping, str) or not np.isfinite(damping) or damping < 0:
        raise ValueError(
            f"damping must be one of {DAMPING_RULES} or a number >= 0, got {damping!r}."
        )
    return ConstantDamping(float(damping))
