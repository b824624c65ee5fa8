"""How many lines and branches of the package the tests reach.

Runs the tests under coverage, with branches, and then those of the compiled kernels
once more with the loops left to the interpreter, since nobody sees which lines run as
machine code. (NUMBA_DISABLE_JIT would not do: the package takes NumPy's kernels then.)
Prints the files that are not reached wholly, the least reached first, and exits with 2
if the whole is below the 95 % that `pyproject.toml` asks for.

    pip install "coverage>=7.10" pytest-xdist
    python benchmarks/reliability/branches.py                       # an hour
    python benchmarks/reliability/branches.py tests/test_losses.py --include "*losses*"

With names of tests only these are run, and the kernels: that says nothing of the whole,
but which branches of a file its own tests leave out, and it does not ask for 95 %.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from builds import CHECKOUT
from builds import environment as environment_of

# What calls kernels on small data, and does not ask how they are compiled.
KERNELS = (
    "tests/test_compiled_kernels.py",
    "tests/test_kernels.py",
    "tests/test_drawn_rows.py",
    "tests/test_every_cell.py",
    "tests/test_uncertain_lines.py",
)
# Tests of threads and of compiling itself are none without machine code.
NEEDS_CODE = "threads or lock or compiler or without_numba"
INTERPRETED = "--interpreted"


def coverage(data: Path, *arguments: str) -> int:
    """Run the coverage command in the checkout; its exit status."""
    command = [sys.executable, "-m", "coverage", *arguments]
    environment = {**environment_of(CHECKOUT), "COVERAGE_FILE": str(data)}
    return subprocess.run(command, cwd=CHECKOUT, env=environment).returncode


def tests(data: Path, arguments: list[str], *, interpreted: bool) -> int:
    """Run tests; with `interpreted`, by this file, which leaves loops uncompiled."""
    runner = [__file__, INTERPRETED] if interpreted else ["-m", "pytest"]
    fixed = ["-q", "-p", "no:cacheprovider", *([] if interpreted else ["-n", "auto"])]
    return coverage(data, "run", "--parallel-mode", *runner, *fixed, *arguments)


def interpret(arguments: list[str]) -> int:
    """Run tests where numba hands functions back as they are."""
    import numba
    import pytest

    def left_alone(function: Any = None, **options: Any) -> Any:
        return function or left_alone

    numba.njit = left_alone
    # Machine code says nothing of overflows, and these loops are made for them.
    return int(pytest.main([*arguments, "-W", "ignore::RuntimeWarning"]))


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("names", nargs="*", help="tests, as pytest takes them")
    options.add_argument("--include", help="files to report, as coverage takes them")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "coverage")
        failed = tests(data, args.names, interpreted=False)
        kernels = [*KERNELS, "-m", "not slow", "-k", f"not ({NEEDS_CODE})"]
        failed = tests(data, kernels, interpreted=True) or failed
        coverage(data, "combine", "--quiet")
        report = ["report", "--sort=cover", "--skip-covered", "--show-missing"]
        if args.include:
            report.append(f"--include={args.include}")
        if args.names:
            report.append("--fail-under=0")
        below = coverage(data, *report)
    sys.exit(failed or below)


if __name__ == "__main__":
    if sys.argv[1:2] == [INTERPRETED]:
        sys.exit(interpret(sys.argv[2:]))
    main()
