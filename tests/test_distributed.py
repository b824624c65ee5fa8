"""Data in chunks: the same factors as in memory, and only small matrices travel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import KFold

pytest.importorskip("dask.array")

import dask
import dask.array as da
import dask.bag
from dask import delayed

from skprecgd import PrecGDFactorization, PrecGDMatrixSensing, observed_entries
from skprecgd.datasets import make_matrix_completion, make_matrix_sensing
from skprecgd.distributed import ChunkedMeasurements, count_traffic
from skprecgd.distributed.objective import ChunkedObjective
from skprecgd.factors import FactorPair
from skprecgd.measurements import (
    DenseMeasurements,
    EntryMeasurements,
    RankOneMeasurements,
    as_measurements,
)
from skprecgd.objective import make_objective
from skprecgd.objective.penalty import as_penalty
from skprecgd.testing import check_measurements, check_objective


@pytest.fixture(autouse=True)
def _local_scheduler():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def complete(seed, shape=(240, 60), dtype=np.float64):
    rng = np.random.default_rng(seed)
    n = min(shape)
    u, _ = np.linalg.qr(rng.standard_normal((shape[0], n)))
    v, _ = np.linalg.qr(rng.standard_normal((shape[1], n)))
    X = (u * 0.7 ** np.arange(n)) @ v.T + 0.01
    return X.astype(dtype)


def with_holes(seed, noise=0.0):
    X, _ = make_matrix_completion(
        90,
        40,
        rank=2,
        condition_number=5,
        observed_fraction=0.5,
        noise=noise,
        random_state=seed,
    )
    return X


def recovered(model):
    return model.left_ @ model.right_.T


def assert_same_fit(ours, theirs, tol=1e-8):
    assert ours.n_components_ == theirs.n_components_
    scale = theirs.singular_values_[0]
    np.testing.assert_allclose(
        ours.singular_values_, theirs.singular_values_, rtol=0, atol=tol * scale
    )
    np.testing.assert_allclose(recovered(ours), recovered(theirs), atol=tol * scale)
    np.testing.assert_allclose(ours.center_, theirs.center_, atol=tol * scale)
    for name in ("explained_variance_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=tol)


# ---- complete matrices


@pytest.mark.parametrize(
    ("kind", "center"),
    [
        ("dense", None),
        ("dense", "mean"),
        ("dense", "both"),
        ("sparse", None),
        ("sparse", "columns"),
    ],
)
def test_complete_matrix_as_in_memory(kind, center, global_random_seed):
    X = complete(global_random_seed)
    if kind == "sparse":
        X[np.random.default_rng(global_random_seed).random(X.shape) < 0.8] = 0.0
        chunks = [sparse.csr_array(X[i : i + 70]) for i in range(0, 240, 70)]
        lazy = da.concatenate(
            [da.from_delayed(delayed(c), c.shape, dtype=X.dtype) for c in chunks]
        )
        X = sparse.csr_array(X)
    else:
        lazy = da.from_array(X, chunks=(70, 25))
    model = PrecGDFactorization(4, center=center, tol=1e-12, random_state=0)
    theirs = model.fit(X)
    ours = PrecGDFactorization(4, center=center, tol=1e-12, random_state=0).fit(lazy)
    assert_same_fit(ours, theirs)
    np.testing.assert_allclose(
        np.abs(ours.components_), np.abs(theirs.components_), atol=1e-8
    )
    rows = ours.transform(lazy)
    assert isinstance(rows, da.Array)
    np.testing.assert_allclose(rows.compute(), ours.transform(X), atol=1e-12)
    back = ours.inverse_transform(rows)
    assert back.shape == X.shape
    np.testing.assert_allclose(
        back.compute(), ours.inverse_transform(rows.compute()), atol=1e-12
    )


def test_wide_matrix_and_other_solvers(global_random_seed):
    X = complete(global_random_seed, (50, 400))
    lazy = da.from_array(X, chunks=(20, 400))
    for options in ({"tol": 1e-12}, {"tol": 1e-6, "solver": "precgd-cg"}):
        ours = PrecGDFactorization(3, random_state=0, **options).fit(lazy)
        theirs = PrecGDFactorization(3, random_state=0, **options).fit(X)
        assert_same_fit(ours, theirs)


def test_chunks_shorter_than_a_block_and_exact_rank(global_random_seed):
    # A rank below the width of a block: columns of a QR vanish.
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 20))
    ours = PrecGDFactorization(3, tol=1e-12).fit(da.from_array(X, chunks=(3, 20)))
    np.testing.assert_allclose(recovered(ours), X, atol=1e-10 * np.abs(X).max())
    u = ours.left_ / np.linalg.norm(ours.left_, axis=0)
    np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-10)


def test_single_precision_is_kept():
    X = complete(0, dtype=np.float32)
    lazy = da.from_array(X, chunks=(70, 60))
    model = PrecGDFactorization(4, tol=1e-6).fit(lazy)
    assert model.left_.dtype == model.components_.dtype == np.float32
    assert model.transform(lazy).dtype == np.float32
    assert model.transform(lazy).compute().dtype == np.float32
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.5, np.nan, X)
    lazy = da.from_array(holes.astype(np.float32), chunks=(70, 60))
    assert (
        PrecGDFactorization(2, tol=1e-3, max_iter=20, alpha=0).fit(lazy).left_.dtype
        == np.float32
    )


def test_bytes_do_not_grow_with_the_rows():
    """Of a complete matrix, nothing of the length of a chunk travels on the way."""

    def fit(n_rows):
        X = da.from_array(complete(0, (n_rows, 60)), chunks=(n_rows // 4, 60))
        model = PrecGDFactorization(3, max_iter=3, tol=0, random_state=0)
        with count_traffic() as traffic:
            model.fit(X)
        return traffic, model

    small, model = fit(200)
    large, other = fit(800)
    assert small.passes == large.passes
    assert model.n_iter_ == other.n_iter_
    assert large.bytes_out == small.bytes_out
    # The survey's means and flags and the factor found at last: once a row.
    numbers = 8 + 1 + 8 * 3
    assert large.bytes_back - small.bytes_back <= 600 * numbers + 100


# ---- holes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": "columns"},
        {"alpha": 0.1, "tol": 1e-10, "n_components": 2},
        {"solver": "gauss-newton"},
        {"init": "nystrom", "rank_search": "fixed", "max_iter": 15, "tol": 0},
    ],
    ids=str,
)
def test_matrix_with_holes_as_in_memory(options, global_random_seed):
    X = with_holes(global_random_seed)
    options = {"n_components": 3, "tol": 1e-11, "random_state": 0, **options}
    theirs = PrecGDFactorization(**options).fit(X)
    lazy = da.from_array(X, chunks=(40, 25))
    ours = PrecGDFactorization(**options).fit(lazy)
    assert_same_fit(ours, theirs)
    np.testing.assert_allclose(
        ours.transform(lazy).compute(), ours.transform(X), atol=1e-12
    )


def test_missing_zeros_of_sparse_chunks():
    X = with_holes(0)
    zeros = np.nan_to_num(X)
    chunks = [sparse.csr_matrix(zeros[:50]), sparse.csr_matrix(zeros[50:])]
    lazy = da.concatenate(
        [da.from_delayed(delayed(c), c.shape, dtype=X.dtype) for c in chunks]
    )
    ours = PrecGDFactorization(3, missing_values=0, tol=1e-11).fit(lazy)
    theirs = PrecGDFactorization(3, missing_values=0, tol=1e-11).fit(zeros)
    assert_same_fit(ours, theirs)


def test_noise_leads_to_the_same_rank(global_random_seed):
    X = with_holes(0, noise=0.3)
    options = {"tol": 1e-7, "random_state": global_random_seed, "alpha": 0}
    theirs = PrecGDFactorization(2, early_stopping=True, **options).fit(X)
    lazy = da.from_array(X, chunks=(30, 40))
    ours = PrecGDFactorization(2, early_stopping=True, **options).fit(lazy)
    again = PrecGDFactorization(2, early_stopping=True, **options).fit(lazy)
    np.testing.assert_array_equal(ours.left_, again.left_)
    assert "held-out" in ours.stop_reason_
    assert_same_fit(ours, theirs, tol=1e-5)


def test_a_zero_is_missing_and_nan_is_not():
    X = np.where(np.arange(24).reshape(6, 4) % 3 == 0, 0.0, 1.0)
    X[4, 1] = np.nan
    lazy = da.from_array(X, chunks=(3, 4))
    for chunks in (lazy, lazy.map_blocks(sparse.csr_matrix)):
        with pytest.raises(ValueError, match="contains NaN"):
            PrecGDFactorization(1, missing_values=0).fit(chunks)


def test_chunks_are_what_dask_was_told():
    parts = [delayed(np.ones)((n, 5)) for n in (30, 20)]
    X = da.concatenate([da.from_delayed(part, (30, 5), float) for part in parts])
    with pytest.raises(ValueError, match=r"shape \(20, 5\), while dask was told \(30"):
        PrecGDFactorization(1).fit(X)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_no_container_computes_what_is_lazy(container):
    X = da.from_array(complete(0), chunks=(70, 60))
    model = PrecGDFactorization(2).fit(X).set_output(transform=container)
    with pytest.raises(ValueError, match=f"{container}.* would compute the whole"):
        model.transform(X)


def test_nothing_and_infinity_are_refused():
    X = np.ones((6, 4))
    with pytest.raises(ValueError, match="no observed entry"):
        PrecGDFactorization(1).fit(da.from_array(X * np.nan, chunks=(3, 4)))
    X[4, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        PrecGDFactorization(1).fit(da.from_array(X, chunks=(3, 4)))


@pytest.mark.parametrize(
    ("options", "holes"),
    [
        ({"outlier_fraction": 0.1}, False),
        ({"loss": "huber"}, True),
    ],
    ids=str,
)
def test_what_needs_memory_says_so(options, holes):
    X = np.random.default_rng(0).standard_normal((8, 5))
    if holes:
        X[0, 0] = np.nan
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}=.* needs X in memory"):
        PrecGDFactorization(2, **options).fit(da.from_array(X, chunks=4))


def test_score_needs_rows_in_memory():
    X = da.from_array(complete(0), chunks=(70, 60))
    model = PrecGDFactorization(2).fit(X)
    with pytest.raises(ValueError, match="score needs rows in memory"):
        model.score(X)
    assert model.score(X[:70].compute()) > 0


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (da.ones((4, 3), dtype=complex), "complex"),
        (da.ones(4), "2-D"),
        (da.from_array(np.full((4, 3), "a"), chunks=2), "numeric"),
    ],
    ids=["complex", "vector", "text"],
)
def test_bad_arrays(X, match):
    with pytest.raises(ValueError, match=match):
        PrecGDFactorization(1).fit(X)


def test_new_rows_must_have_the_columns_of_the_old():
    model = PrecGDFactorization(2).fit(da.from_array(complete(0), chunks=(70, 60)))
    with pytest.raises(ValueError, match="features"):
        model.transform(da.ones((4, 3)))


# ---- sensing


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "gauss-newton"},
        {"loss": "huber"},
        {"outlier_fraction": 0.05},
        {"symmetric": True},
    ],
    ids=str,
)
def test_sensing_as_in_memory(options, global_random_seed):
    symmetric = options.get("symmetric", False)
    A, y, _ = make_matrix_sensing(
        12,
        rank=2,
        n_measurements=150,
        symmetric=symmetric,
        random_state=global_random_seed,
    )
    theirs = PrecGDMatrixSensing(4, tol=1e-10, **options).fit(A, y)
    lazy = da.from_array(A, chunks=(40, 50))
    ours = PrecGDMatrixSensing(4, tol=1e-10, **options).fit(lazy, y)
    scale = theirs.singular_values_[0]
    np.testing.assert_allclose(ours.matrix_, theirs.matrix_, atol=1e-8 * scale)
    predicted = ours.predict(lazy)
    assert isinstance(predicted, da.Array)
    np.testing.assert_allclose(predicted.compute(), ours.predict(A), atol=1e-10 * scale)
    stack = lazy.reshape(-1, 12, 12)
    np.testing.assert_allclose(
        ours.transform(stack).compute(), ours.transform(A), atol=1e-10 * scale
    )
    assert ours.certificate_.relative_gap == pytest.approx(
        theirs.certificate_.relative_gap, abs=1e-6
    )


def test_folds_may_leave_chunks_empty():
    A, y, _ = make_matrix_sensing(12, rank=2, n_measurements=150, random_state=0)
    chunked = as_measurements(da.from_array(A, chunks=(40, 144)))
    for train, test in KFold(3).split(y):
        model = PrecGDMatrixSensing(3).fit(chunked[train], y[train])
        assert model.n_components_ == 2
        assert model.score(chunked[test], y[test]) > 0.99


def test_a_score_reads_once():
    A, y, _ = make_matrix_sensing(12, rank=2, n_measurements=150, random_state=0)
    model = PrecGDMatrixSensing(3).fit(A, y)
    reads = []

    def look(block):
        reads.append(len(block))
        return block

    X = da.from_array(A, chunks=(50, 144))
    X = X.map_blocks(look, dtype=float, meta=np.empty((0, 0)))
    assert model.score(X, da.from_array(y, chunks=50)) == model.score(A, y)
    assert [n for n in reads if n] == [50, 50, 50]


def test_targets_may_be_in_chunks_too():
    A, y, _ = make_matrix_sensing(12, rank=2, n_measurements=150, random_state=0)
    lazy, targets = da.from_array(A, chunks=(40, 144)), da.from_array(y, chunks=60)
    ours = PrecGDMatrixSensing(4).fit(lazy, targets)
    theirs = PrecGDMatrixSensing(4).fit(lazy, y)
    np.testing.assert_array_equal(ours.matrix_, theirs.matrix_)
    with pytest.raises(ValueError, match="must agree"):
        PrecGDMatrixSensing(4).fit(lazy, targets[:10])
    with pytest.raises(ValueError, match="NaN"):
        PrecGDMatrixSensing(4).fit(lazy, targets * np.nan)


# ---- the contracts


def chunked(kind, seed=0):
    rng = np.random.default_rng(seed)
    if kind == "dense":
        return as_measurements(
            da.from_array(rng.standard_normal((30, 35)), chunks=(8, 10)), (7, 5)
        )
    if kind == "sparse":
        X = rng.standard_normal((30, 35)) * (rng.random((30, 35)) < 0.3)
        return as_measurements(
            da.from_array(X, chunks=(8, 35)).map_blocks(sparse.csr_matrix), (7, 5)
        )
    if kind == "rank one":
        a, b = rng.standard_normal((30, 7)), rng.standard_normal((30, 5))
        return ChunkedMeasurements(
            [
                delayed(RankOneMeasurements)(a[i : i + 11], b[i : i + 11])
                for i in (0, 11, 22)
            ]
        )
    X = np.where(rng.random((7, 5)) < 0.7, 1.0, np.nan)
    i, j = np.nonzero(np.isfinite(X))
    triples = zip(i.tolist(), j.tolist(), rng.standard_normal(len(i)), strict=True)
    bag = dask.bag.from_sequence(list(triples), npartitions=3)
    return observed_entries(bag, matrix_shape=(7, 5))[0]


KINDS = ["dense", "sparse", "rank one", "entries"]


@pytest.mark.parametrize("kind", KINDS)
def test_measurements_contract(kind, global_random_seed):
    measurements = chunked(kind, global_random_seed)
    order = np.random.default_rng(global_random_seed).permutation(len(measurements))
    # In order, or a selection in another order.
    shuffled = kind in ("dense", "entries")
    check_measurements(measurements[order][3:] if shuffled else measurements)


@pytest.mark.parametrize(("kind", "alpha"), [("dense", 0.1), ("entries", 0.0)])
def test_objective_contract(kind, alpha, global_random_seed):
    measurements = chunked(kind, global_random_seed)
    y = np.random.default_rng(1).standard_normal(len(measurements))
    objective = ChunkedObjective(
        measurements, measurements.targets(y), as_penalty(alpha)
    )
    rng = np.random.default_rng(2)
    factors = FactorPair(rng.standard_normal((7, 2)), rng.standard_normal((5, 2)))
    check_objective(objective, factors)
    # And it is the objective that it would be in memory.
    whole = make_objective(measurements, y, alpha=alpha)
    ours, theirs = objective.evaluate(factors), whole.evaluate(factors)
    assert ours.value == pytest.approx(theirs.value)
    other = factors.scaled(0.5)
    np.testing.assert_allclose(
        objective.gain(ours, objective.evaluate(other)),
        whole.gain(theirs, whole.evaluate(other)),
    )


def test_chunks_of_different_matrices_are_refused():
    parts = [DenseMeasurements(np.ones((2, 6)), shape) for shape in ((2, 3), (3, 2))]
    with pytest.raises(ValueError, match="different shapes"):
        ChunkedMeasurements(parts)
    with pytest.raises(ValueError, match="not Measurements"):
        ChunkedMeasurements([np.ones(3)])
    with pytest.raises(ValueError, match="empty"):
        ChunkedMeasurements([])


# ---- triples


def triples(seed=0):
    X = with_holes(seed)
    rows, columns = np.nonzero(np.isfinite(X))
    return X, rows, columns, X[rows, columns]


def test_frame_of_triples(tmp_path, global_random_seed):
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    X, rows, columns, values = triples(global_random_seed)
    frame = pd.DataFrame({"value": values, "row": rows, "column": columns})
    shards = [frame[(rows >= a) & (rows < a + 30)] for a in range(0, 90, 30)]
    shards[1] = shards[1].sample(frac=1, random_state=0)
    lazy = dd.from_delayed([delayed(shard) for shard in shards], meta=frame.iloc[:0])
    names = {"row": "row", "column": "column", "value": "value"}
    A, y = observed_entries(lazy, **names, matrix_shape=X.shape)
    assert isinstance(A, ChunkedMeasurements)
    assert isinstance(y, da.Array)
    ours = PrecGDMatrixSensing(3, tol=1e-11).fit(A, y)
    in_memory, targets = observed_entries((rows, columns, values), matrix_shape=X.shape)
    theirs = PrecGDMatrixSensing(3, tol=1e-11).fit(in_memory, targets)
    scale = theirs.singular_values_[0]
    np.testing.assert_allclose(ours.matrix_, theirs.matrix_, atol=1e-8 * scale)
    np.testing.assert_allclose(ours.predict(A), y.compute(), atol=1e-7 * scale)
    assert isinstance(ours.outliers_, da.Array)


def test_frame_from_parquet(tmp_path):
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    pytest.importorskip("pyarrow", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    _, rows, columns, values = triples()
    frame = pd.DataFrame({"user": rows, "item": columns, "rating": values})
    for k, start in enumerate(range(0, 90, 30)):
        part = frame[(rows >= start) & (rows < start + 30)]
        part.to_parquet(tmp_path / f"part{k}.parquet")
    names = {"row": "user", "column": "item", "value": "rating"}
    A, y = observed_entries(dd.read_parquet(tmp_path), **names)
    model = PrecGDMatrixSensing(3).fit(A, y)
    np.testing.assert_allclose(
        model.matrix_[rows, columns], values, atol=1e-6 * np.abs(values).max()
    )


def test_shards_of_npz(tmp_path):
    X = complete(0)
    for k in range(4):
        np.savez(tmp_path / f"{k}.npz", X=X[60 * k : 60 * (k + 1)])

    @delayed
    def load(k):
        with np.load(tmp_path / f"{k}.npz") as shard:
            return shard["X"]

    lazy = da.concatenate(
        [da.from_delayed(load(k), (60, 60), dtype=X.dtype) for k in range(4)]
    )
    ours = PrecGDFactorization(3, tol=1e-12, random_state=0).fit(lazy)
    assert_same_fit(ours, PrecGDFactorization(3, tol=1e-12, random_state=0).fit(X))


@pytest.mark.parametrize(
    ("items", "shape", "match"),
    [
        ([(0, 0, 1.0), (5, 1, 2.0)], (3, 3), r"0 to 5, which must lie in 0\.\.2"),
        ([(0, -1, 1.0)], None, "negative"),
        ([(0, 0.5, 1.0)], None, "integers"),
        ([(0, 0, np.nan)], None, "values holds NaN"),
        ([(0, 0)], None, "triples"),
        ([], None, "no observed entry"),
    ],
    ids=["shape", "negative", "fraction", "nan", "pair", "empty"],
)
def test_bad_triples(items, shape, match):
    lazy = dask.bag.from_delayed([delayed(items)])
    with pytest.raises(ValueError, match=match):
        observed_entries(lazy, matrix_shape=shape)


def test_a_bag_is_no_matrix():
    lazy = dask.bag.from_sequence([(0, 0, 1.0)])
    for model in (PrecGDFactorization(1), PrecGDMatrixSensing(1)):
        for X in (lazy, delayed(np.eye(3))):
            with pytest.raises(ValueError, match="array or a DataFrame"):
                model.fit(X, np.ones(1))


def test_only_arrays_frames_and_bags_of_triples_have_entries():
    with pytest.raises(ValueError, match="a DataFrame or a bag of triples"):
        observed_entries(delayed(np.eye(3)))
    for items in ([{"row": 0}], [1, 2]):
        with pytest.raises(ValueError, match="must be triples"):
            observed_entries(dask.bag.from_sequence(items))


def test_gross_errors_among_triples(global_random_seed):
    """Found in every row and column alike, as in memory."""
    X = with_holes(global_random_seed)
    i, j = np.nonzero(~np.isnan(X))
    values = X[i, j]
    values[[5, 700]] += 10
    triples = list(zip(i.tolist(), j.tolist(), values.tolist(), strict=True))
    lazy = dask.bag.from_sequence(triples, npartitions=3)
    model = PrecGDMatrixSensing(4, outlier_fraction=0.05, random_state=0)
    entries, y = observed_entries(lazy, matrix_shape=X.shape)
    model.fit(entries, y)
    assert model.n_components_ == 2
    np.testing.assert_allclose(model.matrix_[i, j], X[i, j], atol=1e-4 * np.nanmax(X))
    index = np.random.default_rng(0).permutation(len(values))
    for chunked in (entries, entries[index]):
        cells = [(i, j), (i[index], j[index])][chunked is not entries]
        np.testing.assert_array_equal(chunked.cells(np.arange(len(values))), cells)


@pytest.mark.parametrize("center", ["columns", "both"])
@pytest.mark.parametrize(
    "options", [{"loss": "huber"}, {"outlier_fraction": 0.05}], ids=str
)
def test_residuals_that_are_compared_have_a_centre(options, center, global_random_seed):
    """Chunks give their centred targets to the client, in the order of the input."""
    X = with_holes(global_random_seed)
    i, j = np.nonzero(~np.isnan(X))
    values = X[i, j] + 1.0
    values[[5, 700]] += 10
    triples = list(zip(i.tolist(), j.tolist(), values.tolist(), strict=True))
    lazy = dask.bag.from_sequence(triples, npartitions=3)
    steps = {"alpha": 0, "rank_search": "fixed", "max_iter": 3, "tol": 0}
    model = PrecGDMatrixSensing(2, center=center, random_state=0, **steps, **options)
    ours = model.fit(*observed_entries(lazy, matrix_shape=X.shape)).matrix_
    entries = EntryMeasurements(i, j, X.shape)
    theirs = model.fit(entries, values).matrix_
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.nanmax(np.abs(X)))


def test_frame_as_a_matrix():
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    X = complete(0, (60, 5))
    names = list("abcde")
    frame = pd.DataFrame(X, columns=names)
    lazy = dd.from_pandas(frame, npartitions=3)
    ours = PrecGDFactorization(2, tol=1e-12).fit(lazy)
    assert_same_fit(ours, PrecGDFactorization(2, tol=1e-12).fit(X))
    np.testing.assert_allclose(ours.transform(lazy).compute(), ours.transform(frame))
    # Its names are checked like those of a frame in memory.
    assert list(ours.feature_names_in_) == names
    swapped = list("badce")
    for other in (lazy[swapped], frame[swapped]):
        with pytest.raises(ValueError, match="same order"):
            ours.transform(other)
    assert PrecGDFactorization(2).fit(frame).transform(lazy).shape[1] == 2
    A, y, _ = make_matrix_sensing(5, 1, rank=1, n_measurements=30, random_state=0)
    lazy = dd.from_pandas(pd.DataFrame(A.reshape(30, 5), columns=names), npartitions=2)
    model = PrecGDMatrixSensing(1).fit(lazy, y)
    assert list(model.feature_names_in_) == names
    assert model.score(lazy, y) > 0.99
    with pytest.raises(ValueError, match="same order"):
        model.predict(lazy[swapped])


# ---- schedulers


@pytest.mark.slow
def test_data_held_by_a_cluster():
    distributed = pytest.importorskip("distributed")
    X, holes = complete(0), with_holes(0)
    A, y, _ = make_matrix_sensing(12, rank=2, n_measurements=150, random_state=0)
    i, j = np.nonzero(~np.isnan(holes))
    triples = list(zip(i.tolist(), j.tolist(), holes[i, j].tolist(), strict=True))
    where = {"processes": False, "n_workers": 1, "dashboard_address": None}
    with distributed.LocalCluster(**where) as cluster, distributed.Client(cluster):
        for matrix in (X, holes):
            held = da.from_array(matrix, chunks=(70, matrix.shape[1])).persist()
            assert_same_fit(
                PrecGDFactorization(2, tol=1e-12).fit(held),
                PrecGDFactorization(2, tol=1e-12).fit(matrix),
            )
        stack = da.from_array(A, chunks=(40, 12 * 12)).persist()
        targets = da.from_array(y, chunks=40).persist()
        assert PrecGDMatrixSensing(4).fit(stack, targets).n_components_ == 2
        bag = dask.bag.from_sequence(triples, npartitions=3).persist()
        samples = observed_entries(bag, matrix_shape=holes.shape)
        assert PrecGDMatrixSensing(4).fit(*samples).n_components_ == 2


@pytest.mark.parametrize("holes", [False, True], ids=["complete", "holes"])
def test_schedulers_agree(holes):
    X = da.from_array(with_holes(0) if holes else complete(0), chunks=(45, 40))
    fits = []
    # What goes to processes is pickled; threads that get it so are quicker to start.
    with ThreadPoolExecutor(2) as pool:
        for scheduler in ("threads", "synchronous", "processes"):
            with dask.config.set(scheduler=scheduler, pool=pool):
                model = PrecGDFactorization(
                    1, max_iter=2, tol=0, alpha=0, random_state=0
                )
                model.fit(X)
                fits.append(model.transform(X).compute())
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])
