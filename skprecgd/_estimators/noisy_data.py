"""The contract of data from which noise and prior can be learned: single entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np

from skprecgd.variational.given import GivenEntries
from skprecgd.variational.posterior import Posterior
from skprecgd.variational.predictive import EntryDistributions


class NoisyData(ABC):
    """Single entries of a matrix, in memory or in chunks.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        Type of the entries.
    unit_variance : float or None
        Variance of the noise of an entry of precision one, where it was given.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    unit_variance: float | None

    @property
    @abstractmethod
    def n_entries(self) -> int:
        """Number of entries."""

    @property
    @abstractmethod
    def mean_frequency(self) -> float:
        """How often entries were made, in the mean."""

    @abstractmethod
    def without_repeats(self) -> Self:
        """Each measurement once, and in its weight how often it was there.

        Repeats of a cell with the same result and the same precision are one.
        """

    @abstractmethod
    def given(self, often: float = 1.0) -> GivenEntries:
        """The entries as a posterior is learned from them.

        Parameters
        ----------
        often : float, default=1.0
            By what the frequencies are divided.
        """

    @abstractmethod
    def distributions(
        self, posterior: Posterior, often: float, *, rows_differ: bool
    ) -> EntryDistributions | None:
        """What is known of each entry of the matrix; None where that is not kept.

        Parameters
        ----------
        posterior : Posterior
            Learned from these entries.
        often : float
            See `given`.
        rows_differ : bool
            Whether rows may have noise of their own.
        """
