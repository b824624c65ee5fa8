"""Noise that is learned of entries in chunks: the answer of the same data in memory."""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

pytest.importorskip("dask.array")

import dask
import dask.array as da
import dask.bag
from dask import delayed

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd._estimators.chunked_entries import ChunkedEntries
from skprecgd._estimators.data import EntryData
from skprecgd.distributed import count_traffic
from skprecgd.kernels import unpacked
from skprecgd.objective import Weights
from skprecgd.variational.lines_in_chunks import LinesInChunks
from skprecgd.variational.model import Model
from skprecgd.variational.noise_choice import HeavyTails, LoudRows
from skprecgd.variational.posterior import Problem
from skprecgd.variational.recipe import make_noise

CENTRES = [None, "mean", "columns", "both"]
# Rows are the longer side, and columns are.
SHAPES = [(90, 24), (24, 90)]


@pytest.fixture(autouse=True)
def _local_scheduler():
    with dask.config.set(scheduler="threads", num_workers=2):
        yield


def table(seed, shape=(90, 24), noise="normal"):
    """Entries of rank two with offsets, and noise of which each column has its own."""
    rng = np.random.default_rng(seed)
    n_rows, n_columns = shape
    X = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, n_columns))
    X += 1.0 + 0.7 * rng.normal(size=(n_rows, 1)) + rng.normal(size=n_columns)
    chance = rng.normal(size=shape)
    if noise == "tail":
        chance = rng.standard_t(2, size=shape)
    if noise == "loud":
        chance[rng.random(n_rows) < 0.15] *= 10.0
    X += chance * rng.uniform(0.2, 0.6, n_columns)
    X[rng.random(shape) < 0.3] = np.nan
    return X


def in_chunks(X, n_chunks=4):
    return da.from_array(X, chunks=(-(-len(X) // n_chunks), -1))


def triples(X, seed=0):
    """Entries in a bag, whose partitions share rows, and in memory."""
    rng = np.random.default_rng(seed)
    i, j = np.nonzero(~np.isnan(X))
    order = rng.permutation(len(i))
    cells = i[order], j[order], X[i, j][order]
    items = list(zip(*(each.tolist() for each in cells), strict=True))
    bag = dask.bag.from_sequence(items, npartitions=3)
    return (observed_entries(each, matrix_shape=X.shape) for each in (bag, cells))


def matrix_of(model):
    return model.left_ @ model.right_.T + model.center_


def assert_same_answer(ours, theirs, tol=1e-6):
    assert "Noise of about" in theirs.stop_reason_
    assert ours.stop_reason_ == theirs.stop_reason_
    assert ours.n_components_ == theirs.n_components_
    size = np.max(np.abs(matrix_of(theirs)))
    assert np.max(np.abs(matrix_of(ours) - matrix_of(theirs))) <= tol * size
    for name in ("noise_variance_", "factor_scales_", "lower_bound_", "noise_df_"):
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=tol)


# ---- the estimators


@pytest.mark.parametrize("center", CENTRES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_with_holes_as_in_memory(shape, center, global_random_seed):
    X = table(global_random_seed, shape)
    ours, theirs = (
        PrecGDFactorization("auto", center=center, random_state=0).fit(each)
        for each in (in_chunks(X), X)
    )
    assert_same_answer(ours, theirs)
    assert_allclose(
        ours.transform(in_chunks(X)).compute(),
        theirs.transform(X),
        rtol=1e-5,
        atol=1e-6 * np.max(np.abs(theirs.transform(X))),
    )
    assert_allclose(
        ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-5
    )
    cells = np.arange(20), np.arange(20)
    means = (model.predict_entries(*cells) for model in (ours, theirs))
    assert_allclose(*means, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
@pytest.mark.parametrize("center", CENTRES)
@pytest.mark.parametrize("shape", SHAPES)
def test_triples_whose_chunks_share_rows(shape, center, global_random_seed):
    X = table(global_random_seed, shape)
    chunked, whole = triples(X, global_random_seed)
    model = PrecGDMatrixSensing(3, center=center, random_state=0)
    theirs = model.fit(*whole)
    theirs = PrecGDMatrixSensing(3, center=center, random_state=0).fit(*whole)
    ours = PrecGDMatrixSensing(3, center=center, random_state=0).fit(*chunked)
    assert_same_answer(ours, theirs)
    assert ours.score(*chunked) == pytest.approx(theirs.score(*whole))


@pytest.mark.parametrize("noise", ["tail", "loud"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_noise_that_wins_is_that_which_wins_in_memory(
    shape, noise, global_random_seed
):
    X = table(global_random_seed, shape, noise)
    ours, theirs = (
        PrecGDFactorization(8, center="columns", random_state=0).fit(each)
        for each in (in_chunks(X), X)
    )
    assert_same_answer(ours, theirs, tol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"noise": "uniform", "center": "both"},
        {"noise_tail": "t", "center": "columns"},
        {"noise_tail": "normal", "noise": "columns"},
        {"noise_variance": 0.2, "center": "columns"},
        {"rank_search": "fixed", "solver": "precgd-cg", "center": "columns"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_noise_of_every_kind(options, global_random_seed):
    X = table(global_random_seed)
    ours, theirs = (
        PrecGDFactorization(4, random_state=0, **options).fit(each)
        for each in (in_chunks(X), X)
    )
    assert_same_answer(ours, theirs)


def test_weights_and_single_precision(global_random_seed):
    X = table(global_random_seed).astype(np.float32)
    rng = np.random.default_rng(global_random_seed)
    often = rng.integers(0, 4, X.shape).astype(float)
    often[np.arange(24), np.arange(24)] = 1.0
    ours, theirs = (
        PrecGDFactorization("auto", center="columns", random_state=0).fit(
            each, entry_weight=weight
        )
        for each, weight in ((in_chunks(X), in_chunks(often)), (X, often))
    )
    assert ours.left_.dtype == np.float32
    # Numbers of single precision agree to that.
    assert_same_answer(ours, theirs, tol=1e-5)


def test_repeated_and_weighted_triples(global_random_seed):
    X = table(global_random_seed)
    rng = np.random.default_rng(global_random_seed)
    i, j = np.nonzero(~np.isnan(X))
    again = rng.permutation(np.r_[np.arange(len(i)), np.arange(0, len(i), 5)])
    cells = i[again], j[again], X[i, j][again]
    weight, variance = rng.integers(1, 4, len(again)), rng.uniform(0.1, 0.3, len(again))
    items = list(zip(*(each.tolist() for each in cells), strict=True))
    bag = dask.bag.from_sequence(items, npartitions=3)
    fits = []
    for each in (bag, cells):
        with pytest.warns(UserWarning, match="repeat|more than once|several"):
            entries, y = observed_entries(each, matrix_shape=X.shape)
        # The chunks are sorted by rows, and so are the cells that are asked for.
        rows, columns = entries.cells()
        order = np.lexsort((np.asarray(y), columns, rows))
        own = np.empty(len(again))
        own[order] = np.sort(variance)
        often = np.empty(len(again))
        often[order] = weight
        model = PrecGDMatrixSensing(
            "auto", center="columns", noise_variance=own, random_state=0
        )
        fits.append(model.fit(entries, y, sample_weight=often))
    size = np.max(np.abs(matrix_of(fits[1])))
    assert_allclose(matrix_of(fits[0]), matrix_of(fits[1]), atol=1e-6 * size)
    assert fits[0].lower_bound_ == pytest.approx(fits[1].lower_bound_, rel=1e-6)


def test_a_frame_of_ratings(global_random_seed):
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    pd = pytest.importorskip("pandas")
    X = table(global_random_seed)
    rows, columns = np.nonzero(~np.isnan(X))
    frame = pd.DataFrame(
        {"user": rows + 100, "film": columns, "stars": X[rows, columns]}
    )
    names = {"row": "user", "column": "film", "value": "stars"}
    lazy = dd.from_pandas(frame, npartitions=3)
    ours, theirs = (
        PrecGDMatrixSensing("auto", center="both", random_state=0).fit(
            *observed_entries(each, **names)
        )
        for each in (lazy, frame)
    )
    assert_same_answer(ours, theirs)
    assert_array_equal(ours.row_labels_, theirs.row_labels_)
    matrix = pd.DataFrame(X, columns=[f"c{k}" for k in range(24)])
    lazy = dd.from_pandas(matrix, npartitions=3)
    ours, theirs = (
        PrecGDFactorization("auto", center="columns", random_state=0).fit(each)
        for each in (lazy, matrix)
    )
    assert_same_answer(ours, theirs)


def test_sparse_chunks_and_lines_without_entries(global_random_seed):
    X = table(global_random_seed)
    X[[3, 40, 89]] = np.nan
    X[:, 5] = np.nan
    zeros = np.nan_to_num(X)
    chunks = [sparse.csr_array(zeros[k : k + 30]) for k in (0, 30, 60)]
    lazy = da.concatenate(
        [da.from_delayed(delayed(c), c.shape, dtype=X.dtype) for c in chunks]
    )
    fits = []
    for each in (lazy, sparse.csr_array(zeros)):
        model = PrecGDFactorization(
            "auto", missing_values=0, center="columns", random_state=0
        )
        with pytest.warns(UserWarning, match="no observed entry"):
            fits.append(model.fit(each))
    assert_same_answer(*fits)


def test_groups_learn_each_their_own(global_random_seed):
    X = np.full((60, 40), np.nan)
    X[:40, :20] = table(global_random_seed, (40, 20))
    X[40:, 20:] = table(global_random_seed + 1, (20, 20))
    chunked, whole = triples(X)
    fits = []
    for each in (chunked, whole, in_chunks(X), X):
        kind = PrecGDMatrixSensing if isinstance(each, tuple) else PrecGDFactorization
        model = kind("auto", center="columns", random_state=0)
        with pytest.warns(UserWarning, match="fall into 2 groups"):
            fits.append(model.fit(*(each if isinstance(each, tuple) else (each,))))
    assert_same_answer(fits[0], fits[1])
    assert_same_answer(fits[2], fits[3])


def test_exact_data_are_explained_as_ever(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    truth = rng.normal(size=(90, 2)) @ rng.normal(size=(2, 24)) + 1.0
    X = np.where(rng.random(truth.shape) < 0.6, truth, np.nan)
    for center in (None, "both"):
        model = PrecGDFactorization(5, center=center, random_state=0).fit(in_chunks(X))
        assert not hasattr(model, "lower_bound_")
        assert_allclose(matrix_of(model), truth, atol=1e-6 * np.abs(truth).max())


def test_an_explanation_that_proves_nothing_is_doubted(global_random_seed):
    """A rank that is not determined explains noise, in chunks as in memory."""
    X = np.random.default_rng(global_random_seed).normal(size=(24, 12))
    X[np.random.default_rng(1).random(X.shape) < 0.4] = np.nan
    ours, theirs = (
        PrecGDFactorization(11, random_state=0).fit(each)
        for each in (in_chunks(X, 3), X)
    )
    assert_same_answer(ours, theirs)


# ---- what is refused, in one sentence


def test_what_is_not_there_says_so():
    X = table(0)
    model = PrecGDFactorization("auto", center="columns").fit(in_chunks(X))
    for ask in (
        lambda: model.predict_entries([0], [0], return_std=True),
        lambda: model.interval([0], [0]),
        lambda: model.sample_entries([0], [0]),
    ):
        with pytest.raises(ValueError, match="stays with the chunks"):
            ask()
    with pytest.raises(ValueError, match="inference='gibbs' needs single entries in"):
        PrecGDFactorization(2, inference="gibbs").fit(in_chunks(X))
    with pytest.raises(ValueError, match="noise_tail='t' needs a table with holes"):
        PrecGDFactorization(2, noise_tail="t").fit(in_chunks(np.nan_to_num(X)))
    with pytest.raises(ValueError, match="needs X in memory"):
        PrecGDFactorizationCV([1, 2]).fit(in_chunks(X))


def test_a_centre_of_measurements_that_are_no_entries():
    A = da.ones((10, 12), chunks=(5, 12))
    model = PrecGDMatrixSensing(1, center="columns", matrix_shape=(4, 3))
    with pytest.raises(ValueError, match="needs measurements that are single entries"):
        model.fit(A, np.ones(10))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_cross_validation_of_triples_in_chunks(global_random_seed):
    (entries, y), _ = triples(table(global_random_seed, (30, 12)))
    # Folds are of positions, and those in memory come in the order of the chunks.
    values = np.asarray(y)
    whole, z = observed_entries((*entries.cells(), values), matrix_shape=(30, 12))
    ours, theirs = (
        PrecGDMatrixSensingCV([1, "auto"], cv=2, random_state=0).fit(*each)
        for each in ((entries, y), (whole, z))
    )
    assert ours.alpha_ == pytest.approx(theirs.alpha_)
    size = np.max(np.abs(theirs.matrix_))
    assert_allclose(ours.matrix_, theirs.matrix_, atol=1e-5 * size)


# ---- each question, chunk by chunk


def entries_of(X, n_chunks=4):
    """The same entries in memory and in chunks."""
    i, j = np.nonzero(~np.isnan(X))
    whole = EntryData(i, j, X[i, j], X.shape)
    parts, slices = [], []
    for rows in np.array_split(np.arange(len(X)), n_chunks):
        own = slice(int(rows[0]), int(rows[-1]) + 1)
        down, across = np.nonzero(~np.isnan(X[own]))
        values = X[own][down, across]
        parts.append(EntryData(down, across, values, X[own].shape))
        slices.append(own)
    from skprecgd.distributed import graph

    lazy = graph.as_lazy(parts)
    return whole, ChunkedEntries(lazy, slices, X.shape, X.dtype, None)


def models_of(X, center="both", tail=False):
    models = []
    for data in entries_of(X):
        entries = Problem.of(data.given(), center, own=center != "both").entries
        model = Model(entries, make_noise(entries, "columns", None))
        model.step()
        model.grow(3)
        for _ in range(4):
            model.step()
        if tail:
            model = HeavyTails().added_to(model)
            for _ in range(4):
                model.step()
        models.append(model)
    assert isinstance(models[1].entries.lines, LinesInChunks)
    return models


@pytest.mark.parametrize("tail", [False, True], ids=["normal", "t"])
@pytest.mark.parametrize("center", ["columns", "both"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_question_of_the_iteration(shape, center, tail, global_random_seed):
    whole, chunked = models_of(table(global_random_seed, shape), center, tail)
    assert chunked.evidence() == pytest.approx(whole.evidence(), rel=1e-9)
    # Lines may have signs of their own, but nothing that is asked for depends on them.
    assert_allclose(chunked.shares_known(), whole.shares_known(), rtol=1e-7)
    for ours, theirs in zip(chunked.scales, whole.scales, strict=True):
        assert_allclose(ours, theirs, rtol=1e-7)
    left, other = whole.left_out(200), chunked.left_out(200)
    assert_array_equal(other.rows, left.rows)
    assert_array_equal(other.columns, left.columns)
    assert_allclose(other.residual, left.residual, rtol=1e-6, atol=1e-9)
    assert_allclose(other.studentised, left.studentised, rtol=1e-6, atol=1e-9)
    lines, others = whole.long_lines(), chunked.long_lines()
    size = whole.coordinates.size
    products = [
        np.einsum("nij,mij->nm", *(2 * [unpacked(each.second, whole.coordinates.at)]))
        for each in (lines, others)
    ]
    assert lines.second.shape[1] == size * (size + 1) // 2
    assert_allclose(products[1], products[0], rtol=1e-6, atol=1e-9)
    assert others.totals.log_determinant == pytest.approx(lines.totals.log_determinant)
    residual, beside = whole.residual(), chunked.residual()
    assert beside.median_size() == pytest.approx(residual.median_size(), rel=1e-7)
    unit = residual.mean_square(whole.short_side)
    assert beside.mean_square(chunked.short_side) == pytest.approx(unit, rel=1e-7)
    side = whole.short_side
    matrix = residual.whitened(side, whole.shares)
    found = beside.whitened(chunked.short_side, chunked.shares)
    block = np.ones((matrix.shape[1], 2))
    assert_allclose(found.times(block), matrix @ block, rtol=1e-6, atol=1e-9)
    assert_allclose(
        found.transposed_times(found.times(block)),
        matrix.T @ (matrix @ block),
        rtol=1e-6,
        atol=1e-7,
    )
    assert_allclose(found.gram(), (matrix.T @ matrix).toarray(), rtol=1e-6, atol=1e-7)


def test_columns_that_are_dropped_and_added(global_random_seed):
    whole, chunked = models_of(table(global_random_seed))
    for model in (whole, chunked):
        model.keep(np.array([0, 2]))
        model.grow(2)
    one, other = whole.residual(), chunked.residual()
    assert other.median_size() == pytest.approx(one.median_size(), rel=1e-7)
    for model in (whole, chunked):
        model.step(drop=True)
    assert chunked.evidence() == pytest.approx(whole.evidence(), rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_loud_rows_step_by_step(shape, global_random_seed):
    X = table(global_random_seed, shape, "loud")
    whole, chunked = models_of(X, "columns")
    assert LoudRows().is_suggested(chunked) == LoudRows().is_suggested(whole)
    louds = [LoudRows().added_to(model) for model in (whole, chunked)]
    for _ in range(5):
        for model in louds:
            model.step(drop=True)
    assert louds[1].evidence() == pytest.approx(louds[0].evidence(), rel=1e-9)
    assert_allclose(louds[1].noise.long, louds[0].noise.long, rtol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_a_median_is_one_of_all_chunks(n, global_random_seed):
    X = np.random.default_rng(global_random_seed).normal(size=(7, n)) ** 3
    X[0, 0] = 0.0
    _, chunked = entries_of(X, 3)
    entries = Problem.of(chunked.given(), None, own=False).entries
    residual = Model(entries, make_noise(entries, "uniform", None)).residual()
    scale = entries.units.scale[0]
    assert residual.median_size() * scale == pytest.approx(np.median(np.abs(X)))


@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_that_repeat_are_counted(shape, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = np.where(rng.random(shape) < 0.7, rng.integers(5, size=shape), np.nan)
    counts = []
    for data in entries_of(X):
        entries = Problem.of(data.given(), "columns", own=True).entries
        of_long = entries.columns_are_long
        counts.append(entries.lines.most_frequent(of_long=of_long))
    assert_array_equal(*counts)


@pytest.mark.parametrize("center", CENTRES)
def test_offsets_are_those_of_entries_in_memory(center, global_random_seed):
    X = table(global_random_seed)
    X[7], X[:, 3] = np.nan, np.nan
    whole, chunked = entries_of(X)
    expected = whole.offsets(center)
    for own, other in zip(chunked.offsets(center), expected.pair, strict=True):
        assert_allclose(own, other, rtol=1e-9, atol=1e-9)


def test_chunks_that_share_rows_are_put_together(global_random_seed):
    X = table(global_random_seed)
    (entries, y), (whole, z) = triples(X, global_random_seed)
    assert not entries.disjoint_rows
    often = np.arange(1.0, len(z) + 1)
    rows, columns = entries.cells()
    weight = dict(zip(zip(*whole.cells(), strict=True), often, strict=True))
    ours = [weight[cell] for cell in zip(rows, columns, strict=True)]
    made = ChunkedEntries.of(entries, y, Weights(frequency=np.array(ours)))
    ends = [part.stop for part in made.slices]
    assert [part.start for part in made.slices] == [0, *ends[:-1]]
    given = made.given()
    i, j = whole.cells()
    expected = np.bincount(j, often * z, X.shape[1])
    zeros, ones = np.zeros(X.shape[1]), np.ones(X.shape[1])
    assert_allclose(given.sums(zeros, ones, (1,))[0], expected)
    assert_allclose(
        given.row_counts(ones), np.bincount(i, often, X.shape[0]), rtol=1e-12
    )


# ---- what travels


@pytest.mark.filterwarnings("ignore:n_components=.* leaves out what is no noise")
def test_bytes_of_the_iteration_do_not_grow_with_the_rows():
    """But for what a fit returns: the rows' own means, and two numbers of each."""
    traffic = []
    for n_rows in (200, 800):
        X = np.tile(table(0, (200, 20)), (n_rows // 200, 1))
        _, chunked = entries_of(X, 4)
        given = chunked.given()
        entries = Problem.of(given, "columns", own=True).entries
        model = Model(entries, make_noise(entries, "columns", None))
        with count_traffic() as counted:
            model.step()
            model.grow(2)
            model.step(drop=True)
        traffic.append(counted)
    small, large = traffic
    assert large.passes == small.passes
    assert large.bytes_out == small.bytes_out
    assert large.bytes_back == small.bytes_back


# ---- schedulers


def test_schedulers_agree():
    X = in_chunks(table(0, (60, 16)))
    fits = []
    for scheduler in ("threads", "synchronous"):
        with dask.config.set(scheduler=scheduler):
            fits.append(PrecGDFactorization("auto", center="both").fit(X))
    assert_array_equal(fits[0].left_, fits[1].left_)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time():
    """Whatever goes out is in the graph, and whatever is kept can be computed again."""
    distributed = pytest.importorskip("distributed")
    X = table(0, (400, 30), "tail")
    expected = PrecGDFactorization(4, center="columns", random_state=0).fit(X)

    @delayed(pure=True)
    def read(k):
        return X[100 * k : 100 * (k + 1)]

    lazy = da.concatenate(
        [da.from_delayed(read(k), (100, 30), dtype=float) for k in range(4)]
    )
    where = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**where) as cluster, distributed.Client(cluster) as c:
        c.run(__import__, "skprecgd")
        before = list(c.run(os.getpid).values())
        sweeps = []

        def kill_at_the_tenth(*arguments):
            sweeps.append(None)
            if len(sweeps) == 10:
                os.kill(before[0], signal.SIGKILL)
            return step(*arguments)

        step = LinesInChunks.swept
        LinesInChunks.swept = kill_at_the_tenth
        try:
            model = PrecGDFactorization(4, center="columns", random_state=0).fit(lazy)
        finally:
            LinesInChunks.swept = step
        assert before[0] not in c.run(os.getpid).values()
    assert len(sweeps) > 10
    assert_same_answer(model, expected, tol=1e-5)


def test_labels_in_chunks_are_warned_of():
    rng = np.random.default_rng(0)
    labels = (rng.random((30, 12)) < 0.5).astype(float)
    triples = [(int(i), int(j), labels[i, j]) for i, j in np.ndindex(labels.shape)]
    entries, y = observed_entries(dask.bag.from_sequence(triples, npartitions=2))
    model = PrecGDMatrixSensing(1, loss="logistic", tol=1e-3)
    with pytest.warns(UserWarning, match="No prior is learned of labels and counts"):
        model.fit(entries, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(alpha=1.0).fit(entries, y)
