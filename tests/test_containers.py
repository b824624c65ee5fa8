"""What is missing in a masked, sparse or labelled container is missing everywhere.

Every container is compared with an array in which NaN stands where it has nothing.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    RankOneMeasurements,
    as_measurements,
    multi_output,
)
from skprecgd.model_selection import EntryKFold, EntryShuffleSplit
from skprecgd.objective import make_objective

SHAPE = (40, 24)
BLOCKS = (4, 4)


@pytest.fixture
def given(rng):
    """A matrix of rank 2 without zeros, and which of its entries are seen."""
    values = rng.standard_normal((SHAPE[0], 2)) @ rng.standard_normal((2, SHAPE[1]))
    seen = rng.random(SHAPE) < 0.7
    # Everything can be recovered, whatever was drawn.
    seen[:6] = seen[:, :6] = True
    return values, seen


def with_nan(values, seen):
    return np.where(seen, values, np.nan)


# ---- the containers


def masked(values, seen):
    return np.ma.array(np.where(seen, values, -999.0), mask=~seen, fill_value=-999.0)


def masked_rows(values, seen):
    return list(masked(values, seen))


def objects(values, seen):
    pd = pytest.importorskip("pandas")
    return np.where(seen, values.astype(object), pd.NA)


def frame(kind, values, seen):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(with_nan(values, seen), columns=[f"c{k}" for k in range(SHAPE[1])])
    if kind in ("one of objects", object):
        objects = X.astype(object).where(X.notna(), pd.NA)
        return objects if kind is object else X.assign(c9=objects["c9"])
    return X.astype(kind)


def sparse_frame(fill, values, seen):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(np.where(seen, values, fill))
    return X.astype(pd.SparseDtype(float, fill))


def polars_frame(values, seen):
    pl = pytest.importorskip("polars")
    return pl.DataFrame(with_nan(values, seen)).fill_nan(None)


def arrow_table(values, seen):
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    names = [f"c{k}" for k in range(SHAPE[1])]
    return pa.table(dict(zip(names, masked(values, seen).T, strict=True)))


def pydata(form, fill, values, seen):
    pydata_sparse = pytest.importorskip("sparse")
    filled = np.where(seen, values, fill)
    return pydata_sparse.COO.from_numpy(filled, fill_value=fill).asformat(form)


def scipy_sparse(form, values, seen):
    csr = sparse.csr_array(np.where(seen, values, 0.0))
    return csr.tobsr(BLOCKS) if form == "bsr" else csr.asformat(form)


# What they have not is missing with both values of the parameter,
ALWAYS = {
    "masked": masked,
    "list of masked rows": masked_rows,
    "sparse frame, nan": partial(sparse_frame, np.nan),
    "pydata coo, nan": partial(pydata, "coo", np.nan),
    "pydata gcxs, nan": partial(pydata, "gcxs", np.nan),
}
# because it is NaN,
AS_NAN = {
    "objects": objects,
    "frame of Float64": partial(frame, "Float64"),
    "frame of objects": partial(frame, object),
    "frame with a column of objects": partial(frame, "one of objects"),
    "polars": polars_frame,
    "arrow": arrow_table,
}
# or because it is not stored.
AS_ZERO = {
    **{f: partial(scipy_sparse, f) for f in ("csr", "csc", "coo", "bsr", "dia", "lil")},
    "dok": partial(scipy_sparse, "dok"),
    "sparse frame, 0": partial(sparse_frame, 0.0),
    "pydata coo, 0": partial(pydata, "coo", 0.0),
    "pydata dok, 0": partial(pydata, "dok", 0.0),
}
CASES = [
    *((name, np.nan) for name in ALWAYS | AS_NAN),
    *((name, 0) for name in ALWAYS | AS_ZERO),
]


def held(name, given):
    return (ALWAYS | AS_NAN | AS_ZERO)[name](*given)


# ---- the ways in


@pytest.mark.parametrize(("name", "missing_values"), CASES)
def test_fits_are_those_of_nan(name, missing_values, given):
    ours = PrecGDFactorization(3, missing_values=missing_values).fit(held(name, given))
    theirs = PrecGDFactorization(3).fit(with_nan(*given))
    assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-12)
    completed = ours.left_ @ ours.right_.T
    assert np.linalg.norm(completed - given[0]) < 1e-7 * np.linalg.norm(given[0])


@pytest.mark.parametrize(("name", "missing_values"), CASES)
def test_rows_are_read_like_nan(name, missing_values, given):
    model, X = PrecGDFactorization(2).fit(given[0]), held(name, given)
    z, score = model.transform(with_nan(*given)), model.score(with_nan(*given))
    labels = getattr(X, "column_names", getattr(X, "columns", None))
    if labels is not None:
        # The rows have names of columns if the fitted data had.
        pd = pytest.importorskip("pandas")
        model.fit(pd.DataFrame(given[0], columns=list(labels)))
    model.set_params(missing_values=missing_values)
    assert_allclose(model.transform(X), z, rtol=1e-10, atol=1e-12 * np.abs(z).max())
    assert model.score(X) == pytest.approx(score, abs=1e-10)


@pytest.mark.parametrize(("name", "missing_values"), CASES)
def test_samples_are_those_of_nan(name, missing_values, given):
    X, expected = held(name, given), observed_entries(with_nan(*given))
    entries, y = observed_entries(X, missing_values)
    assert_array_equal(y, expected[1])
    assert_array_equal(entries.cells(), expected[0].cells())
    for splitter in (
        EntryKFold(3, random_state=0),
        EntryShuffleSplit(2, test_size=0.3, random_state=0),
    ):
        theirs = list(splitter.split(with_nan(*given)))
        splitter.missing_values = missing_values
        for ours, split in zip(splitter.split(X), theirs, strict=True):
            assert_array_equal(ours[0], split[0])
            assert_array_equal(ours[1], split[1])


@pytest.mark.parametrize(
    ("name", "missing_values"),
    [("masked", np.nan), ("sparse frame, nan", np.nan), ("bsr", 0)],
)
def test_folds_are_those_of_nan(name, missing_values, given):
    ours, theirs = (
        PrecGDFactorizationCV([1, 2], cv=3, random_state=0, missing_values=m).fit(X)
        for X, m in [
            (held(name, given), missing_values),
            (with_nan(*given), np.nan),
        ]
    )
    assert ours.n_components_ == 2
    assert_array_equal(
        ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"]
    )


CHUNKED = [
    *(("masked", m) for m in (np.nan, 0)),
    *(("pydata coo, nan", m) for m in (np.nan, 0)),
    *((name, 0) for name in ("bsr", "dia", "pydata coo, 0")),
]


@pytest.mark.parametrize(("name", "missing_values"), CHUNKED)
def test_chunks_are_read_like_nan(name, missing_values, given):
    da = pytest.importorskip("dask.array")
    values, seen = given

    def chunk(block, block_info):
        first = block_info[0]["array-location"][0][0]
        rows = slice(first, first + len(block))
        return held(name, (values[rows], seen[rows]))

    lazy = da.from_array(values, chunks=(8, SHAPE[1]))
    lazy = lazy.map_blocks(chunk, dtype=float, meta=np.empty((0, 0)))
    model = PrecGDFactorization(3, missing_values=missing_values).fit(lazy)
    completed = model.left_ @ model.right_.T
    assert np.linalg.norm(completed - values) < 1e-7 * np.linalg.norm(values)
    expected = PrecGDFactorization(2).fit(values)
    z = expected.transform(with_nan(*given))
    expected.set_params(missing_values=missing_values)
    ours = np.asarray(expected.transform(lazy))
    assert_allclose(ours, z, rtol=1e-10, atol=1e-12 * np.abs(z).max())


@pytest.mark.parametrize("kind", ["Float64", "one of objects", "sparse frame, nan"])
def test_partitions_are_read_like_nan(kind, given):
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    dask = pytest.importorskip("dask")
    X = held(kind, given) if kind in ALWAYS else frame(kind, *given)
    X.columns = [f"c{k}" for k in range(SHAPE[1])]
    with dask.config.set({"dataframe.convert-string": False}):
        lazy = dd.from_pandas(X, npartitions=3)
        model = PrecGDFactorization(3).fit(lazy)
    completed = model.left_ @ model.right_.T
    assert np.linalg.norm(completed - given[0]) < 1e-7 * np.linalg.norm(given[0])
    assert list(model.feature_names_in_) == list(X.columns)


# ---- details of the rules


@pytest.mark.parametrize("missing_values", [np.nan, 0])
def test_names_of_columns_are_kept(missing_values, given):
    X = sparse_frame(np.nan, *given)
    X.columns = [f"c{k}" for k in range(SHAPE[1])]
    model = PrecGDFactorization(2, missing_values=missing_values).fit(X)
    assert list(model.feature_names_in_) == list(X.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(X[X.columns[::-1]])


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64, object])
def test_masks_go_with_every_kind_of_number(dtype, given):
    values = np.round(10 * given[0]).astype(dtype)
    X = np.ma.array(values, mask=~given[1])
    model = PrecGDFactorization(2, tol=1e-4).fit(X)
    expected = with_nan(values.astype(np.float64), given[1])
    expected = expected.astype(np.float32 if dtype == np.float32 else np.float64)
    theirs = PrecGDFactorization(2, tol=1e-4).fit(expected)
    assert model.components_.dtype == expected.dtype
    assert_allclose(model.singular_values_, theirs.singular_values_, rtol=1e-6)


def test_zeros_beside_a_mask(given):
    values, seen = given
    X = masked(values, seen)
    X[0, :3] = 0.0
    y = observed_entries(X, 0)[1]
    assert len(y) == np.sum(seen) - 3
    assert np.all(y != 0)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="contains NaN in column 0"):
        PrecGDFactorization(2, missing_values=0).fit(X)


def test_stored_nan_is_missing_where_the_fill_value_is(given):
    pydata_sparse = pytest.importorskip("sparse")
    values, seen = given
    stored = np.where(seen, values, 7.0)
    rows, columns = np.indices(SHAPE).reshape(2, -1)
    X = pydata_sparse.COO((rows, columns), stored.ravel(), SHAPE, fill_value=np.nan)
    X.data[~seen.ravel()] = np.nan
    assert len(observed_entries(X)[1]) == np.sum(seen)
    with pytest.raises(ValueError, match="contains NaN"):
        observed_entries(X, 0)


def test_sparse_containers_of_zeros_are_complete_data(given):
    zeros = np.where(given[1], given[0], 0.0)
    expected = PrecGDFactorization(3).fit(zeros).singular_values_
    for name in AS_ZERO:
        if not name.startswith("pydata"):
            model = PrecGDFactorization(3).fit(held(name, given))
            assert_allclose(model.singular_values_, expected, rtol=1e-10)


def test_what_is_not_stored_has_to_be_said_if_it_may_be_zero(given):
    """`observed_entries` knows where the fill value is NaN."""
    for name in AS_ZERO:
        if not name.startswith("pydata"):
            with pytest.raises(ValueError, match="say what an entry that is not"):
                observed_entries(held(name, given))
    assert len(observed_entries(sparse_frame(np.nan, *given))[1]) == np.sum(given[1])


def test_pydata_arrays_of_zeros_have_to_be_explained(given):
    with pytest.raises(ValueError, match="say what an entry that is not"):
        observed_entries(pydata("coo", 0.0, *given))
    entries, _ = observed_entries(pydata("coo", np.nan, *given))
    assert len(entries) == np.sum(given[1])


@pytest.mark.parametrize("missing_values", [None, np.nan, 0])
def test_chunks_of_masked_arrays_are_entries(missing_values, given):
    da = pytest.importorskip("dask.array")
    lazy = da.from_array(masked(*given), chunks=(10, SHAPE[1]))
    entries, y = observed_entries(lazy, missing_values)
    assert_array_equal(with_nan(*given)[entries.cells()], y.compute())
    assert len(entries) == np.sum(given[1])


@pytest.mark.parametrize("fill", [0.0, 3.0])
def test_pydata_arrays_with_a_number_as_fill_value_are_complete(fill, given):
    X = pydata("coo", fill, *given)
    model = PrecGDFactorization(3).fit(X)
    theirs = PrecGDFactorization(3).fit(X.todense())
    assert_allclose(model.singular_values_, theirs.singular_values_, rtol=1e-10)


def test_explicit_zeros_are_observed_unless_the_format_pads():
    csr = sparse.csr_array(([1.0, 0.0, 2.0], ([0, 0, 1], [0, 1, 1])), shape=(2, 2))
    assert len(observed_entries(csr, 0)[1]) == 3
    assert len(observed_entries(csr.tobsr((1, 1)), 0)[1]) == 2
    assert len(observed_entries(csr.todia(), 0)[1]) == 2


def test_users_data_are_not_changed(given):
    bsr = scipy_sparse("bsr", *given)
    hidden = masked(*given)
    data, under, mask = bsr.data.copy(), hidden.data.copy(), hidden.mask.copy()
    PrecGDFactorization(2, missing_values=0).fit(bsr)
    PrecGDFactorization(2).fit(hidden)
    assert_array_equal(bsr.data, data)
    assert_array_equal(hidden.data, under)
    assert_array_equal(hidden.mask, mask)


def test_masked_outputs_are_missing(given):
    X = np.eye(SHAPE[0])
    ours, y = multi_output(X, masked(*given))
    theirs, expected = multi_output(X, with_nan(*given))
    assert_array_equal(y, expected)
    left, right = given[0][:, :2], np.ones((SHAPE[1], 2))
    assert_array_equal(ours.forward(left, right), theirs.forward(left, right))


def test_pydata_rows_are_measurements(given):
    pydata_sparse = pytest.importorskip("sparse")
    stack = np.zeros((60, 5, 4))
    stack[np.arange(60), np.arange(60) % 5, np.arange(60) % 3] = 2.0
    y = stack.sum(axis=(1, 2)) * np.arange(60)
    expected = PrecGDMatrixSensing(1).fit(sparse.csr_array(stack.reshape(60, 20)), y)
    lazy = pydata_sparse.COO.from_numpy(stack)
    for X in (lazy, lazy.reshape((60, 20))):
        model = PrecGDMatrixSensing(1, matrix_shape=(5, 4)).fit(X, y)
        assert_array_equal(model.matrix_, expected.matrix_)
    with pytest.raises(ValueError, match="contains NaN"):
        PrecGDMatrixSensing(1).fit(
            pydata_sparse.COO.from_numpy(stack.reshape(60, 20), fill_value=np.nan), y
        )


# ---- weights


def test_masked_weights_count_where_an_entry_is_observed(given):
    values, seen = given
    X, weights = with_nan(values, seen), 1.0 + np.arange(values.size).reshape(SHAPE) % 3
    hidden = np.ma.array(weights, mask=~seen, fill_value=-1.0)
    ours = PrecGDFactorization(2).fit(X, entry_weight=hidden)
    theirs = PrecGDFactorization(2).fit(X, entry_weight=weights)
    assert_array_equal(ours.left_, theirs.left_)
    ours = PrecGDFactorization(2, noise_variance=hidden).fit(X)
    assert_array_equal(np.isnan(ours.noise_variance_), ~seen)
    hidden[np.nonzero(seen)[0][0], np.nonzero(seen)[1][0]] = np.ma.masked
    message = "{} at the observed entries must be complete, but its mask hides 1"
    with pytest.raises(ValueError, match=message.format("entry_weight")):
        PrecGDFactorization(2).fit(X, entry_weight=hidden)
    with pytest.raises(ValueError, match=message.format("noise_variance")):
        PrecGDFactorization(2, noise_variance=hidden).fit(X)


def test_padded_weights_are_not_stored(given):
    values, seen = given
    X = with_nan(values, seen)
    weights = sparse.csr_array(np.where(seen, 2.0, 0.0))
    ours = PrecGDFactorization(2).fit(X, entry_weight=weights.tobsr(BLOCKS))
    theirs = PrecGDFactorization(2).fit(X, entry_weight=weights)
    assert_array_equal(ours.left_, theirs.left_)
    weights[0, np.nonzero(seen[0])[0][0]] = 0.0
    with pytest.raises(ValueError, match="is sparse and stores nothing for 1 of the"):
        PrecGDFactorization(2).fit(X, entry_weight=weights.tobsr(BLOCKS))


def test_masked_weights_beside_chunks(given):
    da = pytest.importorskip("dask.array")
    X, weights = with_nan(*given), np.full(SHAPE, 2.0)
    hidden = np.ma.array(weights, mask=~given[1])
    lazy = da.from_array(X, chunks=(10, SHAPE[1]))
    expected = PrecGDFactorization(2).fit(lazy, entry_weight=weights)
    for given_weights in (hidden, da.from_array(hidden, chunks=(10, SHAPE[1]))):
        model = PrecGDFactorization(2).fit(lazy, entry_weight=given_weights)
        assert_allclose(model.left_, expected.left_, rtol=1e-9, atol=1e-9)
    hidden[0, 0] = np.ma.masked
    with pytest.raises(ValueError, match="entry_weight must be finite"):
        PrecGDFactorization(2).fit(lazy, entry_weight=hidden)


# ---- where nothing may be missing

A = np.random.default_rng(0).standard_normal((60, 12))
Y = A @ np.outer(np.arange(1.0, 5.0), np.arange(1.0, 4.0)).ravel()
CELLS = np.arange(12) // 3, np.arange(12) % 3
MODEL = PrecGDMatrixSensing(1, matrix_shape=(4, 3)).fit(A, Y)


def hiding(array):
    """The same array with one value masked."""
    hidden = np.ma.array(np.array(array), mask=False)
    hidden[(1, *np.zeros(hidden.ndim - 1, int))] = np.ma.masked
    return hidden


def sensing(X=A, y=Y, **options):
    return PrecGDMatrixSensing(1, matrix_shape=(4, 3)).fit(X, y, **options)


def dask_array(array):
    da = pytest.importorskip("dask.array")
    return da.from_array(array, chunks=(20, *array.shape[1:]))


COMPLETE = {
    "fit X": lambda f: sensing(f(A)),
    "fit 3-D X": lambda f: sensing(f(A.reshape(60, 4, 3))),
    "fit y": lambda f: sensing(y=f(Y)),
    "fit y of entries": lambda f: sensing(EntryMeasurements(*CELLS, (4, 3)), f(Y[:12])),
    "fit sample_weight": lambda f: sensing(sample_weight=f(np.ones(60))),
    "fit lazy X": lambda f: sensing(dask_array(f(A)), dask_array(Y)),
    "fit lazy y": lambda f: sensing(dask_array(A), dask_array(f(Y))),
    "fit lazy sample_weight": lambda f: sensing(
        dask_array(A), dask_array(Y), sample_weight=dask_array(f(np.full(60, 2.0)))
    ),
    "fit noise_variance": lambda f: PrecGDMatrixSensing(
        1, matrix_shape=(4, 3), noise_variance=f(np.ones(60))
    ).fit(A, Y),
    "fit init": lambda f: PrecGDMatrixSensing(
        1, matrix_shape=(4, 3), init=(f(np.ones((4, 1))), np.ones((3, 1)))
    ).fit(A, Y),
    "fit CV": lambda f: PrecGDMatrixSensingCV([1], matrix_shape=(4, 3), cv=3).fit(
        A, f(Y)
    ),
    "predict": lambda f: MODEL.predict(f(A)),
    "transform": lambda f: MODEL.transform(f(A)),
    "score X": lambda f: MODEL.score(f(A), Y),
    "score y": lambda f: MODEL.score(A, f(Y)),
    "score sample_weight": lambda f: MODEL.score(A, Y, f(np.ones(60))),
    "DenseMeasurements": lambda f: DenseMeasurements(f(A)),
    "RankOneMeasurements": lambda f: RankOneMeasurements(f(A)),
    "EntryMeasurements": lambda f: EntryMeasurements(f(CELLS[0]), CELLS[1], (4, 3)),
    "as_measurements": lambda f: as_measurements(f(A)),
    "multi_output X": lambda f: multi_output(f(A), A),
    "multi_output offset": lambda f: multi_output(A, A, offset=f(np.ones((12, 12)))),
    "triples, rows": lambda f: observed_entries((f(CELLS[0]), CELLS[1], Y[:12])),
    "triples, columns": lambda f: observed_entries((CELLS[0], f(CELLS[1]), Y[:12])),
    "triples, values": lambda f: observed_entries((*CELLS, f(Y[:12]))),
    "make_objective": lambda f: make_objective(DenseMeasurements(A), f(Y)),
    "inverse_transform": lambda f: (
        PrecGDFactorization(2).fit(A).inverse_transform(f(A[:, :2]))
    ),
    "score rows, sample_weight": lambda f: (
        PrecGDFactorization(2).fit(A).score(A, sample_weight=f(np.ones(60)))
    ),
}


@pytest.mark.parametrize("name", COMPLETE)
def test_a_mask_is_refused_where_nothing_may_be_missing(name):
    with pytest.raises(ValueError, match="must be complete, but its mask hides 1 of"):
        COMPLETE[name](hiding)


@pytest.mark.parametrize("name", COMPLETE)
def test_a_mask_that_hides_nothing_is_ignored(name):
    COMPLETE[name](np.ma.asarray)


def test_truth_values_beside_numbers_are_numbers():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [True, False, True], "b": [1.0, 2.0, 3.0]})
    _, values = observed_entries(frame)
    assert sorted(values.tolist()) == [0.0, 1.0, 1.0, 1.0, 2.0, 3.0]
    np.testing.assert_array_equal(
        PrecGDFactorization(1).fit(frame).components_,
        PrecGDFactorization(1).fit(frame.astype(float)).components_,
    )


def test_structured_arrays_are_refused_by_their_fields():
    X = np.array([(1.0, 2.0), (3.0, 4.0)], dtype=[("a", float), ("b", float)])
    with pytest.raises(ValueError, match=r"structured array with fields \(a, b\)"):
        PrecGDFactorization(1).fit(X)


def test_complex_numbers_are_refused_in_one_line():
    with pytest.raises(ValueError, match="Complex data not supported: give") as caught:
        PrecGDFactorization(1).fit(np.ones((3, 2)) * 1j)
    assert "\n" not in str(caught.value)
    assert "PrecGDMatrixSensing().fit(*observed_entries(X))" in str(caught.value)
