"""What comes after a change of the schema in one text is judged by the schema as it is by then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.sqlite.connections import open_reader
from gateway.upstreams.sql.sqlite.facts import Judgement
from gateway.upstreams.sql.sqlite.judge import Judge
from gateway.upstreams.sql.sqlite.staging import CannotStage, Stage

_SETUP = """
CREATE TABLE t(k INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT);
CREATE TABLE u(k INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE);
CREATE TABLE w(a TEXT PRIMARY KEY, b) WITHOUT ROWID;
CREATE VIEW seen AS SELECT k, v FROM t;
CREATE INDEX by_v ON t(v);
CREATE TRIGGER onto INSTEAD OF INSERT ON seen BEGIN INSERT INTO t(v) VALUES (NEW.v); END;
CREATE VIRTUAL TABLE ft USING fts5(body);
INSERT INTO t(v) VALUES ('a'), ('b');
INSERT INTO ft VALUES ('words');
ANALYZE;
"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    path = tmp_path / "a.db"
    with apsw.Connection(str(path)) as made:
        made.execute(_SETUP)
    found = open_reader(path, busy_s=1, foreign_keys=True)
    yield found
    found.close()


def _judged(db: apsw.Connection, sql: str, params: object = None) -> Judgement:
    found = Judge(db, foreign_keys=True).judge(sql, params)
    assert isinstance(found, Judgement), found
    return found


def _effects(judgement: Judgement, number: int) -> set[tuple[str, str]]:
    return {(e.verb, e.name) for e in judgement.statements[number].effects}


def test_a_stage_has_the_whole_schema_and_no_rows(db: apsw.Connection) -> None:
    query = (
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*' ORDER BY 2"
    )
    stage = Stage(db, foreign_keys=True)
    assert stage.db.execute(query).fetchall() == db.execute(query).fetchall()
    assert stage.db.execute("SELECT count(*) FROM t").fetchall() == [(0,)]
    assert stage.db.table_exists("main", "sqlite_stat1")
    stage.close()


def test_what_a_text_makes_can_be_used_in_it(db: apsw.Connection) -> None:
    found = _judged(db, "CREATE TABLE n(x); INSERT INTO n VALUES (?); SELECT x FROM n", [5])
    assert [s.cls for s in found.statements] == [
        ActionClass.DDL, ActionClass.WRITE, ActionClass.READ,
    ]  # fmt: skip
    assert _effects(found, 1) == {("insert", "main.n")}
    assert _effects(found, 2) == {("select", "main.n")}
    assert found.statements[1].bindings == (5,)
    assert found.whole_file


def test_a_trigger_that_a_text_makes_counts_in_it(db: apsw.Connection) -> None:
    found = _judged(
        db, "CREATE TRIGGER g AFTER UPDATE ON w BEGIN DELETE FROM t; END; UPDATE w SET b = 1"
    )
    assert {("delete", "main.t"), ("delete", "main.u")} <= _effects(found, 1)


def test_names_are_those_that_stand_then(db: apsw.Connection) -> None:
    found = _judged(
        db,
        "ALTER TABLE t RENAME TO old; CREATE TABLE t(k, v, mine); DELETE FROM t WHERE mine = 1;"
        "DROP VIEW seen; CREATE TABLE seen(z); INSERT INTO seen SELECT v FROM old",
    )
    assert ("delete", "main.t") in _effects(found, 2)
    assert not any(name in ("main.old", "main.u") for _, name in _effects(found, 2))
    assert _effects(found, 5) == {("insert", "main.seen"), ("select", "main.old")}


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE n(x); SELECT load_extension('x')",
        "CREATE TABLE n(x); INSERT INTO n VALUES (writefile('a', 'b'))",
        "CREATE TABLE n(x); ATTACH 'b.db' AS b",
        "CREATE TABLE n(x); INSERT INTO sqlite_sequence VALUES ('t', 0)",
        "CREATE TABLE n(x); CREATE TEMP TABLE m(x); INSERT INTO m VALUES (1)",
        "CREATE TABLE n(x); PRAGMA writable_schema = 1",
        "CREATE VIEW e AS SELECT load_extension('x'); SELECT * FROM e",
        "CREATE TABLE n(x, y AS (load_extension(x))); INSERT INTO n(x) VALUES (1)",
        "CREATE TABLE n(x); INSERT INTO _holdfast_receipts VALUES (1)",
        "CREATE TABLE n(x); COMMIT",
    ],
)
def test_what_is_refused_by_itself_is_refused_there_too(db: apsw.Connection, sql: str) -> None:
    found = Judge(db, foreign_keys=True).judge(sql, None)
    assert isinstance(found, Deny)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("CREATE TABLE n(x); INSERT INTO n VALUES (1, 2)", "table n has 1 columns"),
        ("DROP TABLE t; SELECT * FROM t", "no such table"),
        ("ALTER TABLE t DROP COLUMN v; SELECT v FROM t", "error in"),
    ],
)
def test_the_engines_own_words_are_told(db: apsw.Connection, sql: str, message: str) -> None:
    found = Judge(db, foreign_keys=True).judge(sql, None)
    assert isinstance(found, Deny)
    assert message in found.detail


def test_a_table_made_of_endless_rows_is_refused_at_once(db: apsw.Connection) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    for query in (endless, f"SELECT count(*) FROM ({endless})", "SELECT zeroblob(60000000) AS z"):
        began = time.monotonic()
        found = Judge(db, foreign_keys=True).judge(f"CREATE TABLE x AS {query}; SELECT 1", None)
        assert isinstance(found, Deny), query
        assert found.reason == "sql.unsupported"
        assert time.monotonic() - began < 2


def test_nothing_is_carried_out_but_what_was_seen(db: apsw.Connection) -> None:
    stage = Stage(db, foreign_keys=True)
    with pytest.raises(CannotStage):
        stage.carry_out("DROP TABLE t", None, lambda *_: apsw.SQLITE_DENY)
    assert stage.db.table_exists("main", "t")
    stage.close()


def test_the_file_is_never_written_by_judging(db: apsw.Connection) -> None:
    before = db.execute("SELECT * FROM t").fetchall()
    for sql in ("DROP TABLE t; CREATE TABLE t(x); INSERT INTO t VALUES (1)",
                "DELETE FROM t; ALTER TABLE t ADD COLUMN z; UPDATE t SET z = 1"):  # fmt: skip
        _judged(db, sql)
    assert db.execute("SELECT * FROM t").fetchall() == before
