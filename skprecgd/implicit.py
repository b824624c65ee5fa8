"""Matrices in which every cell counts: what is not stored is a zero of small weight.

The model of implicit feedback (Hu, Koren, Volinsky, ICDM 2008): a click says something,
and no click says little, but that of every cell. With the ridge of Zhou et al. (2008)
and Rendle et al. (RecSys 2022), whose power of the weights `scaled_ridges` takes,

``1/2 sum_ij w_ij (y_ij - <l_i, r_j>)^2 + 1/2 sum_i a_i |l_i|^2 + 1/2 sum_j b_j
|r_j|^2``

is minimised over all cells. Those not stored share a weight w and the target zero, so
that their part of the system of every row is ``w R^T R``, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy import sparse

from skprecgd._linalg.row_systems import with_values
from skprecgd._runtime.steps import tell_step
from skprecgd._runtime.typing import Array
from skprecgd.kernels import OthersBesideZeros, Pattern, rows_beside_zeros


@dataclass(frozen=True)
class ImplicitTuning:
    """How the factors are found.

    Attributes
    ----------
    n_steps : int
        Steps of conjugate gradients for the rows of one side, which start from the rows
        of the sweep before. With 10 million interactions and 32 components, two take
        off the same as three in three quarters of the time, and one takes more sweeps.
    least_decrease : float
        Sweeps end when one takes off less than this share of what all of them have
        taken off the objective of the zero matrix. That is a share of what can be
        explained, which in a sparse matrix is little.
    hardly_any : float
        Share of the objective of the zero matrix. The zero matrix may be a saddle,
        which factors leave at a geometric rate: it is not the end before a sweep takes
        off less than this, which is far above rounding where factors are small.
    least_sweeps : int
        So many sweeps at least are spent at that saddle.
    """

    n_steps: int = 2
    least_decrease: float = 2e-3
    hardly_any: float = 1e-10
    least_sweeps: int = 10


TUNING = ImplicitTuning()


@dataclass(frozen=True)
class WeightedCells:
    """Targets and weights of the cells of a matrix, of which most are not stored.

    Attributes
    ----------
    rows, columns : Pattern
        The stored cells by rows, and by columns.
    shape : tuple of int
    unobserved_weight : float
        Of each cell that is not stored.
    """

    rows: Pattern
    columns: Pattern
    shape: tuple[int, int]
    unobserved_weight: float

    @classmethod
    def of(
        cls, targets: sparse.csr_array, weights: Array | None, unobserved_weight: float
    ) -> Self:
        """The cells that a sparse array stores, each once, with their weights."""
        order = targets.T.tocsr()
        if weights is None:
            across = Pattern(order.indptr, order.indices, order.data, None)
        else:
            turned = with_values(targets, weights).T.tocsr()
            across = Pattern(order.indptr, order.indices, order.data, turned.data)
        down = Pattern(targets.indptr, targets.indices, targets.data, weights)
        return cls(down, across, targets.shape, unobserved_weight)

    def total_weights(self) -> tuple[Array, Array]:
        """The weights of all cells of each row, and of each column."""
        n_rows, n_columns = self.shape
        return (
            _total(self.rows, n_columns, self.unobserved_weight),
            _total(self.columns, n_rows, self.unobserved_weight),
        )


def _total(pattern: Pattern, n_others: int, unobserved_weight: float) -> Array:
    counts = np.diff(pattern.indptr)
    stored: Array = counts.astype(np.float64)
    if pattern.weights is not None:
        lines = np.repeat(np.arange(len(counts)), counts)
        stored = np.bincount(lines, pattern.weights, len(counts))
    return stored + unobserved_weight * (n_others - counts)


def noise_edge(cells: WeightedCells) -> float:
    """The largest singular value of the weighted targets, if signs came by chance.

    For independent entries of mean zero it is about the root of what the squares of a
    row add up to, and that of a column (Bai and Yin, Ann. Probab. 1993; Latala, Proc.
    AMS 2005). Where lines differ, those of a typical stored cell are meant, weighted by
    its square, because a heavy line has a singular value of its own.
    """
    return sum(_typical_length(pattern) for pattern in (cells.rows, cells.columns))


def _typical_length(pattern: Pattern) -> float:
    """The Euclidean norm of the weighted line of a typical stored cell."""
    squares = pattern.values.astype(np.float64) ** 2
    if pattern.weights is not None:
        squares *= pattern.weights.astype(np.float64) ** 2
    counts = np.diff(pattern.indptr)
    lines = np.bincount(np.repeat(np.arange(len(counts)), counts), squares, len(counts))
    total = np.sum(lines)
    return float(np.sqrt(np.sum(lines**2) / total)) if total else 0.0


def scaled_ridges(
    cells: WeightedCells, alpha: float, scaling: float
) -> tuple[Array, Array]:
    """The ridges of rows and columns.

    Parameters
    ----------
    cells : WeightedCells
    alpha : float
        The ridge of a row or column whose cells weigh as much as those of others.
    scaling : float
        The power of that weight, relative to the mean, that multiplies it.
    """
    rows, columns = (
        alpha * (total / np.mean(total)) ** scaling for total in cells.total_weights()
    )
    return rows, columns


class Alternated(NamedTuple):
    """Factors of a matrix in which every cell counts.

    Attributes
    ----------
    left, right : ndarray of shape (n_rows, r), (n_columns, r)
    objective : ndarray of shape (n_iter + 1,)
        Of the zero matrix, and after each sweep.
    converged : bool
        Whether the last sweep took off hardly anything.
    vanished : bool
        Whether sweeps ended where no factor is better than the zero matrix.
    """

    left: Array
    right: Array
    objective: Array
    converged: bool
    vanished: bool


def alternate(
    cells: WeightedCells,
    ridges: tuple[Array, Array],
    right: Array,
    max_iter: int,
    tuning: ImplicitTuning = TUNING,
) -> Alternated:
    """Sweeps over the rows and the columns in turn.

    Parameters
    ----------
    cells : WeightedCells
    ridges : tuple of ndarray of shape (n_rows,), (n_columns,)
    right : ndarray of shape (n_columns, r)
        Where to start; see `random_start`.
    max_iter : int
        Most sweeps.
    tuning : ImplicitTuning

    Returns
    -------
    Alternated
    """
    left = np.zeros((cells.shape[0], right.shape[1]), right.dtype)
    squares = cells.rows.values.astype(np.float64) ** 2
    if cells.rows.weights is not None:
        squares *= cells.rows.weights
    objective, converged = [0.5 * float(np.sum(squares))], False
    for _ in range(max_iter):
        left, right, _ = _half_sweep(cells, ridges, 0, left, right, tuning)
        right, left, found = _half_sweep(cells, ridges, 1, right, left, tuning)
        objective.append(found)
        tell_step(right.shape[1])
        converged = _settled(objective, tuning)
        if converged:
            break
    nothing = objective[0] - objective[-1] <= tuning.hardly_any * objective[0]
    vanished = converged and nothing
    return Alternated(left, right, np.array(objective), converged, vanished)


def _settled(objective: list[float], tuning: ImplicitTuning) -> bool:
    """Whether the last sweep took off hardly anything."""
    taken, decrease = objective[0] - objective[-1], objective[-2] - objective[-1]
    hardly_any = tuning.hardly_any * objective[0]
    if taken > hardly_any:
        return decrease <= tuning.least_decrease * taken
    return decrease <= hardly_any and len(objective) > tuning.least_sweeps


def random_start(
    cells: WeightedCells, n_components: int, dtype: np.dtype, rng: np.random.RandomState
) -> Array:
    """A first factor of the columns, of random numbers.

    Its columns are as long as those of a component that is the noise edge large. Most
    components end shorter, and are drawn in from there: the zero matrix is a saddle, in
    whose neighbourhood sweeps change little.
    """
    shape = cells.shape[1], n_components
    scale = np.sqrt(noise_edge(cells) / shape[0])
    return (scale * rng.standard_normal(shape)).astype(dtype)


def _half_sweep(
    cells: WeightedCells,
    ridges: tuple[Array, Array],
    side: int,
    lines: Array,
    others: Array,
    tuning: ImplicitTuning,
) -> tuple[Array, Array, float]:
    """The lines of one side, given those of the other, and the objective.

    Both are turned first, which changes no product of theirs, so that the columns of
    the others are orthogonal: the preconditioner is diagonal then.
    """
    squares, axes = np.linalg.eigh(others.T.astype(np.float64) @ others)
    axes = axes.astype(others.dtype)
    others, lines = others @ axes, lines @ axes
    beside = OthersBesideZeros(others, np.maximum(squares, 0), cells.unobserved_weight)
    pattern = (cells.rows, cells.columns)[side]
    found = rows_beside_zeros(pattern, beside, ridges[side], lines, tuning.n_steps)
    fixed = ridges[1 - side] @ np.sum(others.astype(np.float64) ** 2, axis=1)
    return found.values, others, 0.5 * float(np.sum(found.losses) + fixed)
