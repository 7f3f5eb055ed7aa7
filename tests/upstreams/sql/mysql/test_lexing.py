"""What two lexers could read differently is refused; what is sent holds no comment."""

from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql.lexing import Text, read


def one(sql: str, *params: object) -> Text:
    texts = read(sql, params)
    assert not isinstance(texts, Deny), texts.detail
    (text,) = texts
    return text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 --1",
        "SELECT 1 --+ bump()",
        "SELECT @a := 1",
        "SELECT @a",
        "/*! DELETE FROM t */",
        "/*M! DELETE FROM t */",
        "SELECT /*+ MAX_EXECUTION_TIME(1) */ 1",
        "SELECT 1 /* no end",
        "SELECT 'no end",
        'SELECT "no end',
        "SELECT `no end",
        "SELECT `a``b`",
        "SELECT \\N",
        "SELECT {d '2020-01-01'}",
    ],
)
def test_ambiguous_text_is_refused(sql: str) -> None:
    refusal = read(sql, ())
    assert isinstance(refusal, Deny)
    assert refusal.reason == "sql.unparsable"


@pytest.mark.parametrize("comment", ["-- x\n", "--\tx\n", "# x\n", "/* x */", "/**/"])
def test_comments_are_not_sent(comment: str) -> None:
    assert one(f"SELECT{comment}1").sent.split() == ["SELECT", "1"]


def test_a_comment_ends_at_the_line_feed_only() -> None:
    assert one("SELECT 1 -- x\r + bump()\n + 2").sent.split() == ["SELECT", "1", "+", "2"]


def test_marks_inside_of_strings_are_text() -> None:
    text = one(r"""SELECT '\'; DELETE FROM t; -- ', "a'/*!", 'it''s' """)
    assert text.sent == r"""SELECT '\'; DELETE FROM t; -- ', "a'/*!", 'it''s'"""
    assert "DELETE FROM t;" not in text.shown
    assert text.shown.count("'") == 6


def test_an_escaped_backslash_does_not_escape_the_quote() -> None:
    texts = read(r"SELECT '\\'; DELETE FROM t", ())
    assert not isinstance(texts, Deny)
    assert [t.first for t in texts] == ["select", "delete"]


def test_a_value_never_touches_what_stands_beside_it() -> None:
    assert one("SELECT 5-?", -5).sent.split() == ["SELECT", "5-", "(-5)"]
    assert one("SELECT ?FROM t", 1).sent.split() == ["SELECT", "1", "FROM", "t"]


def test_text_is_bound_as_hexadecimal_digits() -> None:
    text = one("SELECT ?", "'; DROP TABLE t; -- \\")
    assert text.sent.startswith("SELECT  _utf8mb4 X'")
    assert "DROP" not in text.sent
    assert "DROP" not in text.shown


@pytest.mark.parametrize(("sql", "params"), [("SELECT ?", ()), ("SELECT 1", (1,))])
def test_the_number_of_values_has_to_fit(sql: str, params: tuple[int, ...]) -> None:
    refusal = read(sql, params)
    assert isinstance(refusal, Deny)
    assert refusal.reason == "malformed"


def test_places_of_tokens_are_those_of_what_is_sent() -> None:
    text = one("/* x */ UPDATE t /* y */ SET v = ? WHERE id = 1", "é")
    for token in text.tokens:
        if token.kind == "word":
            assert text.sent[token.at :].startswith(token.text)
