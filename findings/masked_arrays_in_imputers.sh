#!/usr/bin/env bash
# scikit-learn's imputers do not see the mask of a NumPy masked array.
#
# A masked array is NumPy's own container for data with missing values, so one expects an
# imputer either to fill in what is masked or to refuse the container. SimpleImputer,
# KNNImputer and IterativeImputer of scikit-learn 1.7.2 do neither: without a warning they
# work on the numbers beneath the mask. Of a column (2, masked, 6, 8) whose hidden number
# is -999, SimpleImputer takes the mean to be -245.75 where NumPy says 5.33, and all three
# return -999 in the place that was to be filled in.
#
# Needs Python with venv and a package index; fails if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.2.6 scipy==1.15.3 scikit-learn==1.7.2
"$work/env/bin/python" -W error - <<'PYTHON'
import numpy as np
import sklearn
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

X = np.ma.masked_equal([[1.0, 2.0], [2.0, -999.0], [3.0, 6.0], [4.0, 8.0]], -999.0)
print(f"scikit-learn {sklearn.__version__}, NumPy {np.__version__}")
print("mean by NumPy        ", X[:, 1].mean())
print("mean by SimpleImputer", SimpleImputer().fit(X).statistics_[1])
assert abs(X[:, 1].mean() - 16 / 3) < 1e-12
assert SimpleImputer().fit(X).statistics_[1] == -245.75
for imputer in (SimpleImputer(), KNNImputer(), IterativeImputer()):
    filled = imputer.fit_transform(X)
    print(f"{type(imputer).__name__:17} fills in {filled[1, 1]}")
    assert filled[1, 1] == -999.0
PYTHON
