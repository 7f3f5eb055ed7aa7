"""What an agent sees of a write is what a bare connection would have shown: rows, names of columns,
counts, and the engine's own errors. The database gets nothing but the gateway's table."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.values import render
from tests.upstreams.sql.sqlite.driving import change, driving

SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE, n INT CHECK(n < 1000) DEFAULT 7);
CREATE TABLE c(id INTEGER PRIMARY KEY AUTOINCREMENT, p NOT NULL REFERENCES p ON DELETE CASCADE);
CREATE TABLE late(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE s(k TEXT PRIMARY KEY, v INT) STRICT, WITHOUT ROWID;
CREATE TABLE log(what, id);
CREATE TABLE kept(id INTEGER PRIMARY KEY);
CREATE TRIGGER noted AFTER UPDATE ON p BEGIN INSERT INTO log VALUES('u', new.id); END;
CREATE TRIGGER guarded BEFORE DELETE ON kept BEGIN SELECT raise(ABORT, 'never'); END;
CREATE VIEW v AS SELECT id, name FROM p;
CREATE TRIGGER through INSTEAD OF UPDATE ON v BEGIN
  UPDATE p SET name = new.name WHERE id = old.id; END;
INSERT INTO p VALUES(1, 'one', 1), (2, 'two', 2), (3, 'three', NULL);
INSERT INTO c(p) VALUES(1), (1), (2); INSERT INTO s VALUES('a', 1); INSERT INTO kept VALUES(1);
"""

DONE = [
    "INSERT INTO p(name) VALUES('four'), ('five')",
    "INSERT INTO p(name) VALUES('four') RETURNING *, id * 2 AS twice, rowid",
    "INSERT OR IGNORE INTO p(name) VALUES('one'), ('six') RETURNING name",
    "INSERT INTO p(name) VALUES('one') ON CONFLICT DO UPDATE SET n = n + 10 RETURNING n, id",
    "INSERT INTO p(name) VALUES('one') ON CONFLICT DO NOTHING",
    "REPLACE INTO p VALUES(9, 'two', 5) RETURNING id",
    "UPDATE p SET n = 5",
    "UPDATE p SET n = n + 1 WHERE id < 3 RETURNING id, n, typeof(n), 1.5, x'00ff', NULL",
    "UPDATE p SET n = s.v FROM s WHERE p.id = s.v RETURNING id, n",
    "UPDATE p SET n = n WHERE id = 99",
    "UPDATE v SET name = upper(name) WHERE id = 1",
    "DELETE FROM p WHERE id = 1",
    "DELETE FROM p WHERE id > 1 RETURNING id, name",
    "DELETE FROM log",
    "WITH d(i) AS (SELECT 3) DELETE FROM p WHERE id IN (SELECT i FROM d)",
    "INSERT INTO c(p) SELECT id FROM p RETURNING id, p",
    "UPDATE s SET k = 'b', v = '12' RETURNING k, v",
    "INSERT INTO p(name) VALUES('x'); UPDATE p SET n = last_insert_rowid() WHERE name = 'x'",
    "INSERT INTO late VALUES(77); INSERT INTO p(id) VALUES(77)",
    "UPDATE p SET n = 3 WHERE id = 1; DELETE FROM c WHERE p = 1; SELECT changes()",
]
FAILING = [
    "INSERT INTO p(name) VALUES('one')",
    "INSERT INTO p(id) VALUES(1)",
    "INSERT INTO p(id) VALUES('text')",
    "UPDATE p SET n = 1000",
    "INSERT INTO c(p) VALUES(NULL)",
    "INSERT INTO c(p) VALUES(55)",
    "INSERT INTO late VALUES(55)",
    "UPDATE s SET v = 'no number'",
    "INSERT INTO s VALUES('a', 2)",
    "DELETE FROM kept",
    "UPDATE p SET id = 2 WHERE id = 1",
    "UPDATE p SET n = abs(-9223372036854775807 - 1)",
    "UPDATE p SET name = json_extract('{', '$.a')",
    "INSERT INTO p(name) SELECT substr(name, 'a', 'b', 'c') FROM p",
    "INSERT INTO log VALUES(1)",
    "UPDATE p SET absent = 1",
    "DELETE FROM absent",
]
LIMITS = {
    "rows": SqlLimits(lock_timeout_s=1.0),
    "pages": SqlLimits(lock_timeout_s=1.0, row_images=0),
}


def bare(path: Path, sql: str) -> list[tuple[list[str], list[list[object]], int]]:
    """Column names, rows and count of each statement."""
    copy = path.with_name("bare.db")
    shutil.copy(path, copy)
    found = []
    db = apsw.Connection(str(copy))
    try:
        db.pragma("foreign_keys", True)
        db.execute("BEGIN")
        for part in sql.split(";"):
            cursor, names = db.cursor(), []

            def named(cursor: apsw.Cursor, *_: object, names: list[str] = names) -> bool:
                names.extend(str(c[0]) for c in cursor.get_description())
                return True

            cursor.exec_trace = named
            before = db.total_changes()
            rows = [[render(cell) for cell in row] for row in cursor.execute(part)]
            found.append((names, rows, db.changes() if db.total_changes() != before else 0))
        db.execute("COMMIT")
    finally:
        db.close()
    return found


@pytest.mark.parametrize("way", list(LIMITS))
@pytest.mark.parametrize("sql", DONE)
async def test_rows_names_and_counts_are_those_of_a_bare_connection(
    tmp_path: Path, sql: str, way: str
) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA, limits=LIMITS[way]) as driver:
        wanted = bare(path, sql)
        result = (await driver.do(sql)).ran.result
    found = [
        ([c["name"] for c in one["columns"]], one["rows"], one["affected"])
        for one in result.get("results", [result])
    ]
    assert found == wanted


@pytest.mark.parametrize("sql", FAILING)
async def test_errors_are_the_engines_own(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        with pytest.raises(apsw.Error) as wanted:
            bare(path, sql)
        action = await driver.parse(sql)
        if not hasattr(action, "facts"):
            assert str(wanted.value) in action.detail  # type: ignore[union-attr]
            return
        with pytest.raises(UpstreamError) as found:
            await driver.do(sql)
    assert found.value.extra["message"] == str(wanted.value)
    assert found.value.extra["code"] == wanted.value.extendedresult  # type: ignore[attr-defined]
    assert found.value.proves_no_effect


async def test_nothing_of_the_gateways_is_in_anybodys_way(tmp_path: Path) -> None:
    def schema() -> set[tuple[object, ...]]:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return set(db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall())
        finally:
            db.close()

    path = tmp_path / "a.db"
    change(path, SCHEMA)
    before = schema()
    async with driving(path, "SELECT 1") as driver:
        done = await driver.do("DELETE FROM p WHERE id = 1")
        await driver.revert(done)
    assert {row[2] for row in schema() ^ before} == {"holdfast_receipt"}
