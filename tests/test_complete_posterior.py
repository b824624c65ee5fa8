"""The posterior of a complete matrix in closed form, against what defines it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skprecgd.variational.complete import complete_posterior

EPS = float(np.finfo(float).eps)


def values_of(X):
    return np.linalg.svd(X, compute_uv=False)


def posterior_of(X, **how):
    s = values_of(X)
    rounding = EPS * max(X.shape) * s[0]
    return complete_posterior(s, X.shape, rounding=rounding, **how)


def with_noise(rng, shape, rank, noise):
    """Entries of the signal have variance one, whatever the rank."""
    left, right = (rng.standard_normal((n, rank)) for n in shape)
    signal = left @ right.T / np.sqrt(max(1, rank))
    return signal + noise * rng.standard_normal(shape)


# ---- the global minimum, by other means


class Alternating:
    """Variational Bayes by coordinate updates, with nothing known of its solution.

    Rows of the factors are independent Gaussians with a common full covariance; prior
    variances and the noise are updated too.
    """

    def __init__(self, X, n_columns, rng):
        self.X = X
        self.means = [rng.standard_normal((n, n_columns)) for n in X.shape]
        self.covariances = [np.eye(n_columns), np.eye(n_columns)]
        self.priors = [np.ones(n_columns), np.ones(n_columns)]
        self.noise = float(np.mean(X**2))

    def moments(self):
        return [
            mean.T @ mean + len(mean) * covariance
            for mean, covariance in zip(self.means, self.covariances, strict=True)
        ]

    def step(self):
        for k, X in enumerate((self.X, self.X.T)):
            precision = self.moments()[1 - k] / self.noise + np.diag(1 / self.priors[k])
            self.covariances[k] = np.linalg.inv(precision)
            self.means[k] = X @ self.means[1 - k] @ self.covariances[k] / self.noise
            self.priors[k] = np.diag(self.moments()[k]) / len(X)
        self.noise = self.squares() / self.X.size

    def squares(self):
        """Expected sum of squared residuals."""
        left, right = self.means
        cross = 2 * np.sum(self.X * (left @ right.T))
        return np.sum(self.X**2) - cross + np.sum(self.moments()[0] * self.moments()[1])

    def free_energy(self):
        total = self.X.size * np.log(2 * np.pi * self.noise)
        total += self.squares() / self.noise
        for k, moment in enumerate(self.moments()):
            n, prior = self.X.shape[k], self.priors[k]
            total += n * (
                np.sum(np.log(prior)) - np.linalg.slogdet(self.covariances[k])[1]
            )
            total += np.sum(np.diag(moment) / prior) - n * len(prior)
        return total / 2


@pytest.mark.parametrize("shape", [(3, 4), (6, 4)])
@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_no_start_of_alternating_updates_ends_lower(shape, noise, rng):
    X = with_noise(rng, shape, 1, noise)
    found = posterior_of(X)
    energies = [
        settle(Alternating(X, min(shape), rng), less).free_energy()
        for less in np.geomspace(1.0, 1e-3, 4)
    ]
    assert min(energies) > found.free_energy - 1e-9 * abs(found.free_energy)


@pytest.mark.parametrize("shape", [(7, 9), (12, 6)])
@pytest.mark.parametrize("rank", [1, 2])
def test_alternating_updates_of_the_columns_that_carry_signal_end_there(
    shape, rank, rng
):
    X = with_noise(rng, shape, rank, 0.05)
    found = posterior_of(X)
    assert found.n_components == rank
    model = Alternating(X, rank, rng)
    # Columns that are no singular vectors turn into these slowly.
    u, s, vt = np.linalg.svd(X)
    lengths = rng.uniform(0.5, 1.5, (2, rank)) * np.sqrt(s[:rank])
    model.means = [u[:, :rank] * lengths[0], vt[:rank].T * lengths[1]]
    settle(model, 1e-3)
    left, right = model.means
    products = np.sqrt(model.priors[0] * model.priors[1])
    assert_allclose(values_of(left @ right.T)[:rank], found.singular_values, rtol=1e-6)
    assert_allclose(np.sort(products)[::-1], found.prior_variances, rtol=1e-6)
    assert_allclose(model.noise, found.noise_variance, rtol=1e-6)
    assert_allclose(model.free_energy(), found.free_energy, rtol=1e-6, atol=1e-6)


def settle(model, noise):
    """From less noise than there is: from much noise, columns may get lost for good."""
    model.noise *= noise
    for _ in range(1000):
        model.step()
    return model


def free_energies(s, shape, noise):
    """At given variances of the noise, each singular value at its own minimum.

    This is the formula of the module's docstring, summed as it stands there.
    """
    shorter, longer = sorted(shape)
    ratio = shorter / longer
    x = s**2 / (longer * noise[:, None])
    excess = np.maximum(x - (1 + ratio), 2 * np.sqrt(ratio))
    t = (excess + np.sqrt(np.maximum(excess**2 - 4 * ratio, 0))) / 2
    gain = np.log1p(t) + ratio * np.log1p(t / ratio) - t
    gain[x < (1 + np.sqrt(ratio)) ** 2] = 0.0
    gain = np.minimum(gain, 0.0)
    each = shorter * longer * np.log(2 * np.pi * noise)
    return (each + longer * (x.sum(axis=1) + gain.sum(axis=1))) / 2


@given(
    st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=12),
    st.sampled_from([1.0, 1.1, 2.0, 10.0, 1000.0]),
)
def test_no_other_noise_has_a_lower_free_energy(values, aspect):
    s = np.sort(values)[::-1]
    shape = round(aspect * len(s)), len(s)
    found = complete_posterior(s, shape)
    noise = np.geomspace(1e-9, 10.0, 4000) * s[0] ** 2 / len(s)
    others = free_energies(s, shape, noise)
    scale = np.prod(shape)
    assert np.all(others > found.free_energy - 1e-6 * scale)
    here = free_energies(s, shape, np.array([found.noise_variance]))
    assert_allclose(here, found.free_energy, atol=1e-9 * scale)


def test_more_columns_than_carry_signal_do_not_lower_the_free_energy(rng):
    X = with_noise(rng, (40, 30), 3, 0.2)
    bounded = [posterior_of(X, max_components=k) for k in range(8)]
    energies = np.array([found.free_energy for found in bounded])
    assert [found.n_components for found in bounded] == [0, 1, 2, 3, 3, 3, 3, 3]
    assert np.all(np.diff(energies)[:3] < 0)
    assert_allclose(energies[3:], energies[3])


# ---- what it finds


@pytest.mark.parametrize("shape", [(60, 40), (30, 200), (500, 10)])
@pytest.mark.parametrize("rank", [1, 3])
def test_rank_and_noise_of_signal_above_the_threshold(shape, rank, rng):
    X = with_noise(rng, shape, rank, 0.2)
    found = posterior_of(X)
    assert found.n_components == rank
    spread = 5 / np.sqrt(2 * X.size)
    assert abs(found.noise_scale / 0.2 - 1) < spread + 0.02


@pytest.mark.parametrize("shape", [(60, 40), (30, 200), (200, 20)])
def test_noise_alone_has_no_components(shape, rng):
    found = posterior_of(rng.standard_normal(shape))
    assert found.n_components == 0
    assert abs(found.noise_scale - 1) < 5 / np.sqrt(2 * np.prod(shape))


def test_the_posterior_mean_is_closer_to_the_signal_than_the_truncated_svd(rng):
    X = with_noise(rng, (80, 60), 2, 0.0)
    noisy = X + 2.0 * rng.standard_normal(X.shape)
    u, s, vt = np.linalg.svd(noisy)
    found = posterior_of(noisy)
    assert found.n_components == 2
    errors = [
        np.linalg.norm((u[:, :2] * values) @ vt[:2] - X)
        for values in (found.singular_values, s[:2])
    ]
    assert errors[0] < 0.98 * errors[1]


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (1000, 12)])
def test_all_singular_values_are_signal_where_there_is_no_noise(shape, rng):
    for rank in (1, 2, 5, min(shape) - 1):
        found = posterior_of(with_noise(rng, shape, rank, 0.0))
        assert found.n_components == rank
        assert found.noise_scale < 1e-12


def test_noise_far_below_the_data_is_found(rng):
    found = posterior_of(with_noise(rng, (60, 40), 4, 1e-9))
    assert found.n_components == 4
    assert_allclose(found.noise_scale, 1e-9, rtol=0.1)


@pytest.mark.parametrize("noise", [1e-12, 1e-10, 1e-8])
def test_the_least_singular_values_of_square_noise_are_no_sign_of_none(noise, rng):
    # The least one of n x n noise is by the factor 2 n below the largest.
    X = with_noise(rng, (200, 200), 5, noise)
    assert posterior_of(X).n_components == 5


def test_one_line_cannot_tell_signal_from_noise(rng):
    # Signal that is alone in a line looks like noise.
    X = rng.standard_normal((1, 20))
    found = posterior_of(X)
    assert found.n_components == posterior_of(X.T).n_components == 0
    assert_allclose(found.noise_scale, np.sqrt(np.mean(X**2)))


def test_zeros_have_no_components():
    found = complete_posterior(np.zeros(4), (4, 9))
    assert found.n_components == 0
    assert found.noise_scale == 0.0


# ---- symmetries


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 7.0, 1e200])
def test_the_solution_is_in_the_units_of_the_data(scale, rng):
    X = with_noise(rng, (30, 20), 2, 0.3)
    found, scaled = posterior_of(X), posterior_of(scale * X)
    assert scaled.n_components == found.n_components == 2
    for name in ("noise_scale", "singular_values", "prior_variances"):
        assert_allclose(getattr(scaled, name), scale * getattr(found, name), rtol=1e-9)
    shift = X.size * np.log(scale)
    assert_allclose(scaled.free_energy, found.free_energy + shift, rtol=1e-9)


def test_a_matrix_and_its_transpose_have_the_same_solution(rng):
    X = with_noise(rng, (30, 20), 2, 0.3)
    s = values_of(X)
    assert complete_posterior(s, X.shape).free_energy == pytest.approx(
        complete_posterior(s, X.T.shape).free_energy
    )


@pytest.mark.parametrize("noise", [0.3, 1e-9])
def test_leading_values_and_the_norm_are_enough(noise, rng):
    X = with_noise(rng, (300, 200), 3, noise)
    s = values_of(X)
    size = float(np.linalg.norm(X))
    whole = complete_posterior(s, X.shape)
    leading = complete_posterior(s[:8], X.shape, size=size)
    assert leading.n_components == whole.n_components == 3
    # The squared norm of the rest is lost where it is below rounding of the whole.
    rtol = 1e-9 if noise > 1e-3 else 0.1
    assert_allclose(leading.noise_scale, whole.noise_scale, rtol=rtol)
