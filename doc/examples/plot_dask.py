"""
A matrix in chunks
==================

A table that does not fit in memory is a dask array of chunks, each read when it is
needed. We fit one, look at what travels between the chunks and the client, and fill its
holes without ever having the whole table.
"""

# %%
# The data
# --------
#
# Every chunk of 400 rows is made by a function, which could as well read a file.
# Nothing is computed here. Three in four entries will be missing.

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask import delayed

from skprecgd import PrecGDFactorization
from skprecgd.distributed import count_traffic

n_chunks, length, n_columns = 8, 400, 200
patterns = np.random.default_rng(0).normal(size=(4, n_columns))
patterns *= np.array([[1], [0.3], [0.1], [0.03]])


def full_chunk(k):
    return np.random.default_rng(k + 1).normal(size=(length, 4)) @ patterns


@delayed
def read_chunk(k):
    chunk = full_chunk(k)
    hidden = np.random.default_rng(k + 1001).random(chunk.shape) < 0.75
    return np.where(hidden, np.nan, chunk)


X = da.concatenate(
    [
        da.from_delayed(read_chunk(k), (length, n_columns), dtype=float)
        for k in range(n_chunks)
    ]
)
X

# %%
# The fit
# -------
#
# It is the fit of an array in memory, and runs on the scheduler in force: threads
# here, a cluster after ``client = distributed.Client(...)``.

model = PrecGDFactorization(n_components=8, tol=1e-8)
with count_traffic() as traffic:
    model.fit(X)

print(f"rank found: {model.n_components_}")
print(model.stop_reason_)
print(f"{traffic.passes} passes over the chunks in {model.n_iter_} iterations")

# %%
# An iteration is two passes. The others find directions in which to grow the rank.
# What a chunk is sent and sends back are thin factors and their gradients, here beside
# the chunk itself:

moved = (traffic.bytes_out + traffic.bytes_back) / traffic.passes / n_chunks
figure, axis = plt.subplots(figsize=(6, 1.8), layout="constrained")
axis.barh(
    ["a chunk", "what travels\nto and from it, a pass"],
    [X.nbytes / n_chunks / 1e3, moved / 1e3],
)
axis.set(xlabel="kilobytes")

# %%
# Lazy rows
# ---------
#
# `transform` and `inverse_transform` give dask arrays. We compute one chunk of the
# filled table and compare it with the truth.

filled = model.inverse_transform(model.transform(X))
truth = full_chunk(5)
error = np.linalg.norm(filled.blocks[5].compute() - truth) / np.linalg.norm(truth)
print(filled)
print(f"relative error of the sixth chunk: {error:.1e}")
plt.show()
