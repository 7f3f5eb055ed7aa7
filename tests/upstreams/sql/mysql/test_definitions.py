from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql import lexing
from gateway.upstreams.sql.mysql.definitions import Definition, read


def of(sql: str) -> Definition | Deny | None:
    texts = lexing.read(sql, ())
    assert not isinstance(texts, Deny)
    return read(texts[0])


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("drop table `a b`", Definition("drop", (None, "a b"))),
        ("DROP TABLE IF EXISTS d.t CASCADE", Definition("drop", ("d", "t"), lenient=True)),
        ("TRUNCATE d.t", Definition("truncate", ("d", "t"))),
        ("RENAME TABLE a TO b", Definition("alter", (None, "a"), (None, "b"))),
        ("CREATE TABLE IF NOT EXISTS t (id INT)", Definition("create", (None, "t"), lenient=True)),
        ("SELECT 1", None),
        ("INSERT INTO t VALUES (1)", None),
    ],
)
def test_what_is_read(sql: str, expected: Definition | None) -> None:
    assert of(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE a, b",
        "DROP TABLE a.b.c",
        "DROP VIEW v",
        "DROP TABLE",
        "TRUNCATE t WAIT 5",
        "RENAME TABLE a TO b, b TO c",
        "RENAME USER a TO b",
        "ALTER TABLE t RENAME TO u",
        "CREATE TABLE t (id INT) AS SELECT 1",
        "CREATE TABLE t (id INT DEFAULT bump())",
        "CREATE TABLE t (id INT) ENGINE=FEDERATED",
        "CREATE TABLE t (id INT) DATA DIRECTORY='/tmp'",
        "CREATE INDEX i ON t (a)",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
    ],
)
def test_what_is_refused(sql: str) -> None:
    found = of(sql)
    assert isinstance(found, Deny)
    assert found.reason == "sql.unsupported"
