"""Quantum states from counts: what is fitted, how far it is off, how sure it is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from skprecgd import PrecGDMatrixSensing, observed_entries
from skprecgd.states import (
    Counts,
    Settings,
    fidelity,
    fit_state,
    purity,
    trace_distance,
)
from skprecgd.states.known_trace import WithTrace
from skprecgd.testing import check_measurements
from skprecgd.variational.gauge import without_turns
from tests._complex import gaussian, unitary
from tests._complex import state as state_factor

SHOTS = 1000


def bases(n_qubits):
    return ["".join(letters) for letters in product("XYZ", repeat=n_qubits)]


def seen(rng, x, shots=SHOTS):
    """Counts of all product bases, of the state ``x x^H``."""
    return drawn(rng, bases(len(x).bit_length() - 1), x, shots)


def drawn(rng, settings, x, shots=SHOTS):
    """Counts of any settings, of the state ``x x^H``."""
    return Counts.simulate(settings, density(x), shots, rng.integers(2**31))


def density(x):
    return x @ x.conj().T


# ---- counts


def test_outcomes_are_binary_numbers_with_zero_for_plus_one():
    plus_i, one = np.array([1, 1j]) / np.sqrt(2), np.array([0, 1])
    shares = Settings(["YZ"]).probabilities(np.kron(plus_i, one))
    np.testing.assert_allclose(shares, [[0, 1, 0, 0]], atol=1e-12)


def test_mappings_are_read_like_arrays():
    labels = ["XX", "YZ"]
    array = Counts(labels, [[5, 0, 0, 3], [1, 2, 0, 0]])
    named = Counts(labels, [{"00": 5, "11": 3}, {"01": 2, "00": 1}])
    np.testing.assert_array_equal(named.counts, array.counts)
    np.testing.assert_allclose(named.frequencies[:4], [5 / 8, 0, 0, 3 / 8])


def test_variances_say_what_multinomial_covariances_do(rng):
    """For all differences of states of one trace, which add up to zero."""
    p, shots = rng.dirichlet(np.ones(4)), 10**9
    counts = Counts(["XX"], [np.full(4, shots / 4)])
    covariances = (np.diag(p) - np.outer(p, p)) / shots
    move = rng.standard_normal(4)
    move -= move.mean()
    exact = move @ np.linalg.pinv(covariances) @ move
    ours = np.sum(move**2 / counts.variances(p))
    # Half a count for each outcome is little beside so many.
    assert ours == pytest.approx(exact, rel=1e-3)


def test_settings_may_be_vectors(rng):
    """Four symmetric outcomes of a single setting see all of a qubit."""
    phases = np.exp(2j * np.pi * np.arange(3) / 3)
    cone = [[np.sqrt(1 / 6), np.sqrt(1 / 3) * phase] for phase in phases]
    vectors = np.array([[[np.sqrt(1 / 2), 0], *cone]])
    x = state_factor(rng, 2, 1)
    np.testing.assert_allclose(
        Settings(vectors).probabilities(x),
        np.abs(vectors.conj() @ x[:, 0]) ** 2,
    )
    assert fidelity(fit_state(drawn(rng, vectors, x, 100_000)), x[:, 0]) > 0.99


def test_qiskit_counts_are_read_as_they_are():
    """Its rightmost digit is bit 0, its rightmost letter qubit 0: both orders agree.

    Two registers, of one bit each, are written with a blank between them.
    """
    state_of_qiskit = np.zeros(4)
    state_of_qiskit[0b10] = 1.0  # qubit 1 is one, qubit 0 zero
    seen = {
        "ZZ": {"10": 1000},
        "ZX": {"10": 489, "11": 511},
        "XZ": {"1 0": 6, "0 0": 4},
    }
    counts = Counts(seen, seen.values())
    np.testing.assert_array_equal(
        counts.counts, [[0, 0, 1000, 0], [0, 0, 489, 511], [4, 0, 6, 0]]
    )
    exact = counts.settings.probabilities(state_of_qiskit)
    np.testing.assert_allclose(
        exact, [[0, 0, 1, 0], [0, 0, 0.5, 0.5], [0.5, 0, 0.5, 0]], atol=1e-12
    )


def parity(label):
    """Both outcomes of a string of two qubits, of rank two each."""
    rows = Settings([label]).measurements.a
    even = density(rows[[0, 3]].T)
    return [even, np.eye(4) - even]


def test_strings_are_settings_with_two_outcomes(rng):
    x = state_factor(rng, 4, 2)
    p = Settings.of_strings(["XX", "YZ"]).probabilities(density(x))
    np.testing.assert_allclose(
        p, Settings([parity("XX"), parity("YZ")]).probabilities(density(x))
    )
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_outcomes_may_have_any_rank(rng):
    """All strings, of which each setting tells the sign alone."""
    labels = ["".join(letters) for letters in product("IXYZ", repeat=2)][1:]
    x = state_factor(rng, 4, 1)
    state = fit_state(drawn(rng, Settings.of_strings(labels), x, SHOTS))
    assert (state.rank, state.dims) == (1, (2, 2))
    assert fidelity(state, x[:, 0]) > 0.99


def test_settings_of_fewer_outcomes_are_filled_up_with_zeros(rng):
    """The fit is that without the zeros."""
    letters = Settings(bases(1)).measurements.a.reshape(3, 2, 2)
    x = state_factor(rng, 2, 1)
    counts = drawn(rng, Settings(letters), x)
    filled = np.concatenate([letters, np.zeros((3, 1, 2))], axis=1)
    more = Counts(filled, np.pad(counts.counts, ((0, 0), (0, 1))))
    found, with_zeros = fit_state(counts), fit_state(more)
    assert trace_distance(found, with_zeros) < 0.01


def test_simulated_counts_have_the_probabilities_of_the_state(rng):
    """To five standard deviations, whatever the trace is."""
    x, n = state_factor(rng, 4, 2), 100_000
    counts = Counts.simulate(["XY", "ZZ"], 3.0 * density(x), n, random_state=0)
    p = counts.settings.probabilities(density(x)).ravel()
    assert np.all(counts.shots == n)
    assert np.all((counts.frequencies - p) ** 2 <= 25 * p * (1 - p) / n + 1e-12)


def test_a_state_of_another_size_is_refused():
    with pytest.raises(ValueError, match="dimension 4, and the state has dimension 2"):
        Settings(["XX"]).probabilities([1, 0])


@pytest.mark.parametrize(
    ("settings", "counts", "message"),
    [
        (["XX", "Z"], [[1, 1, 1, 1]] * 2, "one length"),
        (["XQ"], [[1, 1, 1, 1]], "X, Y and Z, got 'Q'"),
        (["XX"], [[1, 1, -1, 1]], "not negative; they run from -1 to 1"),
        (["XX"], [[1, 1, np.nan, 1]], "finite"),
        (["X", "Z"], [[0.5, 0.5], [3, 4]], "got 0.5; frequencies do not say"),
        (["X"], [{"0": 0.25, "1": 0.75}], "whole numbers, got 0.25"),
        (["XX"], [[1, 1]], r"shape \(1, 4\), settings by outcomes, got \(1, 2\)"),
        (["X", "Z"], [[1, 1], [0, 0]], "Setting 1 has no counts"),
        (["XX"], [{"0": 3}], "'0' is no outcome, which has 2 binary digits"),
        (["XX"], [{"0x3": 3}], "'0x3' is no outcome"),
        (["XX"], [{3: 3}], "3 is no outcome"),
        (["XX", "ZZ"], [[1, 1, 1, 1], [1, 1]], "4 numbers for each setting"),
        (np.eye(3)[None], [{"0": 3}], "mappings are for settings of qubits"),
        (np.ones((1, 2, 2)), [[1, 1]], "add up to the identity"),
        ([[np.eye(2)], [np.eye(2) / 2] * 2], [[1]], "equally many outcomes"),
        ([[np.eye(2), np.ones((2, 2))]], [[1, 1]], "add up to the identity"),
        ([[np.diag([2, -1]), np.diag([-1, 2])]], [[1, 1]], "one has the eigenvalue -1"),
        ([[[[1, 1], [0, 1]], [[0, -1], [0, 0]]]], [[1, 1]], "must be Hermitian"),
        (np.ones((2, 2)), [[1, 1]], "settings must hold labels"),
        ([], [], "settings must hold labels"),
        ("XX", [[1, 1, 1, 1]], "a list of labels such as .* got 'XX'"),
        (None, [[1, 1]], "a list of labels such as .* got None"),
        (["XI"], [[1, 1, 1, 1]], "got 'I'; of Pauli strings, .*of_strings"),
        (["XX"], {"00": 3, "11": 4}, "a list with a mapping for each setting"),
    ],
)
def test_what_is_no_table_of_counts_is_refused(settings, counts, message):
    with pytest.raises(ValueError, match=message):
        Counts(settings, counts)


# ---- the state


@pytest.mark.parametrize("rank", [1, 2])
def test_a_state_is_found_without_its_rank(rng, rank):
    x = state_factor(rng, 8, rank)
    state = fit_state(seen(rng, x))
    assert state.rank == rank
    assert fidelity(state, density(x)) > 1 - 0.004 * rank
    assert np.trace(state.density_matrix).real == pytest.approx(1.0)
    assert not hasattr(state.model, "certificate_")


def test_the_first_state_mends_the_trace(rng):
    counts = seen(rng, state_factor(rng, 8, 1))
    alone = PrecGDMatrixSensing(symmetric=True, noise_variance=counts.variances())
    alone.fit(counts.measurements, counts.frequencies)
    shrunken = 1 - np.linalg.norm(alone.left_) ** 2
    assert shrunken > 0
    assert abs(1 - fit_state(counts).trace) < 0.6 * shrunken


def test_the_trace_is_a_measurement_like_the_others(rng):
    measurements = WithTrace(Settings(bases(2)).measurements)
    check_measurements(measurements)
    x = state_factor(rng, 4, 2)
    seen = measurements.forward(x, x)
    assert seen[-1] == pytest.approx(np.trace(density(x)))
    some = rng.integers(len(seen), size=50)
    check_measurements(measurements.rows(some))
    np.testing.assert_allclose(measurements.rows(some).forward(x, x), seen[some])


def test_a_state_beside_white_noise_is_not_too_pure(rng):
    """What is too weak to be a component is taken for noise, not for the first one."""
    ghz = np.zeros(8)
    ghz[[0, 7]] = np.sqrt(0.5)
    truth = 0.95 * np.outer(ghz, ghz) + 0.05 * np.eye(8) / 8
    state = fit_state(Counts.simulate(bases(3), truth, 1000, rng.integers(2**31)))
    assert state.white_share > 0
    found = np.linalg.norm(state.model.left_) ** 2
    assert state.white_share == pytest.approx(1 - found)
    rho = np.asarray(state.model.matrix_) + state.white_share * np.eye(8) / 8
    np.testing.assert_allclose(state.density_matrix, rho, atol=1e-12)


def test_known_noise_is_left_at_an_optimum(rng):
    """Two qubits: no Hermitian matrix that is no state is closer, whatever the rank."""
    counts = seen(rng, state_factor(rng, 4, 1))
    assert np.isfinite(fit_state(counts).model.lower_bound_)


def test_an_estimator_is_copied(rng):
    mine = PrecGDMatrixSensing(1, symmetric=True)
    state = fit_state(seen(rng, state_factor(rng, 4, 2)), mine)
    assert state.rank == 1
    assert mine.noise_variance is None
    with pytest.raises(ValueError, match="symmetric=True"):
        fit_state(seen(rng, state_factor(rng, 4, 1)), PrecGDMatrixSensing())


def test_what_is_no_counts_is_refused():
    with pytest.raises(ValueError, match=r"Counts\(settings, counts\), got list"):
        fit_state([[500, 500]])


@pytest.mark.parametrize("shots", [-3, 0, 10.5, np.inf, np.nan, [10, 20], None, "9"])
def test_shots_are_one_whole_number(shots):
    with pytest.raises(ValueError, match="shots must be a positive whole number"):
        Counts.simulate(["X"], [1, 0], shots)


@pytest.mark.parametrize("shots", [7, 7.0, np.int64(7), np.float32(7)])
def test_whole_numbers_of_any_type_are_shots(shots):
    assert Counts.simulate(["X"], [1, 0], shots).counts.sum() == 7


@pytest.mark.parametrize("labels", [["Z", "X"], ["XX", "ZZ", "XZ", "ZX"]])
def test_settings_that_see_no_imaginary_part_are_warned_of_once(rng, labels):
    """In words for settings, and not for each of the fits, nor for real matrices."""
    x = np.eye(2 ** len(labels[0]))[:, :1]
    with pytest.warns(UserWarning, match="imaginary part") as warned:
        fit_state(drawn(rng, labels, x, 100))
    (alone,) = warned
    assert str(alone.message).startswith("No setting sees the imaginary part")
    assert "add a setting with Y" in str(alone.message)
    assert alone.filename == __file__


def test_the_most_mixed_state_is_not_known_any_better_than_others():
    state = fit_state(Counts(["X", "Y", "Z"], [[500, 500]] * 3))
    np.testing.assert_allclose(state.density_matrix, np.eye(2) / 2, atol=0.01)
    low, high = state.interval(lambda rho: rho[0, 1].real)
    # The standard deviation of a frequency of 500 shots is .016 to .022.
    assert 0.02 < high - low < 0.2


def test_white_noise_beside_a_pure_state_is_found(rng):
    """A state of full rank, which components would take many of."""
    x = state_factor(rng, 4, 1)
    rho = 0.8 * density(x) + 0.2 * np.eye(4) / 4
    state = fit_state(seen(rng, np.linalg.cholesky(rho)))
    assert state.white_share == pytest.approx(0.2, abs=0.06)
    assert fidelity(state, rho) > 0.99
    # What is not known of its weight is in the draws, too.
    assert np.std(np.linalg.det(state.draws(50)).real) > 0


def test_a_pure_state_has_no_white_noise(rng):
    state = fit_state(seen(rng, state_factor(rng, 4, 1)))
    assert state.white_share < 0.02


# ---- how sure it is


@pytest.mark.parametrize("rank", [1, 2])
def test_intervals_hold_the_entries(rng, rank):
    x = state_factor(rng, 8, rank)
    state = fit_state(seen(rng, x))
    held = []
    for part in (np.real, np.imag):
        low, high = state.interval(part, confidence=0.9)
        upper = np.triu_indices(8, 0 if part is np.real else 1)
        truth = part(density(x))
        held += list(((low <= truth) & (truth <= high))[upper])
        assert np.all(high - low < 0.1)
    # Entries of one draw are off together, so that shares scatter by more than alone.
    assert np.mean(held) > 0.65


def test_the_interval_of_a_fidelity_of_one_holds_it(rng):
    x = state_factor(rng, 4, 1)
    state = fit_state(seen(rng, x))

    def with_truth(rho):
        return fidelity(rho, x[:, 0])

    low, high = state.interval(with_truth, confidence=0.99, limits=(0, 1))
    assert low <= with_truth(state.density_matrix) <= high == 1.0
    assert low > 0.98


def test_draws_are_states(rng):
    draws = fit_state(seen(rng, state_factor(rng, 4, 2))).draws(20)
    np.testing.assert_allclose(np.einsum("kii->k", draws), 1.0)
    np.testing.assert_allclose(draws, draws.conj().transpose(0, 2, 1))
    assert np.linalg.eigvalsh(draws).min() > -1e-12


def test_intervals_are_those_of_real_values():
    state = fit_state(Counts(["X", "Y", "Z"], [[50, 50], [50, 50], [99, 1]]))
    with pytest.raises(ValueError, match="must be real, such as"):
        state.interval(lambda rho: rho)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 90])
def test_a_confidence_is_a_share(rng, confidence):
    state = fit_state(seen(rng, state_factor(rng, 4, 1)))
    with pytest.raises(ValueError, match="confidence"):
        state.interval(purity, confidence=confidence)


# ---- draws of any factors


@pytest.mark.parametrize("kind", [np.float64, np.complex128])
@pytest.mark.parametrize("one", [True, False])
def test_draws_hold_no_turns(rng, kind, one):
    """The moves are at right angles to all turns, and change the product as before."""
    left, d_left = gaussian(rng, 6, 2), gaussian(rng, 3, 6, 2)
    right, d_right = gaussian(rng, 5, 2), gaussian(rng, 3, 5, 2)
    given = [a.astype(kind) if kind is np.complex128 else a.real for a in
             (left, right, d_left, d_right)]  # fmt: skip
    left, right, d_left, d_right = given
    if one:
        right, d_right = left, d_left
    moved = without_turns(left, right, d_left, d_right)

    def change(first, second):
        swapped = second.conj().transpose(0, 2, 1)
        return first @ right.conj().T + left @ swapped

    np.testing.assert_allclose(change(*moved), change(d_left, d_right))
    turn = gaussian(rng, 2, 2).astype(kind) if kind is np.complex128 else (
        rng.standard_normal((2, 2))
    )  # fmt: skip
    if one:
        turn = turn - turn.conj().T
    along = np.sum((left @ turn).conj() * moved[0], axis=(1, 2))
    along = along - np.sum((right @ turn.conj().T).conj() * moved[1], axis=(1, 2))
    np.testing.assert_allclose(along.real, 0.0, atol=1e-10)


@pytest.mark.parametrize("symmetric", [True, False])
def test_draws_vary_as_predictions_are_uncertain(rng, symmetric):
    x = rng.standard_normal((6, 1))
    other = x if symmetric else rng.standard_normal((5, 1))
    A = rng.standard_normal((120, 6, len(other)))
    y = np.einsum("kij,il,jl->k", A, x, other) + 0.3 * rng.standard_normal(120)
    model = PrecGDMatrixSensing(2, symmetric=symmetric, noise_variance=0.09).fit(A, y)
    left, right = model.sample_factors(1000, random_state=0)
    assert (left is right) == symmetric
    values = np.einsum("kij,dil,djl->dk", A[:20], left, right)
    mean, std = model.predict(A[:20], return_std=True)
    of_matrix = np.sqrt(std**2 - model.noise_variance_)
    assert np.mean(values.std(axis=0) / of_matrix) == pytest.approx(1.0, rel=0.2)
    assert np.all(np.abs(values.mean(axis=0) - mean) < of_matrix)


def test_draws_need_a_posterior_of_measurements(rng):
    X = rng.standard_normal((20, 1)) @ rng.standard_normal((1, 12))
    X = X + 0.1 * rng.standard_normal(X.shape)
    X[rng.random(X.shape) < 0.3] = np.nan
    entries = PrecGDMatrixSensing(2).fit(*observed_entries(X))
    with pytest.raises(ValueError, match="sample_entries"):
        entries.sample_factors(3)
    A = rng.standard_normal((60, 4, 3))
    exact = PrecGDMatrixSensing(2).fit(A, A[:, 0, 0])
    with pytest.raises(ValueError, match="sample_factors needs a fit that has learned"):
        exact.sample_factors(3)


# ---- distances of states


def test_fidelity_of_pure_states_is_their_overlap(rng):
    x, z = state_factor(rng, 5, 1), state_factor(rng, 5, 1)
    overlap = abs(np.vdot(x, z)) ** 2
    for first, second in product([x[:, 0], density(x)], [z[:, 0], density(z)]):
        assert fidelity(first, second) == pytest.approx(overlap, abs=1e-6)


def test_fidelity_and_trace_distance_bound_each_other(rng):
    """Fuchs and van de Graaf: 1 - sqrt F <= T <= sqrt(1 - F); neither has a frame."""
    rho, sigma = (density(state_factor(rng, 4, rank)) for rank in (2, 3))
    f, t = fidelity(rho, sigma), trace_distance(rho, sigma)
    assert 1 - np.sqrt(f) <= t <= np.sqrt(1 - f)
    u = unitary(rng, 4)
    turned = [u @ each @ u.conj().T for each in (rho, sigma)]
    assert fidelity(*turned) == pytest.approx(f)
    assert fidelity(sigma, rho) == pytest.approx(f)
    assert trace_distance(*turned) == pytest.approx(t)


def test_purity_says_how_mixed_a_state_is(rng):
    assert purity(state_factor(rng, 5, 1)[:, 0]) == pytest.approx(1.0)
    assert purity(np.eye(5) / 5) == pytest.approx(0.2)


def test_states_are_divided_by_their_traces(rng):
    """So that no fidelity is above one, in whatever units a state is."""
    x, rho = state_factor(rng, 4, 1)[:, 0], density(state_factor(rng, 4, 3))
    scale = np.exp(rng.uniform(-5, 5))
    for given in (x, rho):
        assert purity(scale * given) == pytest.approx(purity(given))
        for measure in (fidelity, trace_distance):
            for other in (x, rho):
                exact = pytest.approx(measure(given, other), abs=1e-6)
                assert measure(scale * given, other) == exact
                assert measure(other, scale * given) == exact
        np.testing.assert_allclose(
            Settings(["XY"]).probabilities(scale * given).sum(axis=1), 1.0
        )
    assert fidelity(scale * x, x) == pytest.approx(1.0)


def test_eigenvalues_may_be_below_zero_by_rounding(rng):
    u = unitary(rng, 4)
    rho = u @ np.diag([1.0, 1e-17, -1e-12, 0.0]) @ u.conj().T
    assert purity(rho) == pytest.approx(1.0)
    assert fidelity(rho, u[:, 0]) == pytest.approx(1.0)
    assert purity(rho.astype(np.complex64)) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize(
    ("rho", "message"),
    [
        (np.ones((2, 3)), "square matrix or a vector"),
        ([[1, 1], [0, 1]], "Hermitian"),
        ([[np.nan, 0], [0, 1]], "Hermitian"),
        (np.diag([1.5, -0.5]), "no negative eigenvalues; the one given has -0.5"),
        (-np.eye(2), "no negative eigenvalues"),
        (np.zeros((2, 2)), "positive trace"),
        ([0, 0], "positive trace"),
        ([np.nan, 1], "finite"),
    ],
)
@pytest.mark.parametrize(
    "taken",
    [
        purity,
        lambda rho: fidelity(rho, [1, 0]),
        lambda rho: trace_distance([1, 0], rho),
        Settings(["Z", "X"]).probabilities,
        lambda rho: Counts.simulate(["Z", "X"], rho, 10),
    ],
)
def test_what_is_no_state_is_refused(taken, rho, message):
    with pytest.raises(ValueError, match=message):
        taken(rho)


@pytest.mark.parametrize("measure", [fidelity, trace_distance])
def test_states_of_two_sizes_are_refused(measure):
    with pytest.raises(ValueError, match="one size, got 3 and 2"):
        measure(np.eye(3), np.eye(2))


# ---- what counts cannot say


def test_settings_that_do_not_tell_the_state_are_warned_of(global_random_seed):
    counts = Counts.simulate(["X", "Y"], [1, 0], 500, random_state=global_random_seed)
    with pytest.warns(UserWarning, match="see at most 3 numbers of a state, too few"):
        fit_state(counts)


def test_intervals_beside_white_noise_that_is_nearly_all(global_random_seed):
    # An entry that is .02 on top of the identity is known to about .035 by these shots.
    rho = np.eye(4) / 4
    rho[0, 3] = rho[3, 0] = 0.02
    widths = []
    for seed in range(3 * global_random_seed, 3 * global_random_seed + 3):
        state = fit_state(Counts.simulate(bases(2), rho, 100, random_state=seed))
        low, high = state.interval(lambda rho: rho[0, 3].real)
        widths.append(high - low)
    assert 0.03 < np.median(widths) < 0.3
