"""The tests with the oldest and the newest versions that the package may meet.

Builds the wheel and the source distribution of this checkout, installs each of them
into an empty environment, once with the oldest release of every required and optional
dependency that `pyproject.toml` allows and once with the newest, and runs the tests
there: first with numba, then with numba taken away. What is tested is what was
installed, since the tests are copied to a folder without the package. A line each says
how it ended, and the script exits with 1 if one failed.

    python benchmarks/reliability/versions.py            # all eight, a few hours
    python benchmarks/reliability/versions.py --quick    # four of them, half an hour
    python benchmarks/reliability/versions.py oldest --quick -- -k sensing

It needs `build` (``pip install build``) and a package index.

Quick means the wheel with the newest versions and the source distribution with the
oldest, and the files named below, without tests marked ``slow``: those that go through
NumPy's, SciPy's, scikit-learn's and joblib's interfaces at the most places.
Environments are kept between runs under ``--cache``; what stands behind ``--`` goes to
pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builds import CHECKOUT

# The interfaces to other packages: scikit-learn's own checks, parameters, containers
# and data frames, pickles, parallel jobs, sparse matrices, linear operators, kernels.
REPRESENTATIVE = (
    "test_common.py",
    "test_public_api.py",
    "test_arrays.py",
    "test_containers.py",
    "test_saving.py",
    "test_named_columns.py",
    "test_observed_entries.py",
    "test_factorization.py",
    "test_sensing.py",
    "test_imputer.py",
    "test_recommender.py",
    "test_truncated_svd_class.py",
    "test_model_selection.py",
    "test_kernels.py",
    "test_compiled_kernels.py",
    "test_users_operators.py",
)
# What is installed of the package: all that the tests use.
EXTRAS = ("fast", "plot", "progress", "frames", "dask", "test")
NUMBA = ("numba", "llvmlite")


@dataclass(frozen=True)
class Environment:
    """Which versions are installed, and from which kind of build.

    Attributes
    ----------
    versions : {"oldest", "newest"}
    build : {"wheel", "sdist"}
    """

    versions: str
    build: str

    def __str__(self) -> str:
        return f"{self.versions}-{self.build}"


ALL = [
    Environment(versions, build)
    for versions in ("oldest", "newest")
    for build in ("wheel", "sdist")
]
QUICK = [Environment("oldest", "sdist"), Environment("newest", "wheel")]


# ---- what is installed


def requirements() -> Iterator[str]:
    """Every requirement of the package and of the extras that the tests use."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    yield from project["dependencies"]
    for extra in EXTRAS:
        for requirement in project["optional-dependencies"][extra]:
            # Those that name the package itself only repeat extras in the list.
            if not requirement.startswith(project["name"]):
                yield requirement


def oldest(requirements: Iterable[str]) -> list[str]:
    """Each requirement with its lower bound as the version asked for."""
    found = {}
    for requirement in requirements:
        name, bound = requirement.split(">=")
        if not re.fullmatch(r"[0-9.]+", bound):
            raise SystemExit(f"{requirement!r} is more than a lower bound.")
        # Release 1.6 is called 1.6.0 by some projects; both satisfy this.
        found[name] = f"{name}=={bound}"
    return list(found.values())


def built(build: str, folder: Path) -> Path:
    """The wheel or the source distribution of the checkout, made in a folder."""
    call([sys.executable, "-m", "build", f"--{build}", "--outdir", folder, CHECKOUT])
    (made,) = folder.glob("*.whl" if build == "wheel" else "*.tar.gz")
    return made


def installed(environment: Environment, cache: Path, made: Path) -> Path:
    """The interpreter of an environment with a build of the package in it."""
    home = cache / str(environment)
    python = home / "bin" / "python"
    if not python.exists():
        call([sys.executable, "-m", "venv", home])
    wanted = list(requirements())
    if environment.versions == "oldest":
        wanted = oldest(wanted)
    upgrade = ["--upgrade", "--upgrade-strategy", "eager"]
    call([python, "-m", "pip", "install", "--quiet", *upgrade, *wanted])
    once_more = ["--force-reinstall", "--no-deps"]
    call([python, "-m", "pip", "install", "--quiet", *once_more, made])
    return python


def call(command: list[object]) -> None:
    subprocess.run([str(part) for part in command], check=True, env=plain())


def plain() -> dict[str, str]:
    """The surroundings without a checkout to import from, on one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "OMP_NUM_THREADS": "1"}


# ---- what is run


def tested(python: Path, arguments: list[str], quick: bool) -> str:
    """Run the tests in a copy of them; the last line of pytest, or its exit status.

    Tests of pages and of the checkout skip themselves: neither is there.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(CHECKOUT / "tests", folder / "tests")
        shutil.copy(CHECKOUT / "pyproject.toml", folder)
        files = [f"tests/{file}" for file in REPRESENTATIVE] if quick else ["tests"]
        fast = ["-m", "not slow"] if quick else []
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *fast]
        run = subprocess.Popen(
            [str(part) for part in [*command, *arguments, *files]],
            cwd=folder,
            env=plain(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert run.stdout is not None
        last = ""
        for line in run.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
        return last if run.wait() == 0 else f"FAILED: {last}"


def versions_of(python: Path) -> str:
    """The versions that were found, in one line."""
    names = ("numpy", "scipy", "scikit-learn", "joblib", "numba", "pandas", "dask")
    code = (
        "import sys; from importlib.metadata import version, PackageNotFoundError\n"
        "def of(name):\n"
        "    try: return version(name)\n"
        "    except PackageNotFoundError: return 'none'\n"
        "print(', '.join(f'{n} {of(n)}' for n in sys.argv[1:]))"
    )
    command = [str(python), "-c", code, *names]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return run.stdout.strip()


def report(environment: Environment, args: argparse.Namespace) -> list[str]:
    """Test an environment with numba and without; a line each."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        made = built(environment.build, Path(folder))
        python = installed(environment, args.cache, made)
        for numba in ("numba", "no numba"):
            if numba == "no numba":
                call([python, "-m", "pip", "uninstall", "--quiet", "--yes", *NUMBA])
            start = time.perf_counter()
            print(f"== {environment}, {numba}: {versions_of(python)}", flush=True)
            told = tested(python, args.pytest, args.quick)
            seconds = time.perf_counter() - start
            lines.append(f"{environment!s:14} {numba:9}{seconds:6.0f} s  {told}")
    return lines


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("versions", nargs="?", choices=("oldest", "newest"))
    options.add_argument("--quick", action="store_true", help="four, and some tests")
    options.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir(), "skprecgd-versions"),
        help="where environments are kept",
    )
    mine, theirs = sys.argv[1:], []
    if "--" in mine:
        cut = mine.index("--")
        mine, theirs = mine[:cut], mine[cut + 1 :]
    args = options.parse_args(mine)
    args.pytest = theirs
    chosen = [
        environment
        for environment in (QUICK if args.quick else ALL)
        if args.versions in (None, environment.versions)
    ]
    lines = [line for environment in chosen for line in report(environment, args)]
    print("\n" + "\n".join(lines))
    sys.exit(1 if any("FAILED" in line for line in lines) else 0)


if __name__ == "__main__":
    main()
