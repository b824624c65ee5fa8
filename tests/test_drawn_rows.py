"""The kernel that draws rows given columns: regression, by its normal equations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from test_uncertain_lines import backends

from skprecgd.kernels import OthersDrawn, Pattern, Prior

N_ROWS, N_OTHERS = 23, 11


@pytest.fixture(params=backends(), ids=lambda module: module.__name__.split(".")[-1])
def backend(request):
    return request.param


class Problem:
    """Entries of rows that are linear in a few coordinates."""

    def __init__(self, rng, f, weighted=False, each_its_prior=False):
        matrix = sparse.random(N_ROWS, N_OTHERS, 0.6, rng=rng, format="csr")
        values = rng.normal(size=matrix.nnz)
        weights = rng.uniform(0.5, 2, matrix.nnz) if weighted else None
        self.pattern = Pattern(matrix.indptr, matrix.indices, values, weights)
        self.others = OthersDrawn(
            rng.normal(size=(N_OTHERS, f)),
            rng.normal(size=N_OTHERS),
            rng.uniform(0.5, 2, N_OTHERS),
        )
        pull = rng.normal(size=(N_ROWS, f) if each_its_prior else f)
        self.prior = Prior(rng.uniform(0.5, 2, f), pull)
        self.noise = rng.uniform(0.5, 2, N_ROWS)

    def row(self, i):
        """Regressors, targets and precisions of a row's entries, its noise left out."""
        part = slice(self.pattern.indptr[i], self.pattern.indptr[i + 1])
        columns = self.pattern.indices[part]
        each = self.others.precision[columns]
        if self.pattern.weights is not None:
            each = each * self.pattern.weights[part]
        targets = self.pattern.values[part] - self.others.shift[columns]
        return self.others.basis[columns], targets, each

    def posterior(self, i):
        """Mean and inverse covariance of a row, from the normal equations."""
        regressors, targets, each = self.row(i)
        weighed = self.noise[i] * each[:, None] * regressors
        inverse = weighed.T @ regressors + np.diag(self.prior.precision)
        pull = np.broadcast_to(self.prior.pull, (N_ROWS, len(inverse)))[i]
        return np.linalg.solve(inverse, weighed.T @ targets + pull), inverse

    def drawn(self, backend, chance):
        return backend.drawn_rows(
            self.pattern, self.others, self.prior, self.noise, chance
        )


@pytest.mark.parametrize("each_its_prior", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("f", [1, 5])
def test_a_row_has_the_mean_and_the_residual_of_its_regression(
    backend, f, weighted, each_its_prior, rng
):
    problem = Problem(rng, f, weighted, each_its_prior)
    found = problem.drawn(backend, rng.normal(size=(N_ROWS, f)))
    for i in range(N_ROWS):
        mean, _ = problem.posterior(i)
        np.testing.assert_allclose(found.mean[i], mean, rtol=1e-8)
        regressors, targets, each = problem.row(i)
        left = each @ (targets - regressors @ found.values[i]) ** 2
        np.testing.assert_allclose(found.squares[i], left, rtol=1e-8)


def test_draws_have_the_covariance_of_the_regression(backend, rng):
    """Chance is turned by a root of the covariance: unit vectors give its columns."""
    problem, f = Problem(rng, 4), 4
    steps = []
    for k in range(f):
        chance = np.zeros((N_ROWS, f))
        chance[:, k] = 1.0
        found = problem.drawn(backend, chance)
        steps.append(found.values - found.mean)
    for i in range(N_ROWS):
        root = np.array([step[i] for step in steps]).T
        inverse = problem.posterior(i)[1]
        np.testing.assert_allclose(root @ root.T @ inverse, np.eye(f), atol=1e-9)


def test_all_kernels_draw_the_same(rng):
    problem, chance = Problem(rng, 5), rng.normal(size=(N_ROWS, 5))
    first, *others = (problem.drawn(backend, chance) for backend in backends())
    for found in others:
        for mine, theirs in zip(first, found, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_rows_without_coordinates_leave_their_entries(backend, rng):
    problem = Problem(rng, 0)
    found = problem.drawn(backend, np.zeros((N_ROWS, 0)))
    assert found.mean.shape == found.values.shape == (N_ROWS, 0)
    lefts = [each @ targets**2 for _, targets, each in map(problem.row, range(N_ROWS))]
    np.testing.assert_allclose(found.squares, lefts)


def test_a_row_is_the_same_among_others_and_alone(backend, rng):
    problem, chance = Problem(rng, 3), rng.normal(size=(N_ROWS, 3))
    whole = problem.drawn(backend, chance)
    first, stop = problem.pattern.indptr[4:6]
    alone = Pattern(
        np.array([0, stop - first], problem.pattern.indptr.dtype),
        problem.pattern.indices[first:stop],
        problem.pattern.values[first:stop],
        None,
    )
    found = backend.drawn_rows(
        alone, problem.others, problem.prior, problem.noise[4:5], chance[4:5]
    )
    np.testing.assert_allclose(found.values[0], whole.values[4], rtol=1e-12)
