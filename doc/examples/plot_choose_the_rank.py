"""
Choose the rank
===============

A noisy table of rank 4. Errors on held-out rows say that more components are always
better; errors on held-out entries say how many there are.
"""

# %%
# The data
# --------
#
# 120 rows, 80 columns, a tenth of the entries missing, and noise of a fifth of what the
# four components add up to.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV

from skprecgd import PrecGDFactorizationCV
from skprecgd.datasets import make_matrix_completion

X, truth = make_matrix_completion(
    120,
    80,
    rank=4,
    observed_fraction=0.9,
    noise=0.2,
    condition_number=3,
    random_state=0,
)
ranks = range(1, 11)

# %%
# Folds of entries
# ----------------
#
# Every fold hides a fifth of the entries and follows one path of growing rank on the
# others. Each rank is scored where the path passes it, so ten ranks cost hardly more
# than the largest alone. (``alpha=0`` leaves the priors and ridges out, which are other
# candidates by default, and find their ranks themselves.)

model = PrecGDFactorizationCV(ranks, alpha=0, random_state=0).fit(X)
print(model.best_params_)

# %%
# The smallest rank whose score is within one standard error of the best is the more
# careful choice. Here it is the same.

careful = PrecGDFactorizationCV(
    ranks, alpha=0, refit_rule="one_standard_error", random_state=0
).fit(X)
print(careful.best_params_)

# %%
# Folds of rows
# -------------
#
# The usual search, over a truncated SVD that cannot leave out entries, so that we have
# to fill the holes with the columns' means.


def reconstruction(svd, X, y=None):
    return r2_score(X, svd.inverse_transform(svd.transform(X)))


filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
search = GridSearchCV(
    TruncatedSVD(algorithm="arpack", random_state=0),
    {"n_components": ranks},
    scoring=reconstruction,
).fit(filled)
print(search.best_params_)

# %%
# Held-out rows are reconstructed from themselves, and a larger basis contains the
# smaller one.

results = model.cv_results_
figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
axes.errorbar(
    results["param_n_components"],
    results["mean_test_score"],
    results["std_test_score"],
    marker="o",
    capsize=3,
    label="held-out entries",
)
axes.plot(ranks, search.cv_results_["mean_test_score"], "s--", label="held-out rows")
axes.axvline(truth.rank, color="0.7", zorder=0)
axes.set(xlabel="number of components", ylabel="$R^2$")
axes.legend()
plt.show()

# %%
# The model is fitted
# -------------------
#
# It has been refitted on everything: how close is the completed table to that without
# noise?

completed = model.inverse_transform(model.transform(X))
print(f"relative error: {truth.relative_error(completed):.3f}")
