"""The numbers that tune a path, by theme, with their units and reasons.

Every one was chosen by experiments on data of unit scale: none depends on the units of
the data or on the size of a problem. They are part of `PathSettings`, so that a test or
an experiment can vary them; estimators do not offer them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skprecgd.optim.stopping import Progress


@dataclass(frozen=True)
class StageTuning:
    """When a stage ends, as rules on the progress of its descent.

    Attributes
    ----------
    conjugate : Progress
        Conjugate steps at a rank that is high enough take more than a fifth off the
        loss in five iterations. Where they take less, missing columns hold them back.
    conjugate_plentiful : Progress
        The same where measurements are plentiful: a stage may stop early there, and
        later stages finish its work.
    newton : Progress
        Gauss-Newton steps after conjugate ones. Each is worth many of those, so they
        have to halve the loss in three iterations.
    newton_alone : Progress
        Gauss-Newton steps from the start of the stage: it may stop sooner.
    newton_safe : Progress
        The same with at least `safe` measurements per degree of freedom, where a stage
        that stops even sooner does not lead later ones astray. Saves 5 % of the steps.
    safe : float
        Measurements per degree of freedom.
    not_an_error : Progress
        For a loss that does not measure the distance to the truth. Outliers and chance
        keep such a loss up, so its decrease within the stage is the yardstick.
    held_out : Progress
        For labels and counts that are judged by held-out measurements. Larger and
        larger predictions fit them ever better at any rank, so a stage also ends after
        five iterations without a lower held-out loss. At their true means, labels cost
        at most log(2) each and counts about 1/2: a mean loss above 1 is no chance.
    settle : Progress
        At the final rank the loss may rest on noise while the gradient still falls, so
        the gradient is watched: it has to halve in 20 iterations.
    settle_held_out : Progress
        The same, but it also ends after 20 iterations without a lower held-out loss.
    unfinished : float
        Share of its residual that a stage may still have to gain when others judge it.
    few : float
        Measurements per degree of freedom below which Gauss-Newton finishes a stage
        before the rank may grow. Conjugate steps are slow there even at the true rank,
        and iterating does not repair a rank that is too high.
    lines_afresh : int
        How often lines that hold a stage up are found afresh: one after another may
        have been thrown off.
    """

    conjugate: Progress = field(default=Progress(window=5, share=0.2))
    conjugate_plentiful: Progress = field(
        default=Progress(window=2, share=0.2, removable=0.1)
    )
    newton: Progress = field(default=Progress(window=3, share=0.5))
    newton_alone: Progress = field(default=Progress(window=2, share=0.5, removable=0.1))
    newton_safe: Progress = field(default=Progress(window=2, share=0.5, removable=0.35))
    safe: float = 3.0
    not_an_error: Progress = field(
        default=Progress(window=5, share=0.2, of_decrease=0.1)
    )
    held_out: Progress = field(
        default=Progress(window=5, share=0.2, of_decrease=0.01, patience=5, chance=1.0)
    )
    settle: Progress = field(default=Progress(window=20, share=0.5, of_gradient=True))
    settle_held_out: Progress = field(
        default=Progress(
            window=20, share=0.5, of_gradient=True, patience=20, chance=1.0
        )
    )
    unfinished: float = 0.05
    few: float = 4.0
    lines_afresh: int = 3


@dataclass(frozen=True)
class GrowthTuning:
    """Which columns are added, and how many at a time.

    Attributes
    ----------
    direction_tol : float
        Error of a new direction, as a share of its singular value. The new columns are
        only a start, so their first digit is enough.
    several_tol : float
        The same where several directions stand out from chance. Close singular values
        converge one at a time; 0.3 % finds all of them.
    stands_out : float
        A singular value is real if it exceeds the edge of chance by this factor. The
        edge differs by 2 % from one draw of the signs to the next.
    edge_tol : float
        Error of the edge of chance, as a share of it.
    most : int
        Columns added at a time, at most.
    measured_later : float
        Columns that explain at least this share of the loss get their length from the
        first step with them. Those that explain less are measured at once, as others
        will follow before a step pays.
    many : int
        From this search rank on columns are added in blocks, so that the number of
        stages stays bounded.
    block_share : int
        A block is the current rank divided by this, rounded down, and at least one.
    seed : int
        Draws the start vector of a Lanczos iteration and the flipped signs. It is no
        experiment that the user controls.
    """

    direction_tol: float = 0.1
    several_tol: float = 0.003
    stands_out: float = 1.1
    edge_tol: float = 0.03
    most: int = 32
    measured_later: float = 0.5
    many: int = 50
    block_share: int = 8
    seed: int = 0


@dataclass(frozen=True)
class HoldOutTuning:
    """The choice of a rank by held-out measurements.

    Attributes
    ----------
    least : int
        Measurements that a problem must have: a tenth of fewer decides nothing. If
        fewer hold the loss, another split is tried.
    gain : float
        For labels and counts a new column must lower the held-out loss by this share of
        it. Smaller gains are usually overfitting.
    standard_errors : float
        Standard errors by which the held-out loss of a lower rank must be higher to
        count as worse. Two would be the usual proof, but to leave out a real component
        costs more than to add one of noise.
    worse : float
        Standard errors by which the held-out loss of the rank chosen must be higher
        than that of no component, to be said so: the usual proof.
    misses : float
        Multiple of the best rank's loss of the measurements fitted from which on a
        lower rank misses labels or counts that are no chance; and of the held-out loss
        of no component from which on the rank chosen is worse. Where few held-out
        counts hold most of the loss, its standard error hides any difference. A fit
        that misses so much more than that of another split gives way to it.
    splits : int
        Splits at most, while fits miss a few counts by more than chance. One of ten
        draws of widely spread counts misleads a path, hardly three of them do.
    """

    least: int = 50
    gain: float = 0.01
    standard_errors: float = 1.0
    worse: float = 2.0
    misses: float = 2.0
    splits: int = 3


@dataclass(frozen=True)
class ScarceTuning:
    """Fresh starts where measurements are scarce.

    Attributes
    ----------
    ample : float
        Measurements per degree of freedom from which on the path finds a rank itself.
    hardly_determined : float
        Measurements per degree of freedom below which a rank too many now and then
        agrees with the data, so that lower ranks deserve a second look.
    clearly : float
        Another solution at the rank of a stage replaces it if its loss is at most this
        share of the stage's.
    max_steps : int
        Most steps of the posterior at one rank. A rank that explains the entries does
        so within these steps, or not without starting some lines afresh.
    raised : tuple of float
        Factors by which the noise is raised when lines are started afresh, one factor
        for each time.
    random_starts : int
        Random starts after the one from singular vectors: where one start ends in a
        wrong local optimum, another need not.
    in_vain : int
        Number of columns in a row that do not stand out of the noise, after which only
        noise is left.
    stall_window, stall_share : int, float
        Noise that fell by less than 2 % in 20 steps does not fall any more.
    small_noise : float
        Noise, as a share of the entries' size, below which Gauss-Newton may take over.
    next_noise : float
        The noise must fall to this share before the next try of Gauss-Newton, which
        costs as much as a hundred steps.
    ridges : tuple of float
        The shrinking ridge (continuation), relative to the one that leaves nothing of
        the matrix. Each gets one Gauss-Newton step; a slower descent, or more steps,
        find no more.
    lone : float
        Leverage of a line beyond the mean from which on it has a direction to itself;
        chance gives a few times log(n) / n.
    seed : int
        Draws the start vector of a Lanczos iteration, which is no experiment that the
        user controls.
    """

    ample: float = 2.5
    hardly_determined: float = 1.15
    clearly: float = 0.9
    max_steps: int = 300
    raised: tuple[float, ...] = (10.0, 100.0)
    random_starts: int = 2
    in_vain: int = 2
    stall_window: int = 20
    stall_share: float = 0.98
    small_noise: float = 1e-3
    next_noise: float = 0.1
    ridges: tuple[float, ...] = tuple(0.5 * 0.8**k for k in range(31))
    lone: float = 0.25
    seed: int = 0


@dataclass(frozen=True)
class PosteriorTuning:
    """The iteration on Gaussian rows (variational Bayes).

    Attributes
    ----------
    least_signal : float
        Lower bound of a column's share of the variance of an entry, relative to the
        noise. With 0.2 the small directions of an ill-conditioned matrix wake too late.
    forgotten : float
        Share of the lines of each side that are forgotten at once.
    concentrated : float
        The worst lines are wrong, not unlucky, when they hold more than this multiple
        of their share of the residual.
    seed : int
        Draws the start vector of a Lanczos iteration, which is no experiment that the
        user controls.
    """

    least_signal: float = 0.05
    forgotten: float = 0.02
    concentrated: float = 10.0
    seed: int = 0


@dataclass(frozen=True)
class GivenTuning:
    """What becomes of factors that are given as a start.

    Attributes
    ----------
    another_length : float
        Share of the objective by which another length of the matrix must improve it, so
        that the factors do not stay as they are.
    components_left_out : float
        By how much the relative residual may differ, in units of tol, because spare
        components of a solution were left out.
    most_left_out : float
        By how much it may differ at most.
    """

    another_length: float = 0.1
    components_left_out: float = 20.0
    most_left_out: float = 1e-6


@dataclass(frozen=True)
class WholeDataTuning:
    """When a fit without outliers is worth its steps.

    Attributes
    ----------
    steps : Progress
        True errors show at once: from a fit that leaves them out, two steps take
        hardly anything off the loss. So two iterations are what they cost.
    newton : Progress
        The same for Gauss-Newton steps, which may need one or two to get going.
    promising : float
        Share of the residual, nothing being left out, that the first solver leaves at
        most where Gauss-Newton may explain everything. It leaves nearly all of it
        where there are true errors, and a tenth or less where there are none.
    few : float
        Measurements per degree of freedom below which a path from rank one is tried,
        too: it costs a few steps for each rank, also where there are true errors.
    tighter : tuple of float
        Tighter bounds on the share of outliers, as shares of the one that was asked
        for: loose enough for the errors of data whose bound was chosen without care,
        and tight enough to leave no room for wrong matrices. The first that is below
        what was left out is tried, and at first the first.
    """

    steps: Progress = field(default=Progress(window=2, share=0.2))
    newton: Progress = field(default=Progress(window=3, share=0.5))
    promising: float = 0.3
    few: float = 6.0
    tighter: tuple[float, ...] = (1.0 / 3.0, 0.1)


@dataclass(frozen=True)
class NoiseTuning:
    """When a path has come to the noise.

    Attributes
    ----------
    chance : float
        A stage explains no more than chance if it takes less than this multiple of what
        a singular vector of noise would take.
    stages : int
        Stages in a row that explain no more than chance, after which the path asks.
    slow_stages : int
        Stages in a row that leave much, after which the path asks, too. The spectra of
        real tables fall slowly, and a path would go through all of their ranks; without
        noise a stage leaves less and less.
    far_below : float
        Share of what is taken for noise below which a path has explained it, even if it
        has not converged: columns that are fitted to noise leave more.
    much_left : float
        Share of the loss before a stage that counts as much.
    doubtful : float
        Measurements per degree of freedom of the highest rank below which it is in
        doubt whether what is left is noise.
    """

    chance: float = 1.35
    stages: int = 2
    slow_stages: int = 4
    much_left: float = 0.5
    far_below: float = 1e-3
    doubtful: float = 2.5


@dataclass(frozen=True)
class PathTuning:
    """All numbers that tune a path.

    Attributes
    ----------
    stages : StageTuning
    growth : GrowthTuning
    hold_out : HoldOutTuning
    scarce : ScarceTuning
    posterior : PosteriorTuning
    given : GivenTuning
    whole_data : WholeDataTuning
    noise : NoiseTuning
    """

    stages: StageTuning = field(default=StageTuning())
    growth: GrowthTuning = field(default=GrowthTuning())
    hold_out: HoldOutTuning = field(default=HoldOutTuning())
    scarce: ScarceTuning = field(default=ScarceTuning())
    posterior: PosteriorTuning = field(default=PosteriorTuning())
    given: GivenTuning = field(default=GivenTuning())
    whole_data: WholeDataTuning = field(default=WholeDataTuning())
    noise: NoiseTuning = field(default=NoiseTuning())
