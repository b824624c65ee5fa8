"""What every matrix promises, whatever kind it is."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from skprecgd._linalg.leading import leading_triplets
from skprecgd._linalg.matrices import Matrix, SlabMatrix, as_matrix
from skprecgd._linalg.offsets import subtract
from skprecgd._linalg.svd_tuning import SinglePrecision
from skprecgd.distributed.matrix import ChunkedMatrix
from skprecgd.distributed.rows import RowChunks
from skprecgd.measurements import FullObservation
from skprecgd.objective import make_objective
from skprecgd.optim import rank_path


class Foreign:
    """An operator of another library: products, a transpose, and nothing of SciPy."""

    def __init__(self, X):
        self._X, self.shape, self.dtype = X, X.shape, X.dtype

    @property
    def T(self):
        return Foreign(self._X.T)

    def __matmul__(self, block):
        return self._X @ block


def mapped(X, folder):
    file = np.memmap(folder / "X", X.dtype, "w+", shape=X.shape)
    file[...] = X
    return file


def centred(X, data):
    """``(X + offsets) - offsets``, kept apart."""
    rows, columns = np.linspace(-1, 1, X.shape[0]), np.linspace(2, 3, X.shape[1])
    return subtract(data(X + rows[:, None] + columns), rows, columns)


def chunked(X):
    chunks = RowChunks(da.from_array(X, chunks=(5, X.shape[1])))
    return ChunkedMatrix(chunks, *(np.zeros(n) for n in X.shape))


KINDS = {
    "array": lambda X, folder: X,
    "array in column order": lambda X, folder: np.asfortranarray(X),
    "mapped": mapped,
    "csr": lambda X, folder: sparse.csr_array(X),
    "csc matrix": lambda X, folder: sparse.csc_matrix(X),
    "operator": lambda X, folder: aslinearoperator(X),
    "foreign operator": lambda X, folder: Foreign(X),
    "sparse less offsets": lambda X, folder: centred(X, sparse.csr_array),
    "mapped less offsets": lambda X, folder: centred(X, lambda Y: mapped(Y, folder)),
    "chunks": lambda X, folder: chunked(X),
    "transposed": lambda X, folder: as_matrix(Foreign(X.T)).T,
    "scaled": lambda X, folder: -0.5 * as_matrix(Foreign(-2 * X)),
}


@pytest.fixture(params=KINDS)
def pair(request, rng, tmp_path):
    """A matrix, and the same one as an array."""
    X = rng.standard_normal((13, 7))
    return as_matrix(KINDS[request.param](X, tmp_path)), X


def check(matrix, X):
    """Products, with blocks and with vectors, by all names; norm and entries."""
    left, right = (np.cos(np.arange(3 * n).reshape(n, 3)) for n in X.shape)
    assert isinstance(matrix, Matrix)
    assert (matrix.shape, matrix.dtype) == (X.shape, X.dtype)
    for k in (slice(3), slice(1), 0):
        products = [
            (X @ right[:, k], matrix.times(right[:, k])),
            (X @ right[:, k], matrix @ right[:, k]),
            (X.T @ left[:, k], matrix.transposed_times(left[:, k])),
            (X.T @ left[:, k], matrix.T @ left[:, k]),
            (X.T @ left[:, k], matrix.rmatvec(left[:, k]) if k == 0 else None),
        ]
        for expected, found in products:
            if found is not None:
                assert type(found) is np.ndarray
                np.testing.assert_allclose(found, expected, atol=1e-13)
    for found, expected in zip(
        matrix.both_products(left, right), (X @ right, X.T @ left), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(matrix.formed(), X, atol=1e-13)
    assert matrix.frobenius_norm() == pytest.approx(np.linalg.norm(X), rel=1e-13)


def test_every_kind_of_matrix(pair):
    matrix, X = pair
    check(matrix, X)
    assert as_matrix(matrix) is matrix


def test_transposes_and_multiples_are_matrices(pair):
    matrix, X = pair
    check(matrix.T, X.T)
    check(matrix.T.T, X)
    check(-3.0 * matrix, -3.0 * X)
    check((2.0 * matrix).T, 2.0 * X.T)
    assert (2.0 * matrix).dtype == matrix.dtype


def test_sums_are_those_of_scipy(pair):
    matrix, X = pair
    total = matrix + aslinearoperator(X)
    np.testing.assert_allclose(total @ np.eye(7), 2 * X, atol=1e-13)


def test_the_left_basis_is_orthonormal_and_spans_the_images(pair, rng):
    matrix, X = pair
    basis = matrix.left_basis(6)
    q = np.linalg.qr(rng.standard_normal((7, 4)))[0]
    nothing = np.zeros((0, 2))
    column, triangle, back = basis.expand(q[:, :2], nothing)
    u = basis.times(np.eye(2))
    np.testing.assert_allclose(u @ triangle, X @ q[:, :2], atol=1e-13)
    np.testing.assert_allclose(back, X.T @ u, atol=1e-13)
    column, triangle, _ = basis.expand(q[:, 2:], np.zeros((2, 2)))
    u = basis.times(np.eye(4))
    np.testing.assert_allclose(u.T @ u, np.eye(4), atol=1e-13)
    image = u[:, :2] @ column + u[:, 2:] @ triangle
    np.testing.assert_allclose(image, X @ q[:, 2:], atol=1e-13)
    basis.restart(np.eye(4)[:, [3, 0]])
    assert basis.size == 2
    np.testing.assert_allclose(basis.times(np.eye(2)), u[:, [3, 0]], atol=1e-13)


def test_no_number_is_copied(rng):
    X = rng.standard_normal((5, 4))
    assert as_matrix(X).in_memory() is X
    assert as_matrix(X).formed() is X
    S = sparse.csr_array(X)
    S.data[0] = 100.0
    assert as_matrix(S).formed()[0, 0] == 100.0


@pytest.mark.parametrize("kind", ["mapped", "csr", "operator", "chunks"])
def test_only_an_array_is_in_memory(kind, rng, tmp_path):
    """LAPACK would copy a mapped one."""
    X = rng.standard_normal((13, 7))
    assert as_matrix(KINDS[kind](X, tmp_path)).in_memory() is None


SINGLE_KINDS = ["array", "array in column order", "mapped", "csr", "csc matrix"]


@pytest.mark.parametrize("kind", SINGLE_KINDS)
@pytest.mark.parametrize("exponent", [-300, 0, 300])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("copied", [0, 1000])
def test_products_in_single_precision(kind, exponent, known, copied, rng, tmp_path):
    """Brought into the range of float32 by a power of two."""
    plain = rng.standard_normal((13, 7))
    X = 10.0**exponent * plain
    size = 10.0**exponent * np.linalg.norm(plain) if known else None
    tuning = SinglePrecision(copied=copied, slab=20)
    scaled, factor = as_matrix(KINDS[kind](X, tmp_path)).in_single(size, tuning)
    assert scaled.dtype == np.float32
    assert np.log2(factor) == np.round(np.log2(factor))
    left, right = (np.ones((n, 2), np.float32) for n in X.shape)
    expected = factor * X
    for found, product in [
        (scaled.times(right), expected @ right),
        (scaled.transposed_times(left), expected.T @ left),
        (scaled.T.times(left), expected.T @ left),
    ]:
        assert found.dtype == np.float32
        atol = 1e-5 * np.linalg.norm(expected)
        np.testing.assert_allclose(found, product, atol=atol)


def test_large_and_mapped_arrays_are_not_copied_to_single_precision(rng, tmp_path):
    X = rng.standard_normal((13, 7))
    for data, copied in [(X, 90), (mapped(X, tmp_path), 1000)]:
        scaled, _ = as_matrix(data).in_single(None, SinglePrecision(copied=copied))
        assert isinstance(scaled, SlabMatrix)


@pytest.mark.parametrize("kind", ["operator", "chunks"])
def test_numbers_that_are_not_at_hand_are_not_cast(kind, rng, tmp_path):
    matrix = as_matrix(KINDS[kind](rng.standard_normal((13, 7)), tmp_path))
    assert matrix.in_single(None, SinglePrecision()) is None


def test_float32_data_are_as_single_as_can_be(rng):
    X = rng.standard_normal((5, 4)).astype(np.float32)
    for data in (X, sparse.csr_array(X)):
        assert as_matrix(data).in_single(None, SinglePrecision()) is None


class WithGram(Matrix):
    """A matrix whose Gram operator costs one product, and counts them."""

    def __init__(self, X):
        super().__init__(X.shape, X.dtype)
        self._X, self.calls = X, 0

    def times(self, block):
        return self._X @ block

    def transposed_times(self, block):
        raise AssertionError("The Gram operator needs no product with the transpose.")

    def gram_operator(self):
        def times(vector):
            self.calls += 1
            return self._X.T @ (self._X @ vector)

        n = self.shape[1]
        return LinearOperator((n, n), matvec=times, dtype=self.dtype)


@pytest.mark.parametrize("factor", [None, -2.0])
def test_a_gram_operator_is_what_eigenvectors_are_computed_by(factor, rng):
    """Also that of a multiple."""
    X = (rng.standard_normal((300, 4)) * [8, 4, 2, 1]) @ rng.standard_normal((4, 250))
    matrix = WithGram(X)
    u, s, v = leading_triplets(matrix if factor is None else factor * matrix, 2, 0)
    size = 1.0 if factor is None else factor
    assert matrix.calls > 0
    np.testing.assert_allclose(
        s, abs(size) * np.linalg.svd(X, compute_uv=False)[:2], rtol=1e-10
    )
    np.testing.assert_allclose(size * X @ v, u * s, atol=1e-8 * s[0])


@pytest.mark.parametrize("solver", ["auto", "alternating"])
def test_operators_of_other_libraries_are_complete_data(solver, rng):
    X = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 15))
    objective = make_objective(FullObservation(X.shape), Foreign(X))
    path = rank_path(objective, 2, solver=solver)
    np.testing.assert_allclose(path.factors.matrix(), X, atol=1e-6)
