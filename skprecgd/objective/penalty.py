"""What is added to the loss: nothing, or a ridge on the factors.

A penalty has the units of the sum it is added to: that of the losses, or that sum times
the weight of an objective. `Penalty.times` leads from one to the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from skprecgd._linalg.matrices import LineScaledMatrix, as_matrix
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors

F = TypeVar("F", bound=Factors)


@dataclass(frozen=True)
class RowWeight:
    """What a row or column costs: a power of how many entries are observed in it.

    Attributes
    ----------
    power : float
    mean : float
        The number of entries of a row that costs one.
    """

    power: float
    mean: float

    @classmethod
    def of_lines(cls, counts: Array, power: float) -> RowWeight:
        """That of rows (or columns) with these counts, of which the mean costs one."""
        seen = counts[counts > 0]
        return cls(power, float(np.mean(seen)) if len(seen) else 1.0)

    def __call__(self, counts: Array) -> Array:
        """The weight of each row; one where nothing is observed, which stays zero."""
        shares = np.where(counts > 0, counts / self.mean, 1.0)
        return np.asarray(shares**self.power)


ALIKE = RowWeight(0.0, 1.0)
"""All rows cost the same."""


class Penalty(ABC):
    """The contract of a penalty, a quadratic form of the factors.

    Of all factors of a matrix, `balanced` ones have the lowest penalty; it is then
    `threshold` times the `size` of the matrix, which is a norm.
    """

    shrinks: bool = True
    """Whether anything is penalised, so that the fit leaves a residual of its own."""
    row_weight: RowWeight | None = None
    """What a row costs by how many entries it shows; None if all cost the same."""

    @property
    @abstractmethod
    def threshold(self) -> float:
        """The penalty of a matrix of size one."""

    @abstractmethod
    def value(self, factors: Factors) -> float:
        """The penalty at a point.

        Parameters
        ----------
        factors : Factors
        """

    @abstractmethod
    def added(self, gradient: F, at: Factors) -> F:
        """A gradient in the factors with that of the penalty.

        The penalty is a quadratic form, so this also adds its Hessian times a direction
        to another Hessian times that direction.

        Parameters
        ----------
        gradient : Factors
            The gradient to add to.
        at : Factors
            The point, or the direction.
        """

    @abstractmethod
    def along(self, factors: Factors, direction: Factors) -> Array:
        """The penalty at ``factors + t * direction`` as a polynomial in t.

        Parameters
        ----------
        factors, direction : Factors

        Returns
        -------
        ndarray of shape (5,)
            Coefficients, the constant term first; those of degree three and four are
            zero.
        """

    @abstractmethod
    def of_lines(self, block: int) -> Any:
        """Twice the penalty of a row of a block, whose length is one.

        Parameters
        ----------
        block : {0, 1}
            The left or the right factor of a pair.

        Returns
        -------
        float or ndarray of shape (n_rows,) or (n_columns,)
        """

    @abstractmethod
    def times(self, scale: float) -> Penalty:
        """The penalty multiplied by a number.

        Divided by the unit of a matrix, it goes with an objective that is divided by
        the square of the unit.

        Parameters
        ----------
        scale : float
        """

    def excess(self, slope: float) -> float:
        """By how much the loss falls faster than the penalty rises along a new term.

        Parameters
        ----------
        slope : float
            The decrease of the loss along a matrix of size one.
        """
        return max(0.0, slope - self.threshold)

    def size(self, factors: Factors) -> float:
        """The norm of the matrix that the penalty is a multiple of: the nuclear one."""
        return float(np.sum(factors.singular_values(), dtype=np.float64))

    def balanced(self, factors: Factors) -> Factors:
        """The same matrix by the factors of the lowest penalty."""
        return factors.balanced()

    def scaled_gradient(self, gradient: Any) -> Any:
        """The gradient in a matrix that is scaled so that its nuclear norm is the size.

        Its largest singular value is the fastest descent along a matrix of size one.

        Parameters
        ----------
        gradient : array, sparse array or LinearOperator of shape (n_rows, n_columns)
            The gradient in the matrix itself.
        """
        return gradient

    def unscaled(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Factors of a term of the matrix, given those of the scaled matrix."""
        return u, v

    def shrunk(self, s: Array) -> Array:
        """The singular values of the best matrix, given those of complete data.

        Parameters
        ----------
        s : ndarray of shape (rank,)
        """
        # The proximal map of the nuclear norm.
        return np.maximum(s - self.threshold, 0.0)

    def row_form(
        self, factors: Factors, basis: Array, *, constant: bool = False
    ) -> Array:
        """The penalty of a row of the matrix as a quadratic form of its coordinates.

        Parameters
        ----------
        factors : Factors
            The matrix, in whose row space the row lies; its rank is full.
        basis : ndarray of shape (n_columns, r)
            An orthonormal basis of the row space.
        constant : bool, default=False
            Whether the row space also holds the constant row, whose multiple, an offset
            of the row, has no part in the penalty.

        Returns
        -------
        ndarray of shape (r, r)
            K, where ``z^T K z / 2`` is the penalty of the row of the balanced left
            factor that goes with the coordinates z.
        """
        right = self.balanced(factors).right
        if constant:
            right = np.hstack([right, np.ones((len(right), 1))])
        back = np.linalg.inv(np.asarray(basis.T @ right, dtype=np.float64))
        if constant:
            back = back[:-1]
        return self.threshold * (back.T @ back)


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """Nothing is added, and that costs nothing."""

    shrinks = False

    @property
    def threshold(self) -> float:
        return 0.0

    def value(self, factors: Factors) -> float:
        return 0.0

    def added(self, gradient: F, at: Factors) -> F:
        return gradient

    def along(self, factors: Factors, direction: Factors) -> Array:
        return np.zeros(5)

    def of_lines(self, block: int) -> float:
        return 0.0

    def times(self, scale: float) -> Penalty:
        return self


NO_PENALTY = NoPenalty()


@dataclass(frozen=True)
class NuclearRidge(Penalty):
    """``alpha / 2 (||L||_F^2 + ||R||_F^2)``: alpha times the nuclear norm, if balanced.

    Parameters
    ----------
    alpha : float
        Positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> from skprecgd.objective.penalty import NuclearRidge
    >>> NuclearRidge(2.0).value(FactorPair(np.ones((3, 1)), np.ones((2, 1))))
    5.0
    """

    alpha: float

    @property
    def threshold(self) -> float:
        return self.alpha

    def value(self, factors: Factors) -> float:
        return 0.5 * self.alpha * factors.ridge()

    def added(self, gradient: F, at: Factors) -> F:
        return gradient.moved(at.penalised, self.alpha * at.multiplicity)

    def along(self, factors: Factors, direction: Factors) -> Array:
        slope = factors.multiplicity * factors.penalised.inner(direction)
        coefficients = [0.5 * factors.ridge(), slope, 0.5 * direction.ridge(), 0.0, 0.0]
        return self.alpha * np.array(coefficients)

    def of_lines(self, block: int) -> float:
        return self.alpha

    def times(self, scale: float) -> Penalty:
        return as_penalty(self.alpha * scale)


class ScaledRidge(Penalty):
    """``alpha / 2 (sum_i d_i |l_i|^2 + sum_j e_j |r_j|^2)`` over the rows of L and R.

    It is alpha times the nuclear norm of ``diag(d)^(1/2) M diag(e)^(1/2)``, if that is
    balanced: the weighted trace norm of Srebro and Salakhutdinov (2010).

    Parameters
    ----------
    alpha : float
        Positive.
    lines : tuple of ndarray of shape (n_rows,), (n_columns,)
        d and e, positive; the same for a symmetric matrix.
    row_weight : RowWeight
        What gave d.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import FactorPair
    >>> from skprecgd.objective.penalty import RowWeight, ScaledRidge
    >>> d, e = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0])
    >>> ridge = ScaledRidge(2.0, (d, e), RowWeight(1.0, 2.0))
    >>> ridge.value(FactorPair(np.ones((3, 1)), np.ones((2, 1))))
    10.0
    """

    def __init__(
        self, alpha: float, lines: tuple[Array, Array], row_weight: RowWeight
    ) -> None:
        self.alpha, self.lines = alpha, lines
        self.row_weight: RowWeight = row_weight
        self._roots = np.sqrt(lines[0]), np.sqrt(lines[1])
        self._inverse_roots = 1.0 / self._roots[0], 1.0 / self._roots[1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScaledRidge):
            return NotImplemented
        pairs = zip(self.lines, other.lines, strict=True)
        same = self.alpha == other.alpha and self.row_weight == other.row_weight
        return same and all(np.array_equal(a, b) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment]

    @property
    def threshold(self) -> float:
        return self.alpha

    def value(self, factors: Factors) -> float:
        return 0.5 * self.alpha * factors.times_lines(self._roots).ridge()

    def added(self, gradient: F, at: Factors) -> F:
        weighted = at.penalised.times_lines(self.lines)
        return gradient.moved(weighted, self.alpha * at.multiplicity)

    def along(self, factors: Factors, direction: Factors) -> Array:
        ridge = NuclearRidge(self.alpha)
        scaled = (each.times_lines(self._roots) for each in (factors, direction))
        return ridge.along(*scaled)

    def of_lines(self, block: int) -> Array:
        return self.alpha * self.lines[block]

    def times(self, scale: float) -> Penalty:
        alpha = self.alpha * scale
        if alpha == 0.0:
            return NO_PENALTY
        return ScaledRidge(alpha, self.lines, self.row_weight)

    def size(self, factors: Factors) -> float:
        return super().size(factors.low_rank.times_lines(self._roots))

    def balanced(self, factors: Factors) -> Factors:
        scaled = factors.low_rank.times_lines(self._roots).balanced()
        return factors.with_components(scaled.times_lines(self._inverse_roots))

    def scaled_gradient(self, gradient: Any) -> Any:
        return LineScaledMatrix(as_matrix(gradient), *self._inverse_roots)

    def unscaled(self, u: Array, v: Array) -> tuple[Array, Array]:
        left, right = self._inverse_roots
        return u * left[:, None], v * right[:, None]


def as_penalty(alpha: float) -> Penalty:
    """The penalty that a number for the parameter `alpha` stands for.

    Parameters
    ----------
    alpha : float
        The strength of a ridge; 0 is none.

    Raises
    ------
    ValueError
        If it is negative or not finite.

    Examples
    --------
    >>> from skprecgd.objective.penalty import as_penalty
    >>> as_penalty(0.0).shrinks, as_penalty(0.5).threshold
    (False, 0.5)
    """
    if not 0 <= alpha < np.inf:
        raise ValueError(f"alpha must be a finite number >= 0, got {alpha!r}.")
    return NuclearRidge(float(alpha)) if alpha > 0 else NO_PENALTY


def scaled_penalty(
    alpha: float, power: float, counts: tuple[Array, Array], *, symmetric: bool = False
) -> Penalty:
    """The ridge of which each row and column has a share by its number of entries.

    Parameters
    ----------
    alpha : float
    power : float
        A row with twice as many entries as the mean has ``2 ** power`` times the ridge
        of the mean.
    counts : tuple of ndarray of shape (n_rows,), (n_columns,)
        Observed entries of each row and each column.
    symmetric : bool, default=False
        Whether the matrix is ``X X^T``: then row i and column i are one.
    """
    if symmetric:
        counts = (counts[0] + counts[1],) * 2
    weights = [RowWeight.of_lines(each, power) for each in counts]
    rows, columns = (weight(n) for weight, n in zip(weights, counts, strict=True))
    ridge = as_penalty(alpha)
    if not ridge.shrinks or (np.all(rows == 1.0) and np.all(columns == 1.0)):
        return ridge
    return ScaledRidge(ridge.threshold, (rows, columns), weights[0])
