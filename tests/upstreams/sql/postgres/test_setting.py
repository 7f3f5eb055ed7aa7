"""setval as a statement: which texts are one, and what else of the statement is judged."""

from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.postgres.grammar import read
from gateway.upstreams.sql.postgres.libpg import parse
from gateway.upstreams.sql.postgres.setting import setval_of

NAMED = [
    ("SELECT setval('s', 1)", (None, "s", "")),
    ("SELECT pg_catalog.setval('A.\"B c\"'::regclass, 1, true)", ("a", "B c", "")),
    ("SELECT setval(pg_get_serial_sequence('x.t', 'id'), max(id)) FROM x.t", ("x", "t", "id")),
]
OTHERS = [
    "SELECT 1",
    "SELECT setval('s', 1), 2",
    "SELECT setval('s', setval('t', 1))",
    "SELECT setval(name, 1) FROM names",
    "SELECT setval('s; DROP TABLE t', 1)",
    "SELECT setval('s CASCADE', 1)",
    "SELECT setval('a, b', 1)",
    "SELECT public.setval('s', 1)",
    "SELECT setval('s', 1) + 1",
    "SELECT 1 WHERE setval('s', 1) > 0",
    "SELECT setval(value => 1, sequence => 's')",
    "SELECT setval('s'::text::regclass, 1)",
]


@pytest.mark.parametrize(("sql", "named"), NAMED)
def test_the_sequence_is_named_as_the_server_reads_it(
    sql: str, named: tuple[str | None, str, str]
) -> None:
    placed = setval_of(parse(sql).stmts[0].stmt)
    assert placed is not None
    sequence = placed.sequence
    assert (sequence.schema, sequence.name, sequence.part) == named


@pytest.mark.parametrize("sql", OTHERS)
def test_whatever_else_sets_sequences_is_no_such_statement(sql: str) -> None:
    assert setval_of(parse(sql).stmts[0].stmt) is None
    refused = read(sql, 1000)
    assert isinstance(refused, Deny) is ("setval" in sql)


def test_the_value_that_is_set_is_judged_as_a_query() -> None:
    read_ = read("SELECT setval('s', max(id) + $1) FROM t WHERE id < 9", 1000)
    assert not isinstance(read_, Deny)
    (written,) = read_.statements
    assert written.asks == "SELECT max(id) + $1 FROM t WHERE id < 9"
    assert (written.verb, written.restarts, written.relations) == ("alter", True, {"t"})
    for sql in ("SELECT setval('s', lo_create(1))", "SELECT setval('s', 1) FROM t FOR UPDATE"):
        assert isinstance(read(sql, 1000), Deny)
