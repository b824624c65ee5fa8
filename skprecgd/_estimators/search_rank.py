"""The parameter `n_components` as a search rank: what bounds it, for which data."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from skprecgd.initialization import check_rank
from skprecgd.objective import Objective
from skprecgd.optim.path.freedom import degrees_of_freedom

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

    def for_objective(self, objective: Objective, *, symmetric: bool = False) -> int:
        """The search rank for measurements, which may be those of one group."""
        shape = objective.matrix_shape
        if not self.is_auto:
            return min(shape) if self.given is None else min(int(self.given), *shape)
        return determined_rank(shape, objective.n_samples, symmetric=symmetric)


def determined_rank(
    shape: tuple[int, int], n_measurements: int, *, symmetric: bool = False
) -> int:
    """The highest rank with fewer unknowns than there are measurements; at least 1."""

    def unknowns(rank: int) -> int:
        return degrees_of_freedom(shape, rank, symmetric=symmetric)

    ranks = range(1, min(shape) + 1)
    return max(1, bisect_left(ranks, n_measurements, key=unknowns))
