"""Kernels of Gaussian lines: regression with uncertain regressors, by closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from skprecgd.kernels import (
    Learned,
    Others,
    Pattern,
    Tail,
    Unknown,
    _numpy,
    packed_index,
    packed_of,
    unpacked,
)

# More rows than are solved side by side, and not a multiple.
N_ROWS, N_OTHERS, SIZE = 75, 11, 5


def backends():
    try:
        from skprecgd.kernels import _numba
    except ImportError:
        return [_numpy]
    return [_numpy, _numba]


@pytest.fixture(params=backends(), ids=lambda module: module.__name__.split(".")[-1])
def backend(request):
    return request.param


class Problem:
    """Entries, Gaussian columns, and rows of which the last coordinate is given."""

    def __init__(self, rng, weighted=False, each_its_prior=False):
        matrix = sparse.random(N_ROWS, N_OTHERS, 0.4, rng=rng, format="csr")
        values = rng.normal(size=matrix.nnz)
        weights = rng.uniform(0.5, 2, matrix.nnz) if weighted else None
        self.pattern = Pattern(matrix.indptr, matrix.indices, values, weights)
        mean = rng.normal(size=(N_OTHERS, SIZE))
        roots = 0.3 * rng.normal(size=(N_OTHERS, SIZE, SIZE))
        self.covariance = roots @ roots.transpose(0, 2, 1)
        second = mean[:, :, None] * mean[:, None, :] + self.covariance
        precision = rng.uniform(0.5, 2, N_OTHERS)
        self.others = Others(mean, packed_of(second), precision)
        self.second = second
        free = np.arange(SIZE - 1)
        self.unknown = Unknown(
            free,
            rng.uniform(0.5, 2, SIZE - 1),
            rng.normal(size=(N_ROWS, SIZE - 1) if each_its_prior else SIZE - 1),
            SIZE - 1,
            0.7,
            packed_index(SIZE),
        )
        self.noise = rng.uniform(0.5, 2, N_ROWS)
        self.counts = np.diff(matrix.indptr).astype(float)

    def row(self, i):
        """Columns, values and precisions of the entries of a row."""
        part = slice(self.pattern.indptr[i], self.pattern.indptr[i + 1])
        columns = self.pattern.indices[part]
        each = self.others.precision[columns]
        if self.pattern.weights is not None:
            each = each * self.pattern.weights[part]
        return columns, self.pattern.values[part], each

    def posterior(self, i):
        """Mean and covariance of the free coordinates, from the normal equations."""
        columns, values, each = self.row(i)
        each = each * self.noise[i]
        free, fixed = self.unknown.free, self.unknown.fixed
        inverse = np.diag(self.unknown.precision)
        target = np.broadcast_to(self.unknown.pull, (N_ROWS, SIZE - 1))[i].copy()
        for j, y, w in zip(columns, values, each, strict=True):
            inverse += w * self.second[j][np.ix_(free, free)]
            target += w * y * self.others.mean[j, free]
            target -= w * self.unknown.value * self.second[j][free, fixed]
        return np.linalg.solve(inverse, target), np.linalg.inv(inverse)

    def moments(self, i):
        """Mean and second moments of all coordinates."""
        mean, covariance = self.posterior(i)
        whole = np.append(mean, self.unknown.value)
        second = np.outer(whole, whole)
        second[:-1, :-1] += covariance
        return whole, second

    def square(self, i):
        """Expected squared residual of a row's entries."""
        columns, values, each = self.row(i)
        mean, second = self.moments(i)
        total = 0.0
        for j, y, w in zip(columns, values, each, strict=True):
            product = np.sum(second * self.second[j])
            total += w * (y**2 - 2 * y * mean @ self.others.mean[j] + product)
        return total

    def sweep(self, backend, rate=(-1.0, 0.0), tail=None):
        learned = Learned(rate, self.counts)
        return backend.uncertain_rows(
            self.pattern, self.others, self.unknown, self.noise, learned, tail
        )


@pytest.mark.parametrize("each_its_prior", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_is_regressed_on_uncertain_columns(
    backend, weighted, each_its_prior, rng
):
    problem = Problem(rng, weighted, each_its_prior)
    sweep = problem.sweep(backend)
    for i in range(N_ROWS):
        mean, _ = problem.moments(i)
        np.testing.assert_allclose(sweep.mean[i], mean, rtol=1e-9)
        np.testing.assert_allclose(sweep.squares[i], problem.square(i), rtol=1e-9)
    np.testing.assert_array_equal(sweep.noise, problem.noise)


def test_lines_have_priors_of_their_own(backend, rng):
    """Without entries, means are those of the priors; with some, as in the sweep."""
    problem = Problem(rng, each_its_prior=True)
    sweep = problem.sweep(backend)
    scaled = problem.others.precision[:, None]
    indptr, indices, values, _ = problem.pattern
    shape = N_ROWS, N_OTHERS
    ones, rows = (
        sparse.csr_array((each, indices, indptr), shape=shape)
        for each in (np.ones(len(values)), values)
    )
    moments = np.zeros((N_ROWS, SIZE + 1))
    moments[:, :-1] = rows @ (scaled * problem.others.mean)
    grams = ones @ (scaled * problem.others.second)
    for sums in ((grams, moments), (0 * grams, 0 * moments)):
        lines = backend.uncertain_lines(*sums, problem.noise, problem.unknown)
        expected = sweep.mean[:, :-1]
        if not sums[0].any():
            expected = problem.unknown.pull / problem.unknown.precision
        np.testing.assert_allclose(lines.mean[:, :-1], expected, rtol=1e-9)
        means = backend.line_means(*sums, problem.noise, problem.unknown)
        np.testing.assert_allclose(means, expected, rtol=1e-9)
    part = problem.unknown.of_lines(slice(3, 5))
    np.testing.assert_array_equal(part.pull, problem.unknown.pull[3:5])


def test_totals_are_sums_over_all_rows(backend, rng):
    problem = Problem(rng)
    totals = problem.sweep(backend).totals
    seconds = [problem.moments(i)[1] for i in range(N_ROWS)]
    covariances = [problem.posterior(i)[1] for i in range(N_ROWS)]
    at = problem.unknown.at
    np.testing.assert_allclose(unpacked(totals.second, at), np.sum(seconds, axis=0))
    logs = [np.linalg.slogdet(covariance)[1] for covariance in covariances]
    np.testing.assert_allclose(totals.log_determinant, np.sum(logs))
    diagonals = [np.log(np.diag(np.linalg.inv(each))) for each in covariances]
    np.testing.assert_allclose(totals.log_diagonal, np.sum(diagonals, axis=0))


@pytest.mark.parametrize("weighted", [False, True])
def test_columns_get_the_sums_of_what_was_found(backend, weighted, rng):
    problem = Problem(rng, weighted)
    sweep = problem.sweep(backend)
    grams = np.zeros((N_OTHERS, SIZE, SIZE))
    moments = np.zeros((N_OTHERS, SIZE + 1))
    for i in range(N_ROWS):
        mean, second = problem.moments(i)
        columns, values, each = problem.row(i)
        for j, y, w in zip(columns, values, each, strict=True):
            # The noise of the columns is theirs to count.
            w *= problem.noise[i] / problem.others.precision[j]
            grams[j] += w * second
            moments[j] += w * y * np.append(mean, y)
    np.testing.assert_allclose(unpacked(sweep.grams, problem.unknown.at), grams)
    np.testing.assert_allclose(sweep.moments, moments, atol=1e-12)


def test_the_noise_of_a_row_is_learned_before_columns_hear_of_it(backend, rng):
    problem = Problem(rng)
    strength, level = 3.0, 0.6
    sweep = problem.sweep(backend, (strength, strength * level))
    squares = np.array([problem.square(i) for i in range(N_ROWS)])
    expected = (strength + problem.counts) / (strength * level + squares)
    np.testing.assert_allclose(sweep.noise, expected)
    told = problem.sweep(backend)
    ratio = sweep.noise / problem.noise
    only_row = problem.pattern.indices[: problem.pattern.indptr[1]]
    assert len(only_row) == 0 or not np.allclose(ratio, 1)
    # The rows themselves were found with the noise as it was.
    np.testing.assert_array_equal(sweep.mean, told.mean)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_entry_of_heavy_tailed_noise_counts_as_it_fits(backend, weighted, rng):
    """w = (df + 1) / (df + precision * squared residual), once its row is known."""
    problem, freedom = Problem(rng, weighted), 2.5
    before = rng.uniform(0.3, 1.2, len(problem.pattern.values))
    given = rng.uniform(0.5, 2.0, len(before)) if weighted else None
    sweep = problem.sweep(backend, tail=Tail(freedom, before, given))
    weights = problem.pattern.weights
    each = before if weights is None else weights * before
    problem.pattern = problem.pattern._replace(weights=each)
    plain = problem.sweep(backend)
    # The rows are found with the precisions as they were.
    np.testing.assert_allclose(sweep.mean, plain.mean)
    np.testing.assert_allclose(sweep.squares, plain.squares)
    moments = np.zeros_like(sweep.moments)
    for i in range(N_ROWS):
        mean, second = problem.moments(i)
        for e in range(*problem.pattern.indptr[i : i + 2]):
            j, y = problem.pattern.indices[e], problem.pattern.values[e]
            product = np.sum(second * problem.second[j])
            left = y**2 - 2 * y * mean @ problem.others.mean[j] + product
            left *= problem.noise[i] * problem.others.precision[j]
            left *= 1.0 if given is None else given[e]
            expected = (freedom + 1) / (freedom + left)
            np.testing.assert_allclose(sweep.share[e], expected)
            # Columns hear of entries with the new precision.
            w = expected * problem.noise[i] * (1.0 if weights is None else weights[e])
            moments[j] += w * y * np.append(mean, y)
    np.testing.assert_allclose(sweep.moments, moments, atol=1e-12)


def test_lines_from_sums_are_those_of_a_sweep(backend, rng):
    """The sums over a row's entries give the row: both kernels are one regression."""
    problem = Problem(rng)
    sweep = problem.sweep(backend)
    grams = np.zeros((N_ROWS, len(packed_of(np.eye(SIZE)))))
    moments = np.zeros((N_ROWS, SIZE + 1))
    for i in range(N_ROWS):
        columns, values, each = problem.row(i)
        grams[i] = each @ problem.others.second[columns]
        means = problem.others.mean[columns]
        moments[i] = np.append((each * values) @ means, each @ values**2)
    lines = backend.uncertain_lines(grams, moments, problem.noise, problem.unknown)
    np.testing.assert_allclose(lines.mean, sweep.mean)
    np.testing.assert_allclose(lines.squares, sweep.squares)
    np.testing.assert_allclose(lines.totals.second, sweep.totals.second)
    np.testing.assert_allclose(
        lines.totals.log_determinant, sweep.totals.log_determinant
    )


@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_determinants_of_systems_of_any_size(backend, scale, rng):
    """Products of their pivots may be no numbers, though these are."""
    problem = Problem(rng)
    free, at = problem.unknown.free, problem.unknown.at
    unknown = replace(problem.unknown, precision=scale * problem.unknown.precision)
    noise = np.full(N_OTHERS, scale)
    grams = packed_of(problem.second + np.eye(SIZE))
    lines = backend.uncertain_lines(
        grams, np.zeros((N_OTHERS, SIZE + 1)), noise, unknown
    )
    systems = unpacked(grams, at)[:, free[:, None], free]
    systems = systems + np.diag(problem.unknown.precision)
    logs = np.linalg.slogdet(systems)[1] + len(free) * np.log(scale)
    np.testing.assert_allclose(lines.totals.log_determinant, -logs.sum())
    diagonal = np.log(np.diagonal(systems, axis1=1, axis2=2)) + np.log(scale)
    np.testing.assert_allclose(lines.totals.log_diagonal, diagonal.sum(axis=0))


def test_the_number_of_threads_does_not_matter(monkeypatch):
    _numba = pytest.importorskip("skprecgd.kernels._numba", exc_type=ImportError)
    rng = np.random.default_rng(0)
    n, m, size = 4000, 60, 6
    matrix = sparse.random(n, m, 0.3, rng=rng, format="csr")
    mean = rng.normal(size=(m, size))
    second = packed_of(mean[:, :, None] * mean[:, None, :])
    unknown = Unknown(
        np.arange(size), np.ones(size), np.zeros(size), None, 1.0, packed_index(size)
    )
    results = []
    for threads in (1, 3):
        monkeypatch.setattr(_numba, "_threads", lambda n_numbers, t=threads: t)
        results.append(
            _numba.uncertain_rows(
                Pattern(matrix.indptr, matrix.indices, matrix.data, None),
                Others(mean, second, np.ones(m)),
                unknown,
                np.ones(n),
                Learned((-1.0, 0.0), np.diff(matrix.indptr).astype(float)),
            )
        )
    one, several = results
    for name in ("mean", "squares", "grams", "moments"):
        np.testing.assert_array_equal(getattr(one, name), getattr(several, name))
    np.testing.assert_array_equal(one.totals.second, several.totals.second)
