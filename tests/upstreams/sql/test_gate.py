from __future__ import annotations

import time

import pytest

from gateway.errors import REASONS
from gateway.upstreams.sql.gate import MAX_DEPTH, check_text, unread

PASS = [
    ("postgres", "SELECT 1"),
    ("postgres", "SELECT 'a\u00a0b', \"x\u200b\", $$\u3000$$, $t$\u2028$t$ /* \ufeff */ -- \u00a0"),
    ("postgres", r"SELECT E'it\'s\u00a0' 'x'"),
    ("postgres", "SELECT E'a'\n 'b\\'\u00a0'"),
    ("postgres", "SELECT größe, naïve, İ, 名前 FROM straße"),
    ("postgres", "SELECT '{{ x }}', '{% y %}'"),
    ("postgres", "SELECT a[1], '{1,2}'::int[]"),
    ("postgres", "SELECT /* a /* nested */ comment */ 1"),
    ("postgres", "SELECT " + "(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH),
    ("postgres", "SELECT '" + "(" * 10_000 + "'"),
    ("sqlite", "SELECT `a\u00a0`, [b\u00a0], 'c\u00a0' -- \u00a0\n, \"d\u00a0\""),
    ("sqlite", "SELECT 'it''s' /* /* one level */"),
]
REFUSE = [
    ("malformed", "postgres", "SELECT 1\0 WHERE false"),
    ("malformed", "sqlite", "SELECT '\0'"),
    ("malformed", "postgres", "\ufeffSELECT 1"),
    ("malformed", "postgres", "SELECT '\ud800'"),
    ("sql.unparsable", "postgres", "SELECT\u00a01"),
    ("sql.unparsable", "postgres", "SELECT\u20281"),
    ("sql.unparsable", "sqlite", "SELECT\u30001"),
    ("sql.unparsable", "postgres", "SEL\u200bECT 1"),
    ("sql.unparsable", "postgres", "SELECT 1\ufeff"),
    ("sql.unparsable", "postgres", "ｄｅｌｅｔｅ FROM t"),
    ("sql.unparsable", "postgres", "SELECT \u212a FROM t"),
    ("sql.unparsable", "postgres", "SELECT \u3164 FROM t"),
    ("sql.unparsable", "postgres", "SELECT\x0b1"),
    ("sql.unparsable", "sqlite", "SELECT\x1b[2J1"),
    ("sql.unparsable", "postgres", "SELECT {{ x }}"),
    ("sql.unparsable", "postgres", "{% if x %} SELECT 1"),
    ("sql.unparsable", "sqlite", "SELECT 1 {# comment #}"),
    ("sql.unparsable", "postgres", ""),
    ("sql.unparsable", "postgres", " ;\n; "),
    ("sql.unparsable", "postgres", "-- nothing"),
    ("sql.unparsable", "sqlite", "/* nothing"),
    ("sql.unparsable", "postgres", "/* " * 7 + " */" * 7 + " SELECT 1"),
    ("too_large", "postgres", "SELECT " + "(" * (MAX_DEPTH + 1)),
    ("too_large", "sqlite", "SELECT " + "(" * (MAX_DEPTH + 1)),
    ("too_large", "postgres", "SELECT " + "x" * 200_000),
    ("too_large", "postgres", "SELECT '" + "ä" * 60_000 + "'"),
    # What a prefix makes of a quote is the dialect's business.
    ("sql.unparsable", "postgres", "SELECT 'a\\' \u00a0"),
    ("sql.unparsable", "postgres", "SELECT fe'a\\' \u00a0"),
    ("sql.unparsable", "postgres", "SELECT a$b$ \u00a0 $b$"),
    ("sql.unparsable", "sqlite", "SELECT $$ \u00a0 $$"),
    ("sql.unparsable", "sqlite", "SELECT 1 /* /* */ \u00a0 */"),
]


@pytest.mark.parametrize(("dialect", "sql"), PASS)
def test_texts_that_every_parser_reads_alike_pass(dialect: str, sql: str) -> None:
    assert check_text(sql, max_bytes=100_000, dialect=dialect) is None


@pytest.mark.parametrize(("reason", "dialect", "sql"), REFUSE)
def test_texts_that_parsers_differ_on_are_refused(reason: str, dialect: str, sql: str) -> None:
    refusal = check_text(sql, max_bytes=100_000, dialect=dialect)

    assert refusal is not None
    assert refusal.reason == reason
    assert refusal.reason in REASONS


@pytest.mark.parametrize(
    "sql",
    [
        "'" * 999_999,
        "/* " * 300_000,
        "/*" + " /**/" * 180_000,
        " ".join(f"$a{n}$" for n in range(100_000)),
        "E'\\" * 300_000,
        "e''\n" * 200_000,
        "(" * 1_000_000,
        "-" * 1_000_000,
    ],
    ids=lambda sql: repr(sql[:8]),
)
def test_the_look_takes_linear_time(sql: str) -> None:
    started = time.perf_counter()
    for dialect in ("postgres", "sqlite"):
        check_text(sql, max_bytes=1 << 20, dialect=dialect)

    assert time.perf_counter() - started < 3


def test_rows_beside_the_text_are_refused_where_nothing_reads_them() -> None:
    assert unread(None) is None
    assert unread([]) is None
    refusal = unread(["1\n"])
    assert refusal is not None
    assert refusal.reason == "malformed"
