"""What an optimization returns: factors, status, history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors


class Status(Enum):
    """Why an optimization stopped; the value is the sentence shown to users."""

    RESIDUAL = "The relative residual is at most tol."
    STATIONARY = (
        "The gradient in the metric is at most tol times the data norm: "
        "a stationary point."
    )
    PRECISION = "No further decrease is possible in working precision."
    GLOBAL = "No rank-one term decreases the objective: the global optimum."
    HELD_OUT = "The held-out loss stopped falling."
    NOISE = "Noise is left that no rank explains."
    SLOW = "Progress became slow at this rank."
    MAX_ITER = "max_iter was reached."
    WORSE_THAN_ZERO = (
        "The loss is above that of the zero matrix: a bad start, or a local optimum."
    )
    DIVERGED = "The objective grew beyond its start: the step size is too large."
    CALLBACK = "Stopped by the callback."
    INTERRUPTED = "Interrupted by the user; the best iterate is kept."

    @property
    def converged(self) -> bool:
        return self in (
            Status.RESIDUAL,
            Status.STATIONARY,
            Status.GLOBAL,
            Status.HELD_OUT,
            Status.NOISE,
            Status.PRECISION,
        )


class _Numbers(NamedTuple):
    """The numbers of a `Record`."""

    iteration: int
    rank: int
    loss: float
    relative_residual: float
    gradient_norm: float
    step: float
    damping: float
    validation_loss: float
    seconds: float


class Record(_Numbers):
    """One line of the history: a tuple of numbers with names.

    Attributes
    ----------
    iteration : int
    rank : int
        Search rank at that iteration.
    loss : float
        Data part of the objective.
    relative_residual : float
        ``sqrt(loss / loss at zero)``.
    gradient_norm : float
        Dual norm of the gradient in the undamped metric; about the part of the
        error that moving the factors can still remove.
    step : float
        Step that led to this point (nan at the start).
    damping : float
        eta of the metric at this point.
    validation_loss : float
        Loss on held-out measurements (nan where none were held out).
    seconds : float
        Since the start.
    extra : mapping of str to float
        Numbers that the solver's direction adds (`Direction.diagnostics`), by the
        name of its column in the history. No part of the tuple, and empty for most
        solvers.
    """

    extra: Mapping[str, float] = {}

    def with_extra(self, extra: Mapping[str, float]) -> Record:
        """The same numbers with another report.

        Parameters
        ----------
        extra : mapping of str to float

        Returns
        -------
        Record
        """
        if extra == self.extra:
            return self
        record = Record(*self)
        record.extra = extra
        return record


class History:
    """Table of an optimization: ``history["loss"]`` is a column, as an array.

    Its columns are the fields of `Record`, and one more for everything that a solver
    reports besides; a line without a report holds nan there.

    Parameters
    ----------
    records : list of Record, default=None
        The lines; None is an empty table.

    Examples
    --------
    >>> from skprecgd.optim import History, Record
    >>> history = History([Record(0, 2, 0.5, 1.0, 0.7, 0.0, 1.0, 0.1, 0.0)])
    >>> history["rank"], len(history)
    (array([2]), 1)
    """

    def __init__(self, records: list[Record] | None = None) -> None:
        self.records: list[Record] = [] if records is None else records

    def __getstate__(self) -> dict[str, Any]:
        # Not every format for models knows subclasses of tuples (that of skops does
        # not), but all know arrays.
        numbers = {name: self[name] for name in Record._fields}
        reported = {k: dict(r.extra) for k, r in enumerate(self.records) if r.extra}
        return {"numbers": numbers, "reported": reported}

    def __setstate__(self, state: dict[str, Any]) -> None:
        columns = (state["numbers"][name].tolist() for name in Record._fields)
        reported = state["reported"]
        self.records = [
            Record(*numbers).with_extra(reported.get(k, {}))
            for k, numbers in enumerate(zip(*columns, strict=True))
        ]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, those of a solver's own report last."""
        reported = dict.fromkeys(name for r in self.records for name in r.extra)
        return (*Record._fields, *reported)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __getitem__(self, column: str) -> Array:
        if column not in self.columns:
            raise KeyError(f"{column!r} is not one of the columns {self.columns}.")
        if column in Record._fields:
            return np.array([getattr(record, column) for record in self.records])
        return np.array([record.extra.get(column, np.nan) for record in self.records])

    def to_dict(self) -> dict[str, Array]:
        """All columns by name, ready for ``pandas.DataFrame``."""
        return {column: self[column] for column in self.columns}

    def scaled(self, unit: float) -> History:
        """The same history in the data's units (loss times unit squared)."""
        return History(
            [
                r._replace(
                    loss=r.loss * unit**2,
                    gradient_norm=r.gradient_norm * unit,
                    damping=r.damping * unit,
                    validation_loss=r.validation_loss * unit**2,
                ).with_extra(r.extra)
                for r in self.records
            ]
        )

    def __str__(self) -> str:
        columns = self.columns
        header = " ".join(f"{column:>17}" for column in columns)
        return "\n".join([header, *(format_record(r, columns) for r in self.records)])


def format_record(record: Record, columns: Iterable[str] | None = None) -> str:
    """One line of text, aligned with the header of ``str(history)``.

    Parameters
    ----------
    record : Record
    columns : iterable of str, default=None
        The columns of the header. None takes those of the record.
    """
    values = {**record._asdict(), **record.extra}
    names = values if columns is None else columns
    numbers = (values.get(name, np.nan) for name in names)
    cells = (f"{v:d}" if isinstance(v, int) else f"{v:.4g}" for v in numbers)
    return " ".join(f"{cell:>17}" for cell in cells)


@dataclass(frozen=True)
class Result:
    """Outcome of `minimize`.

    Attributes
    ----------
    factors : Factors
        The best point found.
    status : Status
    message : str
        What happened, as a sentence or two.
    n_iter : int
    loss, relative_residual, gradient_norm : float
        At `factors`; see `Record`.
    history : History
    """

    factors: Factors
    status: Status
    message: str
    n_iter: int
    loss: float
    relative_residual: float
    gradient_norm: float
    history: History = field(repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # Not every format for models knows enumerations (that of skops does not), but
        # all know strings.
        return {**vars(self), "status": self.status.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, status=Status[state["status"]])

    @property
    def converged(self) -> bool:
        """Whether the point is a solution as far as `tol` or precision tell."""
        return self.status.converged
