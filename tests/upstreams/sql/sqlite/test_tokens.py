"""The first word of a statement, as SQLite's own lexer would find it."""

from __future__ import annotations

import pytest

from gateway.upstreams.sql.sqlite.tokens import keywords, replaces, unnumbered


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1", ("SELECT", "SELECT")),
        ("/* DELETE */ -- x\n\t;; update t", ("UPDATE", "UPDATE")),
        ("WITH a AS (DELETE), b(insert) AS (SELECT 1) DELETE FROM t", ("WITH", "DELETE")),
        ("WITH a AS (SELECT 1)", ("WITH", "")),
        ("EXPLAIN QUERY PLAN WITH a AS (x) UPDATE t", ("EXPLAIN", "UPDATE")),
        ("EXPLAIN", ("EXPLAIN", "")),
        ("'select' 1", ("'", "'")),
        ("/* not ended", ("", "")),
        ("", ("", "")),
    ],
)
def test_the_word_that_names_what_is_done(sql: str, expected: tuple[str, str]) -> None:
    assert keywords(sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("REPLACE INTO t VALUES(1)", True),
        ("INSERT OR/**/replace INTO t", True),
        ("UPDATE OR REPLACE t SET a = 1", True),
        ("SELECT replace(a, b, c)", False),
        ("SELECT replace /* x */ (a, b, c)", False),
        ("INSERT INTO t VALUES('OR REPLACE INTO')", False),
        ('INSERT INTO t("replace") VALUES(1)', False),
    ],
)
def test_rows_give_way_only_to_the_keyword(sql: str, expected: bool) -> None:
    assert replaces(sql) is expected


def test_numbered_parameters_lose_their_numbers_outside_of_literals() -> None:
    assert unnumbered("a = ?1 AND b = '?2' AND c = ?") == "a = ? AND b = '?2' AND c = ?"
