"""What all tests share: seeds, hypothesis, one thread for BLAS.

``SKPRECGD_TEST_SEED`` sets the seeds of the tests that use `global_random_seed`: an
integer is that seed, "all" is 0 to 99, and by default each test runs once, with seed 0.
Setting it also lets hypothesis draw new examples; by default it draws the same ones at
every run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

try:
    from threadpoolctl import threadpool_limits
except ImportError:
    threadpool_limits = None

SEED_VARIABLE = "SKPRECGD_TEST_SEED"


def seeds_asked_for() -> list[int]:
    """The seeds this run asks for."""
    asked = os.environ.get(SEED_VARIABLE, "0")
    if asked == "all":
        return list(range(100))
    try:
        return [int(asked)]
    except ValueError:
        raise pytest.UsageError(
            f"{SEED_VARIABLE} must be an integer or 'all', got {asked!r}."
        ) from None


settings.register_profile(
    "skprecgd", deadline=None, derandomize=SEED_VARIABLE not in os.environ
)
settings.load_profile("skprecgd")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "global_random_seed" in metafunc.fixturenames:
        metafunc.parametrize("global_random_seed", seeds_asked_for(), scope="session")


@pytest.fixture
def rng(global_random_seed: int) -> np.random.Generator:
    return np.random.default_rng(global_random_seed)


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread() -> Iterator[None]:
    """Small problems on several BLAS threads are slow, the more so under xdist."""
    if threadpool_limits is None:
        yield
        return
    # Each library has its own BLAS; a limit reaches only those already loaded.
    import scipy.linalg  # noqa: F401

    with threadpool_limits(limits=1, user_api="blas"):
        yield
