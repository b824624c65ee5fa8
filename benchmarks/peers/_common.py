"""What the comparisons of this folder share: their options, the clock, the verdict."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Run(NamedTuple):
    """What a call returned, and its seconds: of all threads, and on the wall."""

    found: Any
    cpu: float
    wall: float


def timed(call: Callable[..., Any], *arguments: Any) -> Run:
    wall, cpu = time.perf_counter(), time.process_time()
    found = call(*arguments)
    return Run(found, time.process_time() - cpu, time.perf_counter() - wall)


def missed(error: float, wanted: float) -> str:
    """What a line of a table ends with."""
    return "" if error <= wanted else "  does not arrive"


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of a comparison in rounds."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--repeats", type=int, default=5)
    result.add_argument("--seed", type=int, default=0)
    return result
