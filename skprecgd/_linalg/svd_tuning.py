"""The numbers behind the ways to leading singular triplets.

`truncated_svd` (block Golub-Kahan-Lanczos bidiagonalisation with thick restarts)
    It gives the final answer on complete data: tens of accurate triplets of a large
    matrix. Blocks of columns turn the work into matrix products.

    LAPACK does it if X is an array in memory (which LAPACK copies) whose *smaller* side
    has at most 256 entries (`DirectSvd.size`), or if more than a fifth of all triplets
    are wanted: the rival is a whole iteration of some twenty blocks.

`energy_svd` (one-sided block Lanczos on ``X^T X``, no restarts)
    It gives the answer on complete data at default settings: as much energy as a
    randomized method captures, in half of its products or less, most of them in single
    precision. Where squares of singular values show too little, it is `truncated_svd`.

    The Gram matrix is formed where the *shorter* side is so short that it costs no more
    (`GramRoute`).

`leading_triplets`, `leading_eigenpairs` (ARPACK, implicitly restarted Lanczos)
    They give a known number of triplets of the gradient in the matrix: to machine
    precision for the spectral start and the certificate, to a digit for a new column.

    LAPACK does it if the matrix has at most 200 x 200 entries
    (`ArpackTuning.direct_size`), because it is *formed* first, by products with the
    identity if need be; or if half of all triplets are wanted, which is about as many
    as ARPACK can find.

`spectrum` (Golub-Kahan-Lanczos bidiagonalisation, one vector a step)
    It gives a number of triplets of the gradient that is not known beforehand. The
    answer is looked at after every step; three or four steps often suffice.

    LAPACK does it if the gradient is an array in memory whose *longer* side has at most
    100 entries (`BidiagonalTuning.direct_size`): the rival is a handful of products, so
    the limit is the lowest of the three.

The three limits bound three different things (the smaller side, the number of entries,
the longer side), because each weighs LAPACK against another rival. None of them can be
had from another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class DirectSvd:
    """When `truncated_svd` leaves an array to LAPACK.

    Attributes
    ----------
    size : int
        Largest smaller side of an array that is left to LAPACK.
    share : float
        Share of all triplets above which any array is left to LAPACK.
    """

    size: int = 256
    share: float = 0.2


@dataclass(frozen=True)
class BlockWidths:
    """How many columns a Krylov space grows by at a time, and up to which dimension.

    Blocks have few columns, because a Krylov space of given dimension reaches further
    with more blocks, but more than one, so that the work is matrix products.

    Attributes
    ----------
    width : int
        Columns of a block.
    wide : int
        Most columns of a block for a matrix that is read from memory once per product,
        which takes as long for 8 columns as for 16. A block has half the rank, if that
        is more than `width` and not more than this.
    spare_blocks, least_spare_blocks : int
        The bases hold the wanted vectors and `spare_blocks` more blocks; for ranks
        above a few blocks twice the wanted vectors and `least_spare_blocks` more.
    judged : int
        Times between two restarts that the triplets are judged: it costs a small SVD.
    """

    width: int = 8
    wide: int = 24
    spare_blocks: int = 10
    least_spare_blocks: int = 4
    judged: int = 8

    def of(self, rank: int, *, reads_once: bool) -> int:
        """Columns of a block if `rank` triplets are wanted."""
        if not reads_once:
            return self.width
        return min(max(self.width, rank // 2), self.wide)

    def capacity(self, rank: int, width: int) -> int:
        """Dimension at which the bases are cut back."""
        return max(
            2 * rank + self.least_spare_blocks * width, rank + self.spare_blocks * width
        )


@dataclass(frozen=True)
class RoundingLevels:
    """Levels of rounding, in units of machine precision times the largest value.

    Attributes
    ----------
    zero : float
        A residual up to this level cannot be distinguished from zero.
    suspect : float
        If all residuals are at most at this level, they may be rounding alone, and are
        not expected to fall further.
    direction : float
        A column whose remainder after orthogonalisation is at most at this level is no
        new direction.
    """

    zero: float = 4
    suspect: float = 50
    direction: float = 10


@dataclass(frozen=True)
class SinglePrecision:
    """When and how products with float64 data are computed in single precision.

    Attributes
    ----------
    tol : float
        Error of the vectors from which on the iteration may run in single precision.
    copied : int
        Most numbers of an array that is copied to float32 (2**26 are 256 MB). A larger
        one is converted slab by slab, for every product anew.
    slab : int
        Numbers of a slab, which stays in the cache (2**18 are 1 MB).
    exponent : int
        A Frobenius norm between ``2**-exponent`` and ``2**exponent`` is far from the
        limits of float32 (2**-126, 2**128); other data are scaled when converted.
    """

    tol: float = 1e-2
    copied: int = 1 << 26
    slab: int = 1 << 18
    exponent: int = 30

    def factor(self, size: float) -> float:
        """Factor on data of Frobenius norm `size`, before they are cast to float32."""
        exponent = int(np.frexp(size)[1])
        if abs(exponent) <= self.exponent:
            return 1.0
        # A power of two rounds nothing.
        return float(np.ldexp(1.0, -min(max(exponent, -1000), 1000)))


@dataclass(frozen=True)
class SvdTuning:
    """The numbers that tune `truncated_svd`.

    Attributes
    ----------
    direct : DirectSvd
    blocks : BlockWidths
    rounding : RoundingLevels
    single : SinglePrecision
    """

    direct: DirectSvd = field(default_factory=DirectSvd)
    blocks: BlockWidths = field(default_factory=BlockWidths)
    rounding: RoundingLevels = field(default_factory=RoundingLevels)
    single: SinglePrecision = field(default_factory=SinglePrecision)


@dataclass(frozen=True)
class GramRoute:
    """When `energy_svd` forms the Gram matrix of the shorter side.

    Attributes
    ----------
    size : int
        Largest shorter side for which it is formed in any case.
    columns, spare_columns : float, int
        Shorter side up to which it costs hardly more than a Krylov space for a rank k:
        ``columns * (k + spare_columns)``. Products with the space have a third more
        columns than the rank and some blocks, and may have to be repeated in double
        precision; half of the Gram matrix is computed.
    eigen : float
        By how much an eigenvalue decomposition costs more than the formation of as
        large a Gram matrix of as many rows.
    share : float
        Share of all triplets above which it is formed for any shorter side.
    """

    size: int = 128
    columns: float = 7.5
    spare_columns: int = 60
    eigen: float = 6.0
    share: float = 0.2

    def suits(self, shape: tuple[int, ...], rank: int) -> bool:
        """Whether it is formed of a matrix with no fewer rows than columns."""
        n_rows, n_columns = shape
        cost = n_columns * (1.0 + self.eigen * n_columns / n_rows)
        few = cost <= self.columns * (rank + self.spare_columns)
        return few or n_columns <= self.size or rank > self.share * n_columns


@dataclass(frozen=True)
class EnergyGoal:
    """When a Krylov space holds enough of the energy of the leading triplets.

    Energies are sums of squared singular values. Randomized subspace iteration with q
    iterations and p more columns than the rank k leaves
    ``s_k^2 (s_(k+p+1) / s_k)^(4 q + 2)`` of the best energy, or a few times that.

    Attributes
    ----------
    left : float
        Energy that may be missing, as a share of what the best matrix of the rank
        leaves of the data.
    iterations, oversamples : int, int
        q and p of the rival that must not capture more. Those of scikit-learn.
    of_rival : float
        Energy that may be missing, as a share of what the rival leaves.
    least : float
        A `left` below this is not asked for.
    values : float
        Relative error of the singular values that stand apart.
    apart : float
        Squared singular values larger than the first beyond the rank by this factor
        stand apart (1.05 in the values themselves).
    most, most_blocks : float, int
        Columns of the space, as a multiple of rank and oversamples and in blocks beyond
        that, from which on energy is no longer waited for: hardly anything is to be
        told apart (a flat spectrum), and the rival stopped long ago.
    slowest : float
        Ratio of two successive gains that a prediction counts with at most.
    rounding : float
        Energy, as a share of all, below which gains are rounding.
    risen : float
        Share of a singular value that is seen at least after two judgements.
    alike : float
        Relative difference of squared singular values that may be one value, repeated.
    """

    left: float = 1e-5
    iterations: int = 5
    oversamples: int = 10
    of_rival: float = 0.1
    least: float = 1e-9
    values: float = 3e-5
    apart: float = 1.1
    most: float = 4.0
    most_blocks: int = 6
    slowest: float = 0.95
    rounding: float = 1e-15
    risen: float = 0.3
    alike: float = 1e-3


@dataclass(frozen=True)
class SeenBySquares:
    """What products in one precision show of singular values, by their squares.

    Attributes
    ----------
    share : float
        Smallest wanted singular value, as a share of the largest.
    energy : float
        Energy that rounding of the vectors loses, as a share of that of the data.
    """

    share: float
    energy: float


@dataclass(frozen=True)
class EnergyTuning:
    """The numbers that tune `energy_svd`.

    Attributes
    ----------
    width : int
        Columns of a block.
    gram : GramRoute
    goal : EnergyGoal
    single, double : SeenBySquares
    cast : SinglePrecision
        How data are converted. Norms of products with ``X^T X`` are squared, so their
        range is a fourth of that of float32.
    tol : float
        Error of the vectors, as of `truncated_svd`, where squares show too little.
    """

    width: int = 16
    gram: GramRoute = field(default_factory=GramRoute)
    goal: EnergyGoal = field(default_factory=EnergyGoal)
    single: SeenBySquares = field(default=SeenBySquares(share=5e-3, energy=2e-10))
    double: SeenBySquares = field(default=SeenBySquares(share=1e-5, energy=0.0))
    cast: SinglePrecision = field(default_factory=lambda: SinglePrecision(exponent=20))
    tol: float = 1e-6


@dataclass(frozen=True)
class ArpackTuning:
    """The numbers that tune `leading_triplets` and `leading_eigenpairs`.

    Attributes
    ----------
    direct_size : int
        A matrix with at most the square of this number of entries is formed, and
        decomposed by LAPACK.
    rough_basis : int
        Least number of Lanczos vectors where a rough answer is enough. SciPy would take
        twenty.
    max_restarts : int
        Most restarts to reach full accuracy.
    low_accuracy : float
        Relative accuracy that is accepted where these restarts do not suffice.
    """

    direct_size: int = 200
    rough_basis: int = 10
    max_restarts: int = 300
    low_accuracy: float = 1e-3


@dataclass(frozen=True)
class BidiagonalTuning:
    """The numbers that tune `spectrum`.

    Attributes
    ----------
    direct_size : int
        Largest longer side of an array that is decomposed at once, by LAPACK.
    rounding : float
        Length, in units of machine precision times the length before, below which a
        vector that was made orthogonal to others is rounding.
    """

    direct_size: int = 100
    rounding: float = 100


SVD = SvdTuning()
ENERGY = EnergyTuning()
ARPACK = ArpackTuning()
BIDIAGONAL = BidiagonalTuning()
