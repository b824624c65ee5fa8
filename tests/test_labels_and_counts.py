"""Labels, counts and robust losses with holes: priors that are learned."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse, special
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    observed_entries,
)
from skprecgd._estimators.data import EntryData
from skprecgd._estimators.learned_losses import (
    LossLearner,
    LossPosterior,
    PriorChoice,
)
from skprecgd.losses import (
    AbsoluteLoss,
    HuberLoss,
    LogisticLoss,
    PoissonLoss,
    SquaredLoss,
    SummedLoss,
    make_loss,
)
from skprecgd.objective.weights import ONCE
from skprecgd.variational.given import GivenInMemory
from skprecgd.variational.prior_path import LossProblem, known_columns
from skprecgd.variational.tuning import WORKING
from skprecgd.variational.working import Working, has_parabolas

KINDS = ["logistic", "poisson"]
NAMES = ["huber", "absolute", "of the user"]
CENTERS = [None, "mean", "columns", "both"]


class LogCosh(SummedLoss):
    """A user's loss of the residual."""

    curvature_bound = 1.0
    homogeneous = False

    def pointwise(self, z, y):
        size = np.abs(z - y)
        return size + np.log1p(np.exp(-2 * size)) - np.log(2)

    def gradient(self, z, y):
        return np.tanh(z - y)


class Unbent(LogCosh):
    """One that does not say how it is bent."""

    curvature_bound = np.inf


def table(kind, seed, shape=(60, 30), rank=2, size=1.5, mean=0.0, hidden=0.3):
    """Labels or counts, their log-odds or log-rates, and what is hidden."""
    rng = np.random.default_rng([seed, len(kind)])
    Z = rng.normal(size=(shape[0], rank)) @ rng.normal(size=(rank, shape[1]))
    Z = size * Z / np.sqrt(rank) + rng.normal(size=shape[1]) + mean
    if kind == "logistic":
        X = (rng.random(shape) < special.expit(Z)).astype(float)
    else:
        Z = mean + 0.5 * (Z - mean)
        X = rng.poisson(np.exp(Z)).astype(float)
    return X, Z, rng.random(shape) < hidden


def fit(X, loss, n_components=6, **parameters):
    given = {"center": "columns", "random_state": 0, **parameters}
    return PrecGDFactorization(n_components, loss=loss, **given).fit(X)


def matrix(model):
    return model.left_ @ model.right_.T + model.center_


def hidden_loss(Z, X, hidden, loss):
    return float(np.mean(make_loss(loss).pointwise(Z[hidden], X[hidden])))


# --------------------------------------------------------------------------------------
# Working responses
# --------------------------------------------------------------------------------------


def test_responses_of_the_squared_loss_are_the_targets(global_random_seed):
    z, y = np.random.default_rng(global_random_seed).normal(size=(2, 20))
    values, precision = Working(SquaredLoss(), y).at(z)
    np.testing.assert_allclose(values, y, atol=1e-14)
    np.testing.assert_array_equal(precision, 1.0)


@pytest.mark.parametrize("loss", [HuberLoss(), AbsoluteLoss(), LogCosh()], ids=NAMES)
def test_responses_of_a_robust_loss_do_not_pass_the_targets(loss, global_random_seed):
    z, y = 3 * np.random.default_rng(global_random_seed).normal(size=(2, 50))
    values, precision = Working(loss, y).at(z)
    assert np.all((values - z) * (y - z) >= 0)
    assert np.all(np.abs(values - z) <= np.abs(y - z) * (1 + 1e-12))
    assert np.all(precision > 0)


@pytest.mark.parametrize("kind", KINDS)
def test_responses_have_the_slope_of_the_loss(kind, global_random_seed):
    """So that where they are fitted best, the loss is lowest."""
    X, Z, _ = table(kind, global_random_seed)
    z, y, loss = Z.ravel(), X.ravel(), make_loss(kind)
    values, precision = Working(loss, y).at(z)
    np.testing.assert_allclose(precision * (z - values), loss.gradient(z, y))


def test_responses_of_likely_labels_are_newton_steps():
    z, y = np.array([0.5, -1.0, 1.5]), np.array([1.0, 0.0, 0.0])
    p = special.expit(z)
    values, precision = Working(LogisticLoss(), y).at(z)
    np.testing.assert_allclose(precision, p * (1 - p))
    np.testing.assert_allclose(values, z + (y - p) / (p * (1 - p)))


def test_responses_to_unlikely_labels_are_not_far():
    values, _ = Working(LogisticLoss(), np.array([1.0, 0.0])).at(np.array([-30.0, 40]))
    np.testing.assert_allclose(np.abs(values - [-30, 40]), WORKING.longest)


def test_responses_to_counts_do_not_pass_their_logarithms():
    y = np.array([1e2, 1e4, 1e8])
    values, _ = Working(PoissonLoss(), y).at(np.zeros(3))
    assert np.all(values > 0)
    assert np.all(values <= np.log(y + 0.1) * (1 + 1e-12))


def test_responses_are_numbers_however_far_off():
    loss, z = PoissonLoss(), np.array([-1e4, 0.0, 900.0])
    for y in (np.zeros(3), np.full(3, 1e9)):
        values, precision = Working(loss, y).at(z)
        assert np.all(np.isfinite(values))
        assert np.all(np.isfinite(precision) & (precision > 0))


def test_which_losses_have_parabolas():
    assert all(has_parabolas(loss) for loss in (HuberLoss(), PoissonLoss(), LogCosh()))
    assert not has_parabolas(Unbent())


# --------------------------------------------------------------------------------------
# The path of priors
# --------------------------------------------------------------------------------------


def candidates(problem, rank=6):
    """The least prior variance of each candidate, and its number of known columns."""
    return [(m.least, m.rank, len(known_columns(m))) for m in problem.candidates(rank)]


def problem_of(X, hidden, loss, center="columns", weights=ONCE):
    entries = sparse.csr_array(np.where(hidden, 0.0, X + 1.0))
    entries.data -= 1.0
    return LossProblem.of(GivenInMemory(entries, weights), make_loss(loss), center)


def test_priors_go_from_none_to_learned(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    found = candidates(problem_of(X, hidden, "logistic"))
    least = [line[0] for line in found]
    assert found[0][1] == 0
    assert least[1:] == sorted(least[1:], reverse=True)
    assert least[-1] == 0.0
    assert all(known <= rank for _, rank, known in found)


def test_prior_variances_keep_above_their_bound(global_random_seed):
    X, _, hidden = table("poisson", global_random_seed)
    for model in problem_of(X, hidden, "poisson").candidates(4):
        for prior in model.scales:
            assert np.all(prior >= model.least)


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_alone_are_those_of_a_regression(kind, global_random_seed):
    """With many entries in each column its offset is the mean's, up to the prior."""
    X, _, hidden = table(kind, global_random_seed, (600, 8), size=0.5)
    problem, loss = problem_of(X, hidden, kind), make_loss(kind)
    offsets = problem.columns(next(problem.candidates(1))).offsets
    columns = [X[~hidden[:, j], j] for j in range(X.shape[1])]
    best = np.array([loss.constant(column) for column in columns])
    np.testing.assert_allclose(offsets, best, atol=0.1 * np.ptp(best))


def test_rows_are_where_their_expected_loss_is_lowest(global_random_seed):
    """The slope of loss and prior vanishes, second moments of columns included."""
    X, _, hidden = table("logistic", global_random_seed)
    problem = problem_of(X, hidden, "logistic")
    *_, model = problem.candidates(2)
    told = problem.columns(model)
    entries = problem.problem.given.matrix
    x = told.rows(entries).mean + told.centre
    columns, at = told.columns, model.coordinates.at
    whole, loss = columns.whole(x), LogisticLoss()
    for i in range(3):
        own = slice(entries.indptr[i], entries.indptr[i + 1])
        j, y = entries.indices[own], entries.data[own]
        z = columns.mean[j] @ whole[i]
        slope, bend = loss.gradient(z, y), loss.curvature(z, y)
        each = columns.second[j][:, at] - np.einsum(
            "ja,jb->jab", columns.mean[j], columns.mean[j]
        )
        total = slope @ columns.mean[j] + np.einsum("j,jab,b->a", bend, each, whole[i])
        unknown = columns.unknown
        prior = unknown.precision * x[i] - unknown.pull
        size = np.abs(slope) @ np.abs(columns.mean[j])
        np.testing.assert_allclose(
            total[unknown.free] + prior, 0.0, atol=1e-4 * float(np.max(size))
        )


# --------------------------------------------------------------------------------------
# What is predicted
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", ["columns", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_better_than_offsets_and_than_before(kind, center, global_random_seed):
    X, Z, hidden = table(kind, global_random_seed, (150, 60))
    seen = np.where(hidden, np.nan, X)
    found = hidden_loss(matrix(fit(seen, kind, center=center)), X, hidden, kind)
    problem = problem_of(X, hidden, kind, center)
    at = np.nonzero(hidden)
    alone = np.zeros(X.shape)
    alone[at] = problem.predictions(next(problem.candidates(1)), *at)
    before = matrix(fit(seen, kind, center=None, n_components=8, alpha=0))
    assert found < 0.95 * hidden_loss(alone, X, hidden, kind)
    assert found < hidden_loss(before, X, hidden, kind)
    assert found < 1.3 * hidden_loss(Z, X, hidden, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_offsets_alone_where_there_is_no_more(kind, global_random_seed):
    X, Z, hidden = table(kind, global_random_seed, (150, 60), size=0.0)
    model = fit(np.where(hidden, np.nan, X), kind)
    truth = hidden_loss(Z, X, hidden, kind)
    assert hidden_loss(matrix(model), X, hidden, kind) < 1.03 * truth


def test_probabilities_are_calibrated(global_random_seed):
    """A regression of hidden labels on their log-odds has the slope one."""
    X, _, hidden = table("logistic", global_random_seed, (200, 80), hidden=0.4)
    z = matrix(fit(np.where(hidden, np.nan, X), "logistic"))[hidden]
    line = LogisticRegression(C=1e6).fit(z[:, None], X[hidden])
    assert 0.8 < line.coef_[0, 0] < 1.25


def test_rare_labels(global_random_seed):
    X, Z, hidden = table("logistic", global_random_seed, (200, 60), mean=-4.5)
    assert X.mean() < 0.1
    found = hidden_loss(
        matrix(fit(np.where(hidden, np.nan, X), "logistic")), X, hidden, "logistic"
    )
    problem = problem_of(X, hidden, "logistic")
    alone = problem.columns(next(problem.candidates(1))).offsets
    none = hidden_loss(np.broadcast_to(alone, Z.shape), X, hidden, "logistic")
    assert found < none


@pytest.mark.parametrize("mean", [0.0, 9.0])
def test_counts_of_any_size(mean, global_random_seed):
    X, Z, hidden = table("poisson", global_random_seed, (150, 60), mean=mean)
    z = matrix(fit(np.where(hidden, np.nan, X), "poisson"))
    truth = hidden_loss(Z, X, hidden, "poisson")
    assert hidden_loss(z, X, hidden, "poisson") < 1.3 * truth


def test_labels_that_a_row_separates(global_random_seed):
    """Log-odds are finite without noise, too."""
    rng = np.random.default_rng(global_random_seed)
    X = (np.outer(rng.normal(size=60), rng.normal(size=30)) > 0).astype(float)
    model = fit(np.where(rng.random(X.shape) < 0.3, np.nan, X), "logistic", center=None)
    z = matrix(model)
    assert np.max(np.abs(z)) < 100
    assert np.mean((z > 0) == (X > 0)) > 0.95


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_columns_of_one_class(label, center, global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    X[:, :5] = label
    z = matrix(fit(np.where(hidden, np.nan, X), "logistic", center=center))
    assert np.all(np.isfinite(z))
    assert np.max(np.abs(z)) < 50
    if center in ("columns", "both"):
        assert np.mean((z[:, :5] > 0) == label) > 0.9


@pytest.mark.parametrize("loss", ["huber", "absolute", LogCosh()], ids=NAMES)
def test_noise_under_a_robust_loss(loss, global_random_seed):
    """Numbers with twice as much noise as signal."""
    rng = np.random.default_rng(global_random_seed)
    M = rng.normal(size=(120, 2)) @ rng.normal(size=(2, 60))
    X = M + 3.0 * rng.normal(size=M.shape)
    hidden = rng.random(M.shape) < 0.3
    seen = np.where(hidden, np.nan, X)
    errors = [
        np.linalg.norm((matrix(fit(seen, loss, center=None, alpha=alpha)) - M)[hidden])
        for alpha in ("auto", 0)
    ]
    assert errors[0] < errors[1]


def test_gross_errors_without_noise_are_left_to_the_path(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    M = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 50))
    wrong = rng.random(M.shape) < 0.1
    X = np.where(wrong, M + 10 * rng.normal(size=M.shape), M)
    model, before = (
        fit(X, "absolute", n_components=2, center=None, alpha=alpha)
        for alpha in ("auto", 0)
    )
    np.testing.assert_array_equal(matrix(model), matrix(before))


@pytest.mark.parametrize("kind", KINDS)
def test_exact_probabilities_and_rates_are_recovered(kind, global_random_seed):
    _, Z, hidden = table(kind, global_random_seed, rank=1, size=0.7)
    exact = make_loss(kind).mean(Z)
    model = fit(np.where(hidden, np.nan, exact), kind, n_components=3)
    np.testing.assert_allclose(matrix(model), Z, atol=1e-4 * np.ptp(Z))


def test_a_loss_that_is_not_bent_is_fitted_without_a_prior(global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    M = rng.normal(size=(40, 1)) @ rng.normal(size=(1, 30)) + rng.normal(size=(40, 30))
    options = {"solver": "precgd-cg", "tol": 1e-3, "n_components": 1, "center": None}
    auto, none = (fit(M, Unbent(), alpha=alpha, **options) for alpha in ("auto", 0))
    np.testing.assert_array_equal(auto.left_, none.left_)


# --------------------------------------------------------------------------------------
# Estimators
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("kind", KINDS)
def test_fitted_rows_are_those_of_transform(kind, center, global_random_seed):
    X, _, hidden = table(kind, global_random_seed)
    seen = np.where(hidden, np.nan, X)
    model = fit(seen, kind, center=center)
    found = model.transform(seen) @ model.components_ + model.center_
    np.testing.assert_allclose(found, matrix(model), atol=1e-6 * np.ptp(found))
    means = make_loss(kind).mean(found)
    np.testing.assert_allclose(model.inverse_transform(model.transform(seen)), means)


@pytest.mark.parametrize("kind", KINDS)
def test_new_rows_have_the_same_prior(kind, global_random_seed):
    X, _, hidden = table(kind, global_random_seed, (150, 60))
    seen = np.where(hidden, np.nan, X)
    model = fit(seen[:100], kind)
    z = model.transform(seen[100:]) @ model.components_ + model.center_
    here = hidden_loss(z, X[100:], hidden[100:], kind)
    none = np.broadcast_to(model.center_, z.shape)
    assert here < hidden_loss(none, X[100:], hidden[100:], kind)
    nothing = np.full((1, X.shape[1]), np.nan)
    np.testing.assert_array_equal(model.transform(nothing), 0.0)


def test_a_single_label_says_little(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    seen = np.where(hidden, np.nan, X)
    model = fit(seen, "logistic")
    one = np.full((1, X.shape[1]), np.nan)
    one[0, 3] = 1.0
    few = np.linalg.norm(model.transform(one))
    many = np.linalg.norm(model.transform(seen), axis=1)
    assert 0 < few < np.median(many)


@pytest.mark.parametrize("kind", [*KINDS, "huber"])
def test_entries_as_samples(kind, global_random_seed):
    X, Z, hidden = table("poisson" if kind == "huber" else kind, 0, (50, 30))
    if kind == "huber":
        X = Z + np.random.default_rng(global_random_seed).normal(size=Z.shape)
    seen = np.where(hidden, np.nan, X)
    A, y = observed_entries(seen)
    whole = fit(seen, kind, center="both")
    model = PrecGDMatrixSensing(6, loss=kind, center="both", random_state=0).fit(A, y)
    np.testing.assert_allclose(model.matrix_, matrix(whole), rtol=1e-9, atol=1e-9)
    means = np.sort(make_loss(kind).mean(matrix(whole))[~hidden])
    np.testing.assert_allclose(np.sort(model.predict(A)), means, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_of_weight_two_is_two_labels(kind, global_random_seed):
    X, _, hidden = table(kind, global_random_seed, (50, 30))
    A, y = observed_entries(np.where(hidden, np.nan, X))
    rng = np.random.default_rng(global_random_seed)
    often = rng.integers(1, 3, len(y))
    again = np.repeat(np.arange(len(y)), often)
    models = [
        PrecGDMatrixSensing(3, loss=kind, center="columns", random_state=0)
        for _ in range(2)
    ]
    models[0].fit(A, y, sample_weight=often.astype(float))
    models[1].fit(A[again], y[again])
    np.testing.assert_allclose(models[0].matrix_, models[1].matrix_, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_of_weight_zero_are_missing(kind, global_random_seed):
    X, _, hidden = table(kind, global_random_seed, (50, 30))
    weighted = PrecGDFactorization(3, loss=kind, center="columns", random_state=0)
    weighted.fit(X, entry_weight=np.where(hidden, 0.0, 1.0))
    missing = fit(np.where(hidden, np.nan, X), kind, n_components=3)
    np.testing.assert_allclose(matrix(weighted), matrix(missing), rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind, global_random_seed):
    X, _, hidden = table(kind, global_random_seed)
    seen = np.where(hidden, np.nan, X)
    models = [fit(seen.astype(dtype), kind) for dtype in (np.float32, np.float64)]
    assert models[0].left_.dtype == models[0].transform(seen[:2]).dtype == np.float32
    close = 1e-4 * np.ptp(matrix(models[1]))
    np.testing.assert_allclose(*(matrix(model) for model in models), atol=close)


def test_complete_tables(global_random_seed):
    X, Z, _ = table("logistic", global_random_seed, (150, 60))
    model = fit(X, "logistic")
    error = special.expit(matrix(model)) - special.expit(Z)
    assert np.sqrt(np.mean(error**2)) < 0.15
    assert "columns take" in model.stop_reason_


def test_groups_are_fitted_each_alone(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed, (60, 40))
    seen = np.where(hidden, np.nan, X)
    seen[:30, 20:] = seen[30:, :20] = np.nan
    with pytest.warns(UserWarning, match="fall into 2 groups"):
        model = fit(seen, "logistic")
    first = fit(seen[:30, :20], "logistic")
    assert len(np.unique(model.groups_.rows)) == 2
    np.testing.assert_allclose(matrix(model)[:30, :20], matrix(first), rtol=1e-6)
    assert np.all(np.isfinite(matrix(model)))


def test_the_same_seed_gives_the_same_fit(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    seen = np.where(hidden, np.nan, X)
    model = fit(seen, "logistic", random_state=3, warm_start=True)
    once = matrix(model).copy()
    np.testing.assert_array_equal(once, matrix(model.fit(seen)))
    np.testing.assert_array_equal(once, matrix(fit(seen, "logistic", random_state=3)))


def test_what_is_said_and_known_of_a_fit(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    model = fit(np.where(hidden, np.nan, X), "logistic", n_components=5)
    assert model.converged_
    assert f"{model.n_components_} of 5 columns take" in model.stop_reason_
    for name in ("noise_variance_", "lower_bound_", "factor_scales_", "noise_df_"):
        assert not hasattr(model, name)
    for method in (model.predict_entries, model.interval):
        with pytest.raises(ValueError, match="and loss='squared'"):
            method([0], [1], **({} if method == model.interval else RETURN_STD))


RETURN_STD = {"return_std": True}


def test_held_out_entries_choose_a_rank_if_they_are_asked(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    seen = np.where(hidden, np.nan, X)
    before = fit(seen, "logistic", alpha=0, early_stopping=True)
    asked = fit(seen, "logistic", early_stopping=True)
    np.testing.assert_array_equal(matrix(before), matrix(asked))


def test_the_bound_may_be_auto(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed, (150, 60))
    seen = np.where(hidden, np.nan, X)
    losses = [
        hidden_loss(matrix(fit(seen, "logistic", n)), X, hidden, "logistic")
        for n in ("auto", 4)
    ]
    assert losses[0] < 1.05 * losses[1]


@pytest.mark.slow
def test_a_search_over_alpha(global_random_seed):
    X, _, hidden = table("logistic", global_random_seed)
    seen = np.where(hidden, np.nan, X)
    model = PrecGDFactorization(
        2, loss="logistic", center="columns", random_state=0, tol=1e-3
    )
    search = GridSearchCV(model, {"alpha": ["auto", 0, 2.0]}, cv=2).fit(seen)
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_auto_is_one_candidate_of_a_cross_validation(kind, global_random_seed):
    X, _, hidden = table(kind, global_random_seed)
    model = PrecGDFactorizationCV(
        alpha=["auto", 0.0],
        n_components=[1, 3],
        loss=kind,
        center="columns",
        random_state=0,
        tol=1e-3,
        cv=2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(np.where(hidden, np.nan, X))
    table_of = zip(
        model.cv_results_["params"], model.cv_results_["mean_test_score"], strict=True
    )
    scores = {(each["alpha"], each["n_components"]): score for each, score in table_of}
    assert scores["auto", 3] > scores[0.0, 3]
    assert model.alpha_ == "auto"


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (0.63, "take 37 % off the loss"),
        (0.9999, "take less than 1 % off the loss"),
        (1e-4, "take more than 99 % off the loss"),
        (1.0, "offsets alone predict"),
        (1.028, "offsets alone predict"),
    ],
)
def test_what_the_columns_take_off_is_said_in_plain_words(loss, said):
    rng = np.random.default_rng(0)
    labels = (rng.random((30, 20)) < 0.5).astype(float)
    rows, columns = np.indices(labels.shape).reshape(2, -1)
    data = EntryData(rows, columns, labels.ravel(), labels.shape)
    learner = LossLearner(data, 3, PrecGDFactorization(3, loss="logistic"))
    each = np.array([np.ones(4), np.full(4, loss)])
    choice = PriorChoice(3, each, np.ones(4), np.array([0, 2]))
    learner.posterior = LossPosterior(None, None, False, 2, choice)
    assert said in learner.in_words()


@pytest.mark.parametrize(
    ("loss", "label"), [("logistic", 1.0), ("logistic", 0.0), ("poisson", 0.0)]
)
@pytest.mark.parametrize("center", ["mean", "columns", "both"])
def test_labels_that_are_all_alike_leave_a_chance_of_another(loss, label, center, rng):
    """Half an entry more of the other kind, where nothing else bounds the mean.

    Learned means of factors may take half of that.
    """
    X = np.full((30, 20), label)
    X[rng.random(X.shape) < 0.4] = np.nan
    n = np.count_nonzero(~np.isnan(X))
    model = PrecGDFactorization(2, loss=loss, center=center, random_state=0).fit(X)
    predicted = model.predict_entries(*np.nonzero(np.isnan(X)))
    other = np.abs(predicted - label)
    assert np.all((other > 0.2 / n) & (other < 0.2))
    if center == "mean":
        chance = 0.5 / n if loss == "poisson" else 0.5 / (n + 0.5)
        np.testing.assert_allclose(other, chance, rtol=1e-9)


@pytest.mark.parametrize("center", ["columns", "both"])
def test_rows_are_what_was_learned_of_them(center, rng):
    """Also where a factor has taken the level of all counts: it then has a mean."""
    rate = np.exp(3 + 0.35 * rng.normal(size=(60, 2)) @ rng.normal(size=(2, 25)))
    counts = rng.poisson(rate).astype(float)
    hidden = rng.random(rate.shape) < 0.25
    seen = np.where(hidden, np.nan, counts)
    model = PrecGDFactorization(6, loss="poisson", center=center, random_state=0)
    fitted = model.inverse_transform(model.fit_transform(seen))
    excess = fitted - counts + counts * np.log(np.maximum(counts, 1e-9) / fitted)
    # Counts have a deviance of one, less what the fit has taken of it.
    assert 2 * np.mean(excess[~hidden]) < 1.2
    assert 2 * np.mean(excess[hidden]) < 2.5
