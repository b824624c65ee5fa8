"""n_components="auto": as many components as the data carry, or can determine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd._linalg.matrices import as_matrix
from skprecgd._linalg.offsets import complete_offsets, subtract
from skprecgd.variational.signal import SIGNAL, find_signal

RANK = 4
CENTERS = [None, "mean", "columns", "both"]


def table(rng, shape=(120, 40), noise=0.3, dtype=np.float64):
    """Rank four, and columns of different means and noise."""
    left, right = (rng.standard_normal((n, RANK)) for n in shape)
    X = left @ right.T + 3 * rng.standard_normal(shape[1])
    return (X + noise * rng.standard_normal(shape)).astype(dtype)


def in_file(X, path):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


def in_chunks(X, path):
    array = pytest.importorskip("dask.array")
    return array.from_array(X, chunks=(50, X.shape[1]))


KINDS = {
    "dense": lambda X, path: X,
    "float32": lambda X, path: X.astype(np.float32),
    "csr": lambda X, path: sparse.csr_array(X),
    "csc": lambda X, path: sparse.csc_array(X),
    "file": in_file,
    "chunks": in_chunks,
}


# ---- complete data


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("center", CENTERS)
def test_it_finds_what_stands_out_of_the_noise(kind, wide, center, rng, tmp_path):
    X = table(rng)
    X = KINDS[kind](np.ascontiguousarray(X.T) if wide else X, tmp_path)
    model = PrecGDFactorization("auto", center=center, random_state=0).fit(X)
    # The means are one more, unless they are what is taken off, or a component.
    means_are_gone = center == "columns" and not wide
    assert model.n_components_ == (RANK if means_are_gone else RANK + 1)
    assert model.components_.shape == (model.n_components_, X.shape[1])
    assert "Noise of about 0." in model.stop_reason_


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("shape", [(60, 30), (400, 300)])
def test_the_components_are_those_of_a_fit_with_that_number(shape, center, rng):
    X = table(rng, shape)
    auto = PrecGDFactorization("auto", center=center, random_state=0).fit(X)
    # The offsets of rows are one more, and no component that is asked for.
    found = auto.n_components_ - (center == "both")
    fixed = clone(auto).set_params(n_components=found).fit(X)
    assert_allclose(auto.singular_values_, fixed.singular_values_, rtol=1e-12)
    assert_allclose(auto.components_, fixed.components_, atol=1e-9)
    assert_allclose(auto.transform(X), fixed.transform(X), atol=1e-7)
    ratio = "explained_variance_ratio_"
    assert_allclose(getattr(auto, ratio), getattr(fixed, ratio), rtol=1e-9)


def test_other_solvers_find_as_many(rng):
    X = table(rng)
    how = {"center": "columns", "solver": "precgd-cg"}
    model = PrecGDFactorization("auto", **how).fit(X)
    assert model.n_components_ == RANK


def test_a_ridge_does_not_change_the_number(rng):
    X = table(rng)
    plain = PrecGDFactorization("auto", center="columns").fit(X)
    ridge = PrecGDFactorization("auto", center="columns", alpha=5.0).fit(X)
    assert_allclose(ridge.singular_values_, plain.singular_values_ - 5.0)


@pytest.mark.parametrize("center", CENTERS)
def test_one_component_is_kept_of_noise_alone(center, rng):
    X = rng.standard_normal((80, 30))
    model = PrecGDFactorization("auto", center=center).fit(X)
    # The offsets of rows are one more.
    assert model.n_components_ == 1 + (center == "both")
    assert model.transform(X).shape == (80, model.n_components_)
    assert "none of " in model.stop_reason_


@pytest.mark.parametrize("X", [np.zeros((6, 4)), np.zeros((400, 300))])
@pytest.mark.parametrize("sparsely", [False, True])
def test_of_zeros_one_component_of_zeros_is_kept(X, sparsely):
    data = sparse.csr_array(X) if sparsely else X
    model = PrecGDFactorization("auto", random_state=0).fit(data)
    assert_array_equal(model.singular_values_, [0.0])
    assert_array_equal(model.inverse_transform(model.transform(X)), X)


@pytest.mark.parametrize("center", ["mean", "columns", "both"])
def test_of_constant_data_one_component_of_rounding_is_kept(center):
    X = np.full((6, 4), 0.1)
    model = PrecGDFactorization("auto", center=center).fit(X)
    assert model.n_components_ == 1 + (center == "both")
    assert_allclose(model.inverse_transform(model.transform(X)), X)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_lines_and_tiny_matrices(shape, rng):
    X = rng.standard_normal(shape)
    model = PrecGDFactorization("auto").fit(X)
    assert model.n_components_ == 1


@pytest.mark.parametrize("shape", [(60, 40), (300, 400), (500, 20)])
@pytest.mark.parametrize("kind", ["dense", "csr", "chunks"])
def test_without_noise_the_rank_is_found_exactly(shape, kind, rng, tmp_path):
    for rank in (1, 3, 12):
        left, right = (rng.standard_normal((n, rank)) for n in shape)
        # Singular values over four orders of magnitude.
        X = (left * np.geomspace(1, 1e-4, rank)) @ right.T
        model = PrecGDFactorization("auto", random_state=0)
        assert model.fit(KINDS[kind](X, tmp_path)).n_components_ == rank


@pytest.mark.parametrize("noise", [1e-4, 1e-9])
@pytest.mark.parametrize("shape", [(60, 40), (400, 300)])
def test_little_noise_is_told_from_none(shape, noise, rng):
    X = table(rng, shape, noise)
    model = PrecGDFactorization("auto", center="columns", random_state=0).fit(X)
    assert model.n_components_ == RANK


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e20, 1e140])
@pytest.mark.parametrize("shape", [(60, 40), (400, 300)])
def test_units_do_not_matter(shape, scale, rng):
    X = table(rng, shape)
    model = PrecGDFactorization("auto", center="columns", random_state=0)
    assert model.fit(scale * X).n_components_ == RANK


def test_an_exact_dependence_says_that_there_is_no_noise(rng):
    for shape in ((60, 20), (20, 20), (400, 300)):
        X = table(rng, shape)
        X[:, -1] = X[:, :3].sum(axis=1)
        model = PrecGDFactorization("auto", random_state=0).fit(X)
        assert model.n_components_ == shape[1] - 1


def test_lines_that_do_not_vary_are_no_sign_of_a_low_rank(rng):
    X = table(rng, (60, 20))
    constant = np.full((60, 30), 7.0)
    for padded in (np.hstack([X, constant]), np.vstack([X, np.zeros((500, 20))])):
        center = "columns" if padded.shape[1] > 20 else None
        model = PrecGDFactorization("auto", center=center).fit(padded)
        assert model.n_components_ <= RANK + 1
        assert "of 20 components" in model.stop_reason_


def test_data_that_were_centred_before_are_told(rng):
    # More columns than rows: the lost direction is one of the shorter side.
    X = rng.standard_normal((10, 400))
    X -= X.mean(axis=0)
    model = PrecGDFactorization("auto").fit(X)
    assert "none of 9 components" in model.stop_reason_


def test_beside_pca_on_tables():
    """Fewer than "mle", which compares ranks by an approximation of the evidence."""
    for table_of, least in ((load_wine, 5), (load_digits, 35)):
        X = table_of().data
        X = X[:, X.std(axis=0) > 0]
        X = (X - X.mean(axis=0)) / X.std(axis=0)
        auto = PrecGDFactorization("auto", center="columns").fit(X)
        assert least <= auto.n_components_ <= PCA("mle").fit(X).n_components_


def test_beside_pca_on_many_rows(rng):
    X = table(rng, (2000, 12), noise=0.5)
    auto = PrecGDFactorization("auto", center="columns").fit(X)
    assert auto.n_components_ == PCA("mle").fit(X).n_components_ == RANK


def test_weights_make_it_a_bound(rng):
    X = table(rng, (20, 8), noise=0.0)
    model = PrecGDFactorization("auto").fit(X, entry_weight=np.full(X.shape, 2.0))
    assert model.n_components_ == RANK + 1


# ---- the singular values behind it


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("wide", [False, True])
def test_gram_matrices(kind, center, wide, rng, tmp_path):
    X = table(rng, (30, 12))
    offsets = complete_offsets(X, center)
    exact = subtract(X, *offsets)
    if kind == "chunks":
        pytest.importorskip("dask.array")
        from skprecgd.distributed.matrix import ChunkedMatrix
        from skprecgd.distributed.rows import RowChunks

        matrix = ChunkedMatrix(RowChunks(in_chunks(X, None)), *offsets)
    else:
        matrix = as_matrix(subtract(KINDS[kind](X, tmp_path), *offsets))
    if wide:
        matrix, exact = matrix.T, exact.T
    rtol = 1e-5 if kind == "float32" else 1e-10
    gram = exact.T @ exact
    assert_allclose(matrix.gram(), gram, rtol=rtol, atol=rtol * np.trace(gram))


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_array, sparse.coo_array])
@pytest.mark.parametrize("seen", [0.02, 0.3, 1.0])
def test_gram_matrices_of_sparse_arrays_of_any_density(form, seen, rng):
    X = table(rng, (60, 15)) * (rng.random((60, 15)) < seen)
    gram = X.T @ X
    found = as_matrix(form(X)).gram()
    assert_allclose(found, gram, rtol=1e-12, atol=1e-12 * np.trace(gram))


@pytest.mark.parametrize("shape", [(400, 300), (300, 700)])
@pytest.mark.parametrize("noise", [0.5, 0.0])
def test_growing_blocks_find_what_all_singular_values_say(shape, noise, rng):
    n = 40
    left, right = (rng.standard_normal((k, n)) for k in shape)
    X = left @ right.T + noise * rng.standard_normal(shape)
    size = float(np.linalg.norm(X))
    growing = replace(SIGNAL, gram_side=0)
    found = [
        find_signal(as_matrix(X), size, random_state=0, tuning=tuning).posterior
        for tuning in (SIGNAL, growing)
    ]
    assert [posterior.n_components for posterior in found] == [n, n]
    if noise:
        assert_allclose(found[1].noise_scale, found[0].noise_scale, rtol=1e-3)
        assert_allclose(found[1].singular_values, found[0].singular_values, rtol=1e-6)


# ---- a bound elsewhere


def test_incomplete_data_of_low_rank(rng):
    X = table(rng, (40, 30), noise=0.0)
    X[rng.random(X.shape) < 0.3] = np.nan
    model = PrecGDFactorization("auto", random_state=0).fit(X)
    assert model.n_components_ == RANK + 1


def test_a_fit_ends_below_what_the_entries_determine(rng):
    # 5 (8 + 8 - 5) = 55 unknowns, 6 (8 + 8 - 6) = 60, and 60 entries.
    X = rng.standard_normal((8, 8))
    X[np.arange(4), np.arange(4)] = np.nan
    how = {"alpha": 0.0, "tol": 1e-3, "early_stopping": False}
    model = PrecGDFactorization("auto", random_state=0, **how).fit(X)
    assert model.n_components_ == 5


@pytest.mark.parametrize("symmetric", [False, True])
def test_sensing(symmetric, rng):
    factor = rng.standard_normal((8, 2))
    other = factor if symmetric else rng.standard_normal((8, 2))
    A = rng.standard_normal((60, 64))
    y = A @ (factor @ other.T).ravel()
    model = PrecGDMatrixSensing("auto", symmetric=symmetric, random_state=0).fit(A, y)
    assert model.n_components_ == 2


def test_a_path_ends_below_what_the_measurements_determine(rng):
    # 5 (8 + 8 - 5) = 55 unknowns, and 6 (8 + 8 - 6) = 60.
    A, y = rng.standard_normal((60, 64)), rng.standard_normal(60)
    how = {"matrix_shape": (8, 8), "tol": 1e-3, "early_stopping": False, "alpha": 0}
    model = PrecGDMatrixSensing("auto", random_state=0, **how).fit(A, y)
    assert model.n_components_ == 5


def test_groups_carry_each_their_own(rng):
    X = np.full((80, 50), np.nan)
    X[:40, :25] = table(rng, (40, 25))
    X[40:, 25:] = rng.standard_normal((40, 25))
    X[79, 49] = np.nan
    with pytest.warns(UserWarning, match="2 groups of rows and columns"):
        model = PrecGDFactorization("auto", tol=1e-3, random_state=0).fit(X)
    used = np.abs(model.components_) > 0
    assert np.sum(np.any(used[:, :25], axis=1)) == RANK + 1


# ---- in searches


def test_a_grid_search_compares_it_with_numbers(rng):
    X = table(rng, (60, 20))
    grid = {"n_components": [1, 2, "auto"]}
    model = PrecGDFactorization(center="columns", random_state=0)
    search = GridSearchCV(model, grid, cv=2).fit(X)
    assert search.best_params_ == {"n_components": "auto"}
    assert search.best_estimator_.n_components_ == RANK


def test_a_search_along_paths_takes_it_for_the_highest_determined_rank(rng):
    X = np.outer(1 + rng.random(30), 1 + rng.random(9))
    X += 0.01 * rng.standard_normal(X.shape)
    X[0, 0] = np.nan
    how = {"alpha": 0, "cv": 3, "tol": 1e-3, "random_state": 0}
    # 8 (30 + 9 - 8) = 248 unknowns, 9 (30 + 9 - 9) = 270, and 269 entries.
    model = PrecGDFactorizationCV([1, 2, "auto"], **how).fit(X)
    assert_array_equal(model.cv_results_["param_n_components"], [1, 2, 8])
    assert model.best_params_["n_components"] == 1
    entries, y = observed_entries(X)
    model = PrecGDMatrixSensingCV([1, 2, "auto"], **how).fit(entries, y)
    assert_array_equal(model.cv_results_["param_n_components"], [1, 2, 8])


@pytest.mark.parametrize("values", ["mle", [1, "mle"], [1, None], [True, 2]])
def test_a_search_along_paths_refuses_other_words(values, rng):
    model = PrecGDFactorizationCV(values)
    with pytest.raises(ValueError, match="n_components"):
        model.fit(table(rng, (20, 8)))
