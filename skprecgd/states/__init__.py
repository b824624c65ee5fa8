"""Quantum states from counts: what to fit, the state that was found, how sure it is.

`settings.py` says what is measured, `counts.py` adds what was seen, `search.py` fits
it, `state.py` is what was found, `densities.py` reads states in other forms, and
`distances.py` compares them.
"""

from skprecgd.states.counts import Counts
from skprecgd.states.distances import fidelity, purity, trace_distance
from skprecgd.states.search import fit_state
from skprecgd.states.settings import Settings
from skprecgd.states.state import State, WhiteNoise

__all__ = [
    "Counts",
    "Settings",
    "State",
    "WhiteNoise",
    "fidelity",
    "fit_state",
    "purity",
    "trace_distance",
]
