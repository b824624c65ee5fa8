"""QuTiP's objects: where they are read, how factors are ordered, what comes back."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pytest
from _complex import gaussian, state

from skprecgd import PrecGDMatrixSensing
from skprecgd.measurements import (
    DenseMeasurements,
    LocalMeasurements,
    PauliMeasurements,
    RankOneMeasurements,
    as_measurements,
)
from skprecgd.states import (
    Counts,
    Settings,
    fidelity,
    fit_state,
    purity,
    trace_distance,
)


@pytest.fixture
def qutip():
    return pytest.importorskip("qutip")


@pytest.fixture
def paulis(qutip):
    """The matrices that letters stand for."""
    return {
        "I": qutip.qeye(2),
        "X": qutip.sigmax(),
        "Y": qutip.sigmay(),
        "Z": qutip.sigmaz(),
    }


def dims(*parts):
    return [list(parts), list(parts)]


def test_without_qutip_one_sentence_names_the_extra(rng, monkeypatch):
    found = fit_state(Counts(["X", "Y", "Z"], [[50, 50], [50, 50], [99, 1]]))
    monkeypatch.setitem(sys.modules, "qutip", None)
    with pytest.raises(ImportError, match=r"State.to_qobj needs qutip.*\[physics\]"):
        found.to_qobj()


# ---- the order of factors


def test_the_first_letter_is_the_first_factor_of_tensor(qutip, paulis):
    labels = ["XIZ", "YZI", "IXY"]
    strings = PauliMeasurements(labels).stacked(slice(None)).reshape(-1, 8, 8)
    for label, ours in zip(labels, strings, strict=True):
        theirs = qutip.tensor(*(paulis[letter] for letter in label))
        np.testing.assert_allclose(ours, theirs.full())


def test_the_first_digit_is_the_first_factor_of_tensor(qutip):
    zero_one = qutip.tensor(qutip.basis(2, 0), qutip.basis(2, 1))
    shown = Settings(["ZZ"]).probabilities(zero_one)
    np.testing.assert_allclose(shown, [[0, 1, 0, 0]])


def test_zero_is_the_eigenvalue_one(qutip, paulis):
    for letter in "XYZ":
        plus = paulis[letter].eigenstates()[1][1]
        np.testing.assert_allclose(
            Settings([letter]).probabilities(plus), [[1, 0]], atol=1e-12
        )


# ---- reading


def test_distances_are_those_of_qutip(qutip, rng):
    rho, sigma = (qutip.rand_dm([2, 2], seed=rng) for _ in range(2))
    ket = qutip.rand_ket([2, 2], seed=rng)
    for other in (sigma, ket):
        # QuTiP's fidelity is the root of ours.
        theirs = qutip.fidelity(rho, other) ** 2
        assert fidelity(rho, other) == pytest.approx(theirs, rel=1e-6)
        theirs = qutip.tracedist(rho, other)
        assert trace_distance(rho, other) == pytest.approx(theirs, rel=1e-6)
    assert purity(rho) == pytest.approx(rho.purity())
    assert purity(ket) == pytest.approx(1.0)


def test_observables_are_measured(qutip, paulis, rng):
    observables = [qutip.tensor(paulis[a], paulis[b]) for a, b in product("XYZ", "IZ")]
    ket = qutip.rand_ket([2, 2], seed=rng)
    theirs = qutip.expect(observables, ket)
    for A in (as_measurements(observables), DenseMeasurements(observables)):
        assert A.hermitian
        np.testing.assert_allclose(A.forward(ket, ket).real, theirs)
        np.testing.assert_allclose(A.forward(ket.proj(), np.eye(4)).real, theirs)


def test_estimators_take_lists_of_observables(qutip, paulis, rng):
    letters = list(product("IXYZ", repeat=2))
    observables = [qutip.tensor(paulis[a], paulis[b]) for a, b in letters]
    ket = qutip.rand_ket([2, 2], seed=rng)
    y = qutip.expect(observables, ket)
    model = PrecGDMatrixSensing(1, symmetric=True).fit(observables, y)
    assert fidelity(model.matrix_, ket) == pytest.approx(1.0)
    in_array = np.empty(2, dtype=object)
    in_array[:] = observables[3:5]
    np.testing.assert_allclose(model.predict(in_array), y[3:5], atol=1e-6)


def test_kets_and_small_matrices_are_read(qutip, paulis, rng):
    kets = [qutip.rand_ket(4, seed=rng) for _ in range(3)]
    x = qutip.rand_ket(4, seed=rng)
    seen = RankOneMeasurements(kets).forward(x, x).real
    np.testing.assert_allclose(seen, [abs(ket.overlap(x)) ** 2 for ket in kets])
    sites = [[paulis["X"], paulis["Z"]], [paulis["I"], paulis["Y"]]]
    seen = LocalMeasurements(sites).forward(x, x).real
    strings = PauliMeasurements(["XI", "ZY"]).forward(x, x).real
    np.testing.assert_allclose(seen, strings)


@pytest.mark.parametrize("wrong", ["ket", "bra", "super"])
def test_what_is_no_operator_is_refused(qutip, wrong):
    ket = qutip.basis(2, 0)
    given = {"ket": ket, "bra": ket.dag(), "super": qutip.to_super(qutip.sigmax())}
    with pytest.raises(ValueError, match=f"must be an operator here, got .*{wrong}"):
        as_measurements([given[wrong]])
    if wrong != "ket":
        with pytest.raises(ValueError, match="must be a ket or an operator"):
            purity(given[wrong])


def test_outcomes_are_lists_of_lists(qutip):
    """A list of observables is no setting, though their rows are vectors."""
    with pytest.raises(ValueError, match="a list for each setting"):
        Settings([qutip.sigmax(), qutip.sigmaz()])
    singlet = qutip.singlet_state()
    projector = qutip.ket2dm(singlet)
    settings = Settings([[projector, 1 - projector]])
    assert (settings.shape, settings.dims) == ((1, 2), (2, 2))
    np.testing.assert_allclose(settings.probabilities(singlet), [[1, 0]], atol=1e-12)


# ---- there and back


def test_a_state_of_qubits_goes_there_and_back(qutip, rng):
    labels = ["".join(letters) for letters in product("XYZ", repeat=2)]
    singlet = qutip.singlet_state()
    counts = Counts.simulate(labels, singlet, 2000, rng.integers(2**31))
    found = fit_state(counts)
    rho = found.to_qobj()
    assert rho.dims == dims(2, 2)
    assert rho.isherm
    np.testing.assert_allclose(rho.full(), found.density_matrix)
    assert fidelity(rho, singlet) > 0.98
    assert qutip.concurrence(rho) > 0.9
    assert rho.ptrace(0).dims == dims(2)


def random_bases(qutip, rng, count, parts):
    """Kets of random bases of a system of these parts."""
    n = int(np.prod(parts))
    unitaries = [qutip.rand_unitary(parts, seed=rng).full() for _ in range(count)]
    return [
        [qutip.Qobj(u[:, k], dims=[parts, [1] * len(parts)]) for k in range(n)]
        for u in unitaries
    ]


def test_qutrits_keep_their_dims(qutip, rng):
    settings = Settings(random_bases(qutip, rng, 14, [3, 3]))
    assert settings.dims == (3, 3)
    x = state(rng, 9, 1)[:, 0]
    found = fit_state(Counts.simulate(settings, x, 2000, rng.integers(2**31)))
    assert found.to_qobj().dims == dims(3, 3)
    assert found.to_qobj().ptrace(1).shape == (3, 3)
    assert fidelity(found.to_qobj(), x) > 0.97


def test_dims_of_arrays_are_given(qutip, rng):
    vectors = np.linalg.qr(gaussian(rng, 20, 6, 6))[0]
    p = Settings(vectors).probabilities(state(rng, 6, 1))
    found = fit_state(Counts(vectors, np.rint(2000 * p)))
    assert found.to_qobj().dims == dims(6)
    assert found.to_qobj([2, 3]).dims == dims(2, 3)
    for wrong in ([2, 2], [[2, 3], [2, 3]], 6):
        with pytest.raises(ValueError, match="with the product 6, got"):
            found.to_qobj(wrong)


# ---- processes


def test_choi_matrices_stack_columns_as_in_qutip(qutip, rng):
    """``sum_ij |i><j| (x) E(|i><j|)``: the input is the first factor."""
    kraus = gaussian(rng, 2, 2)
    rho = state(rng, 2, 2)
    rho = rho @ rho.conj().T
    choi = qutip.to_choi(qutip.to_super(qutip.Qobj(kraus))).full()
    column_by_column = kraus.T.ravel()
    np.testing.assert_allclose(
        choi, np.outer(column_by_column, column_by_column.conj())
    )
    outcome = np.diag([1.0, 0.0])
    seen = np.trace(choi @ np.kron(rho.T, outcome))
    np.testing.assert_allclose(seen, np.trace(outcome @ kraus @ rho @ kraus.conj().T))
