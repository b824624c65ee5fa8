"""Folds as users give them: what hides whole rows is said, what is no fold refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import (
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    ShuffleSplit,
    cross_val_score,
)

from skprecgd import (
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.datasets import make_matrix_sensing
from skprecgd.model_selection import EntryKFold, EntryShuffleSplit

RANK = 3
SHAPE = (40, 25)


@pytest.fixture
def X(rng):
    """A complete matrix of rank 3 with a little noise."""
    M = rng.normal(size=(SHAPE[0], RANK)) @ rng.normal(size=(RANK, SHAPE[1]))
    return M + 0.1 * rng.normal(size=SHAPE)


def by_rows(X):
    """The entries as triples, row by row."""
    rows, columns = np.nonzero(np.ones_like(X))
    return observed_entries((rows, columns, X.ravel()))


def factorization(X, cv, **options):
    return PrecGDFactorizationCV(range(1, 6), cv=cv, random_state=0, **options).fit(X)


def sensing(X, cv, **options):
    # Folds are the same for all candidates, of which least squares are enough.
    options = {"alpha": 0, "random_state": 0, **options}
    return PrecGDMatrixSensingCV(range(1, 6), cv=cv, **options).fit(*by_rows(X))


both = pytest.mark.parametrize("fit", [factorization, sensing])


def told(fit, *arguments, **options):
    """The warnings of a fit, as text."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fit(*arguments, **options)
    return [str(warning.message) for warning in found]


# ---- whole rows and columns


@both
def test_folds_that_hide_rows_are_named_once(fit, X):
    said = [text for text in told(fit, X, KFold(5)) if "hides" in text]
    assert len(said) == 1
    assert "cv=KFold(n_splits=5" in said[0]
    assert "up to 8 whole row(s) in a fold" in said[0]
    assert "EntryKFold" in said[0]
    assert "KFold(shuffle=True)" in said[0]


def test_folds_that_hide_columns_are_named(X):
    column = np.tile(np.arange(SHAPE[1]), SHAPE[0])
    hidden = np.isin(column, [3, 7])
    splits = [(np.flatnonzero(~hidden), np.flatnonzero(hidden))]
    with pytest.warns(UserWarning, match=r"hides up to 2 whole column\(s\) in a fold"):
        factorization(X, splits, scoring="neg_mean_squared_error")


def test_a_row_of_one_entry_that_is_held_out_is_hidden(X):
    """Rows that the full data show only once are as hidden as others."""
    X[0, 1:] = np.nan
    n = int(np.sum(~np.isnan(X)))
    with pytest.warns(UserWarning, match=r"hides up to 1 whole row\(s\) in a fold"):
        factorization(X, [(np.arange(1, n), np.arange(0, n, 9))])


@both
@pytest.mark.parametrize(
    "cv",
    [
        None,
        4,
        KFold(5, shuffle=True, random_state=0),
        EntryKFold(3, random_state=0),
        EntryShuffleSplit(2, test_size=0.3, random_state=0),
        ShuffleSplit(2, test_size=0.2, random_state=0),
    ],
    ids=str,
)
def test_folds_from_everywhere_are_silent_and_find_the_rank(fit, cv, X):
    assert fit(X, cv).n_components_ == RANK


def test_rows_that_nobody_asks_for_are_not_hidden(X):
    """Training on some rows, and testing other entries of the same ones."""
    position = np.arange(X.size).reshape(SHAPE)[:30]
    held_out = np.indices(position.shape).sum(axis=0) % 5 == 0
    split = position[~held_out], position[held_out]
    assert factorization(X, [split]).best_params_["n_components"] == RANK


def test_other_measurements_have_no_rows_to_hide(global_random_seed):
    A, y, _ = make_matrix_sensing(
        8, rank=1, n_measurements=120, noise=0.1, random_state=global_random_seed
    )
    model = PrecGDMatrixSensingCV([1, 2], matrix_shape=(8, 8), cv=KFold(3))
    assert model.fit(A, y).n_components_ == 1


# ---- positions


@both
def test_row_numbers_are_refused(fit, X):
    splits = list(KFold(5).split(X))
    sentence = "positions among the 1000 observed entries .* look like row numbers"
    with pytest.raises(ValueError, match=sentence):
        fit(X, splits)
    with pytest.raises(ValueError, match=sentence):
        fit(X, iter(splits))


def test_few_positions_of_a_splitter_are_taken(rng):
    """A splitter has counted the entries, however few it takes."""
    X = rng.normal(size=(30, 1)) @ rng.normal(size=(1, 2))
    few = PredefinedSplit(np.where(np.arange(28) % 4 == 1, 0, -1))
    model = PrecGDFactorizationCV([1], cv=few, scoring="neg_mean_squared_error")
    assert model.fit(X).n_components_ == 1


def test_as_many_rows_as_entries_leave_no_doubt(rng):
    X = 1.0 + 0.1 * rng.normal(size=(30, 1))
    splits = list(KFold(3).split(X))
    messages = told(factorization_of_one_column, X, splits)
    assert any("hides" in text for text in messages)


def factorization_of_one_column(X, splits):
    return PrecGDFactorizationCV([1], cv=splits).fit(X)


def test_masks_are_positions(X, rng):
    test = rng.random(X.size) < 0.2
    by_masks = factorization(X, [(~test, test)])
    by_numbers = factorization(X, [(np.flatnonzero(~test), np.flatnonzero(test))])
    np.testing.assert_array_equal(
        by_masks.cv_results_["mean_test_score"],
        by_numbers.cv_results_["mean_test_score"],
    )


@both
@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([(np.arange(900), np.arange(900, 1001))], "the 1000 samples.*index 1000"),
        ([(np.ones(40, bool), np.ones(40, bool))], "cv does not fit the 1000 samples"),
        ([(np.arange(900.0), np.arange(3))], "cv must hold 1-D arrays of positions"),
        ([(np.ones((3, 2), int), np.arange(3))], r"of dtype int64 and shape \(3, 2\)"),
        ([np.arange(900)], r"cv must hold pairs \(train, test\)"),
        ([], r"cv=\[\] gave no split"),
        (1001, "cv=1001 needs as many observed entries, got 1000"),
        (KFold(1001), r"cv=KFold\(n_splits=1001.*greater than the number of samples"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else "",
)
def test_what_is_no_fold_is_refused_by_its_name(fit, cv, message, X):
    with pytest.raises(ValueError, match=message):
        fit(X, cv)


def test_errors_of_the_default_folds_name_cv():
    with pytest.raises(ValueError, match="cv=5 needs as many observed entries, got 2"):
        PrecGDFactorizationCV([1]).fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match="cv=3: No entry can be held out"):
        PrecGDFactorizationCV([1], cv=3, missing_values=0).fit(np.diag([1.0, 2, 3]))
    with pytest.raises(ValueError, match="cv=5 needs as many samples, got n_samples=3"):
        PrecGDMatrixSensingCV([1], matrix_shape=(2, 2)).fit(
            np.eye(4)[:3] + 1, [1, 2, 3]
        )


# ---- equal targets


def test_a_fold_of_equal_targets_fits(rng):
    """Four of five folds train on the one target that differs; the last does not."""
    A, y = rng.normal(size=(100, 30)), np.full(100, 2.0)
    y[-1] = 3.0
    model = PrecGDMatrixSensing(1, matrix_shape=(6, 5))
    assert np.all(np.isfinite(cross_val_score(model, A, y, cv=5)))


@pytest.mark.parametrize("value", [0.0, 2.5])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_equal_targets_are_a_matrix_of_one_value(value, loss, rng):
    entries, y = observed_entries(np.full((6, 5), value))
    model = PrecGDMatrixSensing(2, loss=loss).fit(entries, y)
    np.testing.assert_allclose(model.matrix_, value, atol=1e-8)
    assert model.n_components_ == 1
    # As measurements of anything else: every row is the sum of all cells.
    sums = np.ones((40, 30))
    total = PrecGDMatrixSensing(1, matrix_shape=(6, 5), loss=loss)
    assert np.sum(total.fit(sums, np.full(40, value)).matrix_) == pytest.approx(value)


def test_a_constant_matrix_is_predicted_by_every_fold():
    model = PrecGDMatrixSensingCV([1, 2]).fit(*observed_entries(np.full((6, 5), 2.0)))
    np.testing.assert_allclose(model.matrix_, 2.0)
    assert model.n_components_ == 1


# ---- worse than the mean


@both
@pytest.mark.parametrize("alpha", [0.0, None])
def test_a_rank_that_predicts_worse_than_the_mean_is_said(fit, alpha, rng):
    noise = rng.normal(size=(20, 12))
    said = told(fit, noise, 5, alpha=alpha)
    said = [text for text in said if "worse than their mean" in text]
    assert len(said) == 1
    assert "best_score_=-" in said[0]
    # By default one of the ridges leaves nothing.
    assert ("a larger alpha" in said[0]) == (alpha is not None)
    assert "a center" in said[0]


def test_a_score_of_ones_own_has_no_mean_to_beat(rng):
    noise = rng.normal(size=(20, 12))
    model = factorization(noise, 5, scoring="neg_mean_squared_error")
    assert model.best_score_ < 0


def test_folds_of_single_samples_are_refused(rng):
    """R^2 compares with the mean of what is held out, which is a single sample."""
    A = rng.standard_normal((30, 4, 3))
    y = A.reshape(30, -1) @ rng.standard_normal(12)
    search = PrecGDMatrixSensingCV([1, 2], cv=LeaveOneOut())
    with pytest.raises(ValueError, match=r"cv=LeaveOneOut\(\) holds out a single"):
        search.fit(A, y)
    search.set_params(scoring="neg_mean_squared_error", tol=1e-3).fit(A, y)
    assert np.isfinite(search.best_score_)
