"""Linear measurements of a low-rank matrix, one kind a file."""

from ._dispatch import as_measurements, observed_entries
from .base import Measurements
from .dense import DenseMeasurements
from .entries import EntryMeasurements
from .full import FullObservation
from .linear_operator import LinearOperatorMeasurements
from .rank_one import RankOneMeasurements
from .sparse import SparseMeasurements

__all__ = [
    "DenseMeasurements",
    "EntryMeasurements",
    "FullObservation",
    "LinearOperatorMeasurements",
    "Measurements",
    "RankOneMeasurements",
    "SparseMeasurements",
    "as_measurements",
    "observed_entries",
]
