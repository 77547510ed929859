"""The table of what was tried against the proxy tells of tests that are there, and leaves no trap out."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs/security-tests.md").read_text()
TRAPS = 45
CLASSES_OF_BUGS = 18

_NAMED = re.compile(r"([a-z0-9_/]+\.py)::(\w+)")


def section(title: str) -> str:
    """The part of the table below a heading."""
    return TABLE.split(f"## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "count"), [("Traps of the API and of HTTP", TRAPS), ("What has hit other proxies", CLASSES_OF_BUGS)]
)
def test_every_known_trap_has_a_row_with_a_test(title: str, count: int) -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \| (.+) \|$", section(title), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, count + 1))
    assert all(_NAMED.findall(tests) for _, tests in rows)


@pytest.mark.parametrize(("file", "name"), sorted(set(_NAMED.findall(TABLE))))
def test_a_test_that_the_table_names_is_there(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE), f"{file}::{name}"
