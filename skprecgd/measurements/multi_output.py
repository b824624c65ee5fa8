"""Linear models with many outputs: every output of every sample is a measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.containers import marked, unmasked
from skprecgd._linalg.numerics import as_operator, norm, square, working_dtype
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, Tangent, as_shape
from skprecgd.measurements.entries import EntryMeasurements
from skprecgd.measurements.full import FullObservation
from skprecgd.measurements.validation import as_real_array, as_real_csr


class MultiOutputMeasurements(Measurements, checked=True):
    """Outputs ``x_i^T M e_j`` of a linear model with coefficients M.

    The measurements are the entries of ``X M``, in C order: all outputs of the
    first sample, then those of the second. Measurement (i, j) belongs to the matrix
    ``x_i e_j^T``, which is never formed; everything is a product of X or its
    transpose with a few columns.

    Parameters
    ----------
    X : array-like or sparse array of shape (n_samples, n_features)
        The samples.
    n_targets : int
        Number of outputs; M has shape ``(n_features, n_targets)``.

    Attributes
    ----------
    X : ndarray or csr_array
        The samples that some measurement uses.
    sample_index, target_index : ndarray of int, shape (n_measurements,)
        Row of `X` and output of each measurement. ``groups=A.sample_index`` makes
        `GroupKFold` and its relatives hold out whole samples.

    See Also
    --------
    multi_output : Measurements and targets at once; offsets and missing outputs.

    Notes
    -----
    One measurement is one number, so a selection of some outputs of some samples is
    an object of this kind too. A selection of whole samples is recognised, and keeps
    to products of matrices; any other one computes the selected entries of ``X M``.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd.measurements import MultiOutputMeasurements
    >>> A = MultiOutputMeasurements([[1.0, 0.0], [1.0, 2.0]], n_targets=2)
    >>> A.forward(np.array([[1.0], [1.0]]), np.array([[1.0], [10.0]]))
    array([ 1., 10.,  3., 30.])
    >>> A[A.sample_index == 1]
    MultiOutputMeasurements(2 measurements of a 2 x 2 matrix, float64)
    """

    def __init__(self, X: Any, n_targets: int) -> None:
        self.X: Any = _as_samples(X)
        n_samples, n_features = self.X.shape
        self.matrix_shape = as_shape((n_features, n_targets))
        self.dtype = self.X.dtype
        self._entries: Measurements = FullObservation(
            (max(1, n_samples), self.matrix_shape[1]), self.dtype
        )
        if n_samples == 0:
            self._entries = self._entries.rows(np.arange(0))

    @property
    def n_measurements(self) -> int:
        return self._entries.n_measurements

    @property
    def sample_index(self) -> Array:
        if isinstance(self._entries, EntryMeasurements):
            return self._entries.row_index
        return np.repeat(np.arange(self.X.shape[0]), self.matrix_shape[1])

    @property
    def target_index(self) -> Array:
        if isinstance(self._entries, EntryMeasurements):
            return self._entries.column_index
        return np.tile(np.arange(self.matrix_shape[1]), self.X.shape[0])

    def forward(self, left: Array, right: Array) -> Array:
        return self._entries.forward(self._times(left), right)

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        r = left.shape[1]
        both = self._times(np.hstack([left, d_left]))
        x_left, x_d_left = both[:, :r], both[:, r:]
        return self._entries.forward_ray(x_left, right, x_d_left, d_right)

    def adjoint(self, weights: Array) -> LinearOperator:
        outputs = self._entries.adjoint(weights.astype(self.dtype, copy=False))

        def times(block: Array) -> Array:
            return self._transposed_times(outputs @ block.reshape(len(block), -1))

        def transposed_times(block: Array) -> Array:
            columns = self._times(block.reshape(len(block), -1))
            return np.asarray(outputs.T @ columns)

        return as_operator(self.matrix_shape, self.dtype, times, transposed_times)

    def tangent(self, left: Array, right: Array) -> Tangent:
        return _MultiOutputTangent(self, left, right)

    def rows(self, index: Array) -> MultiOutputMeasurements:
        index = np.asarray(index)
        n_targets = self.matrix_shape[1]
        samples, targets = self.sample_index[index], self.target_index[index]
        chosen: MultiOutputMeasurements = object.__new__(MultiOutputMeasurements)
        chosen.matrix_shape, chosen.dtype = self.matrix_shape, self.dtype
        if _whole_samples(samples, targets, n_targets):
            samples = samples[::n_targets]
            chosen._entries = FullObservation((len(samples), n_targets), self.dtype)
        else:
            samples, position = np.unique(samples, return_inverse=True)
            shape = (max(1, len(samples)), n_targets)
            chosen._entries = EntryMeasurements(position, targets, shape, self.dtype)
        chosen.X = self.X[samples]
        return chosen

    def scaled(self, factor: float) -> MultiOutputMeasurements:
        chosen: MultiOutputMeasurements = object.__new__(MultiOutputMeasurements)
        chosen.matrix_shape, chosen.dtype = self.matrix_shape, self.dtype
        chosen.X, chosen._entries = self.X * self.dtype.type(factor), self._entries
        return chosen

    def natural_order(self) -> Array | None:
        return self._entries.natural_order()

    def _mean_square(self) -> float:
        unit, squares = self._squares()
        share = float(np.mean(squares[self.sample_index])) if unit > 0 else 0.0
        return share * square(unit) / (self.matrix_shape[0] * self.matrix_shape[1])

    def _sizes(self) -> Array:
        unit, squares = self._squares()
        return unit * np.sqrt(squares)[self.sample_index]

    def _squares(self) -> tuple[float, Array]:
        """The norm of X, and the squared norms of the rows of X divided by it.

        Both stay finite for very small and very large samples.
        """
        unit = norm(_stored(self.X))
        if unit == 0.0:
            return 0.0, np.zeros(self.X.shape[0])
        scaled = self.X / unit
        return unit, np.asarray((scaled * scaled).sum(axis=1), np.float64).ravel()

    def _times(self, block: Array) -> Array:
        """``X @ block``; only this and `_transposed_times` multiply by X."""
        return np.asarray(self.X @ block)

    def _transposed_times(self, block: Array) -> Array:
        return np.asarray(self.X.T @ block)


class _MultiOutputTangent(Tangent):
    """``X L`` is computed once, and then only the change of L is multiplied by X."""

    def __init__(
        self, measurements: MultiOutputMeasurements, left: Array, right: Array
    ) -> None:
        super().__init__(measurements, left, right)
        self._a = measurements
        self._x_left = measurements._times(left)

    def forward(self, d_left: Array, d_right: Array) -> Array:
        return self._a._entries.forward_tangent(
            self._x_left, self._right, self._a._times(d_left), d_right
        )

    def adjoint(self, weights: Array) -> tuple[Array, Array]:
        outputs = self._a._entries.adjoint(weights)
        to_left = self._a._transposed_times(np.asarray(outputs @ self._right))
        return to_left, np.asarray(outputs.T @ self._x_left)


def multi_output(
    X: Any, Y: Any, *, offset: Any = None
) -> tuple[MultiOutputMeasurements, Array]:
    """Turn samples with many outputs into measurements of the coefficients.

    The model is ``Y ~ X (offset + M)`` with M of low rank. Measurements are linear,
    so the offset moves to the targets: they are the observed entries of
    ``Y - X offset``. The coefficients are then ``offset + model.matrix_``.

    Parameters
    ----------
    X : array-like or sparse array of shape (n_samples, n_features)
        The samples.
    Y : array-like of shape (n_samples, n_targets)
        Their outputs; NaN is missing, and so is what is masked.
    offset : array-like or sparse array of shape (n_features, n_targets), default=None
        Frozen coefficients, for example those of a model to adapt. None is zero.

    Returns
    -------
    measurements : MultiOutputMeasurements
        Samples for `PrecGDMatrixSensing`, one per observed output.
    y : ndarray of shape (n_measurements,)

    Raises
    ------
    ValueError
        If shapes do not match, nothing is observed, or values are infinite or complex.

    Examples
    --------
    >>> import numpy as np
    >>> from skprecgd import PrecGDMatrixSensing
    >>> from skprecgd.measurements import multi_output
    >>> rng = np.random.default_rng(0)
    >>> X, frozen = rng.standard_normal((50, 8)), rng.standard_normal((8, 30))
    >>> change = np.outer(rng.standard_normal(8), rng.standard_normal(30))
    >>> A, y = multi_output(X, X @ (frozen + change), offset=frozen)
    >>> model = PrecGDMatrixSensing(4).fit(A, y)
    >>> model.n_components_, bool(np.allclose(model.matrix_, change))
    (1, True)
    """
    samples = _as_samples(X)
    Y = np.asarray(marked(Y, np.nan).matrix)
    if np.iscomplexobj(Y) or Y.dtype.kind not in "fiub" or Y.ndim != 2:
        raise ValueError(
            f"Y must be a real 2-D array, got {Y.ndim}-D of dtype {Y.dtype}."
        )
    if len(Y) != samples.shape[0]:
        raise ValueError(
            f"X has {samples.shape[0]} samples and Y {len(Y)}; they must agree."
        )
    Y = Y.astype(working_dtype(Y.dtype), copy=False)
    observed = ~np.isnan(Y).ravel()
    if not observed.any():
        raise ValueError("Y has no observed entry; at least one is needed.")
    if np.isinf(Y).any():
        raise ValueError("Y holds infinity.")
    measurements = MultiOutputMeasurements(samples, Y.shape[1])
    if offset is not None:
        shape = np.shape(offset)
        if shape != measurements.matrix_shape:
            raise ValueError(
                f"offset must have shape (n_features, n_targets) = "
                f"{measurements.matrix_shape}, got {shape}."
            )
        Y = Y - np.asarray(_dense(samples @ unmasked(offset, "offset")))
    y = Y.ravel()
    if observed.all():
        return measurements, y
    return measurements[observed], y[observed]


def _as_samples(X: Any) -> Any:
    """X as a finite real array or csr_array of floats."""
    if not sparse.issparse(X):
        return as_real_array(X, "X", (2,))
    return as_real_csr(X, "X")


def _whole_samples(samples: Array, targets: Array, n_targets: int) -> bool:
    """Whether a selection takes all outputs of each of its samples, in order."""
    if len(samples) == 0 or len(samples) % n_targets:
        return False
    in_order = np.all(targets.reshape(-1, n_targets) == np.arange(n_targets))
    blocks = samples.reshape(-1, n_targets)
    return bool(in_order and np.all(blocks == blocks[:, :1]))


def _stored(X: Any) -> Array:
    return np.asarray(X.data if sparse.issparse(X) else X)


def _dense(X: Any) -> Any:
    return X.toarray() if sparse.issparse(X) else X
