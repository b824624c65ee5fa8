"""Compiled kernels against NumPy, on any pattern, for any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import sparse

from skprecgd import kernels
from skprecgd.factors import FactorPair
from skprecgd.kernels import _numpy
from skprecgd.measurements import DenseMeasurements, EntryMeasurements
from skprecgd.objective import make_objective

_numba = pytest.importorskip("skprecgd.kernels._numba", exc_type=ImportError)


def draw(seed, n_rows, n_columns, r, n_entries, dtype, index_type, skew=1.0):
    """Factors, weights and a pattern by rows; `skew` > 1 crowds the first rows."""
    rng = np.random.default_rng(seed)
    sizes = (n_rows, n_columns, n_rows, n_columns)
    blocks = [rng.standard_normal((n, r)).astype(dtype) for n in sizes]
    rows = (n_rows * rng.random(n_entries) ** skew).astype(index_type)
    columns = (n_columns * rng.random(n_entries) ** skew).astype(index_type)
    weights = rng.standard_normal(n_entries).astype(dtype)
    return blocks, rows, columns, weights


def by_rows(rows, columns, weights, n_rows):
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=n_rows)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(rows.dtype)
    return indptr, columns[order], weights[order]


def assert_close(found, expected, dtype, n_terms):
    found, expected = np.atleast_1d(found), np.atleast_1d(expected)
    assert found.dtype == expected.dtype
    size = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    tolerance = 30 * np.finfo(dtype).eps * max(1, n_terms) * size
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@given(
    seed=st.integers(0, 2**32 - 1),
    n_rows=st.integers(1, 12),
    n_columns=st.integers(1, 12),
    r=st.integers(1, 19),
    n_entries=st.integers(0, 300),
    dtype=st.sampled_from([np.float32, np.float64]),
    index_type=st.sampled_from([np.int32, np.int64]),
    skew=st.sampled_from([1.0, 30.0]),
    is_sorted=st.booleans(),
)
def test_agree_with_numpy(
    seed, n_rows, n_columns, r, n_entries, dtype, index_type, skew, is_sorted
):
    """Cells repeat, rows are empty, and with `skew` one row holds nearly everything."""
    blocks, rows, columns, weights = draw(
        seed, n_rows, n_columns, r, n_entries, dtype, index_type, skew
    )
    if is_sorted:
        rows = np.sort(rows)
    for name in ("sampled_product", "sampled_ray"):
        factors = blocks[:2] if name == "sampled_product" else blocks
        found = getattr(_numba, name)(*factors, rows, columns)
        expected = getattr(_numpy, name)(*factors, rows, columns)
        assert_close(found, expected, dtype, r)
    pattern = by_rows(rows, columns, weights, n_rows)
    for found, expected in zip(
        _numba.adjoint_products(*pattern, *blocks[:2]),
        _numpy.adjoint_products(*pattern, *blocks[:2]),
        strict=True,
    ):
        assert_close(found, expected, dtype, n_entries)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 200),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_vectors_agree_with_numpy(seed, n, dtype):
    vectors = np.random.default_rng(seed).standard_normal((4, n)).astype(dtype)
    assert_close(_numba.ray_sums(*vectors), _numpy.ray_sums(*vectors), dtype, n)
    found = _numba.squared_distance(*vectors[:2])
    assert_close(found, _numpy.squared_distance(*vectors[:2]), dtype, n)
    found = _numba.ray_point(*vectors[:3], 0.7)
    assert_close(found, _numpy.ray_point(*vectors[:3], 0.7), dtype, 1)


def contracted(module, stack, left, right, dtype=None):
    """What a module's kernel writes, into an array that held something else."""
    n, n_rows, n_columns = stack.shape
    shape = n, (n_rows + n_columns) * left.shape[1]
    out = np.full(shape, np.nan, stack.dtype if dtype is None else dtype)
    module.contraction(stack, left, right, out)
    return out


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 9),
    n_rows=st.integers(1, 11),
    n_columns=st.integers(1, 11),
    r=st.integers(1, 14),
    dtype=st.sampled_from([np.float32, np.float64]),
    by_rows=st.booleans(),
)
def test_contractions_agree_with_their_definition(
    seed, n, n_rows, n_columns, r, dtype, by_rows
):
    rng = np.random.default_rng(seed)
    stack = rng.standard_normal((n, n_rows, n_columns)).astype(dtype)
    stack = stack if by_rows else np.asfortranarray(stack)
    # Factors in double precision take that of the stack.
    left, right = (rng.standard_normal((k, r)) for k in (n_rows, n_columns))
    both = [stack @ right, left.T @ stack]
    flat = [part.reshape(n, np.prod(part.shape[1:])) for part in both]
    expected = np.hstack(flat).astype(dtype)
    for module in (_numba, _numpy, kernels):
        found = contracted(module, stack, left, right)
        assert_close(found, expected, dtype, n_rows + n_columns)
        # Into single precision it is rounded, not computed.
        rounded = contracted(module, stack, left, right, np.float32)
        np.testing.assert_array_equal(rounded, found.astype(np.float32))


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 23),
    n_columns=st.integers(1, 14),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@example(seed=0, n=70_001, n_columns=40, dtype=np.float64)
def test_normal_products_agree_with_their_definition(seed, n, n_columns, dtype):
    """The large one is summed in parts, which begin anywhere."""
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((n, n_columns)).astype(dtype)
    weights, vector = rng.standard_normal(n), rng.standard_normal(n_columns)
    weights, vector = weights.astype(dtype), vector.astype(dtype)
    expected = design.T @ (weights * (design @ vector))
    for module in (_numba, _numpy, kernels):
        found = module.normal_product(design, weights, vector)
        assert_close(found, expected, dtype, n + n_columns)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 23))
def test_normal_products_with_single_precision_are_summed_in_double(seed, n):
    rng = np.random.default_rng(seed)
    design = rng.standard_normal((n, 7)).astype(np.float32)
    weights, vector = rng.standard_normal(n), rng.standard_normal(7)
    expected = design.T @ (weights * (design @ vector))
    found = _numba.normal_product(design, weights, vector)
    assert_close(found, expected, np.float64, n + 7)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 23),
    n_columns=st.integers(1, 14),
    n_vectors=st.integers(1, 2),
    n_parts=st.integers(1, 5),
    dtype=st.sampled_from([np.float32, np.float64]),
    by_rows=st.booleans(),
    which=st.sampled_from(["all", "two runs", "some"]),
)
def test_there_and_back_agrees_with_its_definition(
    seed, n, n_columns, n_vectors, n_parts, dtype, by_rows, which
):
    rng = np.random.default_rng(seed)
    stack = rng.standard_normal((n, n_columns)).astype(dtype)
    stack = stack if by_rows else np.asfortranarray(stack)
    index = np.arange(n)
    if which == "two runs":
        index = np.delete(index, slice(n // 3, n // 2))
    if which == "some":
        index = rng.permutation(n)[: n // 2]
    rows = stack[index]
    cells = rng.standard_normal((n_vectors, n_columns)).astype(dtype)
    measured = cells @ rows.T
    weights = rng.random(len(index)).astype(dtype)
    back = (weights * measured) @ rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_numba, "_SHARED", max(1, rows.size // n_parts))
        patch.setattr(_numba, "_ROWS_OF_PART", 3)
        for module in (_numba, _numpy, kernels):
            found = module.there_and_back(stack, index, cells, weights)
            assert_close(found[0], measured, dtype, n_columns)
            assert_close(found[1], back, dtype, n + n_columns)


@pytest.mark.parametrize("exponent", [-140, -30, 30, 140])
def test_entries_that_single_precision_does_not_reach(exponent, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    stack = rng.standard_normal((400, 20, 25))
    blocks = [rng.standard_normal((n, 3)) for n in (20, 25, 20, 25)]
    scale = 10.0**exponent
    tangents = [
        DenseMeasurements(factor * stack).tangent(*blocks[:2])
        for factor in (1.0, scale)
    ]
    assert tangents[0]._design.dtype == np.float32
    expected, found = (
        tangent.normal(*blocks[2:], weight)
        for tangent, weight in zip(tangents, (1.0, scale**-2), strict=True)
    )
    for block, other in zip(found, expected, strict=True):
        size = np.linalg.norm(other)
        assert np.linalg.norm(block - other) <= 1e-6 * size


@pytest.mark.parametrize("skew", [1.0, 30.0])
@pytest.mark.parametrize("n_entries", [500, 2000, 20_000])
def test_the_adjoint_in_parts(skew, n_entries, global_random_seed):
    """A row may begin in one part, fill the next and end in a third.

    There are a thousand entries to a part, and at most 16 parts.
    """
    blocks, *triples = draw(
        global_random_seed, 30, 20, 3, n_entries, np.float64, np.int32, skew
    )
    pattern = by_rows(*triples, 30)
    for found, expected in zip(
        _numba.adjoint_products(*pattern, *blocks[:2]),
        _numpy.adjoint_products(*pattern, *blocks[:2]),
        strict=True,
    ):
        assert_close(found, expected, np.float64, n_entries)


def everything(arrays):
    blocks, rows, columns, weights = arrays
    pattern = by_rows(rows, columns, weights, len(blocks[0]))
    return [
        _numba.sampled_product(*blocks[:2], rows, columns),
        *_numba.sampled_ray(*blocks, rows, columns),
        *_numba.adjoint_products(*pattern, *blocks[:2]),
        _numba.ray_sums(weights, weights + 1, weights * 2, weights - 3),
        np.array(_numba.squared_distance(weights, weights * 3)),
        _numba.ray_point(weights, weights + 1, weights * 2, 0.3),
        contracted(_numba, weights.reshape(-1, 30, 20), blocks[0][:30], blocks[1][:20]),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("skew", [1.0, 30.0])
def test_threads_change_no_bit(monkeypatch, dtype, skew, global_random_seed):
    arrays = draw(global_random_seed, 300, 200, 7, 120_000, dtype, np.int32, skew)
    monkeypatch.setattr(_numba, "_SHARED", 0)
    monkeypatch.setattr(_numba, "_STACK_PIECE", 1 << 12)
    results = []
    for n_threads in (1, 2, 3, 8):
        monkeypatch.setattr(_numba, "allowed_threads", lambda n=n_threads: n)
        results.append(everything(arrays))
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_called_from_many_threads_at_once():
    # Large enough for each call to use more than one thread.
    arrays = draw(0, 300, 200, 7, 180_000, np.float64, np.int32)
    expected = everything(arrays)
    with ThreadPoolExecutor(4) as pool:
        for results in pool.map(everything, [arrays] * 8):
            for found, wanted in zip(results, expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


def test_the_lock_is_released():
    """Python goes on while a kernel runs on another thread.

    Were the lock held, a clock read beside it would stand still for as long as the call
    takes. On a busy machine it may stand still for another reason, but not each time.
    """
    threadpoolctl = pytest.importorskip("threadpoolctl")
    blocks, rows, columns, _ = draw(0, 500, 500, 64, 2_000_000, np.float64, np.int32)

    def timed():
        # One thread computes: between the pieces of two, the lock is free anyway.
        with threadpoolctl.threadpool_limits(limits=1):
            begun = time.perf_counter()
            _numba.sampled_product(*blocks[:2], rows, columns)
            return begun, time.perf_counter()

    def goes_on(pool):
        running, ticks = pool.submit(timed), [time.perf_counter()]
        while not running.done():
            ticks.append(time.perf_counter())
        begun, ended = running.result()
        inside = [begun, *(tick for tick in ticks if begun < tick < ended), ended]
        return np.max(np.diff(inside)) < 0.5 * (ended - begun)

    patience = sys.getswitchinterval()
    with ThreadPoolExecutor(1) as pool:
        timed()
        sys.setswitchinterval(1e-5)
        try:
            assert any(goes_on(pool) for _ in range(30))
        finally:
            sys.setswitchinterval(patience)


def test_float32_sums_keep_their_digits():
    """A hundred thousand equal terms, added up one by one, would lose half of them."""
    n = 200_000
    ones = np.ones((1, 1), np.float32)
    weights = np.full(n, 0.1, np.float32)
    indptr, indices = np.array([0, n], np.int32), np.zeros(n, np.int32)
    to_left, _ = _numba.adjoint_products(indptr, indices, weights, ones, ones)
    assert to_left[0, 0] == pytest.approx(n * 0.1, rel=1e-5)


def test_infinity_and_nan_get_through():
    left, right = np.array([[np.inf], [np.nan], [1.0]]), np.ones((1, 1))
    rows, columns = np.arange(3), np.zeros(3, int)
    found = _numba.sampled_product(left, right, rows, columns)
    np.testing.assert_array_equal(found, [np.inf, np.nan, 1.0])


@pytest.mark.parametrize("writeable", [True, False])
def test_inputs_are_left_alone(writeable):
    """Memory-mapped arrays, which workers get, are read-only."""
    blocks, rows, columns, weights = draw(0, 9, 7, 3, 60, np.float64, np.int32)
    pattern = by_rows(rows, columns, weights, 9)
    given = [*blocks, rows, columns, *pattern]
    copies = [array.copy() for array in given]
    for array in given:
        array.flags.writeable = writeable
    _numba.sampled_ray(*blocks, rows, columns)
    _numba.adjoint_products(*pattern, *blocks[:2])
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert array.flags.writeable == writeable


# --------------------------------------------------------------------------------------
# Which kernels run
# --------------------------------------------------------------------------------------


def python(code, asked, **environment):
    """A process of its own: which kernels are asked for is read at import."""
    folders = Path(kernels.__file__).parents[2], Path(__file__).parent
    path = {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **path, "SKPRECGD_KERNELS": asked, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("auto", "numba False True"),
        ("numba", "numba True True"),
        ("numpy", "numpy False False"),
    ],
)
def test_small_inputs_need_no_compiler(asked, said):
    code = (
        "from skprecgd.kernels import are_compiled, description;"
        "print(description().split()[0], are_compiled(100), are_compiled(1_000_000))"
    )
    assert python(code, asked).stdout.strip() == said


def test_an_unknown_name_is_refused():
    told = python("import skprecgd", "fast").stderr
    assert "SKPRECGD_KERNELS must be 'auto', 'numpy' or 'numba', got 'fast'" in told


def test_the_variable_is_read_at_import():
    code = "import skprecgd; skprecgd.show_versions()"
    found = python(code, "numpy", OMP_NUM_THREADS="1")
    shown = found.stdout.splitlines()
    assert "kernels: numpy (SKPRECGD_KERNELS=numpy)" in shown
    assert "threads: 1" in shown


@pytest.mark.slow
def test_without_numba():
    code = (
        "import sys; sys.modules['numba'] = None;"
        "from skprecgd.kernels import are_compiled, description;"
        "print(description(), are_compiled(1_000_000))"
    )
    found = python(code, "auto").stdout
    assert found.startswith("numpy (")
    assert found.endswith(" False\n")
    told = python(code, "numba").stderr
    assert "ImportError: SKPRECGD_KERNELS=numba needs numba" in told


FIT = """
import warnings
import numpy as np
from skprecgd import PrecGDFactorization
rng = np.random.default_rng(0)
X = rng.standard_normal((300, 2)) @ rng.standard_normal((2, 200))
X[rng.random(X.shape) < 0.2] = np.nan
"""
TWO_FITS = """
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert PrecGDFactorization(3).fit(X).n_components_ == 2
from skprecgd.kernels import description
print(description())
for warning in caught:
    print(warning.category.__name__, warning.message)
"""


def broken_numba(folder, code):
    """A numba that does that when it is imported."""
    (folder / "numba").mkdir()
    (folder / "numba" / "__init__.py").write_text(code)
    return f"import sys; sys.path.insert(0, {str(folder)!r})\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "error",
    [
        "ImportError('Numba needs NumPy 1.26 or less. Got NumPy 2.4.')",
        "SystemError('initialization of _internal failed')",
        "AttributeError('_ARRAY_API not found')",
        "OSError('Could not find/load shared object file')",
    ],
)
def test_a_numba_that_does_not_load_is_done_without(tmp_path, error):
    """Every fit succeeds, and one warning for all of them says why it is slower."""
    broken = broken_numba(tmp_path, f"raise {error}")
    found = python(broken + FIT + TWO_FITS, "auto")
    assert found.returncode == 0, found.stderr
    description, *warned = found.stdout.splitlines()
    name, message = error.rstrip(")'").split("('")
    assert description == f"numpy ({name}: {message})"
    assert len(warned) == 1
    assert warned[0].startswith("RuntimeWarning numba does not work here")
    assert message in warned[0]
    told = python(broken + "import skprecgd", "numba").stderr
    assert "ImportError: SKPRECGD_KERNELS=numba needs numba" in told
    assert message in told


FAILS_TO_COMPILE = """
import numba
from numba.core.dispatcher import Dispatcher
def compile(self, signature):
    raise OSError("llvmlite is of another version")
Dispatcher.compile = compile
"""


@pytest.mark.slow
def test_kernels_that_do_not_compile_are_done_without():
    found = python(FAILS_TO_COMPILE + FIT + TWO_FITS, "auto")
    assert found.returncode == 0, found.stderr
    description, *warned = found.stdout.splitlines()
    assert description == "numpy (OSError: llvmlite is of another version)"
    assert len(warned) == 1
    assert "llvmlite is of another version" in warned[0]
    told = python(FAILS_TO_COMPILE + FIT + TWO_FITS, "numba")
    assert "NotCompiled: OSError: llvmlite is of another version" in told.stderr


def kept_files(folder, ending):
    return [path for path in folder.rglob(f"*.{ending}") if "product" in path.name]


@pytest.mark.slow
def test_compiling_is_announced_once_and_loading_is_not(tmp_path):
    """However long either takes: a busy machine loads a kernel slowly.

    What was kept on disk and is damaged is compiled again.
    """
    code = FIT + "PrecGDFactorization(3).fit(X)"
    kept = {"NUMBA_CACHE_DIR": str(tmp_path)}
    announced = python(code, "numba", **kept).stderr
    assert announced.count("skprecgd compiles its kernels") == 1
    assert python(code, "numba", **kept).stderr == ""
    damaged = kept_files(tmp_path, "nbi")
    assert damaged
    for path in damaged:
        path.write_bytes(b"")
    found = python(code, "numba", **kept)
    assert found.returncode == 0
    assert found.stderr.count("skprecgd compiles its kernels") == 1


# --------------------------------------------------------------------------------------
# Entries
# --------------------------------------------------------------------------------------


def entries(seed, n_entries, is_sorted, n=400):
    rng = np.random.default_rng(seed)
    cells = rng.choice(n * n, n_entries, replace=False)
    rows, columns = np.divmod(np.sort(cells) if is_sorted else cells, n)
    return rows.astype(np.int32), columns.astype(np.int32)


@pytest.mark.parametrize(("is_sorted", "promised"), [(True, 8), (False, 16)])
def test_bytes_kept_for_an_entry(is_sorted, promised):
    rows, columns = entries(0, 100_000, is_sorted)
    factors = FactorPair(*np.random.default_rng(0).standard_normal((2, 400, 10)))
    tracemalloc.start()
    try:
        measurements = EntryMeasurements(rows.copy(), columns.copy(), (400, 400))
        measurements.adjoint(np.ones(len(rows)))
        measurements.adjoint_products(np.ones(len(rows)), factors.left, factors.right)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept / len(rows) == pytest.approx(promised, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numba", "numpy"])
def test_no_product_is_of_size_entries_times_rank(kind):
    code = "import test_compiled_kernels as t; t.check_no_product_is_large()"
    found = python(code, kind)
    assert found.returncode == 0, found.stderr


def check_no_product_is_large():
    """With 50 columns, the peak stays at a few numbers an entry."""
    rows, columns = entries(0, 120_000, True)
    measurements = EntryMeasurements(rows, columns, (400, 400))
    rng = np.random.default_rng(0)
    objective = make_objective(measurements, rng.standard_normal(len(rows)))
    factors = FactorPair(*rng.standard_normal((2, 400, 50)))
    evaluation = objective.evaluate(factors)
    direction = objective.gradient(evaluation)
    objective.ray(evaluation, direction).advance(0.1)
    tracemalloc.start()
    try:
        objective.gradient(evaluation)
        objective.ray(evaluation, direction).advance(0.1)
        objective.curvature(evaluation)(direction)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    factor_bytes = 12 * factors.left.nbytes
    assert peak < 8 * 8 * len(rows) + factor_bytes
    assert peak < 50 * 8 * len(rows)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_repeated_and_unsorted_entries(is_sorted, global_random_seed):
    rng = np.random.default_rng(global_random_seed)
    rows, columns = rng.integers(0, 6, size=(2, 100))
    if is_sorted:
        rows = np.sort(rows)
    measurements = EntryMeasurements(rows, columns, (6, 6))
    weights = rng.standard_normal(100)
    left, right = rng.standard_normal((2, 6, 2))
    whole = sparse.coo_array((weights, (rows, columns)), shape=(6, 6)).toarray()
    to_left, to_right = measurements.adjoint_products(weights, left, right)
    np.testing.assert_allclose(to_left, whole @ right, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(to_right, whole.T @ left, rtol=1e-12, atol=1e-12)
    inner = np.vdot(measurements.forward(left, right), weights)
    assert np.vdot(left, to_left) == pytest.approx(inner, rel=1e-10, abs=1e-10)
