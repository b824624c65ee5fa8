"""The parameter `n_components` as a search rank: what bounds it, for which data."""

from __future__ import annotations

from dataclasses import dataclass

from skprecgd.initialization import check_rank
from skprecgd.objective import Objective
from skprecgd.optim.path.freedom import highest_determined
from skprecgd.unknown.base import Unknown

AUTO = "auto"


@dataclass(frozen=True)
class SearchRank:
    """An upper bound of the rank, as the user gave it.

    Attributes
    ----------
    given : int, "auto" or None
        None is the smaller side of the matrix. "auto" is no more than the measurements
        determine.
    """

    given: int | str | None

    @property
    def is_auto(self) -> bool:
        """Whether the data are to say it."""
        return self.given == AUTO

    def most(self, shape: tuple[int, int], name: str = "matrix_shape") -> int:
        """The largest search rank for a matrix of that shape.

        Parameters
        ----------
        shape : tuple of int
        name : {"matrix_shape", "X.shape"}, default="matrix_shape"
            The user's name of the shape.

        Raises
        ------
        ValueError
            If the number that was given is larger than a side of the matrix.
        """
        if self.given is None or isinstance(self.given, str):
            return min(shape)
        check_rank(self.given, shape, name)
        return self.given

    def for_objective(self, objective: Objective, unknown: Unknown) -> int:
        """The search rank for measurements, which may be those of one group."""
        shape = objective.matrix_shape
        if not self.is_auto:
            return min(shape) if self.given is None else min(int(self.given), *shape)
        n_measurements = objective.n_measurements
        return max(1, highest_determined(unknown, shape, n_measurements))
