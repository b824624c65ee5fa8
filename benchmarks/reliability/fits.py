"""Sixty fits: estimators, data and parameters that meet every way through a fit.

`unchanged.py` runs them with two builds, so only public names are used, the data come
from NumPy alone, and every fit is small, deterministic and well determined: singular
values are apart, so that a difference in the last digit stays one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import aslinearoperator

from skprecgd import (
    PrecGDFactorization,
    PrecGDFactorizationCV,
    PrecGDMatrixSensing,
    PrecGDMatrixSensingCV,
    observed_entries,
)
from skprecgd.losses import AbsoluteLoss, HuberLoss
from skprecgd.measurements import RankOneMeasurements, multi_output

SHAPE = (60, 40)


class Data(NamedTuple):
    """What a model is fitted to, and what it is asked about afterwards.

    Attributes
    ----------
    X, y : object
        As in `fit`; y is None for factorizations.
    new : object
        Rows, or measurements, as in `transform`.
    new_y : object
        What `score` compares the predictions for `new` with, where it needs it.
    """

    X: Any
    y: Any
    new: Any
    new_y: Any = None


class Fit(NamedTuple):
    """A line of the list: a class, the name of the data and the parameters."""

    estimator: type
    data: str
    parameters: dict[str, Any]

    @property
    def name(self) -> str:
        given = ", ".join(f"{k}={_short(v)}" for k, v in self.parameters.items())
        return f"{self.estimator.__name__.removeprefix('PrecGD')} {self.data}: {given}"


def _short(value: Any) -> str:
    return "pair" if isinstance(value, tuple) else repr(value)


# ---- data


def low_rank(
    shape: tuple[int, int] = SHAPE, rank: int = 3, seed: int = 0, noise: float = 0.0
) -> np.ndarray:
    """Singular values 1, 1/2, 1/4 ... and noise of that share of the norm."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in shape)
    X = (u * 0.5 ** np.arange(rank)) @ v.T * np.sqrt(shape[0] * shape[1])
    error = rng.standard_normal(shape)
    return X + noise * np.linalg.norm(X) / np.linalg.norm(error) * error


def decaying(shape: tuple[int, int]) -> np.ndarray:
    """Full rank, each singular value 0.8 of the one before."""
    rng = np.random.default_rng(1)
    n = min(shape)
    u, v = (np.linalg.qr(rng.standard_normal((side, n)))[0] for side in shape)
    return (u * 0.8 ** np.arange(n)) @ v.T + 0.01


def holes(X: np.ndarray, observed: float = 0.5, seed: int = 2) -> np.ndarray:
    hidden = np.random.default_rng(seed).random(X.shape) > observed
    return np.where(hidden, np.nan, X)


def stored(X: np.ndarray) -> sparse.csr_array:
    """The observed entries of X, for ``missing_values=0``."""
    rows, columns = np.nonzero(~np.isnan(X))
    return sparse.csr_array((X[rows, columns], (rows, columns)), shape=X.shape)


def corrupted(X: np.ndarray, share: float = 0.05, seed: int = 3) -> np.ndarray:
    wrong = np.random.default_rng(seed).random(X.shape) < share
    return np.where(wrong, X + 20 * np.std(X[~np.isnan(X)]), X)


def of_rows(X: Any) -> Data:
    return Data(X, None, X[:20])


def complete(shape: tuple[int, int] = SHAPE) -> Data:
    return of_rows(decaying(shape))


def complete_sparse() -> Data:
    X = decaying((120, 50))
    X[np.random.default_rng(4).random(X.shape) < 0.8] = 0.0
    return of_rows(sparse.csr_array(X))


def single(data: Data) -> Data:
    return Data(*(None if d is None else d.astype(np.float32) for d in data))


def on_disk(X: np.ndarray) -> np.ndarray:
    # The file goes with the interpreter.
    folder = tempfile.TemporaryDirectory()
    on_disk.folders.append(folder)  # type: ignore[attr-defined]
    file = np.memmap(Path(folder.name, "X"), dtype=X.dtype, mode="w+", shape=X.shape)
    file[:] = X
    file.flush()
    return np.memmap(file.filename, dtype=X.dtype, mode="r", shape=X.shape)


on_disk.folders = []  # type: ignore[attr-defined]


def labels() -> Data:
    z = 3 * low_rank((80, 50), rank=2)
    p = 1 / (1 + np.exp(-z))
    drawn = np.random.default_rng(5).random(z.shape) < p
    return of_rows(holes(drawn.astype(float), 0.7))


def counts() -> Data:
    z = 1.5 * low_rank((80, 50), rank=2)
    return of_rows(
        holes(np.random.default_rng(6).poisson(np.exp(z)).astype(float), 0.7)
    )


def in_chunks(data: Data, chunks: tuple[int, int]) -> Data:
    import dask.array as da

    return data._replace(X=da.from_array(data.X, chunks=chunks))


def sensing(
    shape: tuple[int, int] = (16, 12),
    n: int = 220,
    noise: float = 0.0,
    symmetric: bool = False,
) -> Data:
    rng = np.random.default_rng(7)
    M = low_rank(shape, rank=2, seed=8)
    if symmetric:
        u = np.linalg.qr(rng.standard_normal((shape[0], 2)))[0]
        M = shape[0] * (u * [1.0, 0.5]) @ u.T
    A = rng.standard_normal((n + 30, *shape)) / np.sqrt(n)
    return split(A, np.einsum("kij,ij->k", A, M), n, noise)


def split(A: Any, y: np.ndarray, n: int, noise: float = 0.0) -> Data:
    """The first n measurements, with noise, to fit; the others are new."""
    error = np.random.default_rng(9).standard_normal(n)
    given = y[:n] + noise * np.linalg.norm(y[:n]) / np.linalg.norm(error) * error
    return Data(A[:n], given, A[n:], y[n:])


def rank_one() -> Data:
    rng = np.random.default_rng(10)
    M = low_rank((16, 12), rank=2, seed=8)
    a, b = rng.standard_normal((250, 16)), rng.standard_normal((250, 12))
    y = np.einsum("ki,ij,kj->k", a, M, b)
    return split(RankOneMeasurements(a, b), y, 220)


def sparse_rows() -> Data:
    rng = np.random.default_rng(11)
    M = low_rank((16, 12), rank=2, seed=8)
    A = np.where(rng.random((430, 192)) < 0.1, rng.standard_normal((430, 192)), 0.0)
    return split(sparse.csr_array(A), A @ M.ravel(), 400)


def operator() -> Data:
    data = sensing()
    X, new = (aslinearoperator(A.reshape(len(A), -1)) for A in (data.X, data.new))
    return data._replace(X=X, new=new)


def outputs() -> Data:
    rng = np.random.default_rng(12)
    M = low_rank((16, 12), rank=2, seed=8)
    samples = rng.standard_normal((40, 16))
    Y = samples @ M + 0.05 * rng.standard_normal((40, 12))
    Y[3, 4] = np.nan
    X, y, *_ = multi_output(samples, Y)
    return Data(X, y, X[:30], y[:30])


def entries(noise: float = 0.0) -> Data:
    X, y = observed_entries(holes(low_rank(noise=noise)))
    return split(X, y, len(y) - 50)


def triples_bag() -> Data:
    import dask.bag

    X = low_rank((30, 20), rank=2)
    rows, columns = np.nonzero(~np.isnan(holes(X, 0.6)))
    triples = zip(rows, columns, X[rows, columns], strict=True)
    lazy = dask.bag.from_sequence(list(triples), npartitions=3)
    E, y = observed_entries(lazy, matrix_shape=(30, 20))
    new, new_y = observed_entries(X)
    return Data(E, y, new, new_y)


def rows_frame() -> Data:
    import dask.dataframe as dd
    import pandas as pd

    data = complete()
    frame = pd.DataFrame(data.X, columns=[f"c{j}" for j in range(SHAPE[1])])
    return Data(dd.from_pandas(frame, npartitions=3), None, frame[:20])


def measurements_chunked() -> Data:
    import dask.array as da

    data = sensing()
    return data._replace(X=da.from_array(data.X, chunks=(70, 16, 12)))


DATA: dict[str, Callable[[], Data]] = {
    "complete": complete,
    "tall": lambda: complete((400, 30)),
    "wide": lambda: complete((50, 300)),
    "complete float32": lambda: single(complete()),
    "complete sparse": complete_sparse,
    "complete sparse float32": lambda: single(complete_sparse()),
    "complete, mapped": lambda: of_rows(on_disk(decaying((400, 60)))),
    "complete, errors": lambda: of_rows(corrupted(low_rank())),
    "complete, noise": lambda: of_rows(low_rank(noise=0.2)),
    "chunks": lambda: in_chunks(complete((240, 60)), (70, 25)),
    "chunks, holes": lambda: in_chunks(of_rows(holes(low_rank((90, 40)))), (40, 25)),
    "frame in chunks": rows_frame,
    "holes": lambda: of_rows(holes(low_rank())),
    "holes float32": lambda: single(of_rows(holes(low_rank()))),
    "holes, CSR": lambda: of_rows(stored(holes(low_rank()))),
    "holes, offsets": lambda: of_rows(
        holes(low_rank() + np.arange(60.0)[:, None] / 30 + np.arange(40.0) / 10)
    ),
    "holes, noise": lambda: of_rows(holes(low_rank(noise=0.2), 0.6)),
    "holes, errors": lambda: of_rows(corrupted(holes(low_rank(), 0.7))),
    "holes, errors, CSR": lambda: of_rows(stored(corrupted(holes(low_rank(), 0.7)))),
    "holes, large": lambda: of_rows(stored(holes(low_rank((600, 500), noise=0.01)))),
    "scarce": lambda: of_rows(holes(low_rank((120, 90), 3, noise=0.1), 0.09)),
    "labels": labels,
    "counts": counts,
    "sensing": sensing,
    "sensing float32": lambda: single(sensing()),
    "sensing, noise": lambda: sensing(noise=0.1),
    "sensing, few": lambda: sensing(n=80),
    "symmetric": lambda: sensing((14, 14), 180, symmetric=True),
    "sensing, mapped": lambda: (lambda d: d._replace(X=on_disk(d.X)))(sensing()),
    "sensing, errors": lambda: (lambda d: d._replace(y=corrupted(d.y)))(sensing()),
    "sensing, chunks": measurements_chunked,
    "rank-one": rank_one,
    "sparse rows": sparse_rows,
    "operator": operator,
    "outputs": outputs,
    "entries": entries,
    "entries, noise": lambda: entries(noise=0.2),
    "triples in chunks": triples_bag,
    "sensing, labels": lambda: (
        lambda d: d._replace(y=np.rint(1 / (1 + np.exp(-9 * d.y))), new_y=d.new_y > 0)
    )(sensing(n=500)),
}


# ---- the list

F, FCV = PrecGDFactorization, PrecGDFactorizationCV
S, SCV = PrecGDMatrixSensing, PrecGDMatrixSensingCV

_rng = np.random.default_rng(13)
PAIR = (_rng.standard_normal((60, 3)), _rng.standard_normal((40, 3)))
SENSING_PAIR = (_rng.standard_normal((16, 2)), _rng.standard_normal((12, 2)))

FITS = [
    # Complete data.
    Fit(F, "complete", {"n_components": 4}),
    Fit(F, "tall", {"n_components": 6, "center": "columns", "tol": 1e-12}),
    Fit(F, "wide", {"n_components": 5, "center": "mean", "tol": 1e-4}),
    Fit(F, "complete", {"n_components": 4, "center": "both"}),
    Fit(F, "complete", {"n_components": 4, "alpha": 0.1}),
    Fit(F, "complete float32", {"n_components": 4, "tol": 1e-5}),
    Fit(F, "complete sparse", {"n_components": 4, "center": "columns"}),
    Fit(F, "complete sparse float32", {"n_components": 3, "tol": 1e-5}),
    Fit(F, "complete, mapped", {"n_components": 4, "center": "columns", "tol": 1e-7}),
    Fit(F, "complete, errors", {"n_components": 5, "outlier_fraction": 0.1}),
    Fit(F, "complete, errors", {"n_components": 5, "loss": "huber", "center": "mean"}),
    Fit(F, "complete, noise", {"n_components": 3, "solver": "precgd", "tol": 1e-6}),
    Fit(F, "chunks", {"n_components": 4, "center": "both", "tol": 1e-12}),
    Fit(F, "frame in chunks", {"n_components": 4}),
    Fit(F, "chunks, holes", {"n_components": 4, "center": "columns"}),
    # Missing entries.
    Fit(F, "holes", {"n_components": 6}),
    Fit(F, "holes float32", {"n_components": 5, "tol": 1e-4}),
    Fit(F, "holes, CSR", {"n_components": 5, "missing_values": 0}),
    Fit(F, "holes, offsets", {"n_components": 6, "center": "mean"}),
    Fit(F, "holes, offsets", {"n_components": 5, "center": "both"}),
    Fit(F, "holes", {"n_components": 3, "alpha": 0.25, "solver": "gauss-newton"}),
    Fit(F, "holes", {"n_components": 3, "solver": "alternating"}),
    Fit(
        F,
        "holes",
        {"n_components": 3, "init": PAIR, "rank_search": "fixed", "tol": 1e-6},
    ),
    Fit(F, "holes", {"n_components": 3, "warm_start": True}),
    Fit(F, "holes, noise", {"n_components": 6}),
    Fit(F, "holes, noise", {"n_components": 6, "early_stopping": True, "tol": 1e-6}),
    Fit(F, "holes, noise", {"n_components": 3, "early_stopping": False, "tol": 1e-6}),
    Fit(
        F,
        "holes, errors",
        {"n_components": 5, "outlier_fraction": 0.1, "init": "random"},
    ),
    Fit(
        F,
        "holes, errors, CSR",
        {"n_components": 5, "outlier_fraction": "auto", "missing_values": 0},
    ),
    Fit(
        F, "holes, errors", {"n_components": 3, "loss": AbsoluteLoss(1.2), "tol": 1e-6}
    ),
    Fit(F, "holes, large", {"n_components": 5, "missing_values": 0, "tol": 1e-7}),
    Fit(F, "scarce", {"n_components": 5}),
    Fit(F, "labels", {"n_components": 4, "loss": "logistic", "tol": 1e-6}),
    Fit(
        F, "counts", {"n_components": 4, "loss": "poisson", "alpha": 67.0, "tol": 1e-6}
    ),
    Fit(FCV, "holes, noise", {"n_components": [1, 2, 3, 4], "center": "columns"}),
    Fit(FCV, "complete, noise", {"n_components": [2, 3, 5], "center": "both", "cv": 3}),
    # Measurements.
    Fit(S, "sensing", {}),
    Fit(S, "sensing float32", {"n_components": 4, "tol": 1e-5}),
    Fit(S, "sensing, few", {"n_components": 4}),
    Fit(S, "symmetric", {"n_components": 5, "symmetric": True}),
    Fit(S, "sensing, mapped", {"n_components": 4, "loss": HuberLoss(threshold=1.0)}),
    Fit(S, "sensing, errors", {"n_components": 4, "loss": "absolute"}),
    Fit(S, "sensing, errors", {"n_components": 4, "outlier_fraction": "auto"}),
    Fit(S, "sensing, chunks", {"n_components": 4, "solver": "gauss-newton"}),
    Fit(
        S,
        "rank-one",
        {
            "n_components": 4,
            "solver": "precgd",
            "step_size": "polyak",
            "damping": "geometric",
        },
    ),
    Fit(S, "sparse rows", {"n_components": 4, "damping": "dual_norm"}),
    Fit(S, "operator", {"n_components": 4, "init": "nystrom"}),
    Fit(S, "outputs", {"n_components": 6, "damping": 0.01}),
    Fit(S, "entries", {"n_components": 5, "alpha": 0.048, "tol": 1e-8}),
    Fit(S, "triples in chunks", {"n_components": 4, "solver": "alternating"}),
    Fit(S, "triples in chunks", {"n_components": 4, "loss": "huber", "tol": 1e-7}),
    Fit(S, "sensing, labels", {"n_components": 3, "loss": "logistic", "alpha": 0.025}),
    Fit(
        S,
        "sensing",
        {
            "n_components": 2,
            "solver": "gd",
            "step_size": "backtracking",
            "rank_search": "fixed",
            "init": SENSING_PAIR,
            "max_iter": 100,
        },
    ),
    Fit(
        S,
        "sensing",
        {"n_components": 2, "solver": "scaledgd", "step_size": 0.5, "max_iter": 60},
    ),
    Fit(
        S,
        "sensing",
        {
            "n_components": 2,
            "solver": "feedback-star",
            "rank_search": "fixed",
            "max_iter": 20,
        },
    ),
    Fit(
        S,
        "sensing, noise",
        {"n_components": 3, "solver": "precgd", "noise_variance": 0.001},
    ),
    Fit(
        S,
        "sensing, noise",
        {
            "n_components": 3,
            "solver": "alternating-scaledgd",
            "damping": "variance_proxy",
            "noise_variance": "auto",
            "max_iter": 60,
        },
    ),
    Fit(
        S,
        "sensing",
        {
            "n_components": 2,
            "solver": "feedback",
            "rank_search": "fixed",
            "max_iter": 100,
        },
    ),
    Fit(
        SCV,
        "sensing, noise",
        {"n_components": [1, 2, 3], "step_size": ["exact", 0.5], "cv": 3},
    ),
    Fit(
        SCV,
        "entries, noise",
        {
            "n_components": [2, 3, 4],
            "alpha": [0.0, 0.48],
            "refit_rule": "one_standard_error",
        },
    ),
]
