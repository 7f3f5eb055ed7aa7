from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql import lexing
from gateway.upstreams.sql.mysql.clauses import Key
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
        ("DROP VIEW v", Definition("drop", (None, "v"), view=True)),
        ("CREATE VIEW v AS SELECT 1", Definition("create", (None, "v"), view=True, query=17)),
        ("CREATE TABLE t AS SELECT 1", Definition("create", (None, "t"), query=18)),
        ("CREATE TABLE t SELECT 1", Definition("create", (None, "t"), query=15)),
        ("ALTER TABLE t RENAME TO u", Definition("alter", (None, "t"), (None, "u"))),
        ("ALTER TABLE `t` ADD x INT", Definition("alter", (None, "t"), place=(12, 15))),
        ("CREATE UNIQUE INDEX i ON d.t (a, b)", Definition("alter", ("d", "t"), place=(25, 28))),
        ("DROP INDEX i ON t", Definition("alter", (None, "t"), place=(16, 17))),
        (
            "ALTER TABLE t RENAME COLUMN a TO b, CHANGE c d INT",
            Definition("alter", (None, "t"), place=(12, 13), renamed=(("b", "a"), ("d", "c"))),
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a, b) REFERENCES d.u (a, b)",
            Definition("alter", (None, "t"), place=(12, 13), key=Key("k", ("a", "b"))),
        ),
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
        "DROP VIEW v, w",
        "DROP TABLE",
        "TRUNCATE t WAIT 5",
        "RENAME TABLE a TO b, b TO c",
        "RENAME USER a TO b",
        "ALTER TABLE t RENAME TO u, ADD x INT",
        "ALTER TABLE t ADD x INT DEFAULT (bump())",
        "ALTER TABLE t ADD CHECK (a.bump(1) > 0)",
        "ALTER TABLE t ADD x INT DEFAULT (NEXT VALUE FOR s)",
        "ALTER TABLE t ENGINE=Aria",
        "ALTER TABLE t DROP PARTITION p",
        "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u (a)",
        "ALTER TABLE t DROP FOREIGN KEY a, ADD x INT",
        "CREATE TABLE t (id INT) AS SELECT 1",
        "CREATE TABLE t (id INT DEFAULT bump())",
        "CREATE TABLE t (id INT) ENGINE=FEDERATED",
        "CREATE TABLE t (id INT) DATA DIRECTORY='/tmp'",
        "CREATE INDEX i ON t (a) LOCK=NONE",
        "CREATE INDEX i ON t ((bump(a)))",
        "CREATE FUNCTION f() RETURNS INT RETURN 1",
    ],
)
def test_what_is_refused(sql: str) -> None:
    found = of(sql)
    assert isinstance(found, Deny)
    assert found.reason == "sql.unsupported"
