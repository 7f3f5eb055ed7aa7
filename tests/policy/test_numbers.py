"""Only numbers that both engines hold and add alike are accepted."""

from __future__ import annotations

import pytest

from gateway.policy.folder import Files
from gateway.policy.numbers import is_plain
from gateway.policy.vet import faults_of
from tests.policy.snippets import parsed


@pytest.mark.parametrize("text", ["0", "5", "-5", "0.2", "-0.25", "123456789012345", "0.00001"])
def test_short_literals_are_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text", ["1e3", "1E3", "1234567890123456", "0.1234567890123456", "2.0", "1.00", "0x1", ""]
)
def test_other_literals_are_not(text: str) -> None:
    assert not is_plain(text)


def _refused(expression: str) -> bool:
    rego = f"package a\n\np := {expression} if {{ n := count(input.a); n > 0 }}\n"
    modules, _ = parsed(Files(texts={"a.rego": rego}))
    return bool(faults_of(modules, frozenset()))


@pytest.mark.parametrize(
    "expression",
    [
        "1 + 2",
        "n + 1",
        "n * 1000",
        "n - count(input.b)",
        "n % 3",
        "input.context.measured.rows + n",
        "time.parse_rfc3339_ns(input.context.time) - 60 * 60 * 1000000000",
    ],
)
def test_small_whole_numbers_are_added(expression: str) -> None:
    assert not _refused(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "input.a + 1",
        "n / 2",
        "n + 0.5",
        "n % 0",
        "n % n",
        "n * n",
        "999999999999999 * 999999999999999",
        "{1} - {2}",
        "sum(input.a) + 1",
        "input.context.measured.share + 1",
        "time.parse_rfc3339_ns(input.context.time) * 2 * 2",
    ],
)
def test_anything_that_may_not_stay_small_and_whole_is_refused(expression: str) -> None:
    assert _refused(expression)
