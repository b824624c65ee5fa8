"""
Complete a table with holes
===========================

A table of rank 5 loses 80 % of its entries. We get it back without knowing the rank,
watch what the fit did, and then add noise, which the fit finds out about, too.
"""

# %%
# The data
# --------
#
# 300 rows, 200 columns, and singular values that span three orders of magnitude, so
# that the last patterns are a thousand times fainter than the first. ``NaN`` marks
# what is missing.

import matplotlib.pyplot as plt
import numpy as np

from skprecgd import PrecGDFactorization
from skprecgd.datasets import make_matrix_completion

X, truth = make_matrix_completion(
    300,
    200,
    rank=5,
    condition_number=1e3,
    observed_fraction=0.2,
    random_state=0,
)
print(f"{np.isfinite(X).sum()} entries seen of {X.size}")
print(f"{truth.degrees_of_freedom} numbers determine the table")

# %%
# The fit
# -------
#
# All we say is that the rank is at most 20.

model = PrecGDFactorization(n_components=20, random_state=0)
completed = model.inverse_transform(model.fit_transform(X))

print(f"rank found: {model.n_components_}")
print(f"relative error: {truth.relative_error(completed):.1e}")
print(model.stop_reason_)

# %%
# Components are added one at a time, and every one of them brings the residual down
# until nothing is left to explain. The faint patterns are found as well as the strong
# ones.

from skprecgd.display import (
    ConvergenceDisplay,
    RankPathDisplay,
    SingularValueDisplay,
)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
ConvergenceDisplay.from_estimator(model, columns=["relative_residual"], ax=left)
SingularValueDisplay.from_estimator(model, truth=truth, name="found", ax=right)

# %%
# With noise
# ----------
#
# Noise has full rank, so no rank explains the data, and a larger one always fits the
# visible entries better. The fit recognises that noise is all that is left, learns how
# large it is in each column and how large the factors may be, and predicts by their
# posterior mean. A weak column may stay for the prediction although it carries no clear
# signal:

noisy, truth = make_matrix_completion(
    150, 100, rank=4, observed_fraction=0.5, noise=0.3, random_state=1
)
model = PrecGDFactorization(n_components=12, random_state=0).fit(noisy)
print(f"rank found: {model.n_components_}")
print(f"relative error: {truth.relative_error(model.left_, model.right_):.3f}")
print(model.stop_reason_)

# %%
# Without a prior, ``alpha=0``, the rank has to be chosen. A fit that cannot explain the
# data then holds some of them out:

model = PrecGDFactorization(12, alpha=0, tol=1e-3, random_state=0).fit(noisy)
print(f"rank found: {model.n_components_}")
print(f"relative error: {truth.relative_error(model.left_, model.right_):.3f}")

# %%
# Every further rank fits the visible entries better. The hidden ones know better:

figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
RankPathDisplay.from_estimator(model, ax=axis)

# %%
# Or you choose the folds yourself. The score of
# :class:`~skprecgd.PrecGDFactorization` hides entries of the rows it is shown and asks
# for them, which is a fair test of a rank, so that
# :class:`~sklearn.model_selection.GridSearchCV` works with its ordinary folds over
# rows.

from sklearn.model_selection import GridSearchCV

ranks = [1, 2, 3, 4, 5, 6, 7]
model = PrecGDFactorization(alpha=0, tol=1e-3, early_stopping=False, random_state=0)
search = GridSearchCV(model, {"n_components": ranks}).fit(noisy)

figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
RankPathDisplay.from_estimator(search, ax=axis)
plt.show()
