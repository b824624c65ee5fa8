"""The numbers behind the three ways to leading singular triplets.

`truncated_svd` (block Golub-Kahan-Lanczos bidiagonalisation with thick restarts)
    It gives the final answer on complete data: tens of accurate triplets of a large
    matrix. Blocks of columns turn the work into matrix products.

    LAPACK does it if X is an array in memory (which LAPACK copies) whose *smaller* side
    has at most 256 entries (`DirectSvd.size`), or if more than a fifth of all triplets
    are wanted: the rival is a whole iteration of some twenty blocks.

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
        Up to so many rows in the smaller dimension.
    share : float
        Where more than this share of all triplets is wanted.
    """

    size: int = 256
    share: float = 0.2


@dataclass(frozen=True)
class BlockWidths:
    """How many columns a Krylov space grows by at a time, and up to which dimension.

    Few columns, because a Krylov space of given dimension reaches further with more
    blocks; more than one, so that the work is matrix products.

    Attributes
    ----------
    width : int
        Columns a block.
    wide : int
        Most columns a block of a matrix that is read from memory once a product, which
        takes as long for 8 columns as for 16. It gets half the rank, up to so many.
    spare_blocks, least_spare_blocks : int
        The bases hold the wanted vectors and so many blocks; for ranks above a few
        blocks twice the wanted vectors and `least_spare_blocks`.
    judged : int
        Times between two restarts that the triplets are judged: it costs a small SVD.
    """

    width: int = 8
    wide: int = 24
    spare_blocks: int = 10
    least_spare_blocks: int = 4
    judged: int = 8

    def of(self, rank: int, *, reads_once: bool) -> int:
        """Columns a block where `rank` triplets are wanted."""
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
    """What counts as rounding, in units of machine precision times the largest value.

    Attributes
    ----------
    zero : float
        A residual up to here is not told from zero.
    suspect : float
        Where all residuals are up to here, rounding may be all they are: they are not
        expected to fall further.
    direction : float
        What is left of a column up to here is no new direction.
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
        From this error of the vectors on, the iteration may run in single precision.
    copied : int
        An array of up to so many numbers is copied to float32 (2**26 are 256 MB). A
        larger one is converted slab by slab, for every product anew.
    slab : int
        Numbers a slab, so that it stays in the cache (2**18 are 1 MB).
    exponent : int
        A Frobenius norm between ``2**-exponent`` and ``2**exponent`` is far from the
        limits of float32 (2**-126, 2**128); other data are scaled when converted.
    """

    tol: float = 1e-2
    copied: int = 1 << 26
    slab: int = 1 << 18
    exponent: int = 30

    def factor(self, size: float) -> float:
        """By what to multiply data of Frobenius norm `size` before they are cast."""
        exponent = int(np.frexp(size)[1])
        if abs(exponent) <= self.exponent:
            return 1.0
        # A power of two rounds nothing.
        return float(np.ldexp(1.0, -min(max(exponent, -1000), 1000)))


@dataclass(frozen=True)
class SvdTuning:
    """What `truncated_svd` is tuned by.

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
class ArpackTuning:
    """What `leading_triplets` and `leading_eigenpairs` are tuned by.

    Attributes
    ----------
    direct_size : int
        A matrix with up to the square of so many entries is formed and decomposed.
    rough_basis : int
        Least number of Lanczos vectors where a rough answer will do. SciPy would take
        twenty.
    max_restarts : int
        Restarts to reach full accuracy.
    low_accuracy : float
        Relative accuracy to be content with where they do not suffice.
    """

    direct_size: int = 200
    rough_basis: int = 10
    max_restarts: int = 300
    low_accuracy: float = 1e-3


@dataclass(frozen=True)
class BidiagonalTuning:
    """What `spectrum` is tuned by.

    Attributes
    ----------
    direct_size : int
        An array whose longer side has up to so many rows is decomposed at once.
    rounding : float
        A vector that was made orthogonal to others and is left with less than so many
        units of machine precision of its length is rounding.
    """

    direct_size: int = 100
    rounding: float = 100


SVD = SvdTuning()
ARPACK = ArpackTuning()
BIDIAGONAL = BidiagonalTuning()
