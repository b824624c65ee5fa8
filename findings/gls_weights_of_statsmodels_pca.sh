#!/usr/bin/env bash
# Weighted principal components of statsmodels favour the series that are noisiest.
#
# PCA(gls=True) is described as a second step in which each series counts by the inverse of
# its residual variance, and `weights` takes such numbers from the user; a larger weight
# means that a series counts more, one expects, and GLS to estimate a factor better than
# least squares. In statsmodels 0.15.0 (and 0.14.4) the data are divided by the roots of the
# weights, and not multiplied. For one factor in ten series with little noise and ten with
# much (standard deviations 0.3 and 3), the plain component explains 63 to 75 % of the
# factor, that of gls=True 40 to 58 %, and GLS by hand 99 %, which one also gets by giving
# the variances themselves as weights. It worsens the factor in each of eight draws: who
# published factors of economic panels by this option has those of the noisiest series. The
# project was told in September 2026, and mended it then; 0.15.0 is its newest release.
#
# Needs Python with venv and a package index; fails if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet --no-compile \
    numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 statsmodels==0.15.0
"$work/env/bin/python" -W error - <<'PYTHON'
import numpy as np
import statsmodels
from statsmodels.multivariate.pca import PCA

print(f"statsmodels {statsmodels.__version__}, NumPy {np.__version__}")
print("draw, share of the factor explained: plain, gls=True,")
print("weights=1/variances, weights=variances, and GLS by hand")
deviations = np.repeat([0.3, 3.0], 10)
for seed in range(8):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=200)
    series = factor[:, None] + deviations * rng.normal(size=(200, 20))

    def explained(**options):
        model = PCA(series, ncomp=1, standardize=False, **options)
        return np.corrcoef(model.factors[:, 0], factor)[0, 1] ** 2

    scaled = (series - series.mean(axis=0)) / deviations
    by_hand = np.linalg.svd(scaled, full_matrices=False)[0][:, 0]
    right = np.corrcoef(by_hand, factor)[0, 1] ** 2
    plain, gls = explained(), explained(gls=True)
    inverse = explained(weights=1 / deviations**2)
    swapped = explained(weights=deviations**2)
    numbers = plain, gls, inverse, swapped, right
    print(f"{seed:4}", "".join(f"{number:9.3f}" for number in numbers))
    assert gls < plain and inverse < plain and right > 0.97
    assert abs(swapped - right) < 1e-6
PYTHON
