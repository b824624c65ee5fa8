"""Run again what the numbers on the pages came from, and say which have changed.

``quoted_numbers.toml`` has the quoted numbers that are no doctests: the page and the
words around them, the command that prints them, where in its output they stand, and
their spread, the share by which they differ from run to run. A number has changed if it
differs by more than its spread and the digits that it was rounded to. Seconds, and
ratios of them, have the spread of busy machines. Prints a line for each number, and
exits with 1 if one has changed or a command has failed.

    python benchmarks/quoted_numbers.py --quick           # short runs, half an hour
    python benchmarks/quoted_numbers.py                   # all of them, an hour
    python benchmarks/quoted_numbers.py --only recommend  # commands or pages so named

A command whose peers are not installed (``benchmarks/real/peers.txt``) prints nothing
for them; their numbers are then listed as not found, which is no failure.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).with_suffix(".toml")
# Runs that take longer are no part of --quick.
QUICK_MINUTES = 5
TAKE: dict[str, Callable[[list[float]], float]] = {
    "min": min,
    "max": max,
    "median": median,
}
NUMBER = re.compile(r"\{([^}]+)\}")


@dataclass(frozen=True)
class Quote:
    """Numbers that stand together on a page.

    Attributes
    ----------
    page : str
        The file, from the root of the checkout.
    words : str
        The sentence or the row of a table, with its numbers in braces.
    found : str or list of dict
        The line of the output, a regular expression with a group for each number; or,
        if numbers are of many lines, for each the expression and what is to `take`.
    spread : float
        By what share a number may differ between two runs.
    """

    page: str
    words: str
    found: str | list[dict[str, str]]
    spread: float

    @property
    def numbers(self) -> list[str]:
        """The quoted numbers as they are written."""
        return NUMBER.findall(self.words)

    @property
    def n_found(self) -> int:
        """How many numbers are looked for in the output."""
        if isinstance(self.found, str):
            return re.compile(self.found).groups
        return len(self.found)

    @property
    def text(self) -> str:
        """What stands on the page, with single spaces."""
        return " ".join(NUMBER.sub(r"\1", self.words).split())

    def stands_in(self, page: str) -> bool:
        return self.text in " ".join(page.split())

    def measured(self, output: str) -> list[float] | None:
        """The numbers that a run printed; None where it has no such line."""
        if isinstance(self.found, str):
            match = re.search(self.found, output, re.MULTILINE)
            return None if match is None else [float(text) for text in match.groups()]
        taken = []
        for entry in self.found:
            matches = re.findall(entry["pattern"], output, re.MULTILINE)
            if not matches:
                return None
            taken.append(TAKE[entry["take"]]([float(text) for text in matches]))
        return taken

    def changed(self, quoted: str, now: float) -> bool:
        """Whether a number differs by more than its spread and its rounding."""
        before = float(quoted)
        return abs(now - before) > self.spread * abs(before) + rounding(quoted)


@dataclass(frozen=True)
class Run:
    """A command below ``benchmarks/``, and the quotes that come from it."""

    command: str
    minutes: float
    quotes: tuple[Quote, ...]

    def output(self) -> tuple[str, int]:
        """What the command prints, on one thread, and its exit status."""
        one = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        script, *options = shlex.split(self.command)
        ended = subprocess.run(
            [sys.executable, str(CHECKOUT / "benchmarks" / script), *options],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(one, "1")},
        )
        return ended.stdout, ended.returncode


def rounding(number: str) -> float:
    """Half a unit of the last digit that is written."""
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - decimals)


def runs(table: Path = TABLE) -> Iterator[Run]:
    """The runs of the table, the shortest first."""
    entries: list[dict[str, Any]] = tomllib.loads(table.read_text())["run"]
    for entry in sorted(entries, key=lambda entry: float(entry["minutes"])):
        quotes = tuple(Quote(**quote) for quote in entry["quote"])
        yield Run(entry["command"], entry["minutes"], quotes)


def compared(quote: Quote, output: str) -> Iterator[tuple[str, str]]:
    """For each number a verdict, and the line that says what it was and is."""
    found = quote.measured(output)
    if found is None:
        yield "not found", f"{quote.page}: {quote.text}"
        return
    for quoted, now in zip(quote.numbers, found, strict=True):
        verdict = "CHANGED" if quote.changed(quoted, now) else ""
        yield verdict, f"{quoted} is {now:g}    {quote.page}: {quote.text[:60]}"


def chosen(args: argparse.Namespace) -> Iterator[Run]:
    for run in runs():
        pages = " ".join(quote.page for quote in run.quotes)
        if args.only not in f"{run.command} {pages}":
            continue
        if args.quick and run.minutes > QUICK_MINUTES:
            print(f"not run (--quick), {run.minutes:g} minutes: {run.command}")
            continue
        yield run


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true", help="half an hour")
    options.add_argument("--only", default="", help="commands or pages with this text")
    args = options.parse_args()
    verdicts, failed = [], 0
    for run in chosen(args):
        print(f"python benchmarks/{run.command}", flush=True)
        output, status = run.output()
        failed += status != 0
        for quote in run.quotes:
            for verdict, line in compared(quote, output):
                verdicts.append(verdict)
                print(f"  {verdict:10}{line}", flush=True)
    changed, missing = (verdicts.count(word) for word in ("CHANGED", "not found"))
    print(
        f"{len(verdicts)} numbers, {changed} changed, {missing} quotes not found; "
        f"{failed} commands failed."
    )
    sys.exit(1 if changed or failed else 0)


if __name__ == "__main__":
    main()
