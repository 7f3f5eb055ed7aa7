from __future__ import annotations

import ast
import re
from typing import NamedTuple

import pytest

from gateway.errors import REASONS
from tests.house.sources import ROOT, dotted, python

DOCUMENT = ROOT / "docs" / "reasons.md"
# These would make the search for a test that asserts a reason find itself.
NOT_A_TEST_OF_A_REASON = ("tests/test_errors.py", "tests/house/")


class Row(NamedTuple):
    status: str
    retryable: str
    when: str
    what_to_do: str


def rows(document: str) -> dict[str, Row]:
    """The table rows that begin with a code in backquotes."""
    found = {}
    for line in document.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        code = re.fullmatch(r"`([a-z_.]+)`", cells[0])
        if code is not None and len(cells) == 5:
            found[code[1]] = Row(*cells[1:])
    return found


def _expected_somewhere() -> set[str]:
    """What the tests quote, and the words in their tables of cases."""
    found: set[str] = set()
    for module in python("tests"):
        if not module.path.startswith(NOT_A_TEST_OF_A_REASON):
            found.update(
                node.value
                for node in ast.walk(module.tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
    for pattern in ("*.yaml", "*.json", "*.txt", "*.tsv"):
        for table in (ROOT / "tests").rglob(pattern):
            found.update(re.findall(r"[a-z_]+\.[a-z_]+", table.read_text(encoding="utf-8")))
    return found


EXPECTED_SOMEWHERE = _expected_somewhere()


def test_every_reason_is_documented_and_nothing_else_is() -> None:
    documented = rows(DOCUMENT.read_text(encoding="utf-8"))

    assert sorted(documented) == sorted(REASONS)


@pytest.mark.parametrize("code", REASONS)
def test_a_documented_reason_says_what_the_code_says(code: str) -> None:
    row = rows(DOCUMENT.read_text(encoding="utf-8"))[code]

    assert row.status == str(REASONS[code].status)
    assert row.retryable == ("yes" if REASONS[code].retryable else "no")
    assert row.when.endswith(".")
    assert row.what_to_do.endswith(".")


@pytest.mark.parametrize("code", REASONS)
def test_a_reason_is_asserted_by_some_test(code: str) -> None:
    assert code in EXPECTED_SOMEWHERE


def test_the_gateway_gives_no_reason_that_is_not_listed() -> None:
    given = {
        (module.path, keyword.value.value)
        for module in python("gateway")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and dotted(node.func) in ("Deny", "UpstreamError")
        for keyword in node.keywords
        if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant)
    }

    assert len(given) > 5, "the search finds nothing any more"
    assert {(path, code) for path, code in given if code not in REASONS} == set()
