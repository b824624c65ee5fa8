"""The numbers of the variational iteration, with their units and reasons."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skprecgd._runtime.typing import Array


@dataclass(frozen=True)
class NoiseTuning:
    """How the noise is learned.

    Attributes
    ----------
    least : float
        The noise variance cannot fall below this share of the variance of the data:
        systems are solved in double precision, and the noise is their condition.
    most_exact : float
        Noise variance of a line, as a share of the mean of all, below which it cannot
        fall: precisions that are further apart make systems that double precision
        cannot solve. A thousandth of the common size is as good as none.
    exact : float
        Mean squared residual, as a share of the variance of the data, below which there
        is no noise.
    first_strength : float
        Entries that the prior counts as, before it is learned.
    weakest, strongest : float
        Range of the strength; the strongest stands for equal noise.
    strengths : int
        Strengths that are tried: each is about twice the one before.
    every : int
        Steps after which the strength is learned again.
    rounds : int
        Rounds of the fixed point for the level.
    """

    least: float = 1e-13
    most_exact: float = 1e-6
    exact: float = 1e-12
    first_strength: float = 10.0
    weakest: float = 0.5
    strongest: float = 1e5
    strengths: int = 18
    every: int = 5
    rounds: int = 5


@dataclass(frozen=True)
class SpreadTuning:
    """Whose spread is known.

    Attributes
    ----------
    enough : float
        Normal numbers, of as many of which the variance is known well enough for a
        unit (to about 45 %): columns of skewed measurements have more.
    """

    enough: float = 10.0


@dataclass(frozen=True)
class GrossTuning:
    """Which entries make the spread of their column.

    Attributes
    ----------
    trust : float
        See `trust_in_columns`: of columns with less of it, one or two entries make
        most of the spread.
    many : float
        Entries a column must have, so that this is no chance.
    one_number : float
        Share of the most frequent number of a column above which others are events.
    reach : float
        Standard deviations, with such entries, within which all others are. A single
        one of N entries is less than the root of N of them from the mean.
    rounds : int
        How often entries are left out, those that others have hidden after these.
    """

    trust: float = 0.4
    many: float = 20.0
    one_number: float = 0.9
    reach: float = 4.0
    rounds: int = 5


@dataclass(frozen=True)
class ChainTuning:
    """How long a chain of draws is, and what is kept of it.

    Attributes
    ----------
    burn_in : int
        Sweeps before the first draw that is kept. The chain starts near the end of the
        variational iteration, whose rows and columns lie too close to their means.
    kept : int
        Sweeps after these. On MovieLens 100k the root mean squared error is 0.8882
        with 40, 0.8877 with 60 and 0.8874 with 80 (three splits), each taking 9 ms.
    most_numbers, fewest : int
        Numbers of all draws of the columns that are kept (64 MB in single precision);
        if they are more, every second, third ... sweep is kept, but so many draws at
        least. Of 20 factors, these are as many bytes as the second moments that the
        variational posterior keeps.
    prior_lines : float
        Lines as which the variational prior variances count, so that a column of the
        factors neither vanishes nor grows without end.
    entries_of_row : float
        Entries for each coordinate of a row, in the mean, from which on rows have noise
        of their own in the chain (nine on MovieLens 100k). With few entries, a row
        whose factors follow them looks like one without noise: at one and a half, on
        breast cancer, errors would be 3 to 13 % larger.
    spare, batch : int
        The mean over all sweeps, whose rank is that of all together, is kept with so
        many times the rank to be returned more while it is summed, and so many draws
        are added at a time.
    squares : int
        Draws from which the squared residuals of rows are known well enough.
    covariances : int
        Draws from which the variance of rows given the columns is known well enough:
        it hardly depends on the draw.
    """

    burn_in: int = 10
    kept: int = 50
    most_numbers: int = 1 << 24
    fewest: int = 16
    prior_lines: float = 1.0
    entries_of_row: float = 4.0
    spare: int = 1
    batch: int = 2
    squares: int = 16
    covariances: int = 8


@dataclass(frozen=True)
class TailTuning:
    """How heavy tails are learned.

    Attributes
    ----------
    first_freedom : float
        Degrees of freedom before they are learned.
    heaviest, lightest : float
        Range of the degrees of freedom; the lightest tail is as good as normal.
    freedoms : int
        How many are tried: each is about a sixth larger than the one before.
    every : int
        Steps after which they are learned again.
    width : float
        Of the bins of a histogram of logarithms, to whose second order the densities
        are exact.
    least_square, most_square : float
        Squared residuals, in units of the noise, below and above which they are alike.
    rounds : int
        Rounds of the fixed point for the unit, whose error halves with each.
    """

    first_freedom: float = 10.0
    heaviest: float = 0.5
    lightest: float = 200.0
    freedoms: int = 40
    every: int = 3
    width: float = 0.05
    least_square: float = 1e-6
    most_square: float = 1e300
    rounds: int = 30

    @cached_property
    def n_bins(self) -> int:
        """Bins of a histogram, which are the same whatever there is."""
        logs = np.log(self.most_square) - np.log(self.least_square)
        return int(logs / self.width) + 1

    @cached_property
    def tried(self) -> Array:
        """The degrees of freedom among which one is chosen."""
        return np.geomspace(self.heaviest, self.lightest, self.freedoms)


@dataclass(frozen=True)
class ChoiceTuning:
    """Which noise is tried, and when it is kept.

    Attributes
    ----------
    telling : float
        Entries for each component that a column must have, at the median, to tell of
        its own noise.
    loud, loud_row : float
        What noise of its own in each row must add to the log density of an entry, and
        of the entries of a row, so that it is tried: less changes intervals, but hardly
        a mean, and may be chance.
    found : float
        What it adds where it is found at once.
    needless : float
        Share of the columns that is left when rows have noise of their own, if most of
        those before had followed it.
    heavy : float
        Degrees of freedom below which heavy tails are tried, and kept: with more of
        them normal noise loses less than a seventh of what entries tell, which is
        ``6 / (df (df + 1))``.
    heavy_gain : float
        What they must add to the log density of an entry.
    repeated : float
        Share of entries that may be the most frequent number of their column.
    wild : float
        What they add to the log density of an entry where tails are so heavy (up to
        three degrees of freedom) that squares vary without end, and their mean says
        little: it must not be clearly worse.
    promising : float
        What a noise must add after a few steps, so that it is tried further although it
        does not predict better yet.
    cap : float
        Size at which residuals are cut then, in robust standard deviations.
    wildest : float
        Share of entries that may be gross errors.
    clearly : float
        Standard errors by which errors of entries that are left out must be smaller.
    some, most : int
        Entries, about, at most, of which that is computed: for a suspicion, and for a
        decision.
    checked : int
        Entries at most of which heavy tails, and trust in columns, are checked by fits
        to a part of them. That takes some ten fits, and with more entries those left
        out one at a time suffice.
    held_out, splits : float, int
        Share of the entries that are held out then, and how often.
    distrusted : float
        Trust in most columns below which rows may be large in all of them.
    narrow : int
        Lines of the shorter side up to which the evidence may miss factors that
        predict: of three columns it finds none that explains less than half.
    worse : float
        Squared errors of one way to learn, as a multiple of those of another, from
        which on the other is taken. Those with heavy tails over those without: 0.86 to
        1.02 where noise has two or three degrees of freedom, 1.2 to 8 in tables with
        skewed columns.
    """

    telling: float = 2.0
    loud: float = 0.015
    loud_row: float = 0.75
    found: float = 0.02
    needless: float = 0.67
    heavy: float = 6.0
    heavy_gain: float = 0.005
    repeated: float = 0.25
    wild: float = 0.1
    promising: float = 0.05
    cap: float = 3.0
    wildest: float = 0.005
    clearly: float = 2.0
    some: int = 1 << 15
    most: int = 1 << 17
    checked: int = 30_000
    held_out: float = 0.2
    splits: int = 3
    distrusted: float = 0.7
    narrow: int = 6
    worse: float = 1.05

    def is_narrow(self, sides: tuple[int, int]) -> bool:
        """Whether a matrix has hardly any lines on its shorter side."""
        return min(sides) <= self.narrow


@dataclass(frozen=True)
class RecipeTuning:
    """In which order the iteration is made.

    Attributes
    ----------
    first_room : int
        Columns at most to begin with, where more are allowed.
    crowded : float
        Share of the columns that carry signal above which there is room for twice as
        many.
    offset_steps : int
        Steps for the offsets alone.
    shared_steps : int
        Steps in which all columns have the same prior variance.
    single, single_steps : int
        Columns that are added one at a time, and steps after each of them.
    least_steps, most_steps : int
        Steps until columns are dropped no more.
    hope_steps : int
        Steps before one that rises too slowly to win is given up.
    screen_steps : int
        Steps of these after which the better of two starts goes on alone.
    first_steps : int
        Steps after which columns that have vanished are left out.
    alike : float
        A model is no other one than that before it if it has no more columns, and a
        score that is higher by no more than this: one of its columns has vanished.
    settled : float
        The evidence has settled if it rose by less than this for each entry.
    respawn_steps, respawns : int
        Steps after spare columns have started again, and rounds of that.
    trial_steps : tuple of int
        Steps in which another noise must raise the evidence, which takes three of them
        if entries have it, and further ones in which it must show that it pays.
    better : float
        By how much the evidence must rise for each entry, so that they are kept.
    fewer : int
        By what their number is divided if it did not.
    little : float
        Noise variance, as a share of that of the data, that is so little that it may be
        none.
    stands_out, sign_draws : float, int
        By which factor the leading singular value of what is left exceeds that of the
        same with random signs, in the mean of so many draws, if it is not all noise.
        The latter varies by about 2 %.
    last_steps : int
        Steps with all columns. Chance vanishes within these, and further steps make
        predictions no better.
    sure_steps : int
        Steps of these before a column can have vanished.
    vanished : float
        A column has vanished if its means are a smaller share of what it may be: the
        root of the ratio of the squared means to the expected squares.
    warm_steps, warm_last_steps : int
        Steps with the columns that were there, and with spare ones, where an iteration
        goes on with more entries.
    """

    first_room: int = 20
    crowded: float = 0.7
    offset_steps: int = 10
    shared_steps: int = 5
    single: int = 6
    single_steps: int = 3
    least_steps: int = 5
    most_steps: int = 60
    hope_steps: int = 3
    screen_steps: int = 24
    settled: float = 1e-4
    respawn_steps: int = 12
    respawns: int = 6
    trial_steps: tuple[int, int] = (6, 9)
    better: float = 3e-5
    fewer: int = 4
    little: float = 0.02
    stands_out: float = 1.025
    sign_draws: int = 3
    last_steps: int = 16
    sure_steps: int = 3
    vanished: float = 0.1
    warm_steps: int = 3
    warm_last_steps: int = 5


@dataclass(frozen=True)
class RowTuning:
    """How rows are found whose noise, or that of whose entries, is learned with them.

    Attributes
    ----------
    most_rounds : int
        Rounds at most, in which rows and noise are found in turn.
    tol : float
        Change of the rows in a round, as a share of their size, that ends it.
    """

    most_rounds: int = 100
    tol: float = 1e-7


@dataclass(frozen=True)
class SensingTuning:
    """How noise and prior of measurements that are no single entries are learned.

    Attributes
    ----------
    most_cells : int
        Cells of the matrix up to which what the measurements say of all pairs of cells
        is kept (8 MB), so that steps do not depend on how many measurements there
        are.
    most_alone : int
        Measurements up to which that is done if each matrix takes a product of its own.
    most_hermitian : int
        Rows of a Hermitian matrix up to which anything is learned: what is not known of
        its factor is a real matrix of twice the sides, and is measured at every step.
    least : float
        The noise variance cannot fall below this share of the mean squared target.
    exact : float
        Mean squared residual, as such a share, below which there is no noise.
    little : float
        Noise variance, as such a share, that is so little that it may be none.
    point_noise : float
        Noise variance, as such a share, where columns are looked for that are taken as
        known: signal stands out of this, and a path of ten steps does not fit more.
    point_steps : int
        Steps after each new column.
    in_vain : int
        New columns in turn without a better model after which no more are added.
    column : float
        What a column that is known adds to the score of a model, in natural units of
        the evidence. The bound takes factors as independent, and loses that much by it
        for each column: columns that chance makes have an evidence of -3 to -4.
    less_noise, noises : float, int
        Factor between variances of the noise that are tried below the one at which the
        bound is highest, and how many of them at most.
    most_steps : int
        Steps until nothing changes.
    settled : float
        The evidence has settled if it changed by less than this for each measurement.
    mostly_noise : float
        Noise variance, as a share of the mean squared target, from which on a column
        that was not found helps to predict.
    weak_point_steps, weak_steps : int
        Steps with it as a known one, and as one that is not.
    known : float
        A column carries signal if its means are at least this share of what it may be:
        the root of the ratio of the squared means to the expected squares.
    vanished : float
        A column has vanished if they are less than this share.
    """

    most_cells: int = 1024
    most_alone: int = 5000
    most_hermitian: int = 512
    least: float = 1e-13
    exact: float = 1e-12
    little: float = 0.02
    point_noise: float = 0.1
    point_steps: int = 10
    in_vain: int = 2
    column: float = 6.0
    less_noise: float = 0.7
    noises: int = 4
    most_steps: int = 100
    first_steps: int = 5
    alike: float = 1.0
    settled: float = 1e-5
    mostly_noise: float = 0.4
    weak_point_steps: int = 5
    weak_steps: int = 4
    known: float = 0.7
    vanished: float = 0.1


@dataclass(frozen=True)
class IterativeTuning:
    """How systems of factors are solved that are known by their products.

    Attributes
    ----------
    most_unknowns : int
        Entries of a factor up to which its system is formed, and solved exactly.
    most_numbers : int
        Numbers of the design up to which that is done (400 MB).
    every : int
        Steps after which probes are solved for again.
    probes : int
        Vectors of random signs from which traces and determinants are estimated, always
        the same ones. They tell the difference from a system that is solved exactly,
        so that few are enough.
    draws : int
        Draws of the factors from which variances of measurements are estimated.
    tol : float
        Relative residual at which a solution is one.
    probe_tol : float
        The same for probes, whose chance is larger than that.
    steps : int
        Products for one solution at most.
    """

    most_unknowns: int = 2000
    most_numbers: int = 50_000_000
    every: int = 8
    probes: int = 16
    draws: int = 64
    tol: float = 1e-3
    probe_tol: float = 0.1
    steps: int = 100


@dataclass(frozen=True)
class WorkingTuning:
    """How another loss is taken for a squared one.

    Attributes
    ----------
    longest : float
        Distance, in log-odds or logarithms, of a response to its prediction at most. It
        is one over the probability of a label, so that those of an eighth or more are
        as the loss has them.
    least_far : float
        The same of a response to a count that is larger than predicted, if the count
        itself is not further away.
    halvings : int
        Of a step that raises the loss by more than half for each entry.
    flattest : float
        Least curvature, as a share of the largest: double precision solves systems of
        such weights.
    least, most : float
        Range of the slopes and curvatures themselves: means of counts are exponentials.
    """

    longest: float = 8.0
    least_far: float = 2.0
    halvings: int = 10
    flattest: float = 1e-9
    least: float = 1e-150
    most: float = 1e150


@dataclass(frozen=True)
class PriorPathTuning:
    """The path of priors that are fitted one after the other.

    Attributes
    ----------
    variances : tuple of float
        Least prior variances of the factors of each side, descending; in log-odds or
        logarithms, or in units of the spread of the data. With the last, they are all
        learned. Learned ones are too small where single entries say little, as labels
        do: up to half of the best fits of tables of labels have a larger one.
    offset_steps : int
        Steps for the offsets alone.
    first_steps, steps, last_steps : int
        Steps with the first of these variances, with each of the others, and with the
        columns that are left in the end.
    weak : float
        A column is weak if its means are a smaller share of what it may be (the root of
        the ratio of the squared means to the expected squares).
    vanished : float
        A column has vanished if its means are a smaller share of what it may be: the
        root of the ratio of the squared means to the expected squares.
    first_room : int
        Columns at most to begin with, where more are allowed.
    crowded : float
        Share of the columns that carry signal above which there is room for twice as
        many.
    judged, judged_numbers : int
        Labels or counts that are left out, about, by which a prior is chosen, and other
        numbers, of which each says more, and beside which a path is followed each time.
        With 1000 labels a difference of 1 % of their loss is one standard error or so.
    most_rounds : int
        How often a share of the entries is left out at most.
    """

    variances: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25, 0.12, 0.06, 0.0)
    offset_steps: int = 15
    first_steps: int = 30
    steps: int = 12
    last_steps: int = 20
    weak: float = 0.5
    vanished: float = 0.1
    first_room: int = 20
    crowded: float = 0.7
    judged: int = 1000
    judged_numbers: int = 100
    most_rounds: int = 10


RECIPE = RecipeTuning()
ROWS = RowTuning()
TAIL = TailTuning()
CHOICE = ChoiceTuning()
ITERATIVE = IterativeTuning()
SENSING = SensingTuning()
SPREAD = SpreadTuning()
GROSS = GrossTuning()
CHAIN = ChainTuning()
NOISE = NoiseTuning()
WORKING = WorkingTuning()
PRIOR_PATH = PriorPathTuning()
