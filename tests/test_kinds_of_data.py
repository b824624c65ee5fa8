"""Complete data, entries and chunks: one contract; and row solvers, chosen by a fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skprecgd import PrecGDFactorization
from skprecgd._estimators.centre import Offsets, search_rank
from skprecgd._estimators.data import CompleteData
from skprecgd._estimators.row_space import RowSpace
from skprecgd._estimators.rows import LeastSquaresRows, LossRows, TrimmedRows
from skprecgd._estimators.trusting import TrustingRows
from skprecgd._linalg.stored import is_incomplete, without_duplicates
from skprecgd.datasets import make_robust_pca
from skprecgd.factors import FactorPair
from skprecgd.measurements import DenseMeasurements, FullObservation
from skprecgd.objective import FullObjective, make_objective
from skprecgd.robust import TrimmedObjective

CENTERS = [None, "mean", "columns", "both"]


def labels(rng, shape=(60, 20)):
    M = 2.0 * rng.standard_normal((shape[0], 2)) @ rng.standard_normal((2, shape[1]))
    return (rng.random(shape) < 1 / (1 + np.exp(-M))).astype(float)


# ---- the kinds of data agree where they hold the same numbers


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_all_entries_are_complete_data(center, form, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = 3.0 + rng.standard_normal((12, 9))
    complete = CompleteData(form(X))
    entries = CompleteData(X).entries()
    found, expected = complete.offsets(center), entries.offsets(center)
    for offsets, other in zip(found.pair, expected.pair, strict=True):
        assert_allclose(offsets, other, rtol=1e-9, atol=1e-9)
    by_cells = entries.objective(found, make_objective)
    whole = complete.objective(found, make_objective)
    assert whole.has_closed_form
    assert not by_cells.has_closed_form
    variance = np.sum(np.var(X, axis=0))
    assert complete.variance(whole, found, 1.0) == pytest.approx(variance)
    # Only a truncated SVD leaves what the components do not explain.
    assert complete.variance(by_cells, found, 1.0) is None
    assert entries.variance(by_cells, found, 1.0) is None
    for seen in (complete.seen(), entries.seen()):
        assert all(mask.all() for mask in seen)


def test_complete_and_entries_hide_the_same_cells(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((12, 9))
    basis = np.linalg.qr(rng.standard_normal((9, 3)))[0]
    space, ridge = RowSpace(basis, np.arange(9.0)), np.array([0.0, 0.1, 2.0])
    rounds = [
        list(data.rounds(0.2, np.random.RandomState(0)))
        for data in (CompleteData(X), CompleteData(X).entries())
    ]
    assert len(rounds[0]) == len(rounds[1]) == 5
    for (visible, hidden), (other, other_hidden) in zip(*rounds, strict=True):
        assert_array_equal(hidden.rows, other_hidden.rows)
        assert_array_equal(hidden.columns, other_hidden.columns)
        assert_array_equal(hidden.values, X[hidden.rows, hidden.columns])
        assert_array_equal(visible.entries().values, other.entries().values)
        found = visible.least_squares(space, ridge)
        assert_allclose(found, other.least_squares(space, ridge), rtol=1e-6, atol=1e-8)


# ---- what counts as missing, and which entries are stored


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array], ids=["dense", "csr"])
def test_incomplete(form):
    X = np.array([[1.0, 0.0], [2.0, 3.0]])
    assert not is_incomplete(form(X), np.nan)
    # Zero marks what is missing: such data are entries, whether or not one is zero.
    assert is_incomplete(form(X + 1.0), 0)
    X[0, 0] = np.nan
    assert is_incomplete(form(X), np.nan)
    # A sum that overflows is no missing value.
    assert not is_incomplete(form(np.full((2, 2), 1e308)), np.nan)


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_without_duplicates(form):
    twice = sparse.coo_array(([1.0, 2.0, 4.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    given = {
        "coo": twice,
        "csr": sparse.csr_array(([1.0, 2.0, 4.0], [1, 1, 0], [0, 2, 3]), shape=(2, 2)),
        "csc": sparse.csc_array(([4.0, 1.0, 2.0], [1, 0, 0], [0, 1, 3]), shape=(2, 2)),
    }[form]
    before = given.data.copy()
    found = without_duplicates(given)
    assert_array_equal(np.sort(found.data), [3.0, 4.0])
    assert_array_equal(given.data, before)
    assert without_duplicates(found) is found
    assert not np.shares_memory(without_duplicates(found, copy=True).data, found.data)


# ---- offsets and the component that they take


@pytest.mark.parametrize("center", CENTERS)
def test_offsets_come_back(center, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    X = 3.0 + rng.standard_normal((12, 9))
    entries = CompleteData(X).entries()
    offsets = entries.offsets(center)
    left = offsets.subtracted(entries.values, entries.rows, entries.columns)
    u, s, vt = np.linalg.svd(left.reshape(X.shape), full_matrices=False)
    factors = FactorPair.from_svd(u, s, vt.T)
    assert_allclose(offsets.with_all(factors).matrix(), X, atol=1e-10)
    # Of the rows as a component, of the columns not at all.
    rows = offsets.with_rows(factors).matrix() + offsets.columns
    assert_allclose(rows, X, atol=1e-10)


def test_row_offsets_are_a_component_more():
    """Beside them, components have no means: there is one less in a full matrix."""
    assert [search_rank(n, "both", (4, 3)) for n in (1, 2, 3)] == [1, 2, 2]
    assert [search_rank(n, "columns", (4, 3)) for n in (1, 2, 3)] == [1, 2, 3]
    both = Offsets.of("both", (np.ones(4), np.ones(3)))
    plain = Offsets.of("columns", (np.zeros(4), np.ones(3)))
    for n in (1, 2, 3):
        factors = FactorPair(np.eye(4, n), np.eye(3, n))
        assert both.with_rows(both.within(factors)).rank == min(n + 1, 3)
        assert plain.with_rows(plain.within(factors)).rank == n


# ---- row solvers


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, LeastSquaresRows),
        ({"loss": "logistic", "alpha": 0}, LossRows),
        ({"loss": "huber"}, LossRows),
        ({"outlier_fraction": 0.1, "alpha": 0}, TrimmedRows),
        ({"outlier_fraction": 0.1}, TrustingRows),
    ],
    ids=["squared", "logistic", "huber", "outliers", "outliers and a prior"],
)
def test_a_fit_chooses_how_rows_are_solved_for_good(options, kind, global_random_seed):
    X = labels(np.random.default_rng(global_random_seed))
    model = PrecGDFactorization(2, random_state=0, tol=1e-3, **options).fit(X)
    assert type(model._row_solver) is kind
    z, score = model.transform(X), model.score(X)
    # What is set later belongs to the next fit.
    model.set_params(loss="absolute", outlier_fraction=0.2, alpha=1.0)
    again = pickle.loads(pickle.dumps(model))
    for fitted in (model, again):
        assert_array_equal(fitted.transform(X), z)
        assert fitted.score(X) == score


@pytest.mark.parametrize("options", [{"loss": "huber"}, {"outlier_fraction": "auto"}])
def test_what_needs_each_entry_takes_no_sparse_zeros(options):
    X = sparse.csr_array(np.eye(8, 6))
    ((name, value),) = options.items()
    message = rf"{name}={value!r} looks at every entry, and X is sparse"
    model = PrecGDFactorization(2, tol=1e-2, random_state=0, **options)
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    model.fit(np.random.default_rng(0).standard_normal((8, 6)))
    with pytest.raises(ValueError, match=message):
        model.transform(X)


def test_tags_of_an_unknown_loss_can_be_read():
    tags = PrecGDFactorization(loss="no such loss").__sklearn_tags__()
    assert not tags.input_tags.sparse


# ---- what objectives say of gross errors


def test_objectives_that_fit_everything_report_no_gross_errors():
    X = np.arange(12.0).reshape(4, 3)
    factors = FactorPair(np.ones((4, 1)), np.ones((3, 1)))
    stack = DenseMeasurements(np.eye(12), (4, 3))
    for objective in (FullObjective(X), make_objective(stack, X.ravel())):
        assert objective.working_tol(1e-3) == 1e-3
        assert objective.gross_errors(factors, 0.1, 1e-3) is None
        assert objective.without(np.zeros(12)) is objective
    assert FullObjective(X).weight == 1.0
    with pytest.raises(NotImplementedError, match="a loss of its own"):
        FullObjective(X).with_loss(objective.loss)


def test_gross_errors_of_a_trimmed_objective(global_random_seed):
    X, errors, truth = make_robust_pca(60, rank=2, random_state=global_random_seed)
    objective = TrimmedObjective(FullObservation(X.shape), X, 0.1)
    # The entries left out need a fit taken further.
    assert objective.working_tol(1e-3) < 1e-3
    u, s, vt = np.linalg.svd(truth.matrix)
    exact = FactorPair.from_svd(u[:, :2], s[:2], vt[:2].T)
    gross = objective.gross_errors(exact, 0.0, 1e-9)
    assert_allclose(gross.matrix().toarray(), errors.toarray(), atol=1e-8)
    assert gross.fraction == 0.1
    rest = objective.without(gross.values)
    assert rest.evaluate(exact).relative_residual < 1e-12


@pytest.mark.parametrize("solver", ["auto", "precgd", "gauss-newton"])
def test_all_components_of_complete_data_are_kept(solver, global_random_seed):
    """Also where the matrix has fewer, and a path ends before it comes to them."""
    rng = np.random.default_rng(global_random_seed)
    X = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 20))
    model = PrecGDFactorization(10, center="columns", solver=solver).fit(X)
    assert model.n_components_ == 10
    np.testing.assert_allclose(
        model.components_ @ model.components_.T, np.eye(10), rtol=0, atol=1e-12
    )
    assert np.all(model.singular_values_[3:] <= 1e-8 * model.singular_values_[0])
