"""The generators of `skprecgd.datasets`: they deliver what was ordered, exactly."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skprecgd.datasets import (
    LowRankTruth,
    make_low_rank,
    make_matrix_completion,
    make_matrix_sensing,
    make_phase_retrieval,
    make_robust_pca,
)

EPS = np.finfo(np.float64).eps

seeds = st.integers(0, 2**32 - 1)


@st.composite
def truth_arguments(
    draw: Any, max_size: int = 12, min_size: int = 1, max_kappa: float = 1e6
) -> dict[str, Any]:
    """Arguments that describe a truth, as every generator takes them."""
    symmetric = draw(st.booleans())
    n_rows = draw(st.integers(min_size, max_size))
    n_columns = n_rows if symmetric else draw(st.integers(min_size, max_size))
    rank = draw(st.integers(1, min(n_rows, n_columns)))
    kappa = draw(st.floats(1, max_kappa)) if rank > 1 else 1.0
    return {
        "n_rows": n_rows,
        "n_columns": n_columns,
        "rank": rank,
        "condition_number": kappa,
        "spectrum": draw(st.sampled_from(["geometric", "linear", "step"])),
        "symmetric": symmetric,
        "random_state": draw(seeds),
    }


def make_each(random_state: Any, **changes: Any) -> dict[str, tuple[Any, ...]]:
    """One small problem of every kind, as flat tuples of arrays."""
    sensing = make_matrix_sensing(
        6, 5, rank=2, n_measurements=40, random_state=random_state, **changes
    )
    phase = make_phase_retrieval(
        6, rank=2, n_measurements=40, random_state=random_state, **changes
    )
    triples, completed = make_matrix_completion(
        8,
        7,
        rank=2,
        n_observed=40,
        min_per_line=3,
        format="triples",
        random_state=random_state,
        **changes,
    )
    robust = make_robust_pca(
        8,
        7,
        rank=2,
        observed_fraction=0.9,
        random_state=random_state,
        **{"outlier_fraction": 0.1, **changes},
    )
    return {
        "sensing": (sensing.X, sensing.y, *factors(sensing.truth)),
        "phase": (phase.X, phase.y, *factors(phase.truth)),
        "completion": (*triples, *factors(completed)),
        "robust": (robust.X, robust.outliers.toarray(), *factors(robust.truth)),
    }


def factors(truth: LowRankTruth) -> tuple[Any, ...]:
    return truth.left, truth.right, truth.singular_values


# Truth --------------------------------------------------------------------------------


@given(truth_arguments())
def test_truth_has_the_ordered_rank_and_spectrum(arguments: dict[str, Any]) -> None:
    truth = make_low_rank(**arguments)
    rank, kappa = arguments["rank"], arguments["condition_number"]
    assert truth.shape == (arguments["n_rows"], arguments["n_columns"])
    assert truth.rank == rank
    assert truth.condition_number == pytest.approx(kappa, rel=1e-12)
    assert truth.left.dtype == truth.right.dtype == np.float64

    values = np.linalg.svd(truth.matrix, compute_uv=False)
    floor = 100 * EPS * values[0]
    np.testing.assert_allclose(values[:rank], truth.singular_values, rtol=0, atol=floor)
    assert (values[rank:] <= floor).all()
    assert np.mean(truth.matrix**2) == pytest.approx(1, rel=1e-12)


@given(truth_arguments())
def test_factors_are_balanced(arguments: dict[str, Any]) -> None:
    truth = make_low_rank(**arguments)
    scale = truth.singular_values[0]
    for factor in (truth.left, truth.right):
        gram = factor.T @ factor
        np.testing.assert_allclose(
            gram, np.diag(truth.singular_values), rtol=0, atol=100 * EPS * scale
        )


@given(truth_arguments())
def test_symmetric_truth_is_positive_semidefinite(arguments: dict[str, Any]) -> None:
    truth = make_low_rank(**arguments)
    assert truth.symmetric == arguments["symmetric"]
    if truth.symmetric:
        matrix = truth.matrix
        np.testing.assert_array_equal(matrix, matrix.T)
        values = np.linalg.eigvalsh(matrix)
        assert values[0] >= -100 * EPS * values[-1]


def test_left_and_right_singular_vectors_are_independent() -> None:
    truth = make_low_rank(50, rank=2, random_state=0)
    overlap = truth.left.T @ truth.right / truth.singular_values
    assert np.abs(overlap).max() < 0.9


@pytest.mark.parametrize(
    ("spectrum", "expected"),
    [
        ("geometric", [1, 0.1, 0.01, 0.001, 0.0001]),
        ("linear", [1, 0.750025, 0.50005, 0.250075, 0.0001]),
        ("step", [1, 1, 1, 0.0001, 0.0001]),
    ],
)
def test_course_of_the_spectrum(spectrum: Any, expected: list[float]) -> None:
    truth = make_low_rank(
        20, 10, rank=5, condition_number=1e4, spectrum=spectrum, random_state=0
    )
    relative = truth.singular_values / truth.singular_values[0]
    np.testing.assert_allclose(relative, expected, rtol=1e-12)


def test_degrees_of_freedom() -> None:
    assert make_low_rank(9, 7, rank=3).degrees_of_freedom == 3 * (9 + 7 - 3)
    assert make_low_rank(9, rank=9).degrees_of_freedom == 81
    assert make_low_rank(9, rank=9, symmetric=True).degrees_of_freedom == 45
    assert make_low_rank(9, rank=2, symmetric=True).degrees_of_freedom == 9 + 8


def test_signs_of_the_singular_vectors_are_random() -> None:
    signs = {
        float(np.sign(make_low_rank(1, rank=1, random_state=seed).left[0, 0]))
        for seed in range(64)
    }
    assert signs == {-1.0, 1.0}


@given(truth_arguments(), seeds)
def test_entries_are_those_of_the_matrix(arguments: dict[str, Any], seed: int) -> None:
    truth = make_low_rank(**arguments)
    rng = np.random.default_rng(seed)
    rows = rng.integers(truth.shape[0], size=20)
    columns = rng.integers(truth.shape[1], size=20)
    expected = truth.matrix[rows, columns]
    tolerance = 100 * EPS * truth.singular_values[0]
    np.testing.assert_allclose(
        truth.entries(rows, columns), expected, rtol=0, atol=tolerance
    )


def test_more_entries_than_a_block_holds() -> None:
    truth = make_low_rank(9, 8, rank=3, random_state=0)
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(n, size=3_000_000) for n in truth.shape)
    expected = truth.matrix[rows, columns]
    tolerance = 100 * EPS * truth.singular_values[0]
    np.testing.assert_allclose(
        truth.entries(rows, columns), expected, rtol=0, atol=tolerance
    )
    assert truth.entries([], []).shape == (0,)


def test_truth_survives_pickling() -> None:
    truth = make_low_rank(6, rank=2, symmetric=True, random_state=0)
    again = pickle.loads(pickle.dumps(truth))
    assert again.symmetric
    np.testing.assert_array_equal(again.left, truth.left)


# Error of an estimate -----------------------------------------------------------------


@given(truth_arguments(min_size=3), st.floats(-15, 3), seeds)
def test_relative_error_resolves_a_known_error(
    arguments: dict[str, Any], exponent: float, seed: int
) -> None:
    """A perturbation of known norm, from 1e-15 of the matrix to 1000 times it."""
    truth = make_low_rank(**arguments)
    error = 10**exponent
    rng = np.random.default_rng(seed)
    u, v = (rng.standard_normal((n, 1)) for n in truth.shape)
    u *= error / (np.linalg.norm(u) * np.linalg.norm(v))
    u *= np.linalg.norm(truth.singular_values)
    left, right = np.hstack([truth.left, u]), np.hstack([truth.right, v])
    # Rounding of the QR: a small multiple of eps, however small the error is.
    assert truth.relative_error(left, right) == pytest.approx(
        error, rel=1e-12, abs=40 * EPS
    )


@given(truth_arguments(), st.integers(0, 8), seeds)
def test_relative_error_of_factors_agrees_with_that_of_their_product(
    arguments: dict[str, Any], search_rank: int, seed: int
) -> None:
    truth = make_low_rank(**arguments)
    rng = np.random.default_rng(seed)
    left, right = (rng.standard_normal((n, search_rank)) for n in truth.shape)
    from_factors = truth.relative_error(left, right)
    assert from_factors == pytest.approx(truth.relative_error(left @ right.T), rel=1e-9)
    difference = np.linalg.norm(left @ right.T - truth.matrix)
    assert from_factors == pytest.approx(
        difference / np.linalg.norm(truth.matrix), rel=1e-9
    )


@given(truth_arguments(), seeds)
def test_rotated_factors_are_free_of_error(
    arguments: dict[str, Any], seed: int
) -> None:
    truth = make_low_rank(**arguments)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((truth.rank, truth.rank)))
    error = truth.relative_error(truth.left @ rotation, truth.right @ rotation)
    assert error <= 40 * EPS
    assert truth.relative_error(truth.matrix) == 0


def test_relative_error_never_forms_the_matrix() -> None:
    truth = make_low_rank(300_000, 200_000, rank=2, random_state=0)
    assert truth.relative_error(1.5 * truth.left, truth.right) == pytest.approx(0.5)


def test_relative_error_of_the_zero_matrix_is_one() -> None:
    truth = make_low_rank(6, 5, rank=2, random_state=0)
    assert truth.relative_error(np.zeros((6, 5))) == pytest.approx(1)
    assert truth.relative_error(np.zeros((6, 3)), np.zeros((5, 3))) == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_relative_error_of_a_diverged_fit_is_nan(bad: float) -> None:
    truth = make_low_rank(6, 5, rank=2, random_state=0)
    left = truth.left.copy()
    left[0, 0] = bad
    assert math.isnan(truth.relative_error(left, truth.right))
    assert math.isnan(truth.relative_error(np.full((6, 5), bad)))


def test_relative_error_takes_float32() -> None:
    truth = make_low_rank(6, 5, rank=2, random_state=0)
    error = truth.relative_error(
        truth.left.astype(np.float32), truth.right.astype(np.float32)
    )
    assert 0 < error < 1e-6


# Measurements -------------------------------------------------------------------------


@given(truth_arguments(), st.integers(1, 30))
def test_dense_sensing_measures_the_truth(
    arguments: dict[str, Any], n_measurements: int
) -> None:
    X, y, truth = make_matrix_sensing(**arguments, n_measurements=n_measurements)
    assert X.shape == (n_measurements, math.prod(truth.shape))
    assert y.shape == (n_measurements,)
    expected = np.einsum("kij,ij->k", X.reshape(-1, *truth.shape), truth.matrix)
    tolerance = float(1e-12 * np.linalg.norm(X) * np.linalg.norm(truth.matrix))
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)


@given(truth_arguments(), st.integers(1, 30))
def test_rank_one_sensing_measures_the_truth(
    arguments: dict[str, Any], n_measurements: int
) -> None:
    from skprecgd.measurements import RankOneMeasurements

    X, y, truth = make_matrix_sensing(
        **arguments, n_measurements=n_measurements, kind="rank_one"
    )
    assert isinstance(X, RankOneMeasurements)
    expected = np.einsum("ki,ij,kj->k", X.a, truth.matrix, X.b)
    scale = np.linalg.norm(X.a) * np.linalg.norm(X.b)
    tolerance = float(1e-12 * scale * np.linalg.norm(truth.matrix))
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        y, X.forward(truth.left, truth.right), rtol=0, atol=tolerance
    )


@given(truth_arguments(), st.integers(1, 30))
def test_phase_retrieval_measures_the_truth(
    arguments: dict[str, Any], n_measurements: int
) -> None:
    del arguments["n_columns"], arguments["symmetric"]
    arguments["rank"] = min(arguments["rank"], arguments["n_rows"])
    a, y, truth = make_phase_retrieval(**arguments, n_measurements=n_measurements)
    assert truth.symmetric
    assert a.shape == (n_measurements, truth.shape[0])
    np.testing.assert_allclose(y, ((a @ truth.left) ** 2).sum(axis=1), rtol=1e-10)
    assert (y >= 0).all()


@given(seeds)
def test_measurements_are_standard_normal(seed: int) -> None:
    X, _, _ = make_matrix_sensing(10, rank=1, n_measurements=400, random_state=seed)
    n = X.size
    # Eight standard errors: no seed comes near.
    assert abs(X.mean()) < 8 / math.sqrt(n)
    assert abs(X.var() - 1) < 8 * math.sqrt(2 / n)


def test_more_measurements_than_a_block_holds() -> None:
    X, y, truth = make_matrix_sensing(30, rank=2, n_measurements=10_000, random_state=0)
    np.testing.assert_allclose(y, X @ truth.matrix.ravel(), rtol=1e-10, atol=1e-12)
    # No block is another one once more.
    assert len(np.unique(X[:, 0])) == len(X)


# Observed entries ---------------------------------------------------------------------


@given(truth_arguments(), st.data())
def test_completion_observes_the_ordered_number(
    arguments: dict[str, Any], data: st.DataObject
) -> None:
    n_cells = arguments["n_rows"] * arguments["n_columns"]
    n_observed = data.draw(st.integers(1, n_cells))
    (rows, columns, values), truth = make_matrix_completion(
        **arguments, n_observed=n_observed, format="triples"
    )
    assert rows.size == columns.size == values.size == n_observed
    cells = rows * truth.shape[1] + columns
    assert (np.diff(cells) > 0).all()  # sorted, and no cell twice
    assert rows.max() < truth.shape[0]
    assert columns.max() < truth.shape[1]
    np.testing.assert_array_equal(values, truth.entries(rows, columns))


@given(truth_arguments(), st.floats(0.01, 1))
def test_completion_observes_the_ordered_fraction(
    arguments: dict[str, Any], fraction: float
) -> None:
    n_cells = arguments["n_rows"] * arguments["n_columns"]
    if round(fraction * n_cells) < 1:
        return
    X, _ = make_matrix_completion(**arguments, observed_fraction=fraction)
    assert np.isfinite(X).sum() == round(fraction * n_cells)


@given(truth_arguments(min_size=8, max_size=20), st.floats(0.5, 1.5))
def test_completion_observes_the_ordered_oversampling(
    arguments: dict[str, Any], oversampling: float
) -> None:
    arguments["rank"], arguments["condition_number"] = 1, 1
    X, truth = make_matrix_completion(**arguments, oversampling=oversampling)
    assert np.isfinite(X).sum() == round(oversampling * truth.degrees_of_freedom)


@given(truth_arguments(max_size=15), st.data())
def test_every_line_keeps_its_minimum(
    arguments: dict[str, Any], data: st.DataObject
) -> None:
    shape = arguments["n_rows"], arguments["n_columns"]
    least = data.draw(st.integers(0, min(shape)))
    n_observed = data.draw(st.integers(max(1, least * max(shape)), math.prod(shape)))
    X, _ = make_matrix_completion(
        **arguments, n_observed=n_observed, min_per_line=least
    )
    observed = np.isfinite(X)
    assert observed.sum() == n_observed
    assert observed.sum(axis=0).min() >= least
    assert observed.sum(axis=1).min() >= least


@given(seeds)
def test_a_minimum_that_is_met_anyway_changes_nothing(seed: int) -> None:
    shared: dict[str, Any] = {"rank": 1, "n_observed": 39, "random_state": seed}
    free, _ = make_matrix_completion(8, 5, **shared)
    least = int(
        min(np.isfinite(free).sum(axis=0).min(), np.isfinite(free).sum(axis=1).min())
    )
    bound, _ = make_matrix_completion(8, 5, **shared, min_per_line=least)
    np.testing.assert_array_equal(free, bound)


@given(truth_arguments(), st.sampled_from([np.float64, np.float32]), st.data())
def test_the_formats_hold_the_same_entries(
    arguments: dict[str, Any], dtype: Any, data: st.DataObject
) -> None:
    n_cells = arguments["n_rows"] * arguments["n_columns"]
    arguments["n_observed"] = data.draw(st.integers(1, n_cells))
    arguments["dtype"] = dtype
    nan, truth = make_matrix_completion(**arguments)
    csr, _ = make_matrix_completion(**arguments, format="sparse")
    triples, _ = make_matrix_completion(**arguments, format="triples")
    assert nan.dtype == csr.dtype == triples.values.dtype == dtype
    assert sparse.issparse(csr)
    assert csr.format == "csr"
    assert csr.shape == nan.shape == truth.shape
    assert csr.nnz == arguments["n_observed"]
    assert csr.has_canonical_format
    rebuilt = np.full(truth.shape, np.nan, dtype=dtype)
    rebuilt[triples.rows, triples.columns] = triples.values
    np.testing.assert_array_equal(rebuilt, nan)
    coo = csr.tocoo()
    np.testing.assert_array_equal(coo.row, triples.rows)
    np.testing.assert_array_equal(coo.col, triples.columns)
    np.testing.assert_array_equal(coo.data, triples.values)


@pytest.mark.parametrize("n_observed", [3, 9])
def test_cells_are_drawn_uniformly(n_observed: int) -> None:
    times = 1000
    counts = np.zeros((3, 4))
    state = np.random.RandomState(0)
    for _ in range(times):
        X, _ = make_matrix_completion(
            3, 4, rank=1, n_observed=n_observed, random_state=state
        )
        counts += np.isfinite(X)
    share = n_observed / 12
    tolerance = 7 * math.sqrt(share * (1 - share) / times)
    np.testing.assert_allclose(counts / times, share, rtol=0, atol=tolerance)


def test_large_completion_stays_lean() -> None:
    """A matrix of 1e11 cells (800 GB); only the observed ones are ever held."""
    X, truth = make_matrix_completion(
        200_000, 500_000, rank=1, n_observed=200_000, format="sparse", random_state=0
    )
    assert X.nnz == 200_000
    assert truth.shape == X.shape == (200_000, 500_000)


def test_large_completion_with_barely_enough_entries() -> None:
    (rows, columns, _), _ = make_matrix_completion(
        5_000,
        10_000,
        rank=1,
        n_observed=20_000,
        min_per_line=2,
        format="triples",
        random_state=0,
    )
    assert rows.size == 20_000
    assert np.bincount(rows).min() >= 2
    assert (np.bincount(columns, minlength=10_000) == 2).all()


# Robust PCA ---------------------------------------------------------------------------


@given(truth_arguments(), st.floats(0, 0.99), st.floats(0.1, 1), st.floats(0.1, 100))
def test_robust_pca_is_low_rank_plus_sparse(
    arguments: dict[str, Any], fraction: float, observed: float, scale: float
) -> None:
    n_cells = arguments["n_rows"] * arguments["n_columns"]
    n_observed = round(observed * n_cells)
    if n_observed < 1:
        return
    X, outliers, truth = make_robust_pca(
        **arguments,
        outlier_fraction=fraction,
        outlier_scale=scale,
        observed_fraction=observed,
    )
    assert X.shape == outliers.shape == truth.shape
    assert sparse.issparse(outliers)
    assert outliers.format == "csr"
    assert outliers.nnz == round(fraction * n_observed)
    assert outliers.has_canonical_format
    assert (np.abs(outliers.data) <= scale).all()
    seen = np.isfinite(X)
    assert seen.sum() == n_observed
    assert seen[outliers.nonzero()].all()
    np.testing.assert_allclose(
        (X - outliers.toarray())[seen],
        truth.matrix[seen],
        rtol=0,
        atol=100 * EPS * (truth.singular_values[0] + scale),
    )


# Noise, outliers, seeds, precision ----------------------------------------------------


def clean_and_changed(seed: int, **changes: Any) -> list[tuple[str, Any, Any]]:
    """Targets of each problem without and with the changes."""
    clean = make_each(seed, outlier_fraction=0)
    changed = make_each(seed, **{"outlier_fraction": 0, **changes})
    place = {"sensing": 1, "phase": 1, "completion": 2, "robust": 0}
    return [
        (name, first[place[name]].ravel(), changed[name][place[name]].ravel())
        for name, first in clean.items()
    ]


@given(seeds, st.floats(0.01, 10))
def test_noise_is_in_proportion(seed: int, noise: float) -> None:
    once = clean_and_changed(seed, noise=noise)
    twice = clean_and_changed(seed, noise=2 * noise)
    for (name, clean, first), (_, _, second) in zip(once, twice, strict=True):
        seen = np.isfinite(clean)
        tolerance = 1e-12 * (1 + noise) * np.abs(clean[seen]).max()
        np.testing.assert_allclose(
            (second - clean)[seen], 2 * (first - clean)[seen], rtol=0, atol=tolerance
        )
        level = np.std((first - clean)[seen]) / np.std(clean[seen])
        # About 40 numbers: seven standard errors above, and never nothing.
        assert 0 < level < noise * (1 + 7 / math.sqrt(2 * 40)), name


@given(seeds, st.floats(0.01, 1))
@settings(max_examples=25)
def test_noise_has_the_ordered_level(seed: int, noise: float) -> None:
    shared: dict[str, Any] = {"rank": 2, "random_state": seed, "n_rows": 40}
    orders: list[tuple[Any, int, dict[str, Any]]] = [
        (make_matrix_sensing, 1, {"n_measurements": 1600, "kind": "rank_one"}),
        (make_phase_retrieval, 1, {"n_measurements": 1600}),
        (make_matrix_completion, 0, {"observed_fraction": 1.0}),
        (make_robust_pca, 0, {"outlier_fraction": 0}),
    ]
    for make, place, order in orders:
        clean = make(**shared, **order)[place]
        noisy = make(**shared, **order, noise=noise)[place]
        level = np.std(noisy - clean) / np.std(clean)
        assert level == pytest.approx(noise, rel=8 / math.sqrt(2 * 1600))


@given(seeds, st.floats(0, 0.99), st.floats(0.1, 100))
def test_outliers_have_the_ordered_number_and_size(
    seed: int, fraction: float, scale: float
) -> None:
    problems = clean_and_changed(seed, outlier_fraction=fraction, outlier_scale=scale)
    for name, clean, corrupted in problems:
        seen = np.isfinite(clean)
        errors = (corrupted - clean)[seen]
        assert np.count_nonzero(errors) == round(fraction * seen.sum()), name
        unit = 1.0
        if name in ("sensing", "phase"):
            unit = float(np.sqrt(np.mean(clean**2)))
        largest = scale * unit + 1e-12 * np.abs(clean[seen]).max()
        assert np.abs(errors).max(initial=0) <= largest, name


def assert_same(first: Any, second: Any, rtol: float = 0) -> None:
    for name in first:
        for one, other in zip(first[name], second[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol, err_msg=name)
            assert one.dtype == other.dtype


@given(seeds)
def test_equal_seeds_give_equal_problems(seed: int) -> None:
    changes: dict[str, Any] = {"noise": 0.1, "outlier_fraction": 0.2}
    assert_same(make_each(seed, **changes), make_each(seed, **changes))
    states = np.random.RandomState(seed), np.random.RandomState(seed)
    assert_same(make_each(states[0]), make_each(states[1]))


@given(st.lists(seeds, min_size=2, max_size=2, unique=True))
def test_different_seeds_give_different_problems(two_seeds: list[int]) -> None:
    first, second = (make_each(seed, noise=0.1) for seed in two_seeds)
    for name in first:
        data = 2 if name == "completion" else 0  # two patterns may coincide in part
        for place in (data, -3):
            assert not np.array_equal(first[name][place], second[name][place]), name


def test_a_shared_random_state_advances() -> None:
    state = np.random.RandomState(0)
    first, second = (
        make_low_rank(5, rank=1, random_state=state),
        make_low_rank(5, rank=1, random_state=state),
    )
    assert not np.array_equal(first.left, second.left)


def test_no_seed_draws_anew() -> None:
    first, second = make_low_rank(5, rank=1), make_low_rank(5, rank=1)
    assert not np.array_equal(first.left, second.left)


@given(truth_arguments(min_size=2))
@settings(max_examples=25)
def test_the_truth_depends_on_nothing_but_its_own_arguments(
    arguments: dict[str, Any],
) -> None:
    alone = make_low_rank(**arguments)
    corruption: dict[str, Any] = {
        "noise": 0.3,
        "outlier_fraction": 0.2,
        "dtype": np.float32,
    }
    problems: list[Any] = [
        make_matrix_sensing(**arguments, n_measurements=7),
        make_matrix_sensing(**arguments, n_measurements=9, **corruption),
        make_matrix_completion(**arguments, n_observed=3),
        make_matrix_completion(**arguments, n_observed=4, **corruption),
        make_robust_pca(**arguments),
        make_robust_pca(**arguments, **corruption),
    ]
    for problem in problems:
        for one, other in zip(factors(problem.truth), factors(alone), strict=True):
            np.testing.assert_array_equal(one, other)


@given(seeds)
def test_corruption_leaves_the_measurements_alone(seed: int) -> None:
    clean = make_each(seed, outlier_fraction=0)
    corrupted = make_each(seed, noise=0.3, outlier_fraction=0.2)
    np.testing.assert_array_equal(clean["sensing"][0], corrupted["sensing"][0])
    np.testing.assert_array_equal(clean["phase"][0], corrupted["phase"][0])
    for place in (0, 1):
        np.testing.assert_array_equal(
            clean["completion"][place], corrupted["completion"][place]
        )
    np.testing.assert_array_equal(
        np.isnan(clean["robust"][0]), np.isnan(corrupted["robust"][0])
    )


@given(truth_arguments(), st.integers(1, 30))
def test_float32_targets_are_exact_for_the_measurements_returned(
    arguments: dict[str, Any], n_measurements: int
) -> None:
    X, y, truth = make_matrix_sensing(
        **arguments, n_measurements=n_measurements, dtype=np.float32
    )
    exact = X.astype(np.float64) @ truth.matrix.ravel()
    # Half a unit in the last place of float32, and the rounding of the float64 sum.
    rounding = 1e-12 * np.linalg.norm(X) * np.linalg.norm(truth.matrix)
    tolerance = 2.0**-24 * np.abs(exact) + rounding
    assert (np.abs(y - exact) <= tolerance).all()


@given(seeds)
def test_float32_is_float64_rounded(seed: int) -> None:
    double = make_each(seed, noise=0.1)
    single = make_each(seed, noise=0.1, dtype=np.float32)
    for name, place in [
        ("sensing", 0),
        ("phase", 0),
        ("completion", 2),
        ("robust", 0),
        ("robust", 1),
    ]:
        assert double[name][place].dtype == np.float64
        assert single[name][place].dtype == np.float32
        np.testing.assert_array_equal(
            single[name][place], double[name][place].astype(np.float32)
        )
    for name in ("sensing", "phase"):
        y = single[name][1]
        assert y.dtype == np.float32
        tolerance = 1e-5 * np.abs(y).max()
        np.testing.assert_allclose(y, double[name][1], rtol=0, atol=tolerance)
    for arrays in single.values():
        assert all(array.dtype == np.float64 for array in arrays[-3:])


# Refusals -----------------------------------------------------------------------------

GENERATORS: dict[str, Any] = {
    "low_rank": lambda **changes: make_low_rank(
        **{"n_rows": 6, "rank": 2, "random_state": 0, **changes}
    ),
    "sensing": lambda **changes: make_matrix_sensing(
        **{"n_rows": 6, "rank": 2, "n_measurements": 9, "random_state": 0, **changes}
    ),
    "phase": lambda **changes: make_phase_retrieval(
        **{"n_rows": 6, "rank": 2, "n_measurements": 9, "random_state": 0, **changes}
    ),
    "completion": lambda **changes: make_matrix_completion(
        **{"n_rows": 6, "rank": 2, "n_observed": 20, "random_state": 0, **changes}
    ),
    "robust": lambda **changes: make_robust_pca(
        **{"n_rows": 6, "rank": 2, "random_state": 0, **changes}
    ),
}

ALL = list(GENERATORS)
MEASURED = ["sensing", "phase", "completion", "robust"]
RECTANGULAR = ["low_rank", "sensing", "completion", "robust"]
COUNTED = ["sensing", "phase"]

REFUSALS: list[tuple[list[str], dict[str, Any], str]] = [
    (ALL, {"n_rows": 0}, r"n_rows=0 must be 1 or more"),
    (ALL, {"n_rows": 6.0}, r"n_rows=6\.0 must be an int"),
    (ALL, {"n_rows": True}, r"n_rows=True must be an int"),
    (RECTANGULAR, {"n_columns": -2}, r"n_columns=-2 must be 1 or more"),
    (RECTANGULAR, {"n_columns": "5"}, r"n_columns='5' must be an int"),
    (ALL, {"rank": 0}, r"rank=0 must be 1 or more"),
    (ALL, {"rank": 7}, r"rank=7 is larger than a 6 x 6 .* at most 6 will do"),
    (RECTANGULAR, {"n_columns": 1}, r"rank=2 is larger than a 6 x 1"),
    (ALL, {"condition_number": 0.5}, r"condition_number=0\.5 .* 1 or more"),
    (ALL, {"condition_number": np.inf}, r"condition_number=inf .* finite"),
    (ALL, {"condition_number": 10**400}, r"condition_number=10+ .* finite"),
    (
        ALL,
        {"rank": 1, "condition_number": 10},
        r"condition_number=10 needs rank >= 2.* set condition_number=1",
    ),
    (ALL, {"spectrum": "flat"}, r"spectrum='flat' is not one of 'geometric'"),
    (
        RECTANGULAR,
        {"symmetric": True, "n_columns": 5},
        r"symmetric=True needs a square matrix.* 6 x 5",
    ),
    (RECTANGULAR, {"symmetric": 1}, r"symmetric=1 must be True or False"),
    (ALL, {"random_state": -1}, r"random_state=-1 cannot seed"),
    (ALL, {"random_state": "seed"}, r"random_state='seed' cannot seed"),
    (MEASURED, {"noise": -0.1}, r"noise=-0\.1 must be .* 0 or more"),
    (MEASURED, {"noise": np.nan}, r"noise=nan must be a finite number"),
    (MEASURED, {"outlier_fraction": 1.0}, r"outlier_fraction=1\.0 .* less than 1"),
    (MEASURED, {"outlier_fraction": -1}, r"outlier_fraction=-1 .* 0 or more"),
    (MEASURED, {"outlier_scale": 0}, r"outlier_scale=0 .* more than 0"),
    (MEASURED, {"dtype": np.complex128}, r"dtype=.*complex128.* float64 and float32"),
    (MEASURED, {"dtype": "int"}, r"dtype='int' is not one of"),
    (MEASURED, {"dtype": "no such type"}, r"dtype='no such type' is not one of"),
    (COUNTED, {"n_measurements": 0}, r"n_measurements=0 must be 1 or more"),
    (COUNTED, {"n_measurements": 1, "noise": 0.1}, r"noise=0\.1 .* which is 0 here"),
    (["sensing"], {"kind": "sparse"}, r"kind='sparse' is not one of 'dense'"),
    (["completion"], {"format": "coo"}, r"format='coo' is not one of 'nan'"),
    (["completion"], {"n_observed": None}, r"Exactly one of .* got none of them"),
    (
        ["completion"],
        {"oversampling": 2},
        r"Exactly one of .* got oversampling=2, n_observed=20",
    ),
    (["completion"], {"n_observed": 0}, r"n_observed=0 must be 1 or more"),
    (["completion"], {"n_observed": 37}, r"n_observed=37 asks for 37 .* 1 to 36"),
    (
        ["completion"],
        {"n_observed": None, "oversampling": 3},
        r"oversampling=3 asks for 60 .* 6 x 6 allows 1 to 36",
    ),
    (
        ["completion"],
        {"n_observed": None, "oversampling": 1e308},
        r"oversampling=1e\+308 asks for inf",
    ),
    (
        ["completion"],
        {"n_observed": None, "oversampling": -1},
        r"oversampling=-1 must be .* more than 0",
    ),
    (
        ["completion"],
        {"n_observed": None, "observed_fraction": 1.5},
        r"observed_fraction=1\.5 must be .* at most 1",
    ),
    (
        ["completion"],
        {"n_observed": None, "observed_fraction": 0.001},
        r"observed_fraction=0\.001 asks for 0 observed entries",
    ),
    (["completion"], {"min_per_line": -1}, r"min_per_line=-1 must be 0 or more"),
    (["completion"], {"min_per_line": 7}, r"min_per_line=7 is more than the 6"),
    (
        ["completion"],
        {"min_per_line": 4},
        r"min_per_line=4 needs 24 .* there are 20.* 3 or less",
    ),
    (["robust"], {"observed_fraction": 0}, r"observed_fraction=0 .* more than 0"),
    (["robust"], {"observed_fraction": None}, r"observed_fraction=None must be"),
    (
        ["robust"],
        {"observed_fraction": 0.001},
        r"observed_fraction=0\.001 asks for 0 observed entries",
    ),
]


@pytest.mark.parametrize(
    ("generator", "changes", "message"),
    [
        pytest.param(name, changes, message, id=f"{name}-{changes}")
        for names, changes, message in REFUSALS
        for name in names
    ],
)
def test_bad_arguments_are_refused(
    generator: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GENERATORS[generator](**changes)


def parts_of(problem: Any) -> list[Any]:
    """The arrays that a generator made, truths as matrices."""
    parts = [problem] if isinstance(problem, LowRankTruth) else problem
    return [
        part.toarray() if sparse.issparse(part) else getattr(part, "matrix", part)
        for part in parts
    ]


@pytest.mark.parametrize("generator", ALL)
def test_numpy_numbers_are_taken(generator: str) -> None:
    plain = {"n_rows": 6, "rank": 2, "condition_number": 3.0}
    kinds = {"n_rows": np.int32, "rank": np.int64, "condition_number": np.float32}
    numpy = {name: kinds[name](value) for name, value in plain.items()}
    ours, theirs = (GENERATORS[generator](**numbers) for numbers in (plain, numpy))
    for one, other in zip(parts_of(ours), parts_of(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (np.zeros((5, 6)), None, r"left has shape \(5, 6\), the true matrix \(6, 5\)"),
        (np.zeros(6), None, r"left has shape \(6,\) and dtype"),
        (np.zeros((6, 2)), np.zeros((6, 2)), r"right has shape \(6, 2\).* 5 rows"),
        (np.zeros((5, 2)), np.zeros((5, 2)), r"left has shape \(5, 2\).* 6 rows"),
        (np.zeros((6, 2)), np.zeros((5, 3)), r"left has 2 columns and right has 3"),
        (np.zeros((6, 5), dtype=complex), None, r"dtype complex128"),
        (sparse.csr_array((6, 5)), None, r"dtype object"),
    ],
)
def test_relative_error_refuses(left: Any, right: Any, message: str) -> None:
    truth = make_low_rank(6, 5, rank=2, random_state=0)
    with pytest.raises(ValueError, match=message):
        truth.relative_error(left, right)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([0, 6], [0, 0], r"rows goes from 0 to 6; the matrix has rows 0 to 5"),
        ([0, 1], [-1, 0], r"columns goes from -1 to 0"),
        ([0, 1], [0], r"rows has 2 numbers and columns has 1"),
        ([0.5], [0], r"rows has shape \(1,\) and dtype float64"),
        ([[0]], [0], r"rows has shape \(1, 1\)"),
    ],
)
def test_entries_refuses(rows: Any, columns: Any, message: str) -> None:
    truth = make_low_rank(6, 5, rank=2, random_state=0)
    with pytest.raises(ValueError, match=message):
        truth.entries(rows, columns)
