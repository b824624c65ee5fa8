"""Linear measurements of a low-rank matrix, one kind a file."""

from skprecgd.measurements.base import Measurements
from skprecgd.measurements.complex_entries import ComplexEntryMeasurements
from skprecgd.measurements.dense import DenseMeasurements
from skprecgd.measurements.diffraction import DiffractionMeasurements
from skprecgd.measurements.entries import EntryMeasurements
from skprecgd.measurements.full import FullObservation
from skprecgd.measurements.linear_operator import LinearOperatorMeasurements
from skprecgd.measurements.local import LocalMeasurements
from skprecgd.measurements.multi_output import MultiOutputMeasurements, multi_output
from skprecgd.measurements.pauli import PauliMeasurements
from skprecgd.measurements.rank_one import RankOneMeasurements
from skprecgd.measurements.readers import as_measurements, observed_entries
from skprecgd.measurements.sparse import SparseMeasurements

__all__ = [
    "ComplexEntryMeasurements",
    "DenseMeasurements",
    "DiffractionMeasurements",
    "EntryMeasurements",
    "FullObservation",
    "LinearOperatorMeasurements",
    "LocalMeasurements",
    "Measurements",
    "MultiOutputMeasurements",
    "PauliMeasurements",
    "RankOneMeasurements",
    "SparseMeasurements",
    "as_measurements",
    "multi_output",
    "observed_entries",
]
