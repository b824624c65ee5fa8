"""The versions to paste into a bug report."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from skprecgd import kernels
from skprecgd._runtime.threads import allowed_threads

_PACKAGES = (
    "skprecgd",
    "numpy",
    "scipy",
    "scikit-learn",
    "joblib",
    "numba",
    "matplotlib",
    "rich",
    "dask",
)


def show_versions() -> None:
    """Print the versions of Python, of this package and of what it uses.

    The last lines say which kernels run (compiled by numba, or NumPy) and on how many
    threads compiled ones may run.

    Examples
    --------
    >>> from skprecgd import show_versions
    >>> show_versions()  # doctest: +ELLIPSIS
    python: ...
    """
    print(f"python: {sys.version.split()[0]} on {platform.platform()}")
    for name in _PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        print(f"{name}: {found}")
    print(f"kernels: {kernels.description()}")
    print(f"threads: {allowed_threads()}")
