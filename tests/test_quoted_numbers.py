"""Numbers that are quoted on the pages, and the table of where they come from."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

CHECKOUT = Path(__file__).parents[1]
SCRIPT = CHECKOUT / "benchmarks" / "quoted_numbers.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="no benchmarks here")


@pytest.fixture(scope="module")
def numbers():
    """What the script defines."""
    name = "numbers_of_pages"
    # A dataclass looks its annotations up in the module that it is of.
    sys.modules[name] = module = SimpleNamespace()  # type: ignore[assignment]
    try:
        module.__dict__.update(runpy.run_path(str(SCRIPT), run_name=name))
        yield module
    finally:
        del sys.modules[name]


@pytest.fixture
def quote(numbers):
    return numbers.Quote(
        page="README.rst",
        words="takes {0.20} to {0.7} s",
        found=r"^ours +(\S+) +(\S+)",
        spread=0.1,
    )


def test_every_quote_stands_on_its_page(numbers):
    missing = [
        f"{quote.page} does not say {quote.text!r}"
        for run in numbers.runs()
        for quote in run.quotes
        if not quote.stands_in((CHECKOUT / quote.page).read_text())
    ]
    assert not missing


def test_every_command_is_there(numbers):
    for run in numbers.runs():
        assert (SCRIPT.parent / run.command.split()[0]).is_file()
        assert run.quotes


def test_every_number_has_a_place_in_the_output(numbers):
    for run in numbers.runs():
        for quote in run.quotes:
            assert quote.numbers
            assert all(float(number) for number in quote.numbers)
            assert quote.n_found == len(quote.numbers), quote.text


def test_words_may_break_anywhere(quote):
    assert quote.stands_in("A fit takes 0.20\n   to 0.7 s.")
    assert not quote.stands_in("A fit takes 0.20 to 0.8 s.")


def test_a_number_changes_by_more_than_spread_and_rounding(quote):
    # 0.20 is anything from 0.195 to 0.205, and may be off by a tenth.
    assert not quote.changed("0.20", 0.2249)
    assert quote.changed("0.20", 0.2251)
    assert not quote.changed("0.20", 0.1751)
    assert quote.changed("0.20", 0.1749)


@pytest.mark.parametrize(
    ("number", "half"), [("7", 0.5), ("0.40", 0.005), ("2e-3", 5e-4), ("1.2e2", 5.0)]
)
def test_rounding_is_half_a_unit_of_the_last_digit(numbers, number, half):
    assert numbers.rounding(number) == pytest.approx(half)


def test_what_a_run_printed_is_compared(numbers, quote):
    told = list(numbers.compared(quote, "theirs 1 2\nours   0.21 0.9\n"))
    assert [verdict for verdict, _ in told] == ["", "CHANGED"]
    assert [verdict for verdict, _ in numbers.compared(quote, "a 1\n")] == ["not found"]


def test_numbers_of_many_lines(numbers):
    taken = [
        {"take": take, "pattern": r"^a (\d+)"} for take in ("min", "max", "median")
    ]
    quote = numbers.Quote("README.rst", "{1} to {5}, {2}", taken, 0.0)
    assert quote.measured("a 1\na 5\na 2\nb 9\n") == [1.0, 5.0, 2.0]
