"""Nodes and functions by allow-list; everything else is refused."""

from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql import lexing
from gateway.upstreams.sql.mysql.grammar import Ref, Written, read


def judged(sql: str) -> Written | Deny:
    texts = lexing.read(sql, ())
    if isinstance(texts, Deny):
        return texts
    found = [read(text) for text in texts]
    return next((one for one in found if isinstance(one, Deny)), found[0])


def written(sql: str) -> Written:
    found = judged(sql)
    assert not isinstance(found, Deny), found.detail
    return found


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("SELECT 1", "select"),
        ("(SELECT 1) UNION (SELECT 2) ORDER BY 1", "select"),
        ("WITH q AS (SELECT 1) SELECT * FROM q", "select"),
        ("SELECT COUNT(*), IF(a, 1, 2) FROM t GROUP BY b HAVING COUNT(*) > 1", "select"),
        ("SELECT a, ROW_NUMBER() OVER (PARTITION BY b ORDER BY c) FROM t", "select"),
        ("SELECT @@version", "select"),
        ("SHOW TABLES", "show"),
        ("DESCRIBE t", "explain"),
        ("EXPLAIN SELECT * FROM t", "explain"),
        ("INSERT INTO t (a) VALUES (1)", "insert"),
        ("REPLACE INTO t VALUES (1)", "insert"),
        ("UPDATE LOW_PRIORITY IGNORE t SET a = 1", "update"),
        ("DELETE QUICK FROM t WHERE a = 1", "delete"),
    ],
)
def test_what_is_understood(sql: str, verb: str) -> None:
    assert written(sql).verb == verb


CALLS = ["bump()", "SLEEP(1)", "GET_LOCK('a', 1)", "LOAD_FILE('/etc/passwd')", "BENCHMARK(9, 1)",
         "`count`(1)", "other.count(1)", "LAST_INSERT_ID(5)", "NEXTVAL(s)", "DEFAULT(a)",
         "COUNT (a)"]  # fmt: skip
PLACES = [
    "SELECT {}",
    "SELECT 1 FROM t WHERE {}",
    "SELECT 1 FROM t GROUP BY {}",
    "SELECT 1 FROM t HAVING {}",
    "SELECT 1 FROM t ORDER BY {}",
    "SELECT 1 FROM t JOIN u ON {}",
    "SELECT CASE WHEN {} THEN 1 END",
    "SELECT 1 IN ({})",
    "SELECT (SELECT {})",
    "SELECT SUM(a) OVER (ORDER BY {}) FROM t",
    "WITH q AS (SELECT {}) SELECT * FROM q",
    "SELECT * FROM (SELECT {}) q",
    "SELECT 1 UNION SELECT {}",
    "SELECT NOW() + INTERVAL {} DAY",
    "SELECT CONCAT('a', {})",
    "EXPLAIN SELECT {}",
    "INSERT INTO t VALUES ({})",
    "INSERT INTO t SELECT {}",
    "INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = {}",
    "UPDATE t SET a = {}",
    "DELETE FROM t WHERE {}",
    "DELETE FROM t ORDER BY {}",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", CALLS)
def test_a_forbidden_call_is_refused_in_every_place(place: str, call: str) -> None:
    assert isinstance(judged(place.format(call)), Deny)


@pytest.mark.parametrize("place", PLACES)
def test_the_places_themselves_are_accepted(place: str) -> None:
    written(place.format("ABS(1)"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 INTO DUMPFILE '/tmp/x'",
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT * FROM t PROCEDURE ANALYSE()",
        "SELECT * FROM t FOR SYSTEM_TIME ALL",
        "SET GLOBAL x = 1",
        "SET STATEMENT x = 1 FOR DELETE FROM t",
        "CALL p()",
        "DO SLEEP(1)",
        "BEGIN",
        "COMMIT",
        "START TRANSACTION",
        "BEGIN NOT ATOMIC DELETE FROM t; END",
        "LOCK TABLES t WRITE",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "HANDLER t OPEN",
        "EXECUTE IMMEDIATE 'DELETE FROM t'",
        "PREPARE s FROM 'DELETE FROM t'",
        "XA START 'x'",
        "KILL 1",
        "FLUSH TABLES",
        "ANALYZE DELETE FROM t",
        "EXPLAIN DELETE FROM t",
        "INSTALL SONAME 'x'",
        "GRANT ALL ON t TO a",
        "CREATE USER a",
        "SELECT _gbk'\u00bf'",
        "SELECT 1 FROM a.b.c",
        "TABLE_OF_NOTHING",
    ],
)
def test_what_is_not_understood_is_refused(sql: str) -> None:
    assert isinstance(judged(sql), Deny)


def test_the_tables_and_the_condition_of_a_change() -> None:
    found = written("UPDATE other.t AS q SET q.a = '; WHERE' WHERE q.id = 1 ORDER BY q.id LIMIT 1")
    assert found.changed == (Ref("other", "t"),)
    assert found.single is not None
    assert (found.single.alias, found.single.condition) == ("q", "q.id = 1")


def test_a_where_in_a_subquery_is_not_the_condition() -> None:
    found = written("DELETE FROM t LIMIT 1")
    assert found.single is not None
    assert found.single.condition is None
    found = written("UPDATE t SET a = (SELECT b FROM u WHERE u.c = 1)")
    assert found.single is not None
    assert found.single.condition is None


def test_any_table_of_a_change_of_several_may_be_written() -> None:
    assert {r.name for r in written("UPDATE t JOIN u ON t.a = u.a SET t.b = 1").changed} == {
        "t",
        "u",
    }


def test_rows_of_values_are_cut_where_the_server_cuts_them() -> None:
    single = written("INSERT INTO t (a, b) VALUES (1, 'x, (y)'), (ABS(-2), NULL)").single
    assert single is not None
    assert single.columns == ("a", "b")
    assert single.rows == (("1", "'x, (y)'"), ("ABS(-2)", "NULL"))


def test_a_name_that_stands_before_a_bracket_is_no_licence_to_call_it() -> None:
    written("INSERT INTO bump (a) VALUES (1)")
    assert isinstance(judged("INSERT INTO bump (a) VALUES (bump(1))"), Deny)
    assert isinstance(judged("WITH bump (a) AS (SELECT 1) SELECT bump(1) FROM bump"), Deny)


def test_replace_may_delete() -> None:
    assert written("REPLACE INTO t VALUES (1)").verbs == ("insert", "delete", "update")


@pytest.mark.parametrize(
    "sql",
    [
        "WITH levenshtein AS (SELECT 1 AS a) SELECT levenshtein('a', 'b')",
        "WITH levenshtein (a) AS (SELECT 1) SELECT 1, levenshtein('a', 'b') FROM levenshtein",
        "WITH q AS (SELECT 1), levenshtein (a) AS (SELECT levenshtein('a', 'b')) SELECT 1 FROM q",
        "INSERT INTO levenshtein (a) SELECT levenshtein('a', 'b')",
        "INSERT INTO levenshtein (a) VALUES (d.levenshtein('a', 'b'))",
    ],
)
def test_a_name_that_is_given_here_is_not_called_here(sql: str) -> None:
    """A function that was loaded into the server stands in no catalog of routines."""
    refused = judged(sql)
    assert isinstance(refused, Deny)
    assert refused.reason == "action.unsupported"


@pytest.mark.parametrize(
    "sql",
    [
        "WITH levenshtein (a) AS (SELECT 1) SELECT a FROM levenshtein",
        "WITH RECURSIVE q AS (SELECT 1 AS a), levenshtein (a) AS (SELECT a FROM q) SELECT 1 FROM q",
        "INSERT INTO levenshtein (a) VALUES (1)",
        "INSERT IGNORE levenshtein (a) VALUES (1)",
        "REPLACE INTO d.levenshtein (a, b) VALUES (1, 2)",
    ],
)
def test_a_name_may_be_given_here(sql: str) -> None:
    assert written(sql)
