"""The way back is tried before the call commits: exact ones pass and leave no trace, and every kind
of damage to what was captured is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.model import Deny, Permit
from gateway.upstreams.sql.sqlite.attempt import SqliteAttempt
from gateway.upstreams.sql.sqlite.images import Change, TableImage, manifest_of, pack, unpack
from tests.upstreams.sql.sqlite.driving import Driver, call_of, driving, rows_of

SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY, name TEXT UNIQUE, twice AS (id * 2) STORED);
CREATE TABLE c(id INTEGER PRIMARY KEY AUTOINCREMENT, p REFERENCES p(id) ON DELETE CASCADE);
CREATE TABLE k(a TEXT COLLATE NOCASE, b, v, PRIMARY KEY(a, b)) WITHOUT ROWID;
CREATE TABLE log(what);
CREATE TRIGGER p_d AFTER DELETE ON p BEGIN INSERT INTO log VALUES(old.name); END;
INSERT INTO p VALUES(1, 'ann'), (2, 'ben'), (3, NULL);
INSERT INTO c VALUES(1, 1), (2, 1), (3, 2);
INSERT INTO k VALUES('x', 1, 1.0), ('y', 2, x'00');
"""


async def rehearsed(
    driver: Driver, sql: str, spoil: Callable[[SqliteAttempt], None] | None = None
) -> Deny | None:
    """What the rehearsal says; the call then commits all the same, to see that nothing of the
    rehearsal stays behind."""
    action = await driver.judged(sql)
    call = call_of(driver.number, sql)
    async with driver.upstream.attempt(call, action) as attempt:
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny), captured
        if spoil is not None:
            spoil(attempt)
        said = await attempt.rehearse(demanded=True)
        await attempt.commit(Permit.issue(call.id, 1))
    return said


STATEMENTS = [
    "DELETE FROM p",
    "DELETE FROM p WHERE id = 1",
    "UPDATE p SET id = id + 10 WHERE id = 3",
    "UPDATE p SET name = name || '!' ",
    "INSERT INTO p VALUES(9, 'new')",
    "REPLACE INTO p VALUES(9, 'ann')",
    "UPDATE k SET a = 'X', v = 2 WHERE b = 1",
    "DELETE FROM k",
    "INSERT INTO c(p) VALUES(2)",
    "CREATE TABLE fresh(a)",
    "DROP TABLE c",
    "ALTER TABLE p ADD COLUMN more",
    "CREATE INDEX i ON c(p)",
]


@pytest.mark.parametrize("sql", STATEMENTS)
async def test_a_rehearsal_that_passes_leaves_the_call_as_it_was(tmp_path: Path, sql: str) -> None:
    async with driving(tmp_path / "plain.db", SCHEMA) as plain:
        await plain.do(sql)
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        before = rows_of(driver.path)
        assert await rehearsed(driver, sql) is None
        assert rows_of(driver.path) == rows_of(plain.path)
        assert rows_of(driver.path) != before or "INDEX" in sql


def spoiled(change: Callable[[list[TableImage]], list[TableImage]]) -> Callable[..., None]:
    def spoil(attempt: SqliteAttempt) -> None:
        transaction = attempt._work._transaction
        undo = transaction._undo
        assert undo is not None
        images = change(unpack(undo.manifest["tables"], undo.image))
        packed = pack(images, max_bytes=1 << 20)
        assert packed is not None
        tables = {"tables": manifest_of(images)}
        transaction._undo = replace(undo, image=packed, manifest={**undo.manifest, **tables})

    return spoil


def changed(images: list[TableImage], place: int, old: Change) -> list[TableImage]:
    changes = list(images[place].changes)
    changes[0] = old
    return [*images[:place], replace(images[place], changes=tuple(changes)), *images[place + 1 :]]


def _without_the_last(images: list[TableImage]) -> list[TableImage]:
    return [replace(i, changes=i.changes[:-1]) for i in images]


def _without_a_table(images: list[TableImage]) -> list[TableImage]:
    return images[1:]


def _another_value(images: list[TableImage]) -> list[TableImage]:
    first = images[-1].changes[0]
    assert first.before is not None
    return changed(images, -1, Change(first.key, (*first.before[:-1], "other"), first.after))


def _another_type(images: list[TableImage]) -> list[TableImage]:
    first = images[0].changes[0]
    assert first.before is not None
    return changed(images, 0, Change(first.key, (*first.before[:-1], 1), first.after))


@pytest.mark.parametrize(
    ("sql", "damage"),
    [
        ("DELETE FROM p", _without_the_last),
        ("DELETE FROM p WHERE id = 1", _without_a_table),
        ("DELETE FROM p WHERE id = 1", _another_value),
        ("UPDATE p SET name = 'x' WHERE id = 1", _another_value),
        ("UPDATE k SET v = 7 WHERE b = 1", _another_type),
        ("INSERT INTO p VALUES(9, 'new')", _without_the_last),
    ],
)
async def test_images_that_are_not_exact_are_found(
    tmp_path: Path, sql: str, damage: Callable[[list[TableImage]], list[TableImage]]
) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        said = await rehearsed(driver, sql, spoiled(damage))
        assert said is not None
        assert said.reason == "undo.inexact"


def _other_bytes(journal: Path) -> None:
    data = bytearray(journal.read_bytes())
    data[600] ^= 1
    journal.write_bytes(data)


@pytest.mark.parametrize("damage", [_other_bytes, lambda j: j.write_bytes(b""), Path.unlink])
async def test_a_kept_journal_that_is_not_the_file_before_is_found(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        # Another file under the kept name: the journal itself is SQLite's.
        def spoil(attempt: SqliteAttempt) -> None:
            kept = attempt._work._transaction._kept
            assert kept is not None
            data = kept.path.read_bytes()
            kept.path.unlink()
            kept.path.write_bytes(data)
            damage(kept.path)

        said = await rehearsed(driver, "DROP TABLE c", spoil)
        assert said is not None
        assert said.reason == "undo.inexact"
