"""Quantum states from counts: what to fit, the state that was found, how sure it is.

`counts.py` makes measurements of counts, `search.py` fits them, `state.py` is what was
found, and `distances.py` compares states.
"""

from skprecgd.states.counts import Counts
from skprecgd.states.distances import fidelity, purity, trace_distance
from skprecgd.states.search import fit_state
from skprecgd.states.state import State, WhiteNoise

__all__ = [
    "Counts",
    "State",
    "WhiteNoise",
    "fidelity",
    "fit_state",
    "purity",
    "trace_distance",
]
