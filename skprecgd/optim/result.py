"""What an optimization returns: factors, status, history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from skprecgd._runtime.extras import import_extra
from skprecgd._runtime.tables import duration, html_table
from skprecgd._runtime.typing import Array
from skprecgd.factors import Factors


class Status(Enum):
    """Why an optimization stopped; the value is the sentence shown to users."""

    RESIDUAL = "The data are explained to within tol."
    STATIONARY = (
        "The best factors of this rank are found: their gradient is within tol."
    )
    PRECISION = "The best factors are found as exactly as working precision allows."
    GLOBAL = (
        "The global optimum is found: no further component decreases the objective."
    )
    HELD_OUT = "The held-out loss stopped falling."
    NOISE = "Noise is left that no rank explains."
    SLOW = "Progress became slow at this rank, before the data were explained."
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


# Lines that are printed at most, and how many of each end if there are more.
_MOST_LINES, _EACH_END = 60, 5


class _Numbers(NamedTuple):
    """The fields of a `Record`."""

    iteration: int
    rank: int
    loss: float
    relative_residual: float
    gradient_norm: float
    step: float
    damping: float
    validation_loss: float
    seconds: float
    phase: str = ""


class Record(_Numbers):
    """One line of the history: a tuple with names.

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
    phase : str, default=""
        What is going on, with the solver: "fit (precgd-cg)"; "held out (...)" where
        some measurements are kept back to choose the rank, "refit (...)" after that.
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


class Kept(NamedTuple):
    """The matrix that is kept after an optimization, as a history tells of it.

    What has led there may have ended elsewhere: at a rank beyond the best one, or at
    the noise, from where the posterior is learned.

    Attributes
    ----------
    rank : int
    relative_residual : float
    """

    rank: int
    relative_residual: float


class History:
    """Table of an optimization: ``history["loss"]`` is a column, as an array.

    Its columns are the fields of `Record`, and one more for everything that a solver
    reports besides; a line without a report holds nan there. ``print(history)`` shows
    its first and last lines, and a notebook what each rank and phase has come to.

    Parameters
    ----------
    records : list of Record, default=None
        The lines; None is an empty table.
    kept : Kept, default=None
        What was kept in the end, where that is known; an estimator's `history_` does.

    Examples
    --------
    >>> from skprecgd.optim import History, Record
    >>> history = History([Record(0, 2, 0.5, 1.0, 0.7, 0.0, 1.0, 0.1, 0.0)])
    >>> history["rank"], len(history)
    (array([2]), 1)
    >>> history
    <History: 1 iterations in 0.00 s, ended at rank 2 with relative residual 1.00e+00>
    """

    def __init__(
        self, records: list[Record] | None = None, kept: Kept | None = None
    ) -> None:
        self.records: list[Record] = [] if records is None else records
        self.kept = kept

    def __getstate__(self) -> dict[str, Any]:
        # Not every format for models knows subclasses of tuples (that of skops does
        # not), but all know arrays.
        numbers = {name: self[name] for name in Record._fields}
        reported = {k: dict(r.extra) for k, r in enumerate(self.records) if r.extra}
        kept = None if self.kept is None else tuple(self.kept)
        return {"numbers": numbers, "reported": reported, "kept": kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Tables of earlier versions lack the last columns, which have defaults.
        columns = (column.tolist() for column in state["numbers"].values())
        reported = state["reported"]
        self.records = [
            Record(*fields).with_extra(reported.get(k, {}))
            for k, fields in enumerate(zip(*columns, strict=True))
        ]
        kept = state.get("kept")
        self.kept = None if kept is None else Kept(*kept)

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
        """All columns by name."""
        return {column: self[column] for column in self.columns}

    def to_frame(self) -> Any:
        """The table as a `pandas.DataFrame`, one row an iteration.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        pandas = import_extra("pandas", "History.to_frame", "frames")
        return pandas.DataFrame(self.to_dict())

    def stretches(self) -> Iterator[History]:
        """Lines that follow one another with the same phase and rank, as tables."""
        for _, lines in groupby(self.records, lambda r: (r.phase, r.rank)):
            yield History(list(lines))

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
            ],
            self.kept,
        )

    def __str__(self) -> str:
        columns, records, left_out = self.columns, self.records, ""
        if not records:
            return f"({self._summary()})"
        if len(records) > _MOST_LINES:
            left_out = f"... {len(records) - 2 * _EACH_END} more, see to_frame() ..."
            records = [*records[:_EACH_END], *records[-_EACH_END:]]
        table = [columns, *(_cells(r, columns) for r in records)]
        width = max(17, *(len(cell) for row in table for cell in row))
        lines = [" ".join(f"{c:>{width}}" for c in row) for row in table]
        if left_out:
            lines.insert(1 + _EACH_END, left_out)
        return "\n".join([*lines, f"({self._summary()})"])

    def __repr__(self) -> str:
        return f"<History: {self._summary()}>"

    def _repr_html_(self) -> str:
        header = ("phase", "rank", "iterations", "relative residual", "held-out loss")
        rows = []
        for stretch in self.stretches():
            last = stretch.records[-1]
            held_out = last.validation_loss
            numbers = last.rank, len(stretch), f"{last.relative_residual:.2e}"
            shown = "" if np.isnan(held_out) else f"{held_out:.4g}"
            rows.append((last.phase, *(str(number) for number in numbers), shown))
        return html_table(f"History: {self._summary()}", header, rows)

    def _summary(self) -> str:
        """How long it is, and where it ends."""
        if not self.records:
            return "empty"
        last = self.records[-1]
        end = self.kept or Kept(last.rank, last.relative_residual)
        ended = f"ended at rank {last.rank}"
        if end.rank != last.rank:
            ended += f", of which rank {end.rank} is kept,"
        return (
            f"{len(self)} iterations in {duration(last.seconds)}, {ended} with "
            f"relative residual {end.relative_residual:.2e}"
        )


def _cells(record: Record, columns: Iterable[str]) -> list[str]:
    """The fields of a line as text; nan for what was not reported."""
    values = {**record._asdict(), **record.extra}
    fields = (values.get(name, np.nan) for name in columns)
    return [f"{v:.4g}" if isinstance(v, float) else f"{v}" for v in fields]


@dataclass(frozen=True, repr=False)
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
    history: History

    def __repr__(self) -> str:
        rows, columns = self.factors.matrix_shape
        ended = "converged" if self.converged else "not converged"
        return (
            f"<{type(self).__name__}: {rows} x {columns} matrix of rank "
            f"{self.factors.rank}, {ended}, relative residual "
            f"{self.relative_residual:.2e} after {self.n_iter} iterations>"
        )

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
