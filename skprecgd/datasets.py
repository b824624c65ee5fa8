"""Problems whose answer is known: rank, conditioning, noise and outliers to order.

Every generator draws a low-rank truth, measures it, and returns the data together with
the truth, so that the error of a fit is one call away:
``truth.relative_error(left, right)``.

What all generators share:

* **Scale.** The entries of the true matrix have root mean square 1, whatever its shape,
  rank and spectrum. Data of another scale are these times a constant.
* **Singular vectors** are drawn from the Haar measure (QR of a Gaussian matrix with the
  signs of the diagonal fixed [1]_), so that the truth is as incoherent as matrices of
  its shape usually are. Left and right ones are independent draws, unless the truth is
  symmetric.
* **Independent streams.** Truth, measurements, noise and outliers each have their own
  stream of random numbers. Under one integer ``random_state`` the truth and the
  measurements therefore stay what they are while ``noise``, ``outlier_fraction`` or
  ``outlier_scale`` change: ``noise`` only stretches the same noise, and the targets of
  ``noise=0, outlier_fraction=0`` are the clean ones of all the others.
* **Precision.** The truth is float64, and the targets are computed in float64 from the
  measurements that are returned; ``dtype`` is the type they are then stored in.

References
----------
.. [1] F. Mezzadri, "How to generate random matrices from the classical compact groups",
       Notices of the AMS 54(5), 2007.
"""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.utils import check_random_state

from skprecgd._runtime.typing import Array, RandomState

__all__ = [
    "CompletionProblem",
    "EntryTriples",
    "LowRankTruth",
    "RobustPCAProblem",
    "SensingProblem",
    "make_low_rank",
    "make_matrix_completion",
    "make_matrix_sensing",
    "make_phase_retrieval",
    "make_robust_pca",
]

Spectrum = Literal["geometric", "linear", "step"]

# Temporary arrays are kept to this many float64 numbers (32 MiB).
_BLOCK = 2**22


# --------------------------------------------------------------------------------------
# Results
# --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class LowRankTruth:
    """A matrix of known rank and spectrum, held as balanced factors.

    The matrix is ``left @ right.T``; it is formed only when :attr:`matrix` is asked
    for, so that truths of any shape are cheap to hold.

    Attributes
    ----------
    left : ndarray of shape (n_rows, rank), float64
        Left singular vectors times the square roots of the singular values.
    right : ndarray of shape (n_columns, rank), float64
        Right singular vectors times the square roots of the singular values; the very
        object ``left`` when the matrix is symmetric positive semidefinite.
    singular_values : ndarray of shape (rank,), float64
        Nonzero singular values, largest first.

    Examples
    --------
    >>> from skprecgd.datasets import make_low_rank
    >>> truth = make_low_rank(40, 30, rank=3, condition_number=100, random_state=0)
    >>> truth.shape, truth.rank, truth.degrees_of_freedom
    ((40, 30), 3, 201)
    >>> truth.relative_error(truth.left, truth.right) < 1e-14
    True
    """

    left: Array
    right: Array
    singular_values: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix, (n_rows, n_columns)."""
        return self.left.shape[0], self.right.shape[0]

    @property
    def rank(self) -> int:
        """Number of nonzero singular values."""
        return int(self.singular_values.size)

    @property
    def symmetric(self) -> bool:
        """Whether the matrix is ``left @ left.T``, symmetric positive semidefinite."""
        return self.left is self.right

    @property
    def condition_number(self) -> float:
        """Largest over smallest nonzero singular value."""
        return float(self.singular_values[0] / self.singular_values[-1])

    @property
    def degrees_of_freedom(self) -> int:
        """Number of free parameters of a matrix of this shape and rank.

        ``rank * (n_rows + n_columns - rank)``, and for a symmetric one
        ``rank * (2 * n_rows - rank + 1) / 2``.
        """
        n_rows, n_columns = self.shape
        if self.symmetric:
            return self.rank * (2 * n_rows - self.rank + 1) // 2
        return self.rank * (n_rows + n_columns - self.rank)

    @property
    def matrix(self) -> Array:
        """The matrix itself, an ndarray of shape (n_rows, n_columns), formed anew."""
        return self.left @ self.right.T

    def entries(self, rows: npt.ArrayLike, columns: npt.ArrayLike) -> Array:
        """Entries of the matrix at given cells, without forming the matrix.

        Parameters
        ----------
        rows, columns : array-like of int, shape (n_entries,)
            Row and column number of each cell.

        Returns
        -------
        values : ndarray of shape (n_entries,), float64

        Raises
        ------
        ValueError
            If the two differ in length or a cell lies outside the matrix.

        Examples
        --------
        >>> from skprecgd.datasets import make_low_rank
        >>> truth = make_low_rank(1_000_000, 500_000, rank=2, random_state=0)
        >>> truth.entries([0, 999_999], [7, 499_999]).shape
        (2,)
        """
        i = _cell_numbers("rows", rows, self.shape[0])
        j = _cell_numbers("columns", columns, self.shape[1])
        if i.size != j.size:
            msg = (
                f"rows has {i.size} numbers and columns has {j.size}; give one of each "
                "for every cell."
            )
            raise ValueError(msg)
        values = np.empty(i.size)
        step = max(1, _BLOCK // self.rank)
        for start in range(0, i.size, step):
            block = slice(start, start + step)
            values[block] = _row_products(self.left[i[block]], self.right[j[block]])
        return values

    def relative_error(
        self, left: npt.ArrayLike, right: npt.ArrayLike | None = None
    ) -> float:
        r"""Relative error of an estimate in the Frobenius norm.

        Factors are compared without forming a matrix of the full shape, and without
        Gram matrices, which would lose half the digits: with
        :math:`[L, -L^*] = Q_1 T_1` and :math:`[R, R^*] = Q_2 T_2`, the error is
        :math:`\|T_1 T_2^T\|_F`. Errors down to rounding (about 1e-15) are resolved.

        Parameters
        ----------
        left : array-like
            The estimated matrix, of shape (n_rows, n_columns); or, with ``right``, its
            left factor, of shape (n_rows, r) with any r.
        right : array-like of shape (n_columns, r), default=None
            Right factor of the estimate ``left @ right.T``. For a symmetric estimate
            ``X @ X.T`` give ``X`` twice.

        Returns
        -------
        error : float
            ``norm(estimate - matrix) / norm(matrix)``; NaN if the estimate has entries
            that are not finite.

        Raises
        ------
        ValueError
            If the shapes do not fit the truth.

        Examples
        --------
        >>> from skprecgd.datasets import make_low_rank
        >>> truth = make_low_rank(40, 30, rank=3, random_state=0)
        >>> round(truth.relative_error(1.25 * truth.left, truth.right), 12)
        0.25
        >>> round(truth.relative_error(0.5 * truth.matrix), 12)
        0.5
        """
        if right is None:
            estimate = _float_matrix("left", left)
            if estimate.shape != self.shape:
                msg = (
                    f"left has shape {estimate.shape}, the true matrix {self.shape}; "
                    "give the whole matrix, or both factors: "
                    "relative_error(left, right)."
                )
                raise ValueError(msg)
            if not np.isfinite(estimate).all():
                return math.nan
            difference = estimate - self.matrix
        else:
            factors = _float_matrix("left", left), _float_matrix("right", right)
            self._check_factors(*factors)
            if not all(np.isfinite(factor).all() for factor in factors):
                return math.nan
            first = _triangle(np.hstack([factors[0], -self.left]))
            second = _triangle(np.hstack([factors[1], self.right]))
            difference = first @ second.T
        return float(np.linalg.norm(difference) / np.linalg.norm(self.singular_values))

    def _check_factors(self, left: Array, right: Array) -> None:
        for name, factor, lines in (
            ("left", left, self.shape[0]),
            ("right", right, self.shape[1]),
        ):
            if factor.shape[0] != lines:
                msg = (
                    f"{name} has shape {factor.shape}; the true matrix has shape "
                    f"{self.shape}, so {name} needs {lines} rows."
                )
                raise ValueError(msg)
        if left.shape[1] != right.shape[1]:
            msg = (
                f"left has {left.shape[1]} columns and right has {right.shape[1]}; "
                "factors of left @ right.T need the same number."
            )
            raise ValueError(msg)


class EntryTriples(NamedTuple):
    """Observed entries as three arrays of equal length, sorted by row, then column.

    Attributes
    ----------
    rows, columns : ndarray of shape (n_observed,), intp
        Cell of each entry; no cell occurs twice.
    values : ndarray of shape (n_observed,)
        The entries.
    """

    rows: Array
    columns: Array
    values: Array


class SensingProblem(NamedTuple):
    """Linear measurements of a low-rank matrix; unpacks into ``X, y, truth``.

    Attributes
    ----------
    X : ndarray or RankOneMeasurements
        The measurements, one a row; see the generator for the form.
    y : ndarray of shape (n_measurements,)
        The measured numbers.
    truth : LowRankTruth
        The matrix that was measured.
    """

    # A union would make typed code distinguish the forms, which `kind` already settles.
    X: Any
    y: Array
    truth: LowRankTruth


class CompletionProblem(NamedTuple):
    """Some entries of a low-rank matrix; unpacks into ``X, truth``.

    Attributes
    ----------
    X : ndarray, csr_array or EntryTriples
        The observed entries, in the ``format`` asked for.
    truth : LowRankTruth
        The whole matrix.
    """

    # No union here either: `format` settles the form.
    X: Any
    truth: LowRankTruth


class RobustPCAProblem(NamedTuple):
    """Low-rank matrix plus gross outliers; unpacks into ``X, outliers, truth``.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Truth plus noise plus outliers; NaN where nothing was observed.
    outliers : csr_array of shape (n_rows, n_columns)
        Numbers added to the corrupted entries; nothing is stored elsewhere.
    truth : LowRankTruth
        The low-rank part.
    """

    X: Array
    outliers: sparse.csr_array
    truth: LowRankTruth


# --------------------------------------------------------------------------------------
# Generators
# --------------------------------------------------------------------------------------


def make_low_rank(
    n_rows: int,
    n_columns: int | None = None,
    *,
    rank: int,
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    symmetric: bool = False,
    random_state: RandomState = None,
) -> LowRankTruth:
    """Draw a matrix of given shape, rank and spectrum.

    The other generators measure what this one draws: with the same integer
    ``random_state`` and the same arguments their ``truth`` is this one.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_columns : int, default=None
        Number of columns; ``None`` makes the matrix square.
    rank : int
        Number of nonzero singular values, at most ``min(n_rows, n_columns)``.
    condition_number : float, default=1.0
        Largest over smallest nonzero singular value. A rank-1 matrix has only 1.
    spectrum : {"geometric", "linear", "step"}, default="geometric"
        How the singular values go from the largest to the smallest: in equal ratios,
        in equal differences, or in one step (the first half, rounded up, equal to the
        largest and the rest to the smallest). With ``condition_number=1`` all three
        are flat.
    symmetric : bool, default=False
        Whether the matrix is symmetric positive semidefinite, ``left @ left.T``.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw; an int makes it reproducible.

    Returns
    -------
    truth : LowRankTruth
        Factors of a matrix whose entries have root mean square 1.

    Raises
    ------
    ValueError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> from skprecgd.datasets import make_low_rank
    >>> truth = make_low_rank(60, 40, rank=3, condition_number=100, random_state=0)
    >>> (truth.singular_values / truth.singular_values[0]).round(2).tolist()
    [1.0, 0.1, 0.01]
    >>> round(float((truth.matrix**2).mean()), 12)
    1.0
    """
    streams = _spawn_streams(random_state)
    return _draw_truth(
        streams.truth, n_rows, n_columns, rank, condition_number, spectrum, symmetric
    )


def make_matrix_sensing(
    n_rows: int,
    n_columns: int | None = None,
    *,
    rank: int,
    n_measurements: int,
    kind: Literal["dense", "rank_one"] = "dense",
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    symmetric: bool = False,
    noise: float = 0.0,
    outlier_fraction: float = 0.0,
    outlier_scale: float = 10.0,
    random_state: RandomState = None,
    dtype: npt.DTypeLike = np.float64,
) -> SensingProblem:
    """Gaussian measurements of a low-rank matrix.

    ``y[i]`` is the inner product of the true matrix with the i-th measurement matrix:
    one with independent N(0, 1) entries, or the outer product of two N(0, I) vectors.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_columns : int, default=None
        Number of columns; ``None`` makes the matrix square.
    rank : int
        Rank of the true matrix, at most ``min(n_rows, n_columns)``.
    n_measurements : int
        Number of measurements. The truth has ``truth.degrees_of_freedom`` parameters,
        and nothing can be recovered from fewer measurements than that.
    kind : {"dense", "rank_one"}, default="dense"
        Full Gaussian measurement matrices, or rank-one ones ``a[i] b[i]^T``, which
        take ``n_rows + n_columns`` numbers each. (For ``a[i] a[i]^T`` see
        :func:`make_phase_retrieval`.)
    condition_number : float, default=1.0
        Largest over smallest nonzero singular value of the truth. A rank-1 matrix has
        only 1.
    spectrum : {"geometric", "linear", "step"}, default="geometric"
        Course of the singular values; see :func:`make_low_rank`.
    symmetric : bool, default=False
        Whether the truth is symmetric positive semidefinite. The measurement matrices
        are not symmetric either way.
    noise : float, default=0.0
        Standard deviation of the Gaussian noise on ``y``, relative to the standard
        deviation of the clean targets.
    outlier_fraction : float, default=0.0
        Share of the targets that are corrupted, in [0, 1); their number is rounded to
        the nearest whole one.
    outlier_scale : float, default=10.0
        Outliers are uniform on [-s, s], s being this times the root mean square of the
        clean targets, and are added to the targets they corrupt.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw; an int makes it reproducible.
    dtype : {float64, float32}, default=float64
        Type of ``X`` and ``y``.

    Returns
    -------
    X : ndarray of shape (n_measurements, n_rows * n_columns), or RankOneMeasurements
        The measurements. Row i of the array, reshaped to (n_rows, n_columns), is the
        i-th measurement matrix. ``kind="rank_one"`` gives a
        :class:`skprecgd.measurements.RankOneMeasurements`.
    y : ndarray of shape (n_measurements,)
        The measured numbers.
    truth : LowRankTruth
        The matrix that was measured.

    Raises
    ------
    ValueError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.datasets import make_matrix_sensing
    >>> X, y, truth = make_matrix_sensing(
    ...     12, 10, rank=2, n_measurements=150, condition_number=10, random_state=0
    ... )
    >>> X.shape, y.shape, truth.rank
    ((150, 120), (150,), 2)
    >>> bool(np.allclose(y, X @ truth.matrix.ravel()))
    True
    """
    _check_choice("kind", kind, ("dense", "rank_one"))
    n_measurements = _check_int("n_measurements", n_measurements)
    outlier_scale = _check_corruption(noise, outlier_fraction, outlier_scale)
    dtype = _check_dtype(dtype)
    streams = _spawn_streams(random_state)
    truth = _draw_truth(
        streams.truth, n_rows, n_columns, rank, condition_number, spectrum, symmetric
    )
    X: Any
    if kind == "dense":
        X, clean = _measure_dense(streams.measurements, truth, n_measurements, dtype)
    else:
        from skprecgd.measurements import RankOneMeasurements

        a = _gaussian(streams.measurements, n_measurements, truth.shape[0], dtype)
        b = _gaussian(streams.measurements, n_measurements, truth.shape[1], dtype)
        X, clean = RankOneMeasurements(a, b), _measure_rank_one(truth, a, b)
    y = _corrupt(streams, clean, noise, outlier_fraction, outlier_scale * _rms(clean))
    return SensingProblem(X, y.astype(dtype, copy=False), truth)


def make_phase_retrieval(
    n_rows: int,
    *,
    n_measurements: int,
    rank: int = 1,
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    noise: float = 0.0,
    outlier_fraction: float = 0.0,
    outlier_scale: float = 10.0,
    random_state: RandomState = None,
    dtype: npt.DTypeLike = np.float64,
) -> SensingProblem:
    """Quadratic measurements ``a[i]^T M a[i]`` of a positive semidefinite matrix.

    With rank 1, M = x x^T and ``y[i] = (a[i]^T x)**2``: real phase retrieval, the
    vector x from the sizes of its inner products. Higher ranks are quadratic sampling
    of a covariance matrix.

    Parameters
    ----------
    n_rows : int
        Number of rows and columns of the true matrix.
    n_measurements : int
        Number of measurements.
    rank : int, default=1
        Rank of the true matrix, at most ``n_rows``.
    condition_number : float, default=1.0
        Largest over smallest nonzero eigenvalue of the truth. A rank-1 matrix has
        only 1.
    spectrum : {"geometric", "linear", "step"}, default="geometric"
        Course of the eigenvalues; see :func:`make_low_rank`.
    noise : float, default=0.0
        Standard deviation of the Gaussian noise on ``y``, relative to the standard
        deviation of the clean targets. Noisy targets may be negative.
    outlier_fraction : float, default=0.0
        Share of the targets that are corrupted, in [0, 1); their number is rounded to
        the nearest whole one.
    outlier_scale : float, default=10.0
        Outliers are uniform on [-s, s], s being this times the root mean square of the
        clean targets, and are added to the targets they corrupt.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw; an int makes it reproducible.
    dtype : {float64, float32}, default=float64
        Type of ``X`` and ``y``.

    Returns
    -------
    X : ndarray of shape (n_measurements, n_rows)
        The vectors ``a[i]``, independent N(0, I). As measurements they are
        ``skprecgd.measurements.RankOneMeasurements(X)``.
    y : ndarray of shape (n_measurements,)
        The measured numbers.
    truth : LowRankTruth
        The symmetric positive semidefinite matrix; for rank 1, ``truth.left`` holds
        the vector x, known up to its sign.

    Raises
    ------
    ValueError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.datasets import make_phase_retrieval
    >>> a, y, truth = make_phase_retrieval(20, n_measurements=100, random_state=0)
    >>> bool(np.allclose(y, (a @ truth.left[:, 0]) ** 2))
    True
    """
    n_measurements = _check_int("n_measurements", n_measurements)
    outlier_scale = _check_corruption(noise, outlier_fraction, outlier_scale)
    dtype = _check_dtype(dtype)
    streams = _spawn_streams(random_state)
    truth = _draw_truth(
        streams.truth, n_rows, None, rank, condition_number, spectrum, True
    )
    a = _gaussian(streams.measurements, n_measurements, truth.shape[0], dtype)
    clean = _measure_rank_one(truth, a, a)
    y = _corrupt(streams, clean, noise, outlier_fraction, outlier_scale * _rms(clean))
    return SensingProblem(a, y.astype(dtype, copy=False), truth)


def make_matrix_completion(
    n_rows: int,
    n_columns: int | None = None,
    *,
    rank: int,
    oversampling: float | None = None,
    observed_fraction: float | None = None,
    n_observed: int | None = None,
    min_per_line: int = 0,
    format: Literal["nan", "sparse", "triples"] = "nan",
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    symmetric: bool = False,
    noise: float = 0.0,
    outlier_fraction: float = 0.0,
    outlier_scale: float = 10.0,
    random_state: RandomState = None,
    dtype: npt.DTypeLike = np.float64,
) -> CompletionProblem:
    """Uniformly sampled entries of a low-rank matrix.

    How many entries are observed is said by exactly one of ``oversampling``,
    ``observed_fraction`` and ``n_observed``. Neither the whole matrix nor the list of
    all its cells is ever formed, except by ``format="nan"`` (the matrix) and when more
    than half of the cells are observed (one byte a cell).

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_columns : int, default=None
        Number of columns; ``None`` makes the matrix square.
    rank : int
        Rank of the true matrix, at most ``min(n_rows, n_columns)``.
    oversampling : float, default=None
        Observed entries per degree of freedom of the truth,
        ``rank * (n_rows + n_columns - rank)`` (for a symmetric truth see
        :attr:`LowRankTruth.degrees_of_freedom`). Rounded to a whole number of entries.
    observed_fraction : float, default=None
        Observed share of all cells, in (0, 1]. Rounded to a whole number of entries.
    n_observed : int, default=None
        Number of observed entries.
    min_per_line : int, default=0
        Every row and every column keeps at least this many observed entries; below
        ``rank`` a line cannot be recovered. The cells are drawn uniformly; then
        entries of lines with more than enough move to the short lines, so that the
        number observed stays what was asked for.
    format : {"nan", "sparse", "triples"}, default="nan"
        Form of ``X``; see Returns.
    condition_number : float, default=1.0
        Largest over smallest nonzero singular value of the truth. A rank-1 matrix has
        only 1.
    spectrum : {"geometric", "linear", "step"}, default="geometric"
        Course of the singular values; see :func:`make_low_rank`.
    symmetric : bool, default=False
        Whether the truth is symmetric positive semidefinite. The observed cells are
        drawn from the whole square, and the pattern is not symmetric.
    noise : float, default=0.0
        Standard deviation of the Gaussian noise on the entries, relative to the
        standard deviation of the clean observed entries.
    outlier_fraction : float, default=0.0
        Share of the observed entries that are corrupted, in [0, 1); their number is
        rounded to the nearest whole one.
    outlier_scale : float, default=10.0
        Outliers are uniform on [-s, s], s being this times the root mean square of the
        entries of the truth (which is 1), and are added to the entries they corrupt.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw; an int makes it reproducible.
    dtype : {float64, float32}, default=float64
        Type of the entries.

    Returns
    -------
    X : ndarray, csr_array or EntryTriples
        ``format="nan"``: an array of shape (n_rows, n_columns) with NaN where nothing
        was observed. ``"sparse"``: a CSR array that stores the observed entries.
        ``"triples"``: the tuple ``rows, columns, values``.
    truth : LowRankTruth
        The whole matrix, as factors.

    Raises
    ------
    ValueError
        If an argument is out of range, or no pattern with so many entries exists; the
        message names the argument.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.datasets import make_matrix_completion
    >>> X, truth = make_matrix_completion(
    ...     60, 50, rank=2, oversampling=4, min_per_line=3, random_state=0
    ... )
    >>> X.shape, int(np.isfinite(X).sum()), 4 * truth.degrees_of_freedom
    ((60, 50), 864, 864)

    A matrix of 400 million cells, of which 320 000 are observed:

    >>> (rows, columns, values), truth = make_matrix_completion(
    ...     20_000, rank=2, oversampling=4, format="triples", random_state=0
    ... )
    >>> values.shape
    (319984,)
    """
    _check_choice("format", format, ("nan", "sparse", "triples"))
    outlier_scale = _check_corruption(noise, outlier_fraction, outlier_scale)
    dtype = _check_dtype(dtype)
    min_per_line = _check_int("min_per_line", min_per_line, minimum=0)
    streams = _spawn_streams(random_state)
    truth = _draw_truth(
        streams.truth, n_rows, n_columns, rank, condition_number, spectrum, symmetric
    )
    n_observed = _count_observed(truth, oversampling, observed_fraction, n_observed)
    _check_min_per_line(min_per_line, n_observed, truth.shape)

    cells = _sample_cells(streams.measurements, math.prod(truth.shape), n_observed)
    if min_per_line:
        cells = _fill_short_lines(
            streams.measurements, cells, truth.shape, min_per_line
        )
    rows, columns = np.divmod(cells, truth.shape[1])
    clean = truth.entries(rows, columns)
    values = _corrupt(streams, clean, noise, outlier_fraction, outlier_scale)
    values = values.astype(dtype, copy=False)

    X: Any
    if format == "triples":
        X = EntryTriples(rows, columns, values)
    elif format == "sparse":
        X = _csr(cells, values, truth.shape)
    else:
        X = np.full(truth.shape, np.nan, dtype=dtype)
        X[rows, columns] = values
    return CompletionProblem(X, truth)


def make_robust_pca(
    n_rows: int,
    n_columns: int | None = None,
    *,
    rank: int,
    outlier_fraction: float = 0.1,
    outlier_scale: float = 10.0,
    observed_fraction: float = 1.0,
    condition_number: float = 1.0,
    spectrum: Spectrum = "geometric",
    symmetric: bool = False,
    noise: float = 0.0,
    random_state: RandomState = None,
    dtype: npt.DTypeLike = np.float64,
) -> RobustPCAProblem:
    """Low-rank matrix with gross errors in a few of its entries.

    Parameters
    ----------
    n_rows : int
        Number of rows.
    n_columns : int, default=None
        Number of columns; ``None`` makes the matrix square.
    rank : int
        Rank of the low-rank part, at most ``min(n_rows, n_columns)``.
    outlier_fraction : float, default=0.1
        Share of the observed entries that are corrupted, in [0, 1), of the whole
        matrix; their number is rounded to the nearest whole one. Their places are
        drawn uniformly, so that single rows and columns have somewhat more or fewer.
    outlier_scale : float, default=10.0
        Outliers are uniform on [-s, s], s being this times the root mean square of the
        entries of the truth (which is 1), and are added to the entries they corrupt.
    observed_fraction : float, default=1.0
        Observed share of all cells, in (0, 1], drawn uniformly; the others are NaN.
        Rounded to a whole number of entries.
    condition_number : float, default=1.0
        Largest over smallest nonzero singular value of the truth. A rank-1 matrix has
        only 1.
    spectrum : {"geometric", "linear", "step"}, default="geometric"
        Course of the singular values; see :func:`make_low_rank`.
    symmetric : bool, default=False
        Whether the truth is symmetric positive semidefinite. Noise, outliers and
        missing entries are not symmetric either way.
    noise : float, default=0.0
        Standard deviation of the Gaussian noise on all observed entries, relative to
        the standard deviation of the clean ones.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw; an int makes it reproducible.
    dtype : {float64, float32}, default=float64
        Type of ``X`` and ``outliers``.

    Returns
    -------
    X : ndarray of shape (n_rows, n_columns)
        Truth plus noise plus outliers; NaN where nothing was observed.
    outliers : csr_array of shape (n_rows, n_columns)
        Numbers added to the corrupted entries; nothing is stored elsewhere.
    truth : LowRankTruth
        The low-rank part.

    Raises
    ------
    ValueError
        If an argument is out of range; the message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.datasets import make_robust_pca
    >>> X, outliers, truth = make_robust_pca(
    ...     50, 40, rank=3, outlier_fraction=0.05, random_state=0
    ... )
    >>> X.shape, outliers.nnz
    ((50, 40), 100)
    >>> bool(np.allclose(X - outliers.toarray(), truth.matrix))
    True
    """
    outlier_scale = _check_corruption(noise, outlier_fraction, outlier_scale)
    dtype = _check_dtype(dtype)
    streams = _spawn_streams(random_state)
    truth = _draw_truth(
        streams.truth, n_rows, n_columns, rank, condition_number, spectrum, symmetric
    )
    n_observed = _count_fraction(truth, observed_fraction)
    cells = _sample_cells(streams.measurements, math.prod(truth.shape), n_observed)
    values = _add_noise(streams.noise, truth.matrix.ravel()[cells], noise)
    corrupted, errors = _draw_outliers(
        streams.outliers, n_observed, outlier_fraction, outlier_scale
    )
    values[corrupted] += errors

    X = np.full(truth.shape, np.nan, dtype=dtype)
    X.ravel()[cells] = values
    outliers = _csr(cells[corrupted], errors.astype(dtype, copy=False), truth.shape)
    return RobustPCAProblem(X, outliers, truth)


# --------------------------------------------------------------------------------------
# Truth
# --------------------------------------------------------------------------------------


class _Streams(NamedTuple):
    truth: np.random.Generator
    measurements: np.random.Generator
    noise: np.random.Generator
    outliers: np.random.Generator


def _spawn_streams(random_state: RandomState) -> _Streams:
    try:
        state = check_random_state(random_state)
    except (TypeError, ValueError) as error:
        msg = (
            f"random_state={random_state!r} cannot seed a draw; give None, an int "
            "from 0 to 2**32 - 1, or a numpy.random.RandomState."
        )
        raise ValueError(msg) from error
    words = state.randint(0, 2**32, size=4, dtype=np.uint32)
    seeds = np.random.SeedSequence(words.tolist()).spawn(len(_Streams._fields))
    return _Streams(*(np.random.default_rng(seed) for seed in seeds))


def _draw_truth(
    rng: np.random.Generator,
    n_rows: int,
    n_columns: int | None,
    rank: int,
    condition_number: float,
    spectrum: str,
    symmetric: bool,
) -> LowRankTruth:
    n_rows = _check_int("n_rows", n_rows)
    n_columns = n_rows if n_columns is None else _check_int("n_columns", n_columns)
    if not isinstance(symmetric, bool | np.bool_):
        msg = f"symmetric={symmetric!r} must be True or False."
        raise ValueError(msg)
    if symmetric and n_rows != n_columns:
        msg = (
            f"symmetric=True needs a square matrix, and this one is {n_rows} x "
            f"{n_columns}; leave n_columns out or set symmetric=False."
        )
        raise ValueError(msg)
    rank = _check_int("rank", rank)
    if rank > min(n_rows, n_columns):
        msg = (
            f"rank={rank} is larger than a {n_rows} x {n_columns} matrix can have; "
            f"at most {min(n_rows, n_columns)} will do."
        )
        raise ValueError(msg)
    values = _relative_spectrum(rank, condition_number, spectrum)
    values *= math.sqrt(n_rows * n_columns) / np.linalg.norm(values)
    left = _haar_columns(rng, n_rows, rank) * np.sqrt(values)
    right = left if symmetric else _haar_columns(rng, n_columns, rank) * np.sqrt(values)
    return LowRankTruth(left, right, values)


def _relative_spectrum(rank: int, condition_number: float, spectrum: str) -> Array:
    _check_choice("spectrum", spectrum, ("geometric", "linear", "step"))
    kappa = _check_real("condition_number", condition_number, minimum=1)
    if rank == 1 and kappa != 1:
        msg = (
            f"condition_number={condition_number!r} needs rank >= 2: with rank=1 there "
            "is a single nonzero singular value; set condition_number=1."
        )
        raise ValueError(msg)
    if spectrum == "geometric":
        return np.geomspace(1, 1 / kappa, rank)
    if spectrum == "linear":
        return np.linspace(1, 1 / kappa, rank)
    return np.where(np.arange(rank) < (rank + 1) // 2, 1, 1 / kappa)


def _haar_columns(rng: np.random.Generator, n: int, rank: int) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((n, rank)))
    # LAPACK picks the signs of R's diagonal; left as they are, Q is not Haar.
    columns: Array = q * np.copysign(1, np.diag(r))
    return columns


def _triangle(columns: Array) -> Array:
    # With mode="r" NumPy returns R alone; its type stubs say otherwise.
    triangle: Any = np.linalg.qr(columns, mode="r")
    return np.asarray(triangle)


# --------------------------------------------------------------------------------------
# Measurements
# --------------------------------------------------------------------------------------


def _measure_dense(
    rng: np.random.Generator, truth: LowRankTruth, n_measurements: int, dtype: Any
) -> tuple[Array, Array]:
    target = truth.matrix.ravel()
    X = _gaussian(rng, n_measurements, target.size, dtype)
    y = np.empty(n_measurements)
    for block in _row_blocks(X.shape):
        y[block] = X[block].astype(np.float64, copy=False) @ target
    return X, y


def _measure_rank_one(truth: LowRankTruth, a: Array, b: Array) -> Array:
    # The truth is float64, so float32 vectors are promoted and y keeps all digits.
    return _row_products(a @ truth.left, b @ truth.right)


def _gaussian(
    rng: np.random.Generator, n_rows: int, n_columns: int, dtype: Any
) -> Array:
    """N(0, 1) entries; float32 ones are the float64 ones rounded."""
    values = np.empty((n_rows, n_columns), dtype=dtype)
    for block in _row_blocks(values.shape):
        values[block] = rng.standard_normal(values[block].shape)
    return values


def _row_blocks(shape: tuple[int, ...]) -> list[slice]:
    step = max(1, _BLOCK // shape[1])
    return [slice(start, start + step) for start in range(0, shape[0], step)]


def _row_products(first: Array, second: Array) -> Array:
    products: Array = np.einsum("ij,ij->i", first, second)
    return products


def _count_observed(
    truth: LowRankTruth,
    oversampling: float | None,
    observed_fraction: float | None,
    n_observed: int | None,
) -> int:
    given = {
        "oversampling": oversampling,
        "observed_fraction": observed_fraction,
        "n_observed": n_observed,
    }
    named = [f"{key}={value!r}" for key, value in given.items() if value is not None]
    if len(named) != 1:
        msg = (
            "Exactly one of oversampling, observed_fraction and n_observed says how "
            f"many entries are observed; got {', '.join(named) or 'none of them'}."
        )
        raise ValueError(msg)
    if n_observed is not None:
        return _whole_count(named[0], _check_int("n_observed", n_observed), truth)
    if observed_fraction is not None:
        return _count_fraction(truth, observed_fraction)
    ratio = _check_real("oversampling", oversampling, above=0)
    return _whole_count(named[0], ratio * truth.degrees_of_freedom, truth)


def _count_fraction(truth: LowRankTruth, observed_fraction: float) -> int:
    share = _check_real("observed_fraction", observed_fraction, above=0, maximum=1)
    named = f"observed_fraction={observed_fraction!r}"
    return _whole_count(named, share * math.prod(truth.shape), truth)


def _whole_count(named: str, count: float, truth: LowRankTruth) -> int:
    n_cells = math.prod(truth.shape)
    if math.isfinite(count):
        count = round(count)
    if not 1 <= count <= n_cells:
        msg = (
            f"{named} asks for {count} observed entries; a matrix of "
            f"{truth.shape[0]} x {truth.shape[1]} allows 1 to {n_cells}."
        )
        raise ValueError(msg)
    return int(count)


def _check_min_per_line(
    min_per_line: int, n_observed: int, shape: tuple[int, int]
) -> None:
    if min_per_line > min(shape):
        msg = (
            f"min_per_line={min_per_line} is more than the {min(shape)} entries that "
            f"the shorter lines of a {shape[0]} x {shape[1]} matrix have."
        )
        raise ValueError(msg)
    needed = min_per_line * max(shape)
    if needed > n_observed:
        msg = (
            f"min_per_line={min_per_line} needs {needed} observed entries in a "
            f"{shape[0]} x {shape[1]} matrix, and there are {n_observed}; observe more "
            f"or set min_per_line to {n_observed // max(shape)} or less."
        )
        raise ValueError(msg)


def _sample_cells(rng: np.random.Generator, n_cells: int, n_sampled: int) -> Array:
    """Sorted uniform sample of ``n_sampled`` of the numbers below ``n_cells``."""
    if 2 * n_sampled > n_cells:
        chosen = np.ones(n_cells, dtype=bool)
        chosen[_sample_cells(rng, n_cells, n_cells - n_sampled)] = False
        return np.flatnonzero(chosen)
    cells = np.empty(0, dtype=np.intp)
    while cells.size < n_sampled:
        missing, free = n_sampled - cells.size, n_cells - cells.size
        # On average, `expected` draws hit `missing` new cells; four standard deviations
        # more make a second round rare.
        expected = -n_cells * math.log1p(-missing / free)
        draws = rng.integers(n_cells, size=math.ceil(expected + 4 * expected**0.5))
        cells = np.concatenate([cells, draws.astype(np.intp, copy=False)])
        cells.sort()
        cells = cells[np.flatnonzero(np.diff(cells, prepend=-1))]
    surplus = cells.size - n_sampled
    if surplus:
        cells = np.delete(cells, rng.choice(cells.size, surplus, replace=False))
    return cells


def _fill_short_lines(
    rng: np.random.Generator, cells: Array, shape: tuple[int, int], min_per_line: int
) -> Array:
    """Move observed cells until all rows and columns have ``min_per_line``."""
    # Cells move inside their column to fill rows, then inside their row to fill
    # columns, so the second pass cannot undo the first.
    cells = _fill_short_rows(rng, cells, shape, min_per_line)
    flipped = _flip_cells(cells, shape)
    flipped = _fill_short_rows(rng, flipped, shape[::-1], min_per_line)
    return _flip_cells(flipped, shape[::-1])


def _flip_cells(cells: Array, shape: tuple[int, int]) -> Array:
    """Sorted numbers of the same cells in the transposed matrix."""
    rows, columns = np.divmod(cells, shape[1])
    columns *= shape[0]
    columns += rows
    columns.sort()
    return columns


def _fill_short_rows(
    rng: np.random.Generator, cells: Array, shape: tuple[int, int], min_per_row: int
) -> Array:
    n_rows, n_columns = shape
    starts = _row_starts(cells, shape)
    counts = np.diff(starts)
    receivers = np.repeat(np.arange(n_rows), np.maximum(min_per_row - counts, 0))
    if not receivers.size:
        return cells
    spare = np.repeat(np.arange(n_rows), np.maximum(counts - min_per_row, 0))
    donors = rng.choice(spare, receivers.size, replace=False)

    columns: dict[int, Array] = {}
    for row in np.union1d(receivers, donors).tolist():
        columns[row] = cells[starts[row] : starts[row + 1]] - row * n_columns
    for receiver, donor in zip(receivers.tolist(), donors.tolist(), strict=True):
        # The donor row is the longer one, so it has a column that the receiver lacks.
        movable = np.setdiff1d(columns[donor], columns[receiver], assume_unique=True)
        moved = movable[rng.integers(movable.size)]
        columns[donor] = columns[donor][columns[donor] != moved]
        columns[receiver] = np.append(columns[receiver], moved)

    touched = np.zeros(n_rows, dtype=bool)
    touched[list(columns)] = True
    kept = cells[~np.repeat(touched, counts)]
    changed = [row * n_columns + numbers for row, numbers in columns.items()]
    return np.sort(np.concatenate([kept, *changed]))


def _row_starts(cells: Array, shape: tuple[int, int]) -> Array:
    return np.searchsorted(cells, np.arange(shape[0] + 1, dtype=np.intp) * shape[1])


def _csr(cells: Array, values: Array, shape: tuple[int, int]) -> sparse.csr_array:
    return sparse.csr_array(
        (values, cells % shape[1], _row_starts(cells, shape)), shape=shape
    )


# --------------------------------------------------------------------------------------
# Corruption
# --------------------------------------------------------------------------------------


def _corrupt(
    streams: _Streams,
    clean: Array,
    noise: float,
    outlier_fraction: float,
    largest_outlier: float,
) -> Array:
    y = _add_noise(streams.noise, clean, noise)
    corrupted, errors = _draw_outliers(
        streams.outliers, clean.size, outlier_fraction, largest_outlier
    )
    y[corrupted] += errors
    return y


def _add_noise(rng: np.random.Generator, clean: Array, noise: float) -> Array:
    """A noisy copy; the clean array itself is returned where there is no noise."""
    if noise == 0:
        return clean
    if np.ptp(clean) == 0:
        msg = (
            f"noise={noise!r} is relative to the standard deviation of the clean "
            "targets, which is 0 here; ask for more targets or set noise=0."
        )
        raise ValueError(msg)
    noisy = rng.standard_normal(clean.size)
    noisy *= noise * np.std(clean)
    noisy += clean
    return noisy


def _draw_outliers(
    rng: np.random.Generator, n_targets: int, fraction: float, largest: float
) -> tuple[Array, Array]:
    corrupted = _sample_cells(rng, n_targets, round(fraction * n_targets))
    return corrupted, rng.uniform(-largest, largest, corrupted.size)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


# --------------------------------------------------------------------------------------
# Validation
# --------------------------------------------------------------------------------------


def _check_corruption(
    noise: float, outlier_fraction: float, outlier_scale: float
) -> float:
    _check_real("noise", noise, minimum=0)
    _check_real("outlier_fraction", outlier_fraction, minimum=0, below=1)
    return _check_real("outlier_scale", outlier_scale, above=0)


def _check_int(name: str, value: Any, minimum: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        msg = f"{name}={value!r} must be an int, {minimum} or more."
        raise ValueError(msg)
    if value < minimum:
        msg = f"{name}={value!r} must be {minimum} or more."
        raise ValueError(msg)
    return int(value)


def _check_real(
    name: str,
    value: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> float:
    rules = [
        (bound, holds, words)
        for bound, holds, words in (
            (minimum, operator.ge, f"{minimum} or more"),
            (above, operator.gt, f"more than {above}"),
            (maximum, operator.le, f"at most {maximum}"),
            (below, operator.lt, f"less than {below}"),
        )
        if bound is not None
    ]
    number = _as_float(value)
    if not (
        math.isfinite(number) and all(holds(number, bound) for bound, holds, _ in rules)
    ):
        wanted = " and ".join(words for _, _, words in rules)
        msg = f"{name}={value!r} must be a finite number, {wanted}."
        raise ValueError(msg)
    return number


def _as_float(value: Any) -> float:
    """The float of a real number; NaN for anything else and beyond the range."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    return math.nan


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        msg = f"{name}={value!r} is not one of {listed}."
        raise ValueError(msg)


def _check_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    message = f"dtype={dtype!r} is not one of float64 and float32."
    try:
        checked = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(message) from error
    if checked not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise ValueError(message)
    return checked


def _cell_numbers(name: str, values: npt.ArrayLike, n_lines: int) -> Array:
    checked = np.atleast_1d(np.asarray(values))
    if checked.ndim != 1 or (checked.size and checked.dtype.kind not in "iu"):
        msg = (
            f"{name} has shape {checked.shape} and dtype {checked.dtype}; it must be "
            "a one-dimensional array of ints."
        )
        raise ValueError(msg)
    if checked.size and not (checked.min() >= 0 and checked.max() < n_lines):
        msg = (
            f"{name} goes from {checked.min()} to {checked.max()}; the matrix has "
            f"{name} 0 to {n_lines - 1}."
        )
        raise ValueError(msg)
    return checked.astype(np.intp, copy=False)


def _float_matrix(name: str, values: npt.ArrayLike) -> Array:
    checked = np.asarray(values)
    if checked.ndim != 2 or checked.dtype.kind not in "fiub":
        msg = (
            f"{name} has shape {checked.shape} and dtype {checked.dtype}; it must be "
            "a two-dimensional array of real numbers."
        )
        raise ValueError(msg)
    return checked.astype(np.float64, copy=False)
