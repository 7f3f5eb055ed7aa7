"""The matrix of SQLite. A cell is ``exact``: the call's way back is rehearsed, the call commits,
the revert brings back every row, row id and byte of the schema (and of the file, where it comes
back as one), and the revert of the revert brings the call's effect again. Or it is refused before
it commits, with the file unchanged; and that only where the same statement fails on a bare
connection, or belongs to what is refused everywhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.model import Action, Deny, Permit
from gateway.upstreams.sql.limits import SqlLimits
from tests.matrix.cases import FAILS
from tests.matrix.sqlite import expected
from tests.matrix.sqlite_cells import KINDS, REFUSED, SHAPES, TRAPS, TRAPS_REFUSED
from tests.upstreams.sql.sqlite.driving import Done, Driver, call_of, driving, rows_in

_RECEIPTS = "holdfast_receipt"


def state(path: Path) -> tuple[object, ...]:
    """Rows with their row ids, schema, virtual tables and settings."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert db.pragma("integrity_check") == "ok"
        schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        texts = [name for _, name, _, sql in schema if "fts5" in str(sql)]
        found = {name: matches(db, str(name)) for name in texts}
        numbers = db.pragma("user_version"), db.pragma("application_id")
        return rows_in(db), sorted(map(repr, schema)), found, numbers
    finally:
        db.close()


def matches(db: apsw.Connection, name: str) -> object:
    """What a full-text table finds; its error where the table that it indexes is gone."""
    try:
        return db.execute(f"SELECT rowid, * FROM {name}('a* OR z*')").fetchall()
    except apsw.SQLError as error:
        return str(error)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def file_of(path: Path) -> str:
    """Of the file without its counters, and without what lies in pages that are free."""
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    size = 65536 if size == 1 else size
    for at in (24, 40, 92):
        data[at : at + 4] = bytes(4)
    trunk = int.from_bytes(data[32:36], "big")
    while trunk:
        start = (trunk - 1) * size
        count = int.from_bytes(data[start + 4 : start + 8], "big")
        leaves = [
            int.from_bytes(data[start + 8 + 4 * i : start + 12 + 4 * i], "big")
            for i in range(count)
        ]
        for leaf in leaves:
            data[(leaf - 1) * size : leaf * size] = bytes(size)
        trunk = int.from_bytes(data[start : start + 4], "big")
    return hashlib.sha256(data).hexdigest()


def sequence(path: Path) -> dict[object, object]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        if not db.table_exists("main", "sqlite_sequence"):
            return {}
        return dict(db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    finally:
        db.close()


def fails_by_itself(path: Path, sql: str) -> bool:
    """Whether the statement fails on a bare connection too."""
    bare = path.with_name("bare.db")
    shutil.copy(path, bare)
    db = apsw.Connection(str(bare))
    try:
        db.pragma("foreign_keys", True)
        db.execute("BEGIN")
        db.execute(sql).fetchall()
        db.execute("COMMIT")
    except apsw.Error:
        return True
    finally:
        db.close()
    return False


async def done(driver: Driver, sql: str) -> Done | str:
    """The committed call, or the reason of its refusal."""
    action = await driver.parse(sql)
    if isinstance(action, Deny):
        return action.reason
    assert isinstance(action, Action)
    call = call_of(driver.number, sql)
    try:
        async with driver.upstream.attempt(call, action) as attempt:
            ran = await attempt.run()
            captured = await attempt.capture()
            if isinstance(captured, Deny):
                return captured.reason
            inexact = await attempt.rehearse(demanded=True)
            assert inexact is None, inexact
            outcome = await attempt.commit(Permit.issue(call.id, 1))
    except UpstreamError as error:
        return error.reason
    return Done(call, action, ran, captured.undo, outcome)


async def cell(path: Path, setup: str, sql: str, limits: SqlLimits) -> str:
    async with driving(path, setup, limits=limits) as driver:
        before, file, counters = state(path), file_of(path), sequence(path)
        raw = bytes_of(path)
        call = await done(driver, sql)
        if isinstance(call, str):
            assert bytes_of(path) == raw, "refused, but the file changed"
            return "refused"
        after = state(path)
        steps, back = await driver.revert(call)
        assert [s.state for s in steps] == ["reverted"], steps
        assert state(path) == before
        if "after" not in call.undo.manifest["journal"] and not call.undo.manifest["rowwise"]:
            assert file_of(path) == file
        else:
            assert all(sequence(path)[n] >= s for n, s in counters.items())  # type: ignore[operator]
        if back is not None:
            again, _ = await driver.revert(back)
            assert [s.state for s in again] == ["reverted"], again
            assert state(path) == after
    return "exact"


LIMITS = {
    "rows": SqlLimits(lock_timeout_s=1.0),
    "pages": SqlLimits(lock_timeout_s=1.0, row_images=0),
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """In memory where the system has such a folder: thousands of files are made and synced."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


# In write-ahead mode rows are kept as everywhere; everything else by a copy.
WAL = "; PRAGMA journal_mode = wal"
BY_COPY = tuple(s for s in SHAPES if s.split()[0] in ("CREATE", "DROP", "ADD", "RENAME", "ANALYZE",
                                                      "PRAGMA", "schema"))  # fmt: skip
TRIES = 40


def in_folders(place: Path) -> Iterator[tuple[str, str, Path]]:
    """Every shape, its statement, and a new folder."""
    for number, (shape, sql) in enumerate(SHAPES.items()):
        folder = place / str(number)
        folder.mkdir()
        yield shape, sql, folder


def fresh(path: Path, kind: str) -> Path:
    db = apsw.Connection(str(path))
    db.execute(KINDS[kind])
    db.close()
    return path


def left_in(place: Path) -> set[str]:
    return {path.name for path in place.rglob("*")}


@pytest.mark.parametrize("way", list(LIMITS))
@pytest.mark.parametrize("kind", list(KINDS))
async def test_every_shape_is_exact_or_fails_by_itself(place: Path, kind: str, way: str) -> None:
    wrong: list[str] = []
    for shape, sql, folder in in_folders(place):
        try:
            found = await cell(folder / "a.db", KINDS[kind], sql, LIMITS[way])
        except AssertionError as error:
            wrong.append(f"{shape}: {str(error)[:300]}")
            continue
        # Chance may have met a row that a bare connection would have failed on too.
        tries = TRIES if "random()" in sql else 1
        bare = (fresh(folder / f"fresh{number}.db", kind) for number in range(tries))
        if found.replace("refused", FAILS) not in expected(kind, shape):
            wrong.append(f"{shape}: {found}, which the page does not say")
        if found == "refused" and not any(fails_by_itself(path, sql) for path in bare):
            wrong.append(f"{shape}: refused, though it could be exact")
    assert wrong == []


@pytest.mark.parametrize("kind", list(KINDS))
async def test_changes_of_the_schema_in_write_ahead_mode(place: Path, kind: str) -> None:
    found, wanted = {}, {}
    for shape, sql, folder in in_folders(place):
        if shape in BY_COPY:
            found[shape] = await cell(folder / "a.db", KINDS[kind] + WAL, sql, LIMITS["rows"])
            wanted[shape] = expected(kind, shape)
    assert {s: frozenset({f.replace("refused", FAILS)}) for s, f in found.items()} == wanted
    assert len(found) > 10


@pytest.mark.parametrize("sql", list(REFUSED.values()), ids=list(REFUSED))
async def test_what_is_refused_changes_nothing(place: Path, sql: str) -> None:
    assert await cell(place / "a.db", KINDS["cascade"], sql, LIMITS["rows"]) == "refused"
    assert left_in(place) <= {"a.db", "kept"}


@pytest.mark.parametrize("way", list(LIMITS))
@pytest.mark.parametrize("trap", list(TRAPS))
async def test_traps(place: Path, trap: str, way: str) -> None:
    setup, sql = TRAPS[trap]
    wanted = "refused" if trap in TRAPS_REFUSED else "exact"
    assert await cell(place / "a.db", setup, sql, LIMITS[way]) == wanted
