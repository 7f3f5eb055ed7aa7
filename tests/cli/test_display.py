from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.display import ascii_json, escaped, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 漢字 🙂", "plain ünïcode 漢字 🙂"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[2J\x1b]52;c;eA==\x07", "\\x1b[2J\\x1b]52;c;eA==\\x07"),
        ("\x7f\x9b31m", "\\x7f\\x9b31m"),
        ("\u202euser\u2066\u2069", "\\u202euser\\u2066\\u2069"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\U000e0041", "\\U000e0041"),
        (None, "-"),
        (True, "yes"),
        (["a", "b\n"], "a, b\\n"),
        ([], "-"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: object, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text())
def test_nothing_that_is_shown_is_hidden(text: str) -> None:
    shown = escaped(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)


@given(st.text())
def test_json_in_ascii_means_the_same(text: str) -> None:
    document = json.dumps({"key": text}, ensure_ascii=False)
    shown = ascii_json(document)
    assert shown.isascii()
    assert json.loads(shown) == json.loads(document)


def test_long_cells_are_cut() -> None:
    assert shortened("x" * 100, 10) == "x" * 9 + "…"
