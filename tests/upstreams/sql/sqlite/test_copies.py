"""Copies of a file in write-ahead mode: when they are made, and what their digest tells apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.model import Deny
from gateway.upstreams.sql.sqlite import copies
from gateway.upstreams.sql.sqlite.journal import Journals

SCHEMA = (
    "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a'), (2, 0.0), (3, x'61');"
    "CREATE TABLE u(v); INSERT INTO u VALUES('x'), ('y'); CREATE VIEW w AS SELECT v FROM u;"
    "CREATE TABLE n(a TEXT PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO n VALUES('p', 1);"
    "CREATE VIRTUAL TABLE ft USING fts5(v); INSERT INTO ft VALUES('some words');"
    "CREATE TABLE hidden(rowid, oid, _rowid_); INSERT INTO hidden VALUES(1, 2, 3);"
    "CREATE TABLE holdfast_receipt(call TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE c(k INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO c VALUES(5);"
)
CHANGES = [
    "UPDATE t SET v = x'61' WHERE k = 1",
    "UPDATE t SET v = 'a' WHERE k = 3",
    "UPDATE t SET v = -0.0 WHERE k = 2",
    "UPDATE t SET v = 0 WHERE k = 2",
    "UPDATE t SET v = NULL WHERE k = 2",
    "UPDATE t SET v = CAST(x'ff' AS TEXT) WHERE k = 1",
    "UPDATE u SET rowid = 9 WHERE v = 'y'",
    "DELETE FROM u WHERE v = 'x'",
    "UPDATE n SET b = '1'",
    "INSERT INTO ft VALUES('more')",
    "DELETE FROM ft",
    "UPDATE hidden SET oid = 9",
    "CREATE INDEX i ON t(v)",
    "DROP VIEW w",
    "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END",
    "ALTER TABLE t RENAME COLUMN v TO x",
    "PRAGMA user_version = 5",
    "PRAGMA application_id = 5",
]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    db = apsw.Connection(str(tmp_path / "a.db"))
    db.execute(SCHEMA)
    db.pragma("journal_mode", "wal")
    yield db
    db.close()


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_the_database_says_otherwise_is_seen(db: apsw.Connection, change: str) -> None:
    before = copies.digest(db)
    db.execute("BEGIN")
    db.execute(change).fetchall()
    assert copies.digest(db) != before
    db.execute("ROLLBACK")
    assert copies.digest(db) == before


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO holdfast_receipt VALUES('c', '')",
        "INSERT INTO c VALUES(9); DELETE FROM c WHERE k = 9",
        "UPDATE t SET v = v",
        "ANALYZE",
        "VACUUM",
    ],
)
def test_what_is_nobodys_data_is_not(db: apsw.Connection, change: str) -> None:
    before = copies.digest(db)
    db.execute(change)
    assert copies.digest(db) == before


def kept(db: apsw.Connection, tmp_path: Path, *, most: int = 1 << 20, plain: bool = True) -> object:
    path, folder = tmp_path / "a.db", tmp_path / "kept"
    folder.mkdir(exist_ok=True)
    peek = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        journals = Journals(path, folder, plain=plain)
        return copies.keep(db, peek, journals, "call-1", most=most)
    finally:
        peek.close()


def test_a_copy_is_of_the_file_before_the_transaction(db: apsw.Connection, tmp_path: Path) -> None:
    before = copies.digest(db)
    db.execute("BEGIN IMMEDIATE")
    db.execute("DROP TABLE t; INSERT INTO ft VALUES('held back')")
    found = kept(db, tmp_path)
    db.execute("COMMIT")
    assert not isinstance(found, Deny)
    copy = apsw.Connection(str(tmp_path / "kept" / "call-1.copy"))
    assert copies.digest(copy) == before
    assert copies.digest(db) == found.after  # type: ignore[attr-defined]
    assert copy.pragma("integrity_check") == "ok"
    copy.close()


def test_where_a_copy_is_not_made_it_says_why(db: apsw.Connection, tmp_path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    for found, why in (
        (kept(db, tmp_path, most=1000), "snapshots.max_bytes"),
        (kept(db, tmp_path, plain=False), "unencrypted"),
    ):
        assert isinstance(found, Deny)
        assert found.reason == "undo.unavailable"
        assert why in found.detail
    db.execute("ROLLBACK")
    db.pragma("journal_mode", "delete")
    db.execute("BEGIN IMMEDIATE")
    found = kept(db, tmp_path)
    assert isinstance(found, Deny)
    assert "not wal" in found.detail
    db.execute("ROLLBACK")
    assert list((tmp_path / "kept").iterdir()) == []
