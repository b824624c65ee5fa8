#!/usr/bin/env bash
# scikit-learn's PCA finds components that are not there, once there are rows enough.
#
# Fields of temperature come as float32 in kelvin, and PCA takes away the mean, so one
# expects as many digits as float32 has, and more rows to make things better. With
# scikit-learn 1.9.1, 499 rows of 50 such columns are decomposed rightly. From 500 on, ten
# rows to a column, the default solver becomes "covariance_eigh", which does not subtract
# the mean from the data but its square from their Gram matrix, in float32: at 288 with
# variances near one, hardly a digit of the difference is left. The fourth component of
# data that have three and white noise gets 7 to 11 times its variance with 500 rows, and
# 80 to 150 times with 50000, as much as a weak real component has, and no scree plot tells
# it from one. Nothing warns; svd_solver="full" is right, and so is the default after 288 is
# subtracted. The manual warns of a large range of singular values, and says that the
# covariance is that of centred data. "auto" takes this solver since 1.5; 1.4.2, which did
# not have it, is right to 3 %.
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
from sklearn.decomposition import PCA


def fourth(rows, shift=0.0, solver="auto"):
    """Variance of the fourth component over what it is in float64."""
    kelvin = (288.0 + anomalies[:rows]).astype(np.float32)
    model = PCA(4, svd_solver=solver).fit(kelvin - np.float32(shift))
    exact = PCA(4, svd_solver="full").fit(kelvin.astype(np.float64))
    return model.explained_variance_[3] / exact.explained_variance_[3]


print(f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}")
print("draw, fourth variance over the right one: 499 rows, 500, 50000,")
print("50000 by the full solver, 50000 less 288")
for seed in range(5):
    rng = np.random.default_rng(seed)
    patterns = np.linalg.qr(rng.normal(size=(50, 3)))[0] * [6.0, 5.0, 4.0]
    anomalies = rng.normal(size=(50_000, 3)) @ patterns.T
    anomalies += 0.3 * rng.normal(size=anomalies.shape)
    few, more, many = (fourth(rows) for rows in (499, 500, 50_000))
    full, shifted = fourth(50_000, solver="full"), fourth(50_000, 288.0)
    numbers = few, more, many, full, shifted
    print(f"{seed:4}", "".join(f"{number:10.3f}" for number in numbers))
    assert abs(few - 1) < 1e-3 and abs(full - 1) < 1e-3 and abs(shifted - 1) < 1e-3
    assert more > 4 and many > 40
PYTHON
