"""Two builds of the package side by side: which they are, and how each is run."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def checkout_of(before: str, folder: Path) -> Path:
    """The checkout that `before` is, or one in `folder` of the revision it names."""
    if Path(before).is_dir():
        return Path(before).resolve()
    command = ["git", "-C", str(CHECKOUT), "archive", before, "skprecgd"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder / "before", filter="data")
    return folder / "before"


def environment(checkout: Path) -> dict[str, str]:
    """That of a process which imports the package from a checkout, on one thread."""
    one = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(one, "1"), "PYTHONPATH": str(checkout)}


def check_imported(imported: str, checkout: Path) -> None:
    """Refuse to compare a build with itself, where another one was found first."""
    if checkout not in Path(imported).resolve().parents:
        raise SystemExit(f"{imported} was imported in place of that in {checkout}.")
