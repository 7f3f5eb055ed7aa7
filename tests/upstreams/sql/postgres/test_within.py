"""PREPARE with EXECUTE, cursors and savepoints in one text: what runs is what was judged."""

from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.postgres.grammar import read
from gateway.upstreams.sql.postgres.written import Grammar

RUNS = {
    "PREPARE p AS DELETE FROM t WHERE id = $1; EXECUTE p(3)": "DELETE FROM t WHERE id = '3'",
    "PREPARE p(int, text) AS UPDATE t SET v = $2 WHERE id = $1; EXECUTE p(-3, 'it''s')": (
        "UPDATE t SET v = 'it''s'::text WHERE id = '-3'::int"
    ),
    "PREPARE p AS INSERT INTO t VALUES ($1, $2, $3, $4); EXECUTE p(NULL, true, 1.50, 'x')": (
        "INSERT INTO t VALUES (NULL, 'true', '1.50', 'x')"
    ),
    "PREPARE p AS INSERT INTO t SELECT * FROM u WHERE a IN (SELECT $1); EXECUTE p('$1')": (
        "INSERT INTO t SELECT * FROM u WHERE a IN (SELECT '$1')"
    ),
    "PREPARE p AS DELETE FROM t; EXECUTE p; DEALLOCATE p": "DELETE FROM t",
}
REFUSED = [
    "PREPARE p AS DELETE FROM t",  # never executed: it lasts no longer
    "EXECUTE p",
    "DEALLOCATE p",
    "DEALLOCATE ALL",
    "PREPARE p AS DELETE FROM t; DEALLOCATE p",
    "PREPARE p AS SELECT 1; PREPARE p AS DELETE FROM t; EXECUTE p",
    "PREPARE p AS SELECT $1; EXECUTE p(1 + 1)",
    "PREPARE p AS SELECT $1; EXECUTE p((SELECT 1))",
    "PREPARE p AS SELECT $1; EXECUTE p(lo_create(1))",
    "PREPARE p AS SELECT $1; EXECUTE p('1'::int)",
    "PREPARE p AS SELECT $1; EXECUTE p($1)",
    "PREPARE p AS SELECT $1; EXECUTE p",
    "PREPARE p AS SELECT 1; EXECUTE p(1)",
    "PREPARE p AS SELECT $2; EXECUTE p(1)",
    "PREPARE p AS SELECT $0; EXECUTE p(1)",
    "PREPARE p(int) AS SELECT 1; EXECUTE p",
    "PREPARE p(mood) AS SELECT $1; EXECUTE p('sad')",
    "PREPARE p(other.int4) AS SELECT $1; EXECUTE p('1')",
    "PREPARE p(int) AS SELECT $1; EXECUTE p(1.5)",  # the server would round
    "PREPARE p(boolean) AS SELECT $1; EXECUTE p(1)",  # the server would not take it
    "PREPARE p AS SELECT lo_create(1); EXECUTE p",
    "PREPARE p AS SELECT 1 FROM t FOR UPDATE; EXECUTE p; DROP TABLE t; EXECUTE p",
    "CREATE TABLE x AS EXECUTE p",
    "PREPARE p AS DELETE FROM t; EXPLAIN ANALYZE EXECUTE p",
    "SAVEPOINT a",
    "SAVEPOINT a; SELECT 1; ROLLBACK TO a",
    "DELETE FROM t; ROLLBACK TO a",
    "DELETE FROM t; RELEASE a",
    "SAVEPOINT a; DELETE FROM t; ROLLBACK TO b",
    "SAVEPOINT a; DELETE FROM t; ROLLBACK",
    "SAVEPOINT a; DELETE FROM t; COMMIT",
    "SAVEPOINT a; DELETE FROM t; COMMIT AND CHAIN",
    "SAVEPOINT a; DELETE FROM t; PREPARE TRANSACTION 'a'",
    "SAVEPOINT a; DELETE FROM t; TRUNCATE u; ROLLBACK TO a",
    "SAVEPOINT a; DELETE FROM t; DROP TABLE u",
    "BEGIN; SAVEPOINT a; DELETE FROM t",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "DECLARE c BINARY CURSOR FOR SELECT 1",
    "DECLARE c CURSOR FOR SELECT lo_create(1)",
    "DECLARE c CURSOR FOR SELECT $1",
    "DECLARE c CURSOR FOR VALUES (1); FETCH d",
    "FETCH c",
    "MOVE c",
    "CLOSE c",
    "CLOSE ALL",
    "DELETE FROM t WHERE CURRENT OF c",
    "DECLARE c CURSOR FOR SELECT * FROM t; DELETE FROM t WHERE CURRENT OF d",
    # As long as nothing is changed, a query by itself does.
    "DECLARE c CURSOR FOR SELECT 1",
    "DECLARE c CURSOR FOR SELECT * FROM t; FETCH ALL FROM c",
    "PREPARE p AS SELECT 1; EXECUTE p",
]


@pytest.mark.parametrize("text", RUNS)
def test_what_is_executed_runs_as_the_statement_that_it_stands_for(text: str) -> None:
    found = read(text, 10_000)
    assert isinstance(found, Grammar), found
    assert found.parameters == 0
    first, run, *rest = found.statements
    assert (first.sql, first.verb, first.asks) == ("SELECT WHERE false", "prepare", None)
    assert run.sql == run.asks == RUNS[text]
    assert [(w.sql, w.verb) for w in rest] in ([], [("SELECT WHERE false", "prepare")])


@pytest.mark.parametrize("text", REFUSED)
def test_whatever_else_lasts_between_statements_is_refused(text: str) -> None:
    found = read(text, 10_000)
    assert isinstance(found, Deny), found
    assert found.reason in ("sql.unsupported", "sql.unparsable", "action.unsupported")


def test_a_cursor_is_judged_by_its_query() -> None:
    found = read(
        "DECLARE c SCROLL CURSOR FOR SELECT a FROM t FOR UPDATE; FETCH 2 FROM c; MOVE c; CLOSE c; "
        "UPDATE t SET a = 1 WHERE CURRENT OF c",
        10_000,
    )
    assert isinstance(found, Grammar), found
    declared, fetched, moved, closed, changed = found.statements
    assert declared.sql == "DECLARE c SCROLL CURSOR FOR SELECT a FROM t FOR UPDATE"
    assert (declared.asks, declared.cursor) == ("SELECT a FROM t FOR UPDATE", True)
    assert [w.verb for w in (fetched, moved, closed)] == ["fetch", "fetch", "close"]
    assert fetched.sql == "FETCH 2 FROM c"
    assert [change.bounded for change in changed.changes] == [True]
    assert changed.near is None


def test_savepoints_run_as_they_are_written() -> None:
    found = read(
        'SAVEPOINT a; DELETE FROM t WHERE id = 1; ROLLBACK TO SAVEPOINT a; RELEASE "a"', 999
    )
    assert isinstance(found, Grammar)
    assert [(w.verb, w.sql, w.asks is None) for w in found.statements] == [
        ("savepoint", "SAVEPOINT a", True),
        ("delete", "DELETE FROM t WHERE id = 1", False),
        ("savepoint", "ROLLBACK TO SAVEPOINT a", True),
        ("savepoint", 'RELEASE "a"', True),
    ]
