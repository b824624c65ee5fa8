#!/usr/bin/env bash
# Which zeros a sparse matrix stores depends on the formats it went through.
#
# Where the stored entries of a sparse matrix are the observed ones, as in ratings, a
# change of format should change nothing. In SciPy 1.15.3 it does, and differently for
# two formats that both fill up with zeros. By way of bsr with blocks of 3 x 5, a matrix of
# 12 entries comes back with 120: the padding has become stored zeros, which nothing
# tells from ratings of 0. By way of dia it comes back with 12, though the dia form itself
# counts 54; but there a rating of 0 that had been stored is lost, so that the same
# matrix with one explicit zero comes back with an entry less. All of them are equal as
# matrices of numbers.
#
# Needs Python with venv and a package index; fails if any of this changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.2.6 scipy==1.15.3
"$work/env/bin/python" -W error - <<'PYTHON'
import numpy as np
import scipy
from scipy import sparse

rows, columns = np.divmod(np.arange(12) * 10 + np.arange(12) * 7 % 10, 10)
ratings = sparse.coo_array((np.arange(1.0, 13.0), (rows, columns)), shape=(12, 10)).tocsr()
by_bsr, by_dia = ratings.tobsr(blocksize=(3, 5)), ratings.todia()
print(f"SciPy {scipy.__version__}: {ratings.nnz} entries;")
print(f"bsr counts {by_bsr.nnz}, back in csr {by_bsr.tocsr().nnz};")
print(f"dia counts {by_dia.nnz}, back in csr {by_dia.tocsr().nnz};")
with_zero = ratings.copy()
with_zero.data[0] = 0.0
back = with_zero.todia().tocsr()
print(f"with an explicit zero: {with_zero.nnz}, by way of dia {back.nnz}.")
assert ratings.nnz == by_dia.tocsr().nnz == with_zero.nnz == 12
assert by_bsr.tocsr().nnz == 120 and by_dia.nnz > 12 and back.nnz == 11
for other in (by_bsr.tocsr(), by_dia.tocsr()):
    assert (other != ratings).nnz == 0
PYTHON
