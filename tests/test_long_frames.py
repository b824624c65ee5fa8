"""Entries in a long table: ids of any kind become rows and columns, and keep labels."""

from __future__ import annotations

import datetime
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, train_test_split

from skprecgd import (
    PrecGDFactorization,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.measurements.labels import encoded

pd = pytest.importorskip("pandas")

NAMES = {"row": "user", "column": "film", "value": "stars"}
USERS = [f"user {k:02d}" for k in range(30)]
# Numbers of films as they are in public ratings: few of those up to the largest.
FILMS = [7 + 8003 * k for k in range(20)]


def table(seed, share=0.6):
    """Ratings of rank 2 without noise in random order, and the whole matrix by ids."""
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((len(USERS), 2)) @ rng.standard_normal((2, len(FILMS)))
    i, j = np.nonzero(rng.random(M.shape) < share)
    order = rng.permutation(len(i))
    i, j = i[order], j[order]
    frame = pd.DataFrame(
        {
            "stars": M[i, j],
            "film": np.array(FILMS)[j],
            "user": np.array(USERS, dtype=object)[i],
        }
    )
    return frame, pd.DataFrame(M, index=USERS, columns=FILMS)


def lazy(frame, npartitions=3):
    dd = pytest.importorskip("dask.dataframe", exc_type=ImportError)
    return dd.from_pandas(frame.reset_index(drop=True), npartitions=npartitions)


def by_ids(measurements, y):
    """Row id, column id and value of every entry, sorted."""
    rows, columns = measurements.cells()
    ids = measurements.row_labels[rows], measurements.column_labels[columns]
    return sorted(zip(*(part.tolist() for part in ids), np.asarray(y), strict=True))


def model(n_components=4):
    return PrecGDMatrixSensing(n_components, tol=1e-11, random_state=0)


# ---- reading


@pytest.mark.parametrize("kind", ["pandas", "dask"])
def test_ids_become_rows_and_columns_in_sorted_order(kind, global_random_seed):
    frame, _ = table(global_random_seed)
    given = frame if kind == "pandas" else lazy(frame)
    measurements, y = observed_entries(given, **NAMES)
    assert measurements.matrix_shape == (frame.user.nunique(), frame.film.nunique())
    assert measurements.row_labels.tolist() == sorted(frame.user.unique())
    assert measurements.column_labels.tolist() == sorted(frame.film.unique())
    triples = zip(frame.user, frame.film, frame.stars, strict=True)
    assert by_ids(measurements, y) == sorted(triples)


def test_entries_of_a_frame_in_memory_keep_its_order(global_random_seed):
    frame, _ = table(global_random_seed)
    measurements, y = observed_entries(frame, **NAMES)
    rows, columns = measurements.cells()
    assert_array_equal(measurements.row_labels[rows], frame.user)
    assert_array_equal(measurements.column_labels[columns], frame.film)
    assert_array_equal(y, frame.stars)


def test_columns_are_read_by_name_and_others_are_left_alone():
    frame = pd.DataFrame({"time": [9, 9], 0: [1.0, 2.0], "a": [5, 5], "b": [3, 900]})
    measurements, y = observed_entries(frame, row="b", column="a", value=0)
    assert by_ids(measurements, y) == [(3, 5, 1.0), (900, 5, 2.0)]


DAY = datetime.date(2024, 2, 29)
IDS = {
    "strings": (["b", "a", "b"], ["a", "b"]),
    "text of NumPy": (np.array(["b", "a", "b"]), ["a", "b"]),
    "category": (pd.Categorical(["b", "a", "b"], ["b", "z", "a"]), ["a", "b"]),
    "integers": ([10**9, -4, 10**9], [-4, 10**9]),
    "large integers": ([2**70 + 1, 2**70, 2**70 + 1], [2**70, 2**70 + 1]),
    "whole floats": ([3.0, 0.0, 3.0], [0, 3]),
    "nullable integers": (pd.array([3, 0, 3], dtype="Int64"), [0, 3]),
    "integer category": (pd.Categorical([30, 7, 30]), [7, 30]),
    "dates": (pd.to_datetime(["2024-02-29", "2023-01-01", "2024-02-29"]), None),
    "objects": ([DAY, DAY.replace(day=1), DAY], [DAY.replace(day=1), DAY]),
    "tuples": ([(1, "x"), (0, "y"), (1, "x")], [(0, "y"), (1, "x")]),
}


@pytest.mark.parametrize("kind", IDS)
def test_kinds_of_ids(kind):
    ids, labels = IDS[kind]
    frame = pd.DataFrame({"user": ids, "film": [5, 6, 6], "stars": [1.0, 2.0, 3.0]})
    measurements, _ = observed_entries(frame, **NAMES)
    assert_array_equal(measurements.row_index, [1, 0, 1])
    if labels is None:
        labels = np.sort(frame.user.unique()).tolist()
    assert measurements.row_labels.tolist() == labels


@pytest.mark.parametrize(
    "kind", ["strings", "text of NumPy", "category", "integer category", "objects"]
)
def test_ids_of_triples_are_labels_unless_they_are_integers(kind):
    ids, labels = IDS[kind]
    measurements, _ = observed_entries((ids, [0, 2, 1], [1.0, 2.0, 3.0]))
    assert_array_equal(measurements.row_index, [1, 0, 1])
    assert measurements.row_labels.tolist() == labels
    assert_array_equal(measurements.column_index, [0, 2, 1])
    assert measurements.column_labels is None


@pytest.mark.parametrize("kind", ["nullable integers", "whole floats"])
def test_integers_of_triples_are_positions_however_they_are_held(kind):
    measurements, _ = observed_entries((IDS[kind][0], [0, 2, 1], [1.0, 2.0, 3.0]))
    assert_array_equal(measurements.row_index, [3, 0, 3])
    assert measurements.row_labels is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
def test_dtype_of_values(dtype):
    values = np.array([1, 0, 1], dtype)
    frame = pd.DataFrame({"user": [1, 2, 3], "film": [1, 1, 2], "stars": values})
    for given in (frame, lazy(frame)):
        measurements, y = observed_entries(given, **NAMES)
        expected = np.float32 if dtype is np.float32 else np.float64
        assert measurements.dtype == y.dtype == expected
        assert_array_equal(np.asarray(y), values)


def test_values_that_pandas_holds_beside_a_mask():
    values = pd.array([1, 2, 4], dtype="Int64")
    frame = pd.DataFrame({"user": [1, 2, 3], "film": [1, 1, 2], "stars": values})
    assert_array_equal(observed_entries(frame, **NAMES)[1], [1, 2, 4])


def test_a_table_of_pyarrow():
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)
    frame, _ = table(0)
    arrow = pa.table({name: frame[name].tolist() for name in frame.columns})
    ours, y = observed_entries(arrow, **NAMES)
    theirs, targets = observed_entries(frame, **NAMES)
    assert by_ids(ours, y) == by_ids(theirs, targets)


@pytest.mark.parametrize("kind", ["pandas", "dask"])
def test_with_matrix_shape_ids_are_positions(kind):
    frame = pd.DataFrame({"user": [3, 0], "film": [0, 4], "stars": [1.0, 2.0]})
    given = frame if kind == "pandas" else lazy(frame, 1)
    measurements, _ = observed_entries(given, **NAMES, matrix_shape=(6, 5))
    assert measurements.matrix_shape == (6, 5)
    assert sorted(zip(*measurements.cells(), strict=True)) == [(0, 4), (3, 0)]
    assert measurements.row_labels is None
    assert measurements.column_labels is None


def test_a_frame_without_names_is_a_matrix(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = np.where(rng.random((40, 6)) < 0.5, rng.standard_normal((40, 6)), np.nan)
    frame = pd.DataFrame(X)
    ours, y = observed_entries(frame)
    theirs, targets = observed_entries(lazy(frame))
    for measurements, values in ((ours, y), (theirs, targets.compute())):
        assert measurements.matrix_shape == X.shape
        assert len(measurements) == np.sum(~np.isnan(X))
        assert_array_equal(X[measurements.cells()], values)


@pytest.mark.parametrize("missing_values", [np.nan, 0])
def test_a_dask_array_is_a_matrix(missing_values, global_random_seed):
    da = pytest.importorskip("dask.array")
    rng = np.random.default_rng(global_random_seed)
    M = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 15))
    X = np.where(rng.random(M.shape) < 0.6, M, missing_values)
    chunks = da.from_array(X, chunks=(16, 4))
    measurements, y = observed_entries(chunks, missing_values, matrix_shape=X.shape)
    assert_array_equal(X[measurements.cells()], y.compute())
    assert_allclose(model().fit(measurements, y).matrix_, M, atol=1e-6 * np.ptp(M))
    with pytest.raises(ValueError, match=r"\(3, 3\) does not match X of shape"):
        observed_entries(chunks, missing_values, matrix_shape=(3, 3))
    spoilt = da.from_array(np.where(np.nanmax(X) == X, np.inf, X), chunks=(16, 4))
    with pytest.raises(ValueError, match="X contains infinity in column"):
        observed_entries(spoilt, missing_values)


def test_sparse_chunks_need_a_word_on_what_is_not_stored():
    da = pytest.importorskip("dask.array")
    from dask import delayed
    from scipy import sparse

    X = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    chunks = da.from_delayed(delayed(sparse.csr_array)(X), X.shape, dtype=float)
    with pytest.raises(ValueError, match=r"missing_values=0 .* missing_values=np.nan"):
        observed_entries(chunks)
    assert len(observed_entries(chunks, 0)[0]) == 2
    assert len(observed_entries(chunks, np.nan)[0]) == 6


def test_two_passes_over_a_dask_frame():
    pytest.importorskip("dask.dataframe", exc_type=ImportError)
    from skprecgd.distributed import count_traffic

    frame = lazy(table(0)[0])
    with count_traffic() as traffic:
        observed_entries(frame, **NAMES)
    assert traffic.passes == 2


# ---- what is refused


def frame_with(**columns):
    given = {"user": ["a", "b", "c"], "film": [1, 2, 3], "stars": [1.0, 2.0, 3.0]}
    return pd.DataFrame(given | columns)


LONG = frame_with()
REFUSED = {
    "two names": (LONG, {"row": "user", "column": "film"}, "value must be given, too"),
    "one name": (LONG, {"value": "stars"}, "row and column must be given, too"),
    "no such column": (
        LONG,
        NAMES | {"row": "usr"},
        r"no column 'usr'.*'user', 'film'",
    ),
    "one column twice": (LONG, NAMES | {"row": "film"}, "three different columns"),
    "columns of one name": (
        pd.concat([LONG, LONG[["user"]]], axis=1),
        NAMES,
        "several columns 'user'",
    ),
    "an array": (np.eye(3), NAMES, "columns of a data frame, but X has the type ndarr"),
    "a tuple": (([0], [0], [1.0]), NAMES, "but X has the type tuple"),
    "no rows": (LONG.iloc[:0], NAMES, "no observed entry"),
    "None among ids": (
        frame_with(user=["a", None, "c"]),
        NAMES,
        r"Column 'user' holds missing ids .*dropna\(\)",
    ),
    "NaN among ids": (
        frame_with(film=[1, np.nan, 3]),
        NAMES,
        "Column 'film' holds missing ids",
    ),
    "NA among ids": (
        frame_with(film=pd.array([1, None, 3], dtype="Int64")),
        NAMES,
        "Column 'film' holds missing ids",
    ),
    "NaT among ids": (
        frame_with(user=pd.to_datetime(["2020-01-01", None, "2020-01-02"])),
        NAMES,
        "Column 'user' holds missing ids",
    ),
    "no category": (
        frame_with(user=pd.Categorical(["a", None, "b"])),
        NAMES,
        "Column 'user' holds missing ids",
    ),
    "fractions": (
        frame_with(user=[1.0, 2.5, 3.0]),
        NAMES,
        "Column 'user' must hold ids that are integers, .* got 2.5",
    ),
    "infinite id": (frame_with(user=[1.0, np.inf, 3.0]), NAMES, "'user' must .* inf"),
    "rounded ids": (frame_with(user=[1.0, 2.0, 2.0**60]), NAMES, "cannot tell them"),
    "bool ids": (frame_with(user=[True, False, True]), NAMES, "got dtype bool"),
    "mixed ids": (
        frame_with(user=[1, "1", 2]),
        NAMES,
        r"Column 'user' holds ids of different types \(int, str\)",
    ),
    "lists": (frame_with(user=[[1], [2], [3]]), NAMES, "'user' must .* got a list"),
    "NaN among values": (
        frame_with(stars=[1.0, np.nan, 2.0]),
        NAMES,
        r"Column 'stars' holds NaN.*dropna\(\)",
    ),
    "NA among values": (
        frame_with(stars=pd.array([1, None, 2], dtype="Int64")),
        NAMES,
        "Column 'stars' holds NaN",
    ),
    "infinite value": (
        frame_with(stars=[1.0, np.inf, 2.0]),
        NAMES,
        "Column 'stars' holds NaN or infinity",
    ),
    "text values": (
        frame_with(stars=["1", "2", "3"]),
        NAMES,
        "Column 'stars' must be numeric",
    ),
    "complex values": (frame_with(stars=[1j, 2, 3]), NAMES, "'stars' is complex"),
    "positions outside": (
        frame_with(user=[0, 1, 6]),
        NAMES | {"matrix_shape": (6, 4)},
        r"Column 'user' holds positions from 0 to 6, which must lie in 0\.\.5",
    ),
    "strings as positions": (
        LONG,
        NAMES | {"matrix_shape": (6, 4)},
        "Column 'user' must hold integers, because with matrix_shape .* got 'a'",
    ),
    "text in a matrix": (LONG, {}, r"X must hold numbers, unlike .*'user' .*row=\.\."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_one_sentence_refuses(kind):
    X, names, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message) as refused:
        observed_entries(X, **names)
    assert str(refused.value).count(". ") == 0


@pytest.mark.parametrize(
    "kind",
    [
        "two names",
        "no such column",
        "None among ids",
        "NaN among ids",
        "NaN among values",
        "no rows",
        "positions outside",
        "text in a matrix",
    ],
)
def test_a_dask_frame_is_refused_by_the_same_sentence(kind):
    X, names, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        observed_entries(lazy(X, 1), **names)


def test_partitions_with_ids_of_different_types_are_refused():
    bag = pytest.importorskip("dask.bag")
    triples = [(1, 0, 1.0), ("1", 0, 2.0)]
    with pytest.raises(ValueError, match=r"different types \(int, str\)"):
        observed_entries(bag.from_sequence(triples, npartitions=2))


@pytest.mark.parametrize("ids", [["a", None], ["a", np.nan]])
def test_missing_ids_of_triples_are_refused(ids):
    with pytest.raises(ValueError, match="The array of rows holds missing ids"):
        observed_entries((ids, [0, 1], [1.0, 2.0]))


def test_masked_triples_are_refused():
    plain, masked = [0, 1], np.ma.masked_equal([1, 2], 2)
    with pytest.raises(ValueError, match="The array of values must be complete"):
        observed_entries((plain, plain, masked))
    with pytest.raises(ValueError, match="The array of rows must be complete"):
        observed_entries((masked, plain, plain))


# ---- what is said


@pytest.mark.parametrize("kind", ["pandas", "dask", "triples"])
def test_repeated_cells_are_said_and_each_counts(kind, global_random_seed):
    frame, _ = table(global_random_seed)
    twice = pd.concat([frame, frame.iloc[:3], frame.iloc[:2]])
    given = {
        "pandas": twice,
        # Repetitions are seen within a partition.
        "dask": lazy(twice, 1),
        "triples": (twice.user, twice.film.astype(str), twice.stars),
    }[kind]
    names = {} if kind == "triples" else NAMES
    with pytest.warns(UserWarning, match=rf"5 of {len(twice)} entries repeat the row"):
        measurements, y = observed_entries(given, **names)
    assert len(measurements) == len(y) == len(twice)


def test_a_repeated_entry_weighs_twice(rng):
    M = rng.standard_normal((6, 5))
    rows, columns = (index.ravel() for index in np.indices(M.shape))
    values, again = M[rows, columns], np.arange(4)
    options = {"n_components": 2, "early_stopping": False, "tol": 1e-12}
    weights = np.ones(30)
    weights[again] = 2
    A, y = observed_entries((rows, columns, values))
    weighted = PrecGDMatrixSensing(**options).fit(A, y, sample_weight=weights)
    repeated = [np.concatenate([part, part[again]]) for part in (rows, columns, values)]
    with pytest.warns(UserWarning, match="4 of 34 entries repeat"):
        A, y = observed_entries(tuple(repeated))
    twice = PrecGDMatrixSensing(**options).fit(A, y)
    assert_allclose(twice.matrix_, weighted.matrix_, atol=1e-6 * np.ptp(M))


def test_integers_far_apart_in_triples_are_positions_and_said():
    # As many users and films as in a public set of ratings.
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(1, 611), 16)
    films = np.concatenate([rng.integers(1, 193609, len(users) - 1), [193609]])
    values = np.ones(len(users))
    with pytest.warns(UserWarning, match=r"up to 193609, .*name its columns") as said:
        measurements, _ = observed_entries((users, films, values))
    assert len(said) == 1
    assert measurements.matrix_shape == (611, 193610)
    # Not a word where the shape is given, or where they are ids.
    observed_entries((users, films, values), matrix_shape=(611, 193610))
    frame = pd.DataFrame({"user": users, "film": films, "stars": values})
    frame = frame.drop_duplicates(["user", "film"])
    encoded, _ = observed_entries(frame, **NAMES)
    assert encoded.matrix_shape == (610, len(np.unique(films)))


def test_no_array_is_made_of_positions_up_to_a_huge_one():
    with pytest.warns(UserWarning, match="2 different integers up to 10000000000000"):
        observed_entries(([0, 10**13], [0, 1], [1.0, 2.0]))


@pytest.mark.parametrize("kind", ["pandas", "array", "dask"])
def test_a_long_table_given_as_a_matrix_is_said(kind, global_random_seed):
    frame = pd.DataFrame(np.indices((12, 5)).reshape(2, -1).T, columns=["a", "b"])
    frame["c"] = np.random.default_rng(global_random_seed).standard_normal(len(frame))
    frame["time"] = np.arange(len(frame)) + 1_600_000_000
    given = {
        "pandas": frame,
        "array": frame.to_numpy(),
        # The last partition is short.
        "dask": lazy(frame).repartition(divisions=[0, 28, 56, 59]),
    }[kind]
    with pytest.warns(
        UserWarning, match=r"matrix of shape \(60, 4\).*name its columns"
    ):
        assert observed_entries(given)[0].matrix_shape == (60, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.standard_normal((200, 3)),
        lambda rng: rng.integers(1, 6, (200, 4)).astype(float),
        lambda rng: np.where(rng.random((200, 3)) < 0.9, np.arange(3.0), np.nan),
        lambda rng: rng.integers(0, 9, (200, 30)),
    ],
    ids=["numbers", "answers from 1 to 5", "holes", "wide"],
)
def test_no_word_on_other_matrices(make, rng):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        observed_entries(make(rng))


# ---- labels


def test_labels_go_with_every_selection():
    frame, _ = table(0)
    A, y = observed_entries(frame, **NAMES)
    train, test, *_ = train_test_split(A, y, random_state=0)
    folds = [A[index] for index, _ in KFold(3, shuffle=True, random_state=0).split(A)]
    for part in (train, test, *folds, A[:3], A[[5, 5]], pickle.loads(pickle.dumps(A))):
        assert_array_equal(part.row_labels, A.row_labels)
        assert_array_equal(part.column_labels, A.column_labels)


def test_labels_go_with_selections_of_chunks():
    A, _ = observed_entries(lazy(table(0)[0]), **NAMES)
    assert A[::2].row_labels is A.row_labels
    assert A[::2].column_labels is A.column_labels


@pytest.mark.parametrize("kind", ["pandas", "dask"])
def test_named_pairs_are_predicted(kind, global_random_seed):
    frame, truth = table(global_random_seed)
    given = frame if kind == "pandas" else lazy(frame)
    fitted = model().fit(*observed_entries(given, **NAMES))
    pairs = EntryMeasurements.from_labels([USERS[4], USERS[1]], [FILMS[0], FILMS[3]])
    expected = truth.loc[USERS[4], FILMS[0]], truth.loc[USERS[1], FILMS[3]]
    assert_allclose(fitted.predict(pairs), expected, rtol=1e-6)
    assert_allclose(fitted.transform(pairs).sum(axis=1), expected, rtol=1e-6)
    # A model that was saved knows its ids.
    again = pickle.loads(pickle.dumps(fitted))
    assert_allclose(again.predict(pairs), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["pandas", "dask"])
def test_entries_of_another_frame_are_found_by_their_ids(kind, global_random_seed):
    frame, truth = table(global_random_seed)
    fitted = model().fit(*observed_entries(frame, **NAMES))
    # Other users first, and not all of them.
    others = truth.iloc[[22, 3, 9], [11, 2]].rename_axis("user").reset_index()
    others = others.melt("user", var_name="film", value_name="stars")
    others = others.astype({"film": int})
    given = others if kind == "pandas" else lazy(others, 2)
    A, y = observed_entries(given, **NAMES)
    assert A.matrix_shape == (3, 2)
    assert fitted.score(A, np.asarray(y)) > 1 - 1e-9
    assert_allclose(fitted.predict(A), np.asarray(y), atol=1e-6 * np.ptp(truth))


def test_ids_of_equal_number_are_not_taken_for_one_another(global_random_seed):
    """As many users and films as in fit, but others: their positions mean nothing."""
    frame, _ = table(global_random_seed)
    fitted = model().fit(*observed_entries(frame, **NAMES))
    renamed = frame.replace({"user": {USERS[0]: "zoe", USERS[1]: "yan"}})
    A, _ = observed_entries(renamed, **NAMES)
    with pytest.raises(ValueError, match=r"2 row\(s\) .* in fit \('(zoe|yan)', '"):
        fitted.predict(A)
    known = ~renamed.user.isin(["zoe", "yan"]).to_numpy()
    assert_allclose(fitted.predict(A[known]), frame.stars[known], atol=1e-5)


def test_unseen_ids_are_refused_by_name():
    frame, _ = table(0)
    fitted = model().fit(*observed_entries(frame, **NAMES))
    for film, named in (("7", r"\('7'\)"), (8, r"\(8\)")):
        pair = EntryMeasurements.from_labels([USERS[0]], [film])
        with pytest.raises(ValueError, match=rf"1 column\(s\) .* in fit {named}"):
            fitted.predict(pair)
    many = EntryMeasurements.from_labels(list("abcde"), [FILMS[0]] * 5)
    with pytest.raises(ValueError, match=r"5 row\(s\) .*\('a', 'b', 'c', \.\.\.\)"):
        fitted.predict(many)


def test_labels_need_labels_in_fit_and_positions_stay_positions(global_random_seed):
    frame, _ = table(global_random_seed)
    A, y = observed_entries(frame, **NAMES)
    named = model().fit(A, y)
    assert_array_equal(named.row_labels_, A.row_labels)
    assert_array_equal(named.column_labels_, A.column_labels)
    rows, columns = A.cells()
    plain = EntryMeasurements(rows, columns, A.matrix_shape)
    with pytest.warns(UserWarning, match="X has no ids, but the rows and columns had"):
        by_position = named.predict(plain)
    assert_array_equal(by_position, named.predict(A))
    # The labels of an earlier fit do not describe another matrix.
    named.fit(plain, y)
    assert not hasattr(named, "row_labels_")
    with pytest.raises(ValueError, match="the rows had none in fit"):
        named.predict(A)
    named.fit(A, y).fit(np.eye(25).reshape(25, 5, 5), np.arange(25.0))
    assert not hasattr(named, "column_labels_")


@pytest.mark.filterwarnings("ignore:n_components=1 leaves out:UserWarning")
def test_searches_keep_labels(global_random_seed):
    frame, truth = table(global_random_seed)
    A, y = observed_entries(frame, **NAMES)
    pair = EntryMeasurements.from_labels([USERS[2]], [FILMS[5]])
    expected = truth.loc[USERS[2], FILMS[5]]
    search = GridSearchCV(model(), {"n_components": [1, 2]}, cv=3).fit(A, y)
    assert search.best_params_ == {"n_components": 2}
    own = PrecGDMatrixSensingCV([1, 2], scoring="r2", cv=3, random_state=0).fit(A, y)
    for fitted in (search, own, clone(model()).fit(A, y)):
        assert_allclose(fitted.predict(pair), [expected], rtol=1e-4)


def test_entries_from_labels():
    A = EntryMeasurements.from_labels(["b", "a", "b"], [10**6, 3, 3], np.float32)
    assert A.matrix_shape == (2, 2)
    assert A.dtype == np.float32
    assert_array_equal(A.row_index, [1, 0, 1])
    assert_array_equal(A.column_index, [1, 0, 0])
    assert_array_equal(A.row_labels, ["a", "b"])
    assert_array_equal(A.column_labels, [3, 10**6])
    with pytest.raises(ValueError, match="must name at least one entry"):
        EntryMeasurements.from_labels([], [])
    with pytest.raises(ValueError, match="equal length"):
        EntryMeasurements.from_labels(["a"], ["b", "c"])


def test_other_measurements_have_no_labels():
    assert DenseMeasurements(np.eye(6), (2, 3)).row_labels is None


def test_both_sides_of_a_symmetric_matrix_have_the_same_ids():
    """A matrix over p, q and r, although p is in no column and r is in no row."""
    frame = pd.DataFrame({"a": ["p", "p", "q"], "b": ["q", "r", "r"], "v": [1.0, 2, 3]})
    entries, values = observed_entries(frame, row="a", column="b", value="v")
    model = PrecGDMatrixSensing(1, symmetric=True).fit(entries, values)
    assert list(model.row_labels_) == list(model.column_labels_) == ["p", "q", "r"]
    assert_allclose(model.predict(entries), values, rtol=1e-6)
    turned = EntryMeasurements.from_labels(["r", "r"], ["p", "q"])
    assert_allclose(model.predict(turned), [2.0, 3.0], rtol=1e-6)
    again = pd.DataFrame({"a": ["r", "q"], "b": ["q", "p"], "v": [3.0, 1.0]})
    assert model.score(*observed_entries(again, row="a", column="b", value="v")) > 0.99
    only_rows = observed_entries((["p", "q"], [0, 1], [1.0, 2.0]))
    with pytest.raises(ValueError, match="ids of both rows and columns"):
        model.fit(*only_rows)


def test_ids_of_another_type_are_said():
    frame = pd.DataFrame({"a": [1, 1, 2], "b": ["x", "y", "x"], "v": [1.0, 2, 2]})
    entries, values = observed_entries(frame, row="a", column="b", value="v")
    model = PrecGDMatrixSensing(1).fit(entries, values)
    with pytest.raises(ValueError, match="ids are str here and were int in fit"):
        model.predict(EntryMeasurements.from_labels(["1"], ["x"]))


def test_ids_of_which_nothing_is_seen_are_named():
    triples = ["a", "b", "b"], ["x", "x", "y"], [1.0, 2, 4]
    entries, values = observed_entries(triples)
    with pytest.warns(UserWarning, match=r"no observed entry \(row 'a'\)"):
        PrecGDMatrixSensing(1).fit(entries[1:], values[1:])


def test_a_name_in_the_index_is_told_from_none():
    frame = pd.DataFrame({"i": [1, 2], "v": [1.0, 2]}, index=pd.Index([5, 6], name="u"))
    with pytest.raises(ValueError, match=r"no column 'u'.*use frame.reset_index\(\)"):
        observed_entries(frame, row="u", column="i", value="v")


def long_table():
    """Ratings of 8 films by 10 users, one of which is there twice."""
    pairs = [(u, i, float(u * i % 5 + 1)) for u in range(10) for i in range(8)]
    return pd.DataFrame([*pairs, pairs[0]], columns=["user", "item", "stars"])


@pytest.mark.parametrize("read", [observed_entries, PrecGDFactorization(1).fit])
def test_a_long_table_is_said_in_spite_of_a_repeated_pair(read):
    with pytest.warns(UserWarning, match="looks like a table of row ids"):
        read(long_table())


def test_a_tuple_of_three_arrays_is_no_matrix():
    table = long_table()
    for triple in (
        tuple(table[name] for name in table),
        tuple(table[name].to_numpy() for name in table),
    ):
        with pytest.raises(ValueError, match="observed_entries"):
            PrecGDFactorization(1).fit(triple)
    rows = ([1.0, 2.0], [2.0, 4.0], [3.0, 6.0])
    assert PrecGDFactorization(1).fit(rows).left_.shape == (3, 1)


def test_two_columns_of_ids_are_no_measurements():
    table = long_table()
    with pytest.warns(UserWarning, match="two columns of whole numbers"):
        PrecGDMatrixSensing(1).fit(table[["user", "item"]], table["stars"])
    model = PrecGDMatrixSensing(1, matrix_shape=(2, 1))
    model.fit(table[["user", "item"]], table["stars"])


@pytest.mark.parametrize("apart", [1, 1000])
@pytest.mark.parametrize(
    ("low", "dtype"),
    [
        (-(2**62), np.int64),
        (2**63 + 5, np.uint64),
        (-3, np.int32),
        (-128, np.int8),
        (2**31 - 41_000, np.int32),
    ],
)
def test_close_integers_are_encoded_as_others(low, apart, dtype, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    apart = 1 if dtype is np.int8 else apart
    steps = rng.integers(0, 40 if apart > 1 else 256, 100)
    ids = np.array([low + apart * int(step) for step in steps]).astype(dtype)
    labels, index = encoded(ids, "The ids")
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels, np.unique(ids))
    np.testing.assert_array_equal(labels[index], ids)
