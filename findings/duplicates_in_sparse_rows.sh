#!/usr/bin/env bash
# Two equal sparse matrices have two tf-idfs in scikit-learn, and negative variances.
#
# SciPy's manual shows how to build a matrix of documents and terms: append an index for
# each word, and csr_array sums words that come twice. As it sums whenever it computes, one
# expects that whoever takes CSR takes this. scikit-learn 1.9.1 takes it without a warning,
# and counts what is stored: TfidfTransformer takes words for documents, so that the idf of
# a frequent word, never below 1, is about -2, and the cosine of two rows "of unit length"
# exceeds 10; TruncatedSVD and PCA(svd_solver="arpack") add squares of parts instead of
# sums, and explain a share of the variance that is below zero. And the numbers depend on
# whether one has looked: X.max() sums the duplicates in place, after which all of it is
# right, while X.mean() and X.toarray() do not. Texts, baskets and clicks come in this form.
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
import scipy
import sklearn
from scipy import sparse
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer

rng = np.random.default_rng(0)
n_documents, length, n_terms = 200, 60, 300
words = np.minimum(rng.zipf(1.5, n_documents * length) - 1, n_terms - 1)
ends = np.arange(0, len(words) + 1, length)
X = sparse.csr_array((np.ones(len(words)), words, ends), shape=(n_documents, n_terms))


def numbers(X):
    tfidf = TfidfTransformer()
    rows = tfidf.fit_transform(X)
    svd = TruncatedSVD(10, algorithm="arpack", random_state=0).fit(X)
    pca = PCA(10, svd_solver="arpack", random_state=0).fit(X)
    ratios = [model.explained_variance_ratio_.sum() for model in (svd, pca)]
    return np.array([tfidf.idf_.min(), (rows @ rows.T).max(), *ratios])


print(f"scikit-learn {sklearn.__version__}, SciPy {scipy.__version__}")
print("least idf, largest cosine, shares explained by TruncatedSVD and PCA")
before, X_before, stored = numbers(X), X.toarray(), X.nnz
X.max()
after = numbers(X)
print("as built        ", before, f"({stored} stored)")
print("after X.max()   ", after, f"({X.nnz} stored)")
print("X itself changed", abs(X - X_before).max(), flush=True)
assert np.array_equal(X.toarray(), X_before) and X.nnz < stored
assert before[0] < 0 and before[1] > 2 and np.all(before[2:] < 0)
assert after[0] >= 1 and abs(after[1] - 1) < 1e-12 and np.all(after[2:] > 0.5)
PYTHON
