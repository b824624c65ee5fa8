"""
Classify what is only partly seen
=================================

Handwritten digits of which nearly a third of the pixels is missing, a classifier that
takes no missing values, and a grid search over the rank of what stands between them.
"""

# %%
# The data
# --------
#
# Images of 8 x 8 pixels from scikit-learn. Every pixel is lost with probability 0.3, in
# the images to learn from and in those to be classified.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skprecgd import PrecGDFactorization
from skprecgd.progress import progress_bar

images, digits = load_digits(return_X_y=True)
rng = np.random.default_rng(0)
X = np.where(rng.random(images.shape) < 0.3, np.nan, images)
X_train, X_test, y_train, y_test = train_test_split(
    X, digits, train_size=800, random_state=0
)

# %%
# The pipeline
# ------------
#
# The scaler leaves missing values alone. The factorization turns the pixels of an image
# that are there into a few coordinates, which is all the classifier sees; a new image
# gets its coordinates from its own visible pixels. Digits are not exactly of low rank,
# so a little of the penalty `alpha` keeps an image of which little is seen from getting
# wild coordinates.
#
# How many coordinates serve the classifier best is another question than which rank
# predicts the pixels best. So it is the accuracy that chooses here. In a terminal,
# `progress_bar` shows how far the search is.

pipeline = make_pipeline(
    StandardScaler(),
    PrecGDFactorization(alpha=7.0, tol=1e-2, random_state=0),
    SVC(),
)
ranks = [3, 6, 12, 20]
search = GridSearchCV(
    pipeline, {"precgdfactorization__n_components": ranks}, cv=3, n_jobs=2
)
with progress_bar():
    search.fit(X_train, y_train)

print(f"best rank: {search.best_params_['precgdfactorization__n_components']}")
print(f"accuracy on the test images: {search.score(X_test, y_test):.3f}")

# %%
# The usual way out, the mean of the pixel over the images that show it:

usual = make_pipeline(StandardScaler(), SimpleImputer(), SVC()).fit(X_train, y_train)
print(f"accuracy with means filled in: {usual.score(X_test, y_test):.3f}")

# %%
# What the factorization makes of an image
# ----------------------------------------
#
# Every further rank helps, the last ones least.

scaler, factorization = search.best_estimator_[0], search.best_estimator_[1]
shown = X_test[:6]
completed = scaler.inverse_transform(
    factorization.inverse_transform(factorization.transform(scaler.transform(shown)))
)

figure = plt.figure(figsize=(10, 3), layout="constrained")
curve, pictures = figure.subfigures(1, 2, width_ratios=[1, 1.4])
axis = curve.subplots()
results = search.cv_results_
axis.errorbar(ranks, results["mean_test_score"], results["std_test_score"], marker="o")
axis.set(xlabel="rank", ylabel="accuracy, 3 folds", xticks=ranks)
axes = pictures.subplots(2, 6)
for column, pair in zip(axes.T, zip(shown, completed, strict=True), strict=True):
    for axis, picture in zip(column, pair, strict=True):
        axis.imshow(picture.reshape(8, 8), cmap="gray_r", clim=(0, 16))
        axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("seen")
axes[1, 0].set_ylabel("completed")
plt.show()
