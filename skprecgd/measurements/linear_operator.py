"""Any linear map a user can apply: a wrapped SciPy LinearOperator."""

from __future__ import annotations

import numpy as np
from scipy.sparse.linalg import LinearOperator

from skprecgd._linalg.numerics import (
    complex_dtype,
    dot,
    norm,
    square,
    working_dtype,
)
from skprecgd._linalg.products import check_adjoint, check_finite, missing_product
from skprecgd._runtime.typing import Array
from skprecgd.measurements.base import Measurements, check_matrix_shape

# Vectors of random signs from which the mean square is estimated.
_N_PROBES = 8


class LinearOperatorMeasurements(Measurements, checked=True):
    """Measurements ``operator @ vec(M)``, the matrix flattened in C order.

    Parameters
    ----------
    operator : scipy.sparse.linalg.LinearOperator of shape (n, n_rows * n_columns)
        Must implement `matvec` and `rmatvec`, its adjoint. A fit compares them once,
        and the products have to be finite. One of a complex dtype measures a complex
        matrix.
    matrix_shape : tuple of int, default=None
        ``(n_rows, n_columns)``; None is the most balanced shape.
    hermitian : bool, default=False
        Whether what a complex operator makes of a Hermitian matrix is real, up to
        rounding. With ``symmetric=True``, the targets then have to be real.

    Notes
    -----
    The operator's own domain has the size of the matrix, so here the matrix is
    formed once per product.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> from skprecgd.measurements import LinearOperatorMeasurements
    >>> A = LinearOperatorMeasurements(aslinearoperator(np.eye(4)), (2, 2))
    >>> A.forward(np.ones((2, 1)), np.array([[1.0], [2.0]]))
    array([1., 2., 1., 2.])
    """

    def __init__(
        self,
        operator: LinearOperator,
        matrix_shape: tuple[int, int] | None = None,
        *,
        hermitian: bool = False,
    ) -> None:
        if not isinstance(operator, LinearOperator):
            raise ValueError(
                "operator must be a scipy.sparse.linalg.LinearOperator, got "
                f"{type(operator).__name__}."
            )
        self.operator, self.hermitian = operator, hermitian
        self.matrix_shape = check_matrix_shape(matrix_shape, operator.shape[1])
        kind = np.dtype(operator.dtype)
        self.dtype = complex_dtype(kind) if kind.kind == "c" else working_dtype(kind)
        self._selected: Array | None = None

    @property
    def n_measurements(self) -> int:
        if self._selected is None:
            return int(self.operator.shape[0])
        return len(self._selected)

    def forward(self, left: Array, right: Array) -> Array:
        return self._measured("matvec", (left @ right.conj().T).ravel())

    def forward_ray(
        self, left: Array, right: Array, d_left: Array, d_right: Array
    ) -> tuple[Array, Array]:
        linear = d_left @ right.conj().T + left @ d_right.conj().T
        quadratic = d_left @ d_right.conj().T
        both = np.stack([linear.ravel(), quadratic.ravel()], axis=1)
        measured = self._measured("matmat", both)
        return measured[:, 0].copy(), measured[:, 1].copy()

    def adjoint(self, weights: Array) -> Array:
        if self._selected is not None:
            scattered = np.zeros(self.operator.shape[0], dtype=weights.dtype)
            # A measurement may be selected twice (bootstrap), so add.
            np.add.at(scattered, self._selected, weights)
            weights = scattered
        return self._product("rmatvec", weights).reshape(self.matrix_shape)

    def rows(self, index: Array) -> LinearOperatorMeasurements:
        chosen = self._with(self.operator)
        old = self._selected
        chosen._selected = np.asarray(index) if old is None else old[index]
        return chosen

    def scaled(self, factor: float) -> LinearOperatorMeasurements:
        operator = self.operator * self.dtype.type(factor)
        chosen = self._with(operator)
        chosen._selected = self._selected
        return chosen

    def _with(self, operator: LinearOperator) -> LinearOperatorMeasurements:
        return LinearOperatorMeasurements(
            operator, self.matrix_shape, hermitian=self.hermitian
        )

    def _size(self) -> float:
        return self._weighted_size(np.ones(self.n_measurements))

    def _mean_square(self) -> float:
        return square(self._size())

    def weighted_mean_square(self, weights: Array) -> float:
        return square(self._weighted_size(weights))

    def _weighted_size(self, weights: Array) -> float:
        # Hutchinson: E ||A^T z||^2 = ||A||_F^2 for random signs z. The seed is fixed
        # because the value is a scale of the operator and not part of a random
        # experiment the user controls.
        rng = np.random.default_rng(0)
        signs = rng.choice([-1.0, 1.0], size=(_N_PROBES, self.n_measurements))
        probes = np.sqrt(weights) * signs
        # A complex probe sees whether the adjoint is conjugated.
        x = self._probe(rng, (self.shape[1],))
        sizes, inner = np.empty((2, _N_PROBES))
        for k, z in enumerate(probes):
            back = self.adjoint(z)
            sizes[k], inner[k] = norm(back), dot(back, x)
        # The adjoint of the probes is known, so checking it takes one product more.
        measured = self._measured("matvec", x)
        expected = np.array([dot(measured, z) for z in probes])
        size, names = norm(measured * probes[0]), ("matvec", "rmatvec")
        check_adjoint(expected, inner, size, names, self.operator)
        total = float(np.sum(weights)) or 1.0
        return norm(sizes) / float(np.sqrt(len(sizes) * total * self.shape[1]))

    def _measured(self, name: str, cells: Array) -> Array:
        """The selected measurements of one or more matrices."""
        measured = self._product(name, cells)
        return measured if self._selected is None else measured[self._selected]

    def _product(self, name: str, factor: Array) -> Array:
        """A product of the operator, checked, in the precision of the measurements."""
        try:
            product = np.asarray(getattr(self.operator, name)(factor))
        except NotImplementedError as error:
            raise ValueError(missing_product(self.operator, name)) from error
        except ValueError as error:
            # SciPy says what it could not reshape, but not of which product.
            raise ValueError(f"{name} of {self.operator!r}: {error}") from error
        allowed = "fiubc" if self.of_complex else "fiub"
        if product.dtype.kind not in allowed:
            raise ValueError(
                f"{name} of {self.operator!r} returned numbers of dtype "
                f"{product.dtype}; only real ones are supported where its own is "
                f"{self.operator.dtype}."
            )
        check_finite(product, (factor,), name, self.operator)
        return product.astype(self.dtype, copy=False)
