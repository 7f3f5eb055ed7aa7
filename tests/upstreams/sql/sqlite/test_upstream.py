"""The life of a source: what opens, what is found wrong, what other processes see."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.interfaces import ImageReader, Resident, Upstream
from gateway.model import EffectState
from gateway.store.images import Images
from gateway.upstreams.sql.sqlite import SqliteUpstream
from tests.upstreams.sql.sqlite.driving import Ticking, change, driving, rows_of

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'a'), (2, 'b');"


def upstream_of(path: Path, folder: Path) -> SqliteUpstream:
    return SqliteUpstream(
        "s", path, environment="test", folder=folder, spooler=Images(), clock=Ticking()
    )


def test_it_is_what_the_walk_asks_for(tmp_path: Path) -> None:
    made = upstream_of(tmp_path / "a.db", tmp_path)
    as_upstream: Upstream = made
    as_resident: Resident = made
    as_reader: ImageReader = made
    assert as_upstream.name == "s"
    assert as_resident is as_reader


@pytest.mark.parametrize("content", [None, b"this is no database, but it is long enough" * 50])
async def test_what_is_no_database_is_unreachable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UpstreamError) as refused:
        await upstream_of(path, tmp_path / "kept").open()
    assert refused.value.reason == "upstream.unreachable"


async def test_a_sound_source_has_nothing_to_say(tmp_path: Path) -> None:
    async with driving(tmp_path / "a.db", SCHEMA) as driver:
        assert await driver.upstream.check() == []


async def test_a_source_that_is_not_open_is_unreachable(tmp_path: Path) -> None:
    change(tmp_path / "a.db", SCHEMA)
    with pytest.raises(UpstreamError, match="not open"):
        await upstream_of(tmp_path / "a.db", tmp_path).happened("x")


async def test_old_receipts_and_journals_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with driving(path, SCHEMA) as driver:
        await driver.do("DELETE FROM t")
        old = driver.folder / "old.journal"
        old.write_bytes(b"x")
        os.utime(old, (0, 0))
    change(path, "UPDATE holdfast_receipt SET at = '2001-01-01T00:00:00+00:00'")
    again = upstream_of(path, driver.folder)
    await again.open()
    try:
        assert await again.happened("call-0001") is EffectState.NONE
    finally:
        await again.close()
    assert not old.exists()


CRASHING = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from gateway.model import OnConflict, Permit
    from tests.upstreams.sql.sqlite.driving import call_of, driving

    async def main(path, sql, point):
        def probe(step):
            if step == point:
                os.kill(os.getpid(), signal.SIGKILL)

        async with driving(Path(path), "SELECT 1", probe=probe) as driver:
            action = await driver.judged(sql)
            async with driver.upstream.attempt(call_of(7, ""), action) as attempt:
                await attempt.run()
                probe("ran")
                captured = await attempt.capture()
                Path(path + ".undo").write_text(repr(captured.undo.manifest["journal"]))
                probe("captured")
                await attempt.commit(Permit.issue("call-0007", 1))
                probe("done")

    asyncio.run(main(*sys.argv[1:]))
"""


def killed_at(path: Path, sql: str, point: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CRASHING), str(path), sql, point],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr.decode()


@pytest.mark.parametrize("sql", ["DELETE FROM t WHERE id = 1", "DROP TABLE t"])
@pytest.mark.parametrize(
    ("point", "effect"),
    [
        ("ran", EffectState.NONE),
        ("captured", EffectState.NONE),
        ("sqlite.committing", EffectState.NONE),
        ("sqlite.committed", EffectState.APPLIED),
        ("done", EffectState.APPLIED),
    ],
)
async def test_after_a_kill_the_receipt_tells_the_truth(
    tmp_path: Path, sql: str, point: str, effect: EffectState
) -> None:
    path = tmp_path / "a.db"
    change(path, SCHEMA)
    before = rows_of(path)
    await asyncio.to_thread(killed_at, path, sql, point)
    made = upstream_of(path, tmp_path / "kept")
    await made.open()
    try:
        assert await made.happened("call-0007") is effect
    finally:
        await made.close()
    assert (rows_of(path) == before) is (effect is EffectState.NONE)
    db = apsw.Connection(str(path))
    assert db.pragma("integrity_check") == "ok"
    db.close()
