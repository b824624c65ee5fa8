"""The missing cells of a table: their means, how sure these are, and draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skprecgd._estimators.uncertain import entries_of_rows, loses_digits
from skprecgd._linalg.numerics import slabs
from skprecgd._runtime.typing import Array
from skprecgd.kernels import sampled_product
from skprecgd.measurements.in_memory import matrix_entries
from skprecgd.variational.predictive import EntryDistributions


class Cells(ABC):
    """Some cells of rows, as a fitted `PrecGDFactorization` predicts them."""

    @abstractmethod
    def means(self) -> Array:
        """Predictions, shape (n_cells,)."""

    @abstractmethod
    def deviations(self) -> Array:
        """Standard deviations of the cells, shape (n_cells,)."""

    @abstractmethod
    def drawn(self, rng: np.random.RandomState) -> Array:
        """One draw of all cells from their joint distribution, shape (n_cells,)."""


class NoCells(Cells):
    """Nothing is missing."""

    def means(self) -> Array:
        return np.zeros(0)

    def deviations(self) -> Array:
        return np.zeros(0)

    def drawn(self, rng: np.random.RandomState) -> Array:
        return np.zeros(0)


class FittedCells(Cells):
    """Cells of the rows that were fitted, with the weights that these had.

    Parameters
    ----------
    model : PrecGDFactorization
    rows, columns : ndarray of int, shape (n_cells,)
    """

    def __init__(self, model: Any, rows: Array, columns: Array) -> None:
        self.model, self.at = model, (rows, columns)

    def means(self) -> Array:
        return np.asarray(self.model.predict_entries(*self.at))

    def deviations(self) -> Array:
        return np.asarray(self.model.predict_entries(*self.at, return_std=True)[1])

    def drawn(self, rng: np.random.RandomState) -> Array:
        return np.asarray(self.model.sample_entries(*self.at, random_state=rng)[0])


class CellsOfRows(Cells):
    """Cells of any rows, given what these show.

    Parameters
    ----------
    model : PrecGDFactorization
    values : ndarray of shape (n_rows, n_columns)
        NaN where a cell is missing.
    rows, columns : ndarray of int, shape (n_cells,)
    """

    def __init__(self, model: Any, values: Array, rows: Array, columns: Array) -> None:
        self.model, self.values = model, values
        self.rows, self.columns = rows, columns

    def means(self) -> Array:
        return self._means

    @cached_property
    def _means(self) -> Array:
        model, values = self.model, self.values
        if loses_digits(model):
            return self._known.means(self.rows, self.columns)
        basis = model.components_.T
        # The entries of many rows take several times the memory of the table.
        parts = slabs(values.shape)
        z = np.concatenate([model.transform(values[part]) for part in parts])
        fitted = sampled_product(z, basis, self.rows, self.columns)
        return np.asarray(fitted + model.center_[self.columns])

    def deviations(self) -> Array:
        return self._known.at(self.rows, self.columns).std

    def drawn(self, rng: np.random.RandomState) -> Array:
        known, cells = self._known, (self.rows, self.columns)
        # Groups of which no noise was learned have a matrix all the same.
        shift = self.means() - known.means(*cells)
        return np.asarray(shift + next(known.draws(*cells, rng)))

    @cached_property
    def _known(self) -> EntryDistributions:
        rows, columns, shown, shape = matrix_entries(self.values, np.nan)
        entries = sparse.csr_array((shown, (rows, columns)), shape=shape)
        return entries_of_rows(self.model, entries)


class ExplainedCells(CellsOfRows):
    """Cells of rows where nothing but rounding was left of the data that were fitted.

    What is known of the cells is as exact as the fit.
    """

    def deviations(self) -> Array:
        return np.full(len(self.rows), np.sqrt(self.model.noise_variance_))

    def drawn(self, rng: np.random.RandomState) -> Array:
        return self.means() + self.deviations() * rng.standard_normal(len(self.rows))
