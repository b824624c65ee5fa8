#!/usr/bin/env bash
# QuTiP takes operators in SI units for Hermitian, and drops their imaginary parts.
#
# Eigenvalues and expectations are linear in the unit, so one expects the same physics in
# joules as in radians per microsecond. Qobj.isherm compares with an absolute 1e-12, which
# is among the settings, but every operator in joules is smaller than that. In QuTiP 5.3.1
# the effective Hamiltonian of a decaying atom has eigenvalues -1.5 - 2i and 1.5 - 1i in
# rad/us; in joules it is "Hermitian", and they are -2.06 and 2.06: both decay rates are
# gone, and the frequencies are other ones, since only a triangle of the matrix is read. The
# expectation of a lowering operator in coulomb metres, the dipole that radiates, is
# returned as 0 where it is imaginary. Nothing warns.
#
# Needs Python with venv and a package index; fails if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet --no-compile numpy==2.4.6 scipy==1.17.1 qutip==5.3.1
"$work/env/bin/python" - <<'PYTHON'
import warnings

import numpy as np

warnings.simplefilter("ignore")  # QuTiP tells at its import that it draws nothing
import qutip

warnings.simplefilter("error")
print(f"QuTiP {qutip.__version__}, NumPy {np.__version__}")
joule = 1.054571817e-34 * 1e6  # of one rad/us
decaying = -3.0j * qutip.basis(2, 1).proj()
hamiltonian = 2.0 * qutip.sigmax() + 0.5 * qutip.sigmaz() + decaying
state = (qutip.basis(2, 0) + 1j * qutip.basis(2, 1)).unit()
right = np.sort_complex(np.linalg.eigvals(hamiltonian.full()))
for unit, name in ((1.0, "rad/us"), (joule, "joule")):
    given = unit * hamiltonian
    found = np.sort_complex(given.eigenenergies() / unit)
    print(f"in {name}: isherm {given.isherm}, eigenvalues {np.round(found, 3)}")
    assert given.isherm == (unit == joule)
    assert np.allclose(found, right if unit == 1.0 else [-np.sqrt(4.25), np.sqrt(4.25)])
for unit in (1.0, 1e-29):
    dipole = qutip.expect(unit * qutip.sigmam(), state) / unit
    print(f"dipole of {unit:g} C m: expectation {dipole:.3f} of it")
    assert np.isclose(dipole, 0.0 if unit < 1 else -0.5j)
PYTHON
