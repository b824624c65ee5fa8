#!/usr/bin/env bash
# The noise variance of scikit-learn's IncrementalPCA tends to zero with more data.
#
# IncrementalPCA is PCA in batches, and its noise_variance_ is described as that of PCA: the
# estimate of Tipping and Bishop, which tends to the variance of the noise. One expects
# some loss by the batches, and more data to help. With scikit-learn 1.9.1 (and 1.4.2) the
# components are right to three digits, but the noise is that of the last batch alone,
# divided by the rows of all: 1 batch of 100 in 10000 rows gives a hundredth of it. Every
# further batch makes it smaller. get_covariance() and get_precision() are built on it: the
# mean squared Mahalanobis distance of the training rows, which is the number of columns,
# 20, comes out as 180, 1850 and 18600 for 1000, 10000 and 100000 rows, so that detectors of
# outliers raise alarms that depend on batch_size.
#
# Needs Python with venv and a package index; fails if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet --no-compile \
    numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/env/bin/python" -W error - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.decomposition import PCA, IncrementalPCA


def mahalanobis(model, X):
    centred = X - model.mean_
    return np.mean(np.sum(centred @ model.get_precision() * centred, axis=1))


print(f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}; noise of variance 1")
print("  rows  batch     PCA   incremental    mean squared distance of either")
for rows, batch in ((1000, 100), (10_000, 100), (100_000, 100), (100_000, 1000)):
    rng = np.random.default_rng(0)
    patterns = 3 * np.linalg.qr(rng.normal(size=(20, 2)))[0]
    X = rng.normal(size=(rows, 2)) @ patterns.T + rng.normal(size=(rows, 20))
    whole = PCA(2, svd_solver="full").fit(X)
    parts = IncrementalPCA(2, batch_size=batch).fit(X)
    noise = whole.noise_variance_, parts.noise_variance_
    distance = mahalanobis(whole, X), mahalanobis(parts, X)
    print(f"{rows:6} {batch:6} {noise[0]:7.3f} {noise[1]:13.6f}", end="")
    print(f"{distance[0]:18.2f} {distance[1]:10.1f}")
    assert np.allclose(parts.explained_variance_, whole.explained_variance_, rtol=0.01)
    assert abs(noise[0] - 1) < 0.02 and abs(distance[0] / 20 - 1) < 0.02
    assert 0.9 < noise[1] / (batch / rows) < 1.1
    assert distance[1] / distance[0] > 0.8 * rows / batch
PYTHON
