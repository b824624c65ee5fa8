"""Every kind of measurements keeps the contract; kinds that mean the same agree."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from skprecgd import observed_entries
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    FullObservation,
    LinearOperatorMeasurements,
    MultiOutputMeasurements,
    RankOneMeasurements,
    SparseMeasurements,
    as_measurements,
)
from skprecgd.measurements.base import Tangent
from skprecgd.testing import check_measurements

SHAPES = [(5, 4), (4, 5), (4, 4), (1, 6), (6, 1), (1, 1)]
N = 9


def stack_of(rng, shape, dtype):
    return rng.standard_normal((N, *shape)).astype(dtype)


def dense_3d(rng, shape, dtype):
    return DenseMeasurements(stack_of(rng, shape, dtype))


def dense_2d(rng, shape, dtype):
    return DenseMeasurements(stack_of(rng, shape, dtype).reshape(N, -1), shape)


def dense_fortran(rng, shape, dtype):
    flat = stack_of(rng, shape, dtype).reshape(N, -1)
    return DenseMeasurements(np.asfortranarray(flat), shape)


def sparse_rows(rng, shape, dtype):
    flat = stack_of(rng, shape, dtype).reshape(N, -1)
    flat[rng.random(flat.shape) < 0.6] = 0
    # A measurement without any entry is a legal, if useless, one.
    flat[0] = 0
    return SparseMeasurements(sparse.csr_array(flat), shape)


def entries_sorted(rng, shape, dtype):
    cells = rng.permutation(shape[0] * shape[1])[:N]
    return EntryMeasurements(*np.divmod(np.sort(cells), shape[1]), shape, dtype)


def entries_unsorted(rng, shape, dtype):
    cells = rng.permutation(shape[0] * shape[1])[:N]
    return EntryMeasurements(*np.divmod(cells, shape[1]), shape, dtype)


def entries_by_column(rng, shape, dtype):
    columns, rows = np.divmod(np.arange(shape[0] * shape[1]), shape[0])
    return EntryMeasurements(rows, columns, shape, dtype)


def entries_sorted_by_row_only(rng, shape, dtype):
    rows = np.sort(rng.integers(shape[0], size=N))
    return EntryMeasurements(rows, rng.integers(shape[1], size=N), shape, dtype)


def entries_repeated(rng, shape, dtype):
    rows = rng.integers(shape[0], size=4 * N)
    return EntryMeasurements(rows, rng.integers(shape[1], size=4 * N), shape, dtype)


def rank_one_pair(rng, shape, dtype):
    return RankOneMeasurements(
        rng.standard_normal((N, shape[0])).astype(dtype),
        rng.standard_normal((N, shape[1])).astype(dtype),
    )


def operator(rng, shape, dtype):
    flat = stack_of(rng, shape, dtype).reshape(N, -1)
    return LinearOperatorMeasurements(aslinearoperator(flat), shape)


def operator_of_functions(rng, shape, dtype):
    """Only `matvec` and `rmatvec`, as most users write it."""
    flat = stack_of(rng, shape, dtype).reshape(N, -1)
    wrapped = LinearOperator(
        flat.shape,
        matvec=lambda x: flat @ x.ravel(),
        rmatvec=lambda w: flat.T @ w.ravel(),
        dtype=dtype,
    )
    return LinearOperatorMeasurements(wrapped, shape)


def operator_selection(rng, shape, dtype):
    return operator(rng, shape, dtype)[[3, 1, 1, 7]]


def full(rng, shape, dtype):
    return FullObservation(shape, dtype)


def outputs(rng, shape, dtype):
    samples = rng.standard_normal((N, shape[0])).astype(dtype)
    return MultiOutputMeasurements(samples, shape[1])


def outputs_of_sparse_samples(rng, shape, dtype):
    samples = rng.standard_normal((N, shape[0])).astype(dtype)
    samples[rng.random(samples.shape) < 0.5] = 0
    return MultiOutputMeasurements(sparse.csr_array(samples), shape[1])


def some_outputs(rng, shape, dtype):
    everything = outputs(rng, shape, dtype)
    return everything[rng.permutation(len(everything))[:N]]


def rank_one_quadratic(rng, shape, dtype):
    return RankOneMeasurements(rng.standard_normal((N, shape[0])).astype(dtype))


def dense_large(rng, shape, dtype):
    """More rows and columns, so that the stack is contracted with the factors."""
    stack = rng.standard_normal((N, 3 * shape[0] + 9, 3 * shape[1] + 9))
    return DenseMeasurements(stack.astype(dtype))


MAKERS = [
    dense_3d,
    dense_2d,
    dense_fortran,
    sparse_rows,
    entries_sorted,
    entries_unsorted,
    entries_by_column,
    entries_sorted_by_row_only,
    entries_repeated,
    rank_one_pair,
    operator,
    operator_of_functions,
    operator_selection,
    full,
    outputs,
    outputs_of_sparse_samples,
    some_outputs,
]
# Pickling needs functions that can be found again, which lambdas cannot.
PICKLABLE = [m for m in MAKERS if m is not operator_of_functions] + [rank_one_quadratic]


def measured_twice(first, second, rng, rank=2):
    """Relative difference of two measurements of the same random matrix."""
    n_rows, n_columns = first.matrix_shape
    left = rng.standard_normal((n_rows, rank))
    right = rng.standard_normal((n_columns, rank))
    return first.forward(left, right), second.forward(left, right)


# --------------------------------------------------------------------------------------
# The contract
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("make", MAKERS)
def test_contract(make, shape, dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    measurements = make(rng, shape, dtype)
    assert measurements.dtype == dtype
    assert measurements.matrix_shape == shape
    for rank in (1, 3):
        error = check_measurements(measurements, rank, global_random_seed)
        assert error <= 400 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 3, 12])
def test_contract_of_contracted_stacks(rank, dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    check_measurements(dense_large(rng, (4, 5), dtype), rank, global_random_seed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_contract_quadratic(n, dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    check_measurements(rank_one_quadratic(rng, (n, n), dtype))


@settings(max_examples=40)
@given(
    make=st.sampled_from(MAKERS),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    rank=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_contract_for_any_shape_and_rank(make, shape, rank, seed):
    measurements = make(np.random.default_rng(seed), shape, np.float64)
    check_measurements(measurements, rank, seed)


@pytest.mark.parametrize("make", [*MAKERS, rank_one_quadratic])
def test_against_the_definition(make, global_random_seed):
    """``y_i = <A_i, M>`` with the matrices A_i read off the adjoint."""
    rng = np.random.default_rng(global_random_seed)
    shape = (5, 5)
    measurements = make(rng, shape, np.float64)
    left, right = rng.standard_normal((2, 5, 2))
    matrices = [
        np.asarray(measurements.adjoint(unit) @ np.eye(5))
        for unit in np.eye(len(measurements))
    ]
    expected = np.tensordot(np.array(matrices), left @ right.T)
    np.testing.assert_allclose(
        measurements.forward(left, right), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("scale", [1e-100, 1e100])
@pytest.mark.parametrize("make", [dense_3d, sparse_rows, rank_one_pair, operator])
def test_mean_square_at_any_scale(make, scale):
    measurements = make(np.random.default_rng(0), (4, 3), np.float64)
    if make is dense_3d:
        scaled = DenseMeasurements(scale * measurements.stack, (4, 3))
    elif make is sparse_rows:
        scaled = SparseMeasurements(scale * measurements._csr, (4, 3))
    elif make is rank_one_pair:
        scaled = RankOneMeasurements(scale * measurements.a, measurements.b)
    else:
        scaled = LinearOperatorMeasurements(scale * measurements.operator, (4, 3))
    assert scaled.mean_square / scale**2 == pytest.approx(
        measurements.mean_square, rel=1e-10
    )


# --------------------------------------------------------------------------------------
# A container of samples
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", PICKLABLE)
@pytest.mark.parametrize("after_use", [False, True])
def test_pickle_and_copy(make, after_use, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    measurements = make(rng, (4, 4), np.float32)
    if after_use:
        # Caches filled on first use travel with the object.
        check_measurements(measurements)
    for again in (
        pickle.loads(pickle.dumps(measurements)),
        copy.deepcopy(measurements),
    ):
        assert repr(again) == repr(measurements)
        assert again.dtype == measurements.dtype
        assert again.mean_square == measurements.mean_square
        np.testing.assert_array_equal(*measured_twice(measurements, again, rng))
        check_measurements(again)


@pytest.mark.parametrize("make", [*MAKERS, rank_one_quadratic])
def test_no_array_comes_of_measurements(make, global_random_seed):
    """They are a container of samples: NumPy would look for numbers in it in vain."""
    measurements = make(np.random.default_rng(global_random_seed), (4, 4), np.float64)
    for convert in (np.asarray, np.array, lambda m: np.asarray(m, dtype=float)):
        with pytest.raises(TypeError, match="pass it to PrecGDMatrixSensing as it is"):
            convert(measurements)
    with pytest.raises(TypeError, match="cannot be converted to an array"):
        np.asarray([measurements[:1], measurements[1:2]])


@pytest.mark.parametrize("make", [*MAKERS, rank_one_quadratic])
def test_indexing(make, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    measurements = make(rng, (4, 4), np.float64)
    n = len(measurements)
    left, right = rng.standard_normal((2, 4, 2))
    measured = measurements.forward(left, right)
    mask = rng.random(n) < 0.5
    mask[0] = True
    keys = [
        slice(None),
        slice(1, 3),
        slice(None, None, -2),
        mask,
        list(mask),
        [2, 0, 2, -1],
        np.array([1], dtype=np.uint8),
        (slice(0, 3), ...),
        ([1, 0], slice(None)),
    ]
    for key in keys:
        rows = key[0] if isinstance(key, tuple) else key
        np.testing.assert_allclose(
            measurements[key].forward(left, right), measured[rows], rtol=1e-12
        )
    assert len(measurements[-1]) == 1
    np.testing.assert_allclose(
        measurements[-1].forward(left, right), measured[-1:], rtol=1e-12
    )
    assert len(measurements[:0]) == 0
    # A selection of a selection.
    np.testing.assert_allclose(
        measurements[::-1][[0, 2]].forward(left, right), measured[::-1][[0, 2]]
    )


@pytest.mark.parametrize("make", [*MAKERS, rank_one_quadratic])
def test_what_splitters_look_at(make):
    measurements = make(np.random.default_rng(0), (4, 4), np.float64)
    assert measurements.shape == (len(measurements), 16)
    assert measurements.shape[0] == measurements.n_measurements
    assert len(list(measurements)) == len(measurements)


def test_selection_keeps_kind_and_dtype():
    for make in PICKLABLE:
        measurements = make(np.random.default_rng(0), (4, 4), np.float32)
        chosen = measurements[[0, 1]]
        assert chosen.dtype == np.float32
        # Some entries of a fully observed matrix are observed entries.
        kind = EntryMeasurements if make is full else type(measurements)
        assert type(chosen) is kind


def test_scikit_learn_splits_and_indexes():
    from sklearn.model_selection import ShuffleSplit, train_test_split

    measurements = entries_unsorted(np.random.default_rng(0), (5, 4), np.float64)
    train, test = train_test_split(measurements, test_size=3, random_state=0)
    assert (len(train), len(test)) == (N - 3, 3)
    assert len(list(ShuffleSplit(4, random_state=0).split(measurements))) == 4


@pytest.mark.parametrize(
    "key", [N, [0, N], (0, 1), (slice(None), [0]), np.zeros(N + 1, bool)], ids=str
)
@pytest.mark.parametrize("make", [dense_3d, sparse_rows, entries_sorted, operator])
def test_wrong_index(make, key):
    measurements = make(np.random.default_rng(0), (5, 4), np.float64)
    with pytest.raises(IndexError):
        measurements[key]


def test_repr_names_the_sizes():
    text = repr(entries_sorted(np.random.default_rng(0), (5, 4), np.float32))
    assert text == "EntryMeasurements(9 measurements of a 5 x 4 matrix, float32)"


# --------------------------------------------------------------------------------------
# Kinds that mean the same agree
# --------------------------------------------------------------------------------------


def test_dense_sparse_and_operator_agree(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    flat = rng.standard_normal((12, 20))
    flat[rng.random(flat.shape) < 0.5] = 0
    dense = DenseMeasurements(flat, (5, 4))
    left, right = rng.standard_normal((5, 2)), rng.standard_normal((4, 2))
    weights = rng.standard_normal(12)
    for other in (
        DenseMeasurements(flat.reshape(12, 5, 4)),
        SparseMeasurements(sparse.csr_array(flat), (5, 4)),
        SparseMeasurements(sparse.coo_array(flat), (5, 4)),
        SparseMeasurements(sparse.csc_matrix(flat), (5, 4)),
        LinearOperatorMeasurements(aslinearoperator(flat), (5, 4)),
    ):
        np.testing.assert_allclose(
            other.forward(left, right), dense.forward(left, right), rtol=1e-12
        )
        found, expected = other.adjoint(weights), dense.adjoint(weights)
        np.testing.assert_allclose(found @ right, expected @ right, rtol=1e-12)
        np.testing.assert_allclose(found.T @ left, expected.T @ left, rtol=1e-12)


def test_entries_agree_with_one_hot_rows(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    cells = rng.integers(20, size=30)
    one_hot = sparse.csr_array((np.ones(30), (np.arange(30), cells)), shape=(30, 20))
    recognised = as_measurements(one_hot, (5, 4))
    assert type(recognised) is EntryMeasurements
    np.testing.assert_array_equal(recognised.row_index, cells // 4)
    np.testing.assert_array_equal(recognised.column_index, cells % 4)
    rows = SparseMeasurements(one_hot, (5, 4))
    np.testing.assert_allclose(*measured_twice(recognised, rows, rng), rtol=1e-13)
    assert recognised.mean_square == pytest.approx(rows.mean_square, rel=1e-14)


@pytest.mark.parametrize(
    "rows",
    [
        [[2.0, 0, 0, 0], [0, 1, 0, 0]],
        [[1.0, 1, 0, 0], [0, 1, 0, 0]],
        [[1.0, 1, 0, 0], [0, 0, 0, 0]],
    ],
    ids=["weighted", "two entries", "two and none"],
)
def test_other_sparse_rows_are_not_entries(rows):
    assert type(as_measurements(sparse.csr_array(rows))) is SparseMeasurements


def test_rank_one_agrees_with_the_formed_matrices(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    a, b = rng.standard_normal((9, 5)), rng.standard_normal((9, 4))
    rank_one = RankOneMeasurements(a, b)
    dense = DenseMeasurements(np.einsum("ni,nj->nij", a, b))
    np.testing.assert_allclose(*measured_twice(rank_one, dense, rng), rtol=1e-11)
    assert rank_one.mean_square == pytest.approx(dense.mean_square, rel=1e-12)
    quadratic, pair = RankOneMeasurements(a), RankOneMeasurements(a, a.copy())
    np.testing.assert_allclose(*measured_twice(quadratic, pair, rng), rtol=1e-12)


def test_full_agrees_with_all_entries(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    rows, columns = np.divmod(np.arange(20), 4)
    entries = EntryMeasurements(rows, columns, (5, 4))
    np.testing.assert_allclose(
        *measured_twice(FullObservation((5, 4)), entries, rng), rtol=1e-12
    )
    assert FullObservation((5, 4)).mean_square == entries.mean_square


def test_adjoint_of_entries_is_sparse_and_sums_repetitions():
    measurements = EntryMeasurements([2, 0, 2], [1, 0, 1], (3, 2))
    adjoint = measurements.adjoint(np.array([1.0, 2.0, 4.0]))
    assert sparse.issparse(adjoint)
    np.testing.assert_array_equal(adjoint.toarray(), [[2, 0], [0, 0], [0, 5]])


def test_the_pattern_behind_an_adjoint_cannot_be_changed():
    """SciPy sums duplicates in place; the shared pattern refuses and survives."""
    measurements = EntryMeasurements([0, 0, 0, 2], [1, 0, 1, 1], (3, 2))
    weights = np.array([1.0, 2.0, 4.0, 8.0])
    expected = measurements.adjoint(weights).toarray()
    with pytest.raises(ValueError, match="read-only"):
        measurements.adjoint(weights.copy()).sum_duplicates()
    np.testing.assert_array_equal(measurements.adjoint(weights).toarray(), expected)


def test_sparse_measurements_of_a_matrix_larger_than_memory():
    shape = (10**5, 10**5)
    rng = np.random.default_rng(0)
    columns = rng.integers(shape[0] * shape[1], size=40)
    rows = sparse.csr_array(
        (rng.standard_normal(40), columns, np.arange(0, 41, 2)),
        shape=(20, shape[0] * shape[1]),
    )
    measurements = SparseMeasurements(rows, shape)
    check_measurements(measurements)
    assert len(measurements[:3]) == 3


# --------------------------------------------------------------------------------------
# What the user holds stays what it is
# --------------------------------------------------------------------------------------


def unsorted_with_duplicates(kind=sparse.csr_array):
    return kind(
        (
            np.array([1.0, 2.0, 4.0, 8.0]),
            np.array([3, 0, 3, 1]),
            np.array([0, 3, 4]),
        ),
        shape=(2, 4),
    )


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
def test_sparse_input_is_not_modified(kind):
    rows, before = unsorted_with_duplicates(kind), unsorted_with_duplicates(kind)
    measurements = as_measurements(rows, (2, 2))
    np.testing.assert_array_equal(rows.data, before.data)
    np.testing.assert_array_equal(rows.indices, before.indices)
    np.testing.assert_array_equal(rows.indptr, before.indptr)
    np.testing.assert_array_equal(
        measurements.adjoint(np.ones(2)).toarray(), [[2, 8], [0, 5]]
    )


def test_sparse_matrix_given_to_observed_entries_is_not_modified():
    X, before = unsorted_with_duplicates(), unsorted_with_duplicates()
    observed_entries(X, missing_values=0)
    np.testing.assert_array_equal(X.indices, before.indices)
    np.testing.assert_array_equal(X.data, before.data)


def test_measurements_do_not_follow_later_changes_of_index_lists():
    rows = [0, 1]
    measurements = EntryMeasurements(rows, [1, 0], (2, 2))
    rows[0] = 1
    assert measurements.row_index[0] == 0


# --------------------------------------------------------------------------------------
# Shapes and errors
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_cells", "shape"), [(12, (4, 3)), (16, (4, 4)), (7, (7, 1)), (1, (1, 1))]
)
def test_default_shape_is_the_most_balanced(n_cells, shape):
    assert as_measurements(np.ones((3, n_cells))).matrix_shape == shape


def test_as_measurements_dispatch():
    rng = np.random.default_rng(0)
    stack = rng.standard_normal((3, 4, 2))
    given = DenseMeasurements(stack)
    assert as_measurements(given) is given
    assert as_measurements(given, (4, 2)) is given
    assert as_measurements(stack).matrix_shape == (4, 2)
    assert as_measurements(stack.tolist()).matrix_shape == (4, 2)
    wrapped = as_measurements(aslinearoperator(stack.reshape(3, 8)), (2, 4))
    assert type(wrapped) is LinearOperatorMeasurements
    assert wrapped.matrix_shape == (2, 4)
    assert type(as_measurements(stack, np.array([4, 2]))) is DenseMeasurements


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.int32, np.float64),
        (bool, np.float64),
        (np.float16, np.float64),
    ],
)
def test_dtypes(dtype, expected):
    stack = np.ones((3, 4)).astype(dtype)
    assert as_measurements(stack).dtype == expected
    if dtype is not np.float16:
        assert as_measurements(sparse.csr_array(stack)).dtype == expected
    check_measurements(as_measurements(stack))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_not_finite(bad, form):
    stack = np.ones((3, 4))
    stack[1, 2] = bad
    with pytest.raises(ValueError, match=r"NaN or infinity"):
        as_measurements(form(stack))
    with pytest.raises(ValueError, match=r"NaN or infinity"):
        RankOneMeasurements(stack)


def test_finite_numbers_whose_sum_overflows_are_accepted():
    measurements = as_measurements(np.full((2, 4), 1e308))
    left, right = np.full((2, 1), 1e-200), np.full((2, 1), 1e-100)
    np.testing.assert_allclose(measurements.forward(left, right), [4e8, 4e8])


def test_complex_triples_are_refused():
    with pytest.raises(ValueError, match=r"complex"):
        observed_entries(([0], [0], [1j]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_measurements(np.ones(4)), r"2-D or 3-D, got 1-D"),
        (lambda: as_measurements(np.ones((2, 2, 2, 2))), r"got 4-D"),
        (lambda: as_measurements([["a", "b"]]), r"numeric"),
        (lambda: as_measurements(np.ones((2, 6)), (2, 2)), r"4 cells.*6 columns"),
        (lambda: as_measurements(np.ones((2, 3, 2)), (2, 3)), r"\(2, 3\).*\(3, 2\)"),
        (lambda: as_measurements(np.ones((2, 6)), (-2, -3)), r"positive integers"),
        (lambda: as_measurements(np.ones((2, 6)), (2.5, 2.4)), r"positive integers"),
        (lambda: as_measurements(np.ones((2, 6)), (6,)), r"positive integers.*\(6,\)"),
        (lambda: as_measurements(np.ones((2, 6)), 6), r"positive integers.*6"),
        (lambda: as_measurements(full(None, (2, 3), float), (3, 2)), r"\(3, 2\)"),
        (lambda: as_measurements(np.ones((2, 0))), r"matrix_shape|columns|cells"),
        (lambda: SparseMeasurements(np.ones((2, 4))), r"sparse.*ndarray"),
        (lambda: LinearOperatorMeasurements(np.ones((2, 4))), r"LinearOp.*ndarray"),
        (lambda: RankOneMeasurements(np.ones((2, 4)), np.ones((3, 4))), r"2 and 3"),
        (lambda: RankOneMeasurements(np.ones(4)), r"a must be 2-D, got 1-D"),
        (lambda: EntryMeasurements([0, 1], [0], (2, 2)), r"equal length, got 2 and 1"),
        (lambda: EntryMeasurements([2], [0], (2, 2)), r"rows must lie in 0\.\.1.*2"),
        (lambda: EntryMeasurements([0], [-1], (2, 2)), r"columns must lie.*-1"),
        (lambda: EntryMeasurements([0.5], [0], (2, 2)), r"integers"),
        (lambda: EntryMeasurements([[0]], [[0]], (2, 2)), r"1-D"),
        (lambda: EntryMeasurements([0], [0], (0, 2)), r"positive integers"),
        (lambda: EntryMeasurements([0], [0], (2, 2), np.int64), r"dtype|float"),
        (lambda: FullObservation((2, "b")), r"positive integers"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --------------------------------------------------------------------------------------
# observed_entries
# --------------------------------------------------------------------------------------


def by_rows(measurements, y):
    """Row and column indices and values in row-major order."""
    order = np.lexsort((measurements.column_index, measurements.row_index))
    return measurements.row_index[order], measurements.column_index[order], y[order]


def test_observed_entries_of_a_matrix_with_nan():
    measurements, y = observed_entries([[1.0, np.nan, 0.0], [np.nan, 4.0, 5.0]])
    rows, columns, values = by_rows(measurements, y)
    np.testing.assert_array_equal(rows, [0, 0, 1, 1])
    np.testing.assert_array_equal(columns, [0, 2, 1, 2])
    np.testing.assert_array_equal(values, [1, 0, 4, 5])
    assert measurements.matrix_shape == (2, 3)


def test_observed_entries_with_zeros_missing():
    measurements, y = observed_entries([[1, 0, 0], [0, 4, 5]], missing_values=0)
    _, columns, values = by_rows(measurements, y)
    np.testing.assert_array_equal(values, [1, 4, 5])
    np.testing.assert_array_equal(columns, [0, 1, 2])


def test_observed_entries_of_sparse_data():
    # One explicit zero: a value where missing means not stored.
    X = sparse.coo_array(([1.0, 0.0, 5.0], ([0, 1, 1], [0, 1, 2])), shape=(2, 3))
    for kind in (X, sparse.csr_array(X), sparse.csc_matrix(X)):
        measurements, y = observed_entries(kind, missing_values=0)
        rows, _, values = by_rows(measurements, y)
        np.testing.assert_array_equal(values, [1, 0, 5])
        np.testing.assert_array_equal(rows, [0, 1, 1])
        measurements, y = observed_entries(kind, np.nan)
        assert len(measurements) == 6
        np.testing.assert_array_equal(by_rows(measurements, y)[2], [1, 0, 0, 0, 0, 5])


def test_observed_entries_sums_stored_duplicates_as_scipy_does():
    X = unsorted_with_duplicates()
    measurements, y = observed_entries(X, missing_values=0)
    np.testing.assert_array_equal(by_rows(measurements, y)[2], [2, 5, 8])
    assert len(measurements) == 3


def test_observed_entries_of_triples_keeps_the_order():
    measurements, y = observed_entries(([2, 0], [1, 1], [7.0, 8.0]))
    assert measurements.matrix_shape == (3, 2)
    np.testing.assert_array_equal(measurements.row_index, [2, 0])
    np.testing.assert_array_equal(y, [7, 8])
    measurements, _ = observed_entries(([2], [1], [7]), matrix_shape=(9, 8))
    assert measurements.matrix_shape == (9, 8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_observed_entries_dtype(dtype):
    measurements, y = observed_entries(np.ones((2, 2), dtype))
    expected = np.float32 if dtype is np.float32 else np.float64
    assert measurements.dtype == y.dtype == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[np.nan, np.nan]],), r"no observed entry"),
        (([[0.0, 0.0]], 0), r"no observed entry"),
        ((([], [], []),), r"no observed entry"),
        (([[1.0, np.inf]],), r"infinity"),
        (([[1.0, np.nan]], 0), r"NaN"),
        (([[1.0, 2.0]], 3), r"missing_values must be nan or 0, got 3"),
        (([[1.0, 2.0]], "nan"), r"missing_values must be nan or 0, got 'nan'"),
        (([1.0, 2.0],), r"2-D, got 1-D"),
        (([["a"]],), r"numeric"),
        ((([0], [0]),), r"got 2 items"),
        ((([0, 1], [0], [1.0]),), r"equal length"),
        ((([0], [0], [np.nan]),), r"NaN"),
    ],
    ids=str,
)
def test_observed_entries_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        observed_entries(*arguments)


def test_observed_entries_wrong_shape():
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(1, 2\)"):
        observed_entries([[1.0, 2.0]], matrix_shape=(3, 3))


# --------------------------------------------------------------------------------------
# check_measurements finds what is wrong
# --------------------------------------------------------------------------------------


class _Wrong(DenseMeasurements):
    def rows(self, index):
        return type(self)(self.stack[index], self.matrix_shape)


class WrongAdjoint(_Wrong):
    def adjoint(self, weights):
        return 1.0001 * super().adjoint(weights)


class TransposedAdjoint(_Wrong):
    keeps_adjoint = False

    def adjoint(self, weights):
        S = super().adjoint(weights)
        return LinearOperator(S.shape, S.dot, S.dot, S.dot, S.dtype, S.dot)


class WrongProducts(_Wrong):
    def adjoint_products(self, weights, left, right):
        to_left, to_right = super().adjoint_products(weights, left, right)
        return to_left, to_right[::-1]


class WrongRay(_Wrong):
    def forward_ray(self, left, right, d_left, d_right):
        linear, quadratic = super().forward_ray(left, right, d_left, d_right)
        return linear, 2 * quadratic


class WrongTangent(_Wrong):
    def forward_tangent(self, left, right, d_left, d_right):
        return self.forward(d_left, right)


class WrongContraction(_Wrong):
    def tangent(self, left, right):
        return super().tangent(left, 2 * right)


class WrongNormal(_Wrong):
    def tangent(self, left, right):
        class Doubled(Tangent):
            def normal(self, d_left, d_right, weights):
                return super().normal(2 * d_left, 2 * d_right, weights)

        return Doubled(self, left, right)


class WrongWayBack(_Wrong):
    def ray_and_back(self, *arguments):
        *measured, linear, _ = super().ray_and_back(*arguments)
        return *measured, linear, linear


class WrongReturn(_Wrong):
    def forward_and_back(self, left, right, weight):
        return super().forward_and_back(left, right, weight**2)


class WrongPromise(_Wrong):
    def adjoint(self, weights):
        return sparse.csr_array(super().adjoint(weights))


class Affine(_Wrong):
    def forward(self, left, right):
        return super().forward(left, right) + 1


class WrongRows(_Wrong):
    def rows(self, index):
        return super().rows(np.sort(index))


class WrongScale(_Wrong):
    def _mean_square(self):
        return 2 * super()._mean_square()


class WrongSizes(_Wrong):
    def _sizes(self):
        return super()._sizes()[::-1]


class NoEntries(_Wrong):
    single_entries = True


class WrongSolutions(_Wrong):
    def row_solutions(self, weights, right_hand_side, other, ridge, block):
        return right_hand_side / ridge


class WrongPrecision(_Wrong):
    def forward(self, left, right):
        return super().forward(left.astype(np.float32), right).astype(np.float32)


class WritesToWeights(_Wrong):
    def adjoint(self, weights):
        weights *= 2
        return 0.5 * super().adjoint(weights)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (WrongAdjoint, r"WrongAdjoint: <A\(L R\^T\), w> against"),
        (TransposedAdjoint, r"A\*\(w\)\^T L"),
        (WrongProducts, r"adjoint_products against adjoint\.T @ L"),
        (WrongRay, r"quadratic part of forward_ray"),
        (WrongTangent, r"forward_tangent"),
        (WrongContraction, r"tangent\(L, R\)"),
        (WrongNormal, r"normal against adjoint of forward"),
        (WrongWayBack, r"ray_and_back against adjoint"),
        (WrongReturn, r"forward_and_back against adjoint"),
        (WrongPromise, r"keeps_adjoint is set"),
        (Affine, r"sum of both"),
        (WrongRows, r"selection"),
        (WrongScale, r"mean_square"),
        (WrongSizes, r"weighted_mean_square"),
        (NoEntries, r"single_entries and cells\(\) do not agree"),
        (WrongSolutions, r"where row_solutions leads"),
        (WrongPrecision, r"float32 .* float64"),
        (WritesToWeights, r"writes to its arguments"),
    ],
)
def test_check_measurements_finds(kind, sentence, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    broken = kind(rng.standard_normal((9, 16)), (4, 4))
    with pytest.raises(AssertionError, match=sentence):
        check_measurements(broken, random_state=global_random_seed)
