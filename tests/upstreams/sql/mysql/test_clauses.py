from __future__ import annotations

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.mysql import lexing
from gateway.upstreams.sql.mysql.clauses import Altered, Key, read
from gateway.upstreams.sql.mysql.words import Words


def of(sql: str) -> Altered | Deny | None:
    texts = lexing.read(sql, ())
    assert not isinstance(texts, Deny)
    return read(texts[0], Words(texts[0].tokens))


@pytest.mark.parametrize(
    "clauses",
    [
        "ADD x INT",
        "ADD COLUMN x VARCHAR(9) NOT NULL DEFAULT 'a,b' AFTER y, DROP z",
        "ADD x INT AS (ABS(y)) VIRTUAL, ADD CHECK (x > 0)",
        "ADD KEY k (a, b), ADD UNIQUE (a), DROP PRIMARY KEY, ADD PRIMARY KEY (a)",
        "MODIFY x ENUM('a)', 'b')",
        "ALTER COLUMN x SET DEFAULT 3, RENAME INDEX a TO b, COMMENT='x'",
        "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ],
)
def test_accepted(clauses: str) -> None:
    found = of(f"ALTER TABLE d.t {clauses}")
    assert isinstance(found, Altered)
    assert (found.target, found.place) == (("d", "t"), (12, 15))


def test_columns_that_get_another_name() -> None:
    found = of("ALTER TABLE t CHANGE COLUMN a b INT, CHANGE c c INT, RENAME COLUMN d TO e")
    assert isinstance(found, Altered)
    assert found.renamed == (("b", "a"), ("e", "d"))


def test_foreign_keys() -> None:
    added = of(
        "ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES d.u (b) ON DELETE CASCADE"
    )
    dropped = of("ALTER TABLE t DROP FOREIGN KEY `k`")
    assert isinstance(added, Altered)
    assert isinstance(dropped, Altered)
    assert (added.key, dropped.key) == (Key("k", ("a",)), Key("k", dropped=True))


@pytest.mark.parametrize(
    "clauses",
    [
        "",
        "ADD x INT,",
        "FORCE",
        "ORDER BY x",
        "ADD x INT DEFAULT (bump())",
        "ADD x INT DEFAULT (`abs`(1))",
        "ADD x INT DEFAULT (d.abs(1))",
        "ADD x INT DEFAULT (NEXT VALUE FOR s)",
        "ADD x INT DEFAULT (SELECT 1)",
        "ENGINE=MyISAM",
        "ADD x INT, RENAME TO u",
        "ADD x INT REFERENCES u (x)",
        "ADD PERIOD FOR SYSTEM_TIME (a, b)",
        "DROP SYSTEM VERSIONING",
        "REMOVE PARTITIONING",
        "EXCHANGE PARTITION p WITH TABLE u",
        "DISCARD TABLESPACE",
        "ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u (b), ADD x INT",
        "ADD x INT LOCK=NONE",
    ],
)
def test_refused(clauses: str) -> None:
    assert isinstance(of(f"ALTER TABLE t {clauses}"), Deny)


def test_none_of_these() -> None:
    assert of("CREATE FUNCTION f() RETURNS INT RETURN 1") is None
    assert of("DROP DATABASE d") is None
    assert of("CREATE INDEX i USING BTREE ON t (a)") is None
