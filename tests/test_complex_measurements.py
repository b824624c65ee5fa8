"""Kinds of complex measurements, and the real numbers that objectives see of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from _complex import PAULI, gaussian, state, strings
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd.measurements import (
    ComplexEntryMeasurements,
    DenseMeasurements,
    DiffractionMeasurements,
    LinearOperatorMeasurements,
    LocalMeasurements,
    PauliMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
)
from skprecgd.measurements.real_numbers import RealParts, RealValues
from skprecgd.measurements.tall import TallMeasurements, tall
from skprecgd.testing import check_measurements


def test_a_string_is_the_kronecker_product_of_its_letters(rng):
    labels = ["".join(letters) for letters in product("IXYZ", repeat=3)]
    matrices = []
    for label in labels:
        first, second, third = (PAULI[letter] for letter in label)
        matrices.append(np.kron(np.kron(first, second), third))
    A, dense = PauliMeasurements(labels), DenseMeasurements(np.array(matrices))
    np.testing.assert_array_equal(A.stacked(slice(None)), dense.stack)
    left, right, weights = gaussian(rng, 8, 2), gaussian(rng, 8, 2), gaussian(rng, 64)
    np.testing.assert_allclose(A.forward(left, right), dense.forward(left, right))
    np.testing.assert_allclose(A.adjoint(weights), dense.adjoint(weights), atol=1e-12)


@pytest.mark.parametrize("n_qubits", [1, 4, 5])
def test_pauli_strings_keep_the_contract(rng, n_qubits):
    labels = strings(rng, n_qubits, 4)
    assert check_measurements(PauliMeasurements([*labels, labels[0]])) < 1e-12


def test_dense_complex_measurements_keep_the_contract(rng):
    assert check_measurements(DenseMeasurements(gaussian(rng, 9, 5, 4))) < 1e-12
    single = DenseMeasurements(gaussian(rng, 9, 5, 4).astype(np.complex64))
    assert check_measurements(single) < 1e-4


@pytest.mark.parametrize("kind", [RealValues, RealParts])
def test_real_numbers_of_complex_measurements_keep_the_contract(rng, kind):
    numbers = kind(PauliMeasurements(strings(rng, 3, 7)))
    assert check_measurements(numbers) < 1e-12


def complex_kinds(rng, shape):
    """A few measurements of each kind, by name."""
    stack = gaussian(rng, 9, *shape)
    flat = stack.reshape(9, -1)
    few = np.where(rng.random(flat.shape) < 0.6, 0, flat)
    a, b = gaussian(rng, 9, shape[0]), gaussian(rng, 9, shape[1])
    rows, columns = (rng.integers(0, n, size=9) for n in shape)
    return {
        "rank one": RankOneMeasurements(a, b),
        "intensities": RankOneMeasurements(a),
        "real and complex": RankOneMeasurements(a.real, b),
        "sparse": SparseMeasurements(sparse.csr_array(few), shape),
        "entries": ComplexEntryMeasurements(rows, columns, shape),
        "operator": LinearOperatorMeasurements(aslinearoperator(flat), shape),
    }


def square_kinds(rng):
    """Kinds that measure square matrices by their nature, of 6 x 6, by name."""
    labels = PauliMeasurements(["XY", "ZI", "XY"])
    masks = gaussian(rng, 2, 2, 3)
    return {
        "qubit and qutrit": LocalMeasurements(
            [gaussian(rng, 9, 2, 2), gaussian(rng, 9, 3, 3)]
        ),
        "one site": LocalMeasurements([gaussian(rng, 9, 6, 6)]),
        "real sites": LocalMeasurements([rng.standard_normal((9, 6, 6))]),
        "Pauli strings": labels,
        "images": DiffractionMeasurements(masks),
        "real masks": DiffractionMeasurements(masks.real),
        "lines": DiffractionMeasurements(gaussian(rng, 3, 6)),
        "some pixels": DiffractionMeasurements(masks)[[7, 0, 3, 3]],
    }


@pytest.mark.parametrize("shape", [(5, 4), (4, 4), (1, 6)])
@pytest.mark.parametrize("kind", complex_kinds(np.random.default_rng(0), (4, 4)))
def test_complex_kinds_keep_the_contract(rng, kind, shape):
    A = complex_kinds(rng, shape)[kind]
    assert A.of_complex
    assert check_measurements(A) < 1e-12
    assert check_measurements(RealParts(A)) < 1e-12
    if A.hermitian:
        assert check_measurements(RealValues(A)) < 1e-12


@pytest.mark.parametrize("kind", square_kinds(np.random.default_rng(0)))
def test_square_kinds_keep_the_contract(rng, kind):
    A = square_kinds(rng)[kind]
    assert check_measurements(A) < 1e-12
    if A.of_complex:
        assert check_measurements(RealParts(A)) < 1e-12
    if A.of_complex and A.hermitian:
        assert check_measurements(RealValues(A)) < 1e-12


@pytest.mark.parametrize(
    "kind",
    [
        *complex_kinds(np.random.default_rng(0), (6, 6)),
        *square_kinds(np.random.default_rng(0)),
    ],
)
def test_a_kind_measures_by_its_matrices(rng, kind):
    A = {**complex_kinds(rng, (6, 6)), **square_kinds(rng)}[kind]
    n = A.matrix_shape[0]
    left, right = gaussian(rng, n, 2), gaussian(rng, n, 2)
    if not A.of_complex:
        left, right = left.real, right.real
    dense = DenseMeasurements(A.stacked(slice(None)), (n, n))
    np.testing.assert_allclose(A.forward(left, right), dense.forward(left, right))
    assert A.hermitian == dense.hermitian
    for block in (0, 1):
        np.testing.assert_allclose(A.design(left, block), dense.design(left, block))


def test_hermitian_stacks_are_recognised(rng):
    a = gaussian(rng, 9, 4)
    stack = a[:, :, None] * a[:, None, :].conj()
    flat = sparse.csr_array(stack.reshape(9, -1))
    assert DenseMeasurements(stack).hermitian
    assert SparseMeasurements(flat, (4, 4)).hermitian
    stack[3, 0, 1] *= 1j
    assert not DenseMeasurements(stack).hermitian
    flat = sparse.csr_array(stack.reshape(9, -1))
    assert not SparseMeasurements(flat, (4, 4)).hermitian


def test_local_measurements_are_kronecker_products(rng):
    sites = [gaussian(rng, 5, d, d) for d in (2, 3, 2)]
    products = [np.kron(np.kron(a, b), c) for a, b, c in zip(*sites, strict=True)]
    A = LocalMeasurements(sites)
    np.testing.assert_allclose(A.stacked(slice(None)), np.reshape(products, (5, -1)))


def test_local_pauli_matrices_are_pauli_strings(rng):
    labels = strings(rng, 3, 20)
    sites = [np.array([PAULI[label[k]] for label in labels]) for k in range(3)]
    A, x = LocalMeasurements(sites), state(rng, 8, 2)
    assert A.hermitian
    expected = PauliMeasurements(labels).forward(x, x)
    np.testing.assert_allclose(A.forward(x, x), expected, atol=1e-12)


@pytest.mark.parametrize(("label", "seen"), [("YY", False), ("XY", True)])
def test_whether_local_measurements_are_real(label, seen):
    sites = [PAULI[letter][None] + 0j for letter in label]
    assert LocalMeasurements(sites).sees_imaginary_part == seen
    assert PauliMeasurements([label]).sees_imaginary_part == seen


def test_patterns_are_squares_of_fourier_transforms(rng):
    image, masks = gaussian(rng, 4, 5), gaussian(rng, 3, 4, 5)
    x = image.reshape(-1, 1)
    measured = DiffractionMeasurements(masks).forward(x, x)
    expected = np.abs(np.fft.fft2(masks * image)) ** 2
    np.testing.assert_allclose(measured.real, expected.ravel())


def test_an_operator_is_multiplied_with_the_flat_matrix(rng):
    A, left, right = gaussian(rng, 9, 20), gaussian(rng, 5, 2), gaussian(rng, 4, 2)
    operator = LinearOperatorMeasurements(aslinearoperator(A), (5, 4))
    expected = A @ (left @ right.conj().T).ravel()
    np.testing.assert_allclose(operator.forward(left, right), expected)


def test_an_inner_product_is_the_trace_with_the_conjugate_transpose(rng):
    A, left, right = gaussian(rng, 6, 5, 4), gaussian(rng, 5, 2), gaussian(rng, 4, 2)
    M = left @ right.conj().T
    expected = [np.trace(each.conj().T @ M) for each in A]
    np.testing.assert_allclose(DenseMeasurements(A).forward(left, right), expected)


@pytest.mark.parametrize("kind", complex_kinds(np.random.default_rng(0), (5, 4)))
def test_a_complex_matrix_is_a_real_one_of_twice_its_sides(rng, kind):
    A = complex_kinds(rng, (5, 4))[kind]
    left, right = (gaussian(rng, n, 2) for n in A.matrix_shape)
    for numbers in (RealParts(A), RealParts(A)[[3, 0, 7]]):
        wide = TallMeasurements(numbers)
        assert check_measurements(wide) < 1e-12
        np.testing.assert_allclose(
            wide.forward(tall(left), tall(right)), numbers.forward(left, right)
        )
        assert_design(wide, rng)


def test_strings_are_real_matrices_of_twice_their_sides(rng):
    wide = TallMeasurements(RealValues(PauliMeasurements(strings(rng, 2, 9))))
    assert check_measurements(wide) < 1e-12
    assert_design(wide, rng)


def assert_design(measurements, rng):
    """The design of a kind is that of its stacked matrices."""
    dense = DenseMeasurements(
        measurements.stacked(slice(None)).reshape(-1, *measurements.matrix_shape)
    )
    for block in (0, 1):
        other = rng.standard_normal((measurements.matrix_shape[1 - block], 2))
        np.testing.assert_allclose(
            measurements.design(other, block), dense.design(other, block)
        )


# ---- refusals


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["XX", "X"], "lengths run from 1 to 2"),
        (["XA"], "letters I, X, Y and Z, got 'XA'"),
        (["XAX"], "got 'XAX'"),
        ([""], "at least one qubit"),
        ([], "at least one qubit"),
        ("XX", "must be a list of strings"),
    ],
)
def test_labels_that_name_no_string(labels, message):
    with pytest.raises(ValueError, match=message):
        PauliMeasurements(labels)


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ([], "at least one array"),
        ([np.ones((3, 2, 1))], "must be square"),
        ([np.ones((3, 2, 2)), np.ones((4, 2, 2))], "from 3 to 4"),
    ],
)
def test_sites_that_make_no_measurement(sites, message):
    with pytest.raises(ValueError, match=message):
        LocalMeasurements(sites)


def test_masks_without_pixels():
    with pytest.raises(ValueError, match="no pixel"):
        DiffractionMeasurements(np.ones((2, 0, 3)))
