"""The contract of an objective, and of its evaluation at a point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from scipy import sparse

from skprecgd._linalg.matrices import Matrix
from skprecgd._linalg.truncated_svd import TruncatedSvd
from skprecgd._runtime.typing import Array, RandomState
from skprecgd.factors import Factors
from skprecgd.losses import Loss
from skprecgd.measurements import Measurements
from skprecgd.objective.penalty import Penalty


@dataclass(frozen=True)
class Evaluation:
    """The objective at one point, with the products that later steps use again.

    Attributes
    ----------
    factors : Factors
    loss : float
        The data part of the objective.
    value : float
        `loss` plus the penalty.
    relative_residual : float
        ``sqrt(loss / loss at zero)``.
    state : object
        Products with the data that the objective reuses (private to it).
    kept : dict
        Small results that are asked for more than once (private to the objective).
    """

    adds_columns: ClassVar[bool] = False
    """Whether the next step gives new columns their length; see `PendingEvaluation`."""

    factors: Factors
    loss: float
    value: float
    relative_residual: float
    state: Any
    kept: dict[str, Any] = field(default_factory=dict, kw_only=True, repr=False)

    @property
    def linearised(self) -> Evaluation:
        """The evaluation at which the next step linearises the problem: this one."""
        return self

    def direction_from_here(self, direction: Factors) -> Factors:
        """The direction from `factors`, given the one found at `linearised`."""
        return direction

    def by_factors(self, factors: Factors, value: float) -> Evaluation:
        """The evaluation for other factors of the same matrix.

        Parameters
        ----------
        factors : Factors
            Other factors of the same matrix.
        value : float
            The objective there: `loss` plus their penalty.
        """
        return replace(self, factors=factors, value=value)


@dataclass(frozen=True)
class PendingEvaluation(Evaluation):
    """A point with new columns that are still zero: the next step sets their length.

    To measure the new columns first would cost a pass over the data. The step is
    linearised at factors that have them, with the residuals of the point without them.

    Attributes
    ----------
    ahead : Factors
        `factors` with the new columns in the place of the zeros.
    """

    adds_columns: ClassVar[bool] = True
    ahead: Factors = field(kw_only=True)

    def by_factors(self, factors: Factors, value: float) -> Evaluation:
        residual, state = self.relative_residual, self.state
        return Evaluation(factors, self.loss, value, residual, state, kept=self.kept)

    @property
    def linearised(self) -> Evaluation:
        return self.by_factors(self.ahead, self.value)

    def direction_from_here(self, direction: Factors) -> Factors:
        """The direction from `factors`, given the one found at `linearised`.

        The residuals at `linearised` do not contain the matrix ``a b^T`` of the new
        columns a and b, so the direction found there provides it. To move the columns
        from zero to a and b would add it a second time: they move by a / 2 and b / 2
        instead, which to first order is right.
        """
        return direction.moved(self.ahead.moved(self.factors, -1.0), 0.5)


@dataclass(frozen=True)
class Growth:
    """A rank-one term that is added to a point.

    Attributes
    ----------
    length : float
        The singular value of the term that minimises the objective.
    arrive : callable
        Factors of the sum -> Evaluation.
    """

    length: float
    arrive: Callable[[Factors], Evaluation]


class ObservedEntries(NamedTuple):
    """Single entries of the matrix and their targets.

    Attributes
    ----------
    rows, columns : ndarray of int
    values : ndarray
    weights : ndarray or None
        The factor of the squared residual of each entry; None is one.
    """

    rows: Array
    columns: Array
    values: Array
    weights: Array | None


class Ray(ABC):
    """The objective along ``factors + t * direction``, as a step rule sees it.

    `Objective.ray` makes one with a single pass over the measurements; the methods of a
    ray make no other.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.factors import SymmetricFactor
    >>> from skprecgd.measurements import FullObservation
    >>> from skprecgd.objective import make_objective
    >>> objective = make_objective(FullObservation((1, 1)), np.array([[4.0]]))
    >>> one = SymmetricFactor(np.ones((1, 1)))
    >>> ray = objective.ray(objective.evaluate(one), direction=one)
    >>> ray.value(0.0), round(ray.minimizer(), 12)
    (4.5, 1.0)
    """

    @abstractmethod
    def value(self, t: float) -> float:
        """The objective at step t.

        Parameters
        ----------
        t : float

        Returns
        -------
        float
        """

    @abstractmethod
    def advance(self, t: float) -> Evaluation:
        """The evaluation at step t.

        Parameters
        ----------
        t : float

        Returns
        -------
        Evaluation
        """

    @abstractmethod
    def minimizer(self) -> float:
        """The step to the lowest value of the objective along the ray.

        Returns
        -------
        float
            0 if no step decreases the objective. With another loss than the squared
            one, a step close to the first minimum.
        """


@dataclass(frozen=True)
class GrossErrors:
    """The measurements that were left out of a fit, as they are reported.

    Attributes
    ----------
    values : ndarray of shape (n_measurements,)
        The error of each target, zero for those that were fitted.
    level : float
        The size above which a residual was taken for a gross error.
    fraction : float
        Upper bound of the share of gross errors that the fit allowed for.
    measurements : Measurements
        The measurements whose errors these are.
    """

    values: Array
    level: float
    fraction: float
    measurements: Measurements

    def matrix(self) -> sparse.csr_array:
        """The errors as a sparse matrix, if measurements are single entries."""
        found = np.flatnonzero(self.values)
        shape = self.measurements.matrix_shape
        return sparse.csr_array(
            (self.values[found], self.measurements.cells(found)), shape=shape
        )


class Objective(ABC):
    """Contract of an objective; see the module's docstring for the formula."""

    matrix_shape: tuple[int, int]
    dtype: np.dtype
    of_complex: bool = False
    """Whether the numbers of the matrix are complex."""
    penalty_of_sum: Penalty
    """The penalty beside the sum of all losses, before both take their `weight`."""
    loss: Loss
    target_unit: float = 1.0
    """What the targets were divided by, since the objective was made of data."""
    can_split: bool = False
    """Whether there is a list of measurements, of which some can be held out."""
    has_closed_form: bool = False
    """Whether the best matrix of every rank is a `truncated_svd` of the data."""

    @property
    def weight(self) -> float:
        """The factor by which the sum of all losses, and the penalty, is multiplied."""
        return 1.0

    @cached_property
    def penalty(self) -> Penalty:
        """What the objective adds to `Evaluation.loss`."""
        beside = self.penalty_of_sum
        return beside.times(self.weight) if beside.shrinks else beside

    @property
    @abstractmethod
    def n_measurements(self) -> float:
        """How many numbers were measured; each counts as often as its weight says."""

    @property
    def n_samples(self) -> int:
        """How many measurements can be held out, each counted once."""
        return int(self.n_measurements)

    @property
    def known_variance(self) -> float | None:
        """Variance of the noise of a measurement of precision one, if that is known.

        It is known if the noise of each measurement was given; see `Weights`.
        """
        return None

    @property
    @abstractmethod
    def large_products(self) -> bool:
        """Whether products with the data are large enough for several BLAS threads."""

    @property
    @abstractmethod
    def data_norm(self) -> float:
        """``sqrt(2 * loss at zero)``: for the squared loss about ``||M||_F``."""

    @property
    def resolution(self) -> float:
        """Relative residual below which the loss is rounding only."""
        return 0.0

    @property
    def plain_least_squares(self) -> bool:
        """Whether this is the squared loss of a list of measurements, and nothing else.

        There is no penalty, and no measurement is left out as a gross error. Every
        residual is then either still to be explained, or noise of random sign.
        """
        return False

    @property
    def targets_are_drawn(self) -> bool:
        """Whether the targets are labels or counts, which no fit can explain."""
        return False

    @abstractmethod
    def normalised(self) -> tuple[Self, float]:
        """The same problem for ``M / unit``, with unit data norm, and `unit`.

        Its targets are in units of its `target_unit`, which is another one where the
        measurement matrices, too, were brought to unit size.
        """

    def split(
        self, n_held_out: int, rng: np.random.RandomState
    ) -> tuple[Objective, Objective]:
        """Split the measurements between two objectives that are normalised alike.

        Parameters
        ----------
        n_held_out : int
            Number of random measurements in the second one.
        rng : RandomState

        Raises
        ------
        NotImplementedError
            Unless `can_split`.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to hold out.")

    def gain(self, evaluation: Evaluation, other: Evaluation) -> tuple[float, float]:
        """By how much the loss is lower at another point, and its standard error.

        Parameters
        ----------
        evaluation, other : Evaluation

        Returns
        -------
        difference, standard_error : float
            The standard error is that over measurements drawn like these.

        Raises
        ------
        NotImplementedError
            Unless `can_split`.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to hold out.")

    def effective_number(self, evaluation: Evaluation) -> float:
        """The number of measurements that hold the loss at a point.

        It is the square of the sum of their losses, divided by the sum of the squares:
        all of them if they cost the same, one if a single one holds all of the loss.

        Raises
        ------
        NotImplementedError
            Unless `can_split`.
        """
        raise NotImplementedError(f"{type(self).__name__} has nothing to hold out.")

    @abstractmethod
    def noise_share(self, noise_variance: float) -> float:
        """The expected contribution of noise of that variance to ``2 * loss``."""

    def mean_loss(self, evaluation: Evaluation) -> float:
        """The loss of a measurement at a point, on average over all of them.

        It has the units of the `Loss`, unlike the objective, which is normalised.
        """
        count = self.weight * self.n_measurements
        return evaluation.loss / count if count > 0 else 0.0

    @abstractmethod
    def evaluate(self, factors: Factors) -> Evaluation:
        """Value and predictions at a point."""

    def balanced(self, evaluation: Evaluation) -> Evaluation:
        """The same matrix by the factors of the lowest penalty."""
        return self.evaluate(self.penalty.balanced(evaluation.factors))

    def sharpened(self, evaluation: Evaluation, tol: float) -> Objective | None:
        """The objective with less rounding in its loss, or None; see `Loss.sharpened`.

        Parameters
        ----------
        evaluation : Evaluation
            A minimum of this objective.
        tol : float
            Relative residual that is wanted.
        """
        return None

    def with_loss(self, loss: Loss) -> Objective:
        """The same data with another loss, whose constants are known.

        Raises
        ------
        NotImplementedError
            Where the loss is built in; such an objective is never `sharpened`.
        """
        raise NotImplementedError(f"{type(self).__name__} has a loss of its own.")

    def working_tol(self, tol: float) -> float:
        """The `tol` to fit with, so that the whole matrix is accurate to `tol`."""
        return tol

    def gross_errors(
        self, factors: Factors, relative_residual: float, tol: float
    ) -> GrossErrors | None:
        """The measurements that the fit left out as gross errors.

        None for an objective that fits all of its measurements.

        Parameters
        ----------
        factors : Factors
            The solution.
        relative_residual : float
            The one that the fit ended with.
        tol : float
            The tolerance that was asked for; the fit itself used `working_tol`.
        """
        return None

    def mean_square_residual(
        self,
        factors: Factors,
        relative_residual: float,
        gross: GrossErrors | None = None,
        unit: float = 1.0,
    ) -> float:
        """Mean squared residual of the measurements, each as often as it was made.

        Parameters
        ----------
        factors : Factors
        relative_residual : float
            That of the factors: with the squared loss, no pass is needed.
        gross : GrossErrors or None, default=None
            Measurements that do not count.
        unit : float, default=1.0
            The mean is in units of its square.
        """
        residual = relative_residual * (self.data_norm / unit)
        return residual**2 / self.noise_share(1.0)

    def without(self, errors: Array) -> Objective:
        """The objective without the gross errors, once these are known.

        An objective that fits all of its measurements returns itself.

        Parameters
        ----------
        errors : ndarray of shape (n_measurements,)
            The `values` of `gross_errors`.
        """
        return self

    def bounded(self, share: float) -> Objective:
        """The objective with a share of its bound on the number of gross errors.

        An objective that fits all of its measurements returns itself.

        Parameters
        ----------
        share : float
            In (0, 1].
        """
        return self

    @abstractmethod
    def matrix_gradient(self, evaluation: Evaluation) -> Any:
        """``S``, the gradient of the loss in the matrix (array or operator)."""

    @abstractmethod
    def gradient(self, evaluation: Evaluation) -> Factors:
        """Gradient of the objective in the factors."""

    @abstractmethod
    def ray(self, evaluation: Evaluation, direction: Factors) -> Ray:
        """The objective along a direction: one fused pass over the data."""

    @abstractmethod
    def curvature(self, evaluation: Evaluation) -> Callable[[Factors], Factors]:
        """The Gauss-Newton Hessian at a point: direction -> Hessian @ direction."""

    def contracts(self, rank: int) -> bool:
        """Whether all products of `curvature_in` at a point share one pass."""
        return False

    def curvature_in(
        self, evaluation: Evaluation, roots: Sequence[Array]
    ) -> Callable[[Array], Array]:
        """`curvature` in other coordinates, as a map of flat vectors (`Factors.flat`).

        Parameters
        ----------
        evaluation : Evaluation
        roots : sequence of ndarray of shape (r, r)
            A matrix W for each block: the coordinates are those of ``direction W^-T``,
            or ``direction W^-H`` of complex numbers.
        """
        product, factors = self.curvature(evaluation), evaluation.factors
        transposed = [root.conj().T for root in roots]

        def times(numbers: Array) -> Array:
            direction = factors.shaped(numbers).times_right(transposed)
            return product(direction).times_right(roots).flat()

        return times

    def block_move(self, evaluation: Evaluation, gradient: Array, block: int) -> Any:
        """Gauss-Newton move of one factor, where there is a closed form; else None.

        Parameters
        ----------
        evaluation : Evaluation
        gradient : ndarray of shape (n_rows, r) or (n_columns, r)
            The gradient of the objective in that block.
        block : {0, 1}
            The left or the right factor of a pair.
        """
        return None

    @abstractmethod
    def growth(self, evaluation: Evaluation | None, u: Array, v: Array) -> Growth:
        """Exact step along ``u v^T`` from a point or from zero.

        u and v are unit vectors, or factors of a matrix of nuclear norm one.

        Its length is 0 where the penalty outweighs the slope, so that the term would
        raise the objective.
        """

    @abstractmethod
    def matrix_gradient_at_zero(self) -> Any:
        """``S`` at ``M = 0``."""

    def truncated_svd(
        self,
        rank: int,
        *,
        tol: float | None,
        max_blocks: int,
        random_state: RandomState = None,
    ) -> TruncatedSvd:
        """Leading singular triplets of the data; only where `has_closed_form`.

        Parameters
        ----------
        rank : int
        tol : float or None
            See `skprecgd._linalg.truncated_svd`. None: as accurate as the captured
            energy asks for, see `skprecgd._linalg.energy_svd`.
        max_blocks, random_state
            See there.
        """
        raise NotImplementedError(f"{type(self).__name__} has no closed form.")

    @property
    def complete_matrix(self) -> Matrix:
        """The data; only where `has_closed_form`."""
        raise NotImplementedError(f"{type(self).__name__} has no closed form.")

    def decomposed(self, found: TruncatedSvd) -> Objective:
        """The same, for which these triplets need not be found again.

        Only where `has_closed_form`.

        Parameters
        ----------
        found : TruncatedSvd
            Of the data, as accurate as `truncated_svd` will be asked for.
        """
        raise NotImplementedError(f"{type(self).__name__} has no closed form.")

    # -- what a path asks of plain least squares --------------------------------------

    def observed_entries(self) -> ObservedEntries | None:
        """The entries that are measured, if each measurement is a single one.

        The arrays are not copied. None where a measurement sees more than one entry.
        """
        return None

    @property
    def at_zero(self) -> Evaluation:
        """The evaluation of the zero matrix, by factors of rank 0.

        Raises
        ------
        NotImplementedError
            Unless `plain_least_squares`.
        """
        raise NotImplementedError(self._not_plain)

    def sign_flipped_gradient(
        self, evaluation: Evaluation | None, random_state: RandomState
    ) -> Any:
        """`matrix_gradient` with random signs of the residuals.

        Its singular values are those of noise alone (signflip parallel analysis).

        Parameters
        ----------
        evaluation : Evaluation or None
            None is the zero matrix.
        random_state : int, RandomState instance or None

        Raises
        ------
        NotImplementedError
            Unless `plain_least_squares`.
        """
        raise NotImplementedError(self._not_plain)

    def with_penalty(self, penalty: Penalty) -> Objective:
        """The same objective with another penalty, in its own units.

        Parameters
        ----------
        penalty : Penalty

        Raises
        ------
        NotImplementedError
            Unless `plain_least_squares`.
        """
        raise NotImplementedError(self._not_plain)

    @property
    def _not_plain(self) -> str:
        return f"{type(self).__name__} is not a plain list of least-squares terms."


def relative(loss: float, data_norm: float) -> float:
    if data_norm > 0:
        return float(np.sqrt(2 * loss)) / data_norm
    return np.inf if loss > 0 else 0.0
