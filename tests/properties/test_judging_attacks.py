"""Statements that try to pass for reads, judged and then run: behind the gateway's walls, and
outside of any, where nothing but the judgement holds an effect back."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
import psycopg
import pytest
import yaml

from gateway.errors import UpstreamError
from gateway.interfaces import Upstream
from gateway.model import Action, ActionClass, Call, Deny, Subject, Surface
from gateway.store.images import Images
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.judge import Judged
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from tests.fixtures.postgres_judging import bench, load
from tests.fixtures.postgres_server import PostgresServer
from tests.upstreams.sql.sqlite.driving import Driver, driving, rows_in, rows_of

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FOLDER = Path(__file__).parents[1] / "fixtures" / "sql"


def _table(engine: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(
        (FOLDER / f"attacks_{engine}.yaml").read_text(encoding="utf-8")
    )
    return loaded


POSTGRES, SQLITE = _table("postgres"), _table("sqlite")


def _placed(table: dict[str, Any]) -> Iterator[str]:
    """Every call in every place of the grammar, and every table in every place of FROM."""
    for what, where in (("calls", "positions"), ("tables", "table_positions")):
        for position in table[where]:
            for thing in table[what]:
                yield position.replace("{}", thing)


def _attacks(table: dict[str, Any]) -> list[str]:
    return [sql for group in table["attacks"].values() for sql in group]


class _Clock:
    def now(self) -> datetime:
        return NOW


def _call(sql: str) -> Call:
    return Call(
        id="call_1",
        subject=Subject(id="agent", session="s"),
        surface=Surface.SQL,
        tool="app",
        request={"sql": sql},
        digest="d",
        received_at=NOW,
    )


async def _parsed(upstream: Upstream, sql: str) -> Action | Deny:
    return await upstream.parse(_call(sql))


def _is_read(found: Action | Judged | Deny) -> bool:
    return not isinstance(found, Deny) and found.cls is ActionClass.READ


async def _read(upstream: Upstream, sql: str, action: Action) -> None:
    async with upstream.attempt(_call(sql), action) as attempt:
        with suppress(UpstreamError):  # what fails has no effect either; that is looked at
            await attempt.read()


# --- PostgreSQL ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return load(postgres_server, POSTGRES["schema"])


@asynccontextmanager
async def _postgres(server: PostgresServer, database: str) -> AsyncIterator[PostgresUpstream]:
    """As superuser: the judgement is the only wall besides READ ONLY."""
    upstream = PostgresUpstream(
        "app",
        url=server.url(database),
        capture_url=None,
        environment="test",
        limits=SqlLimits(statement_timeout_s=5),
        spooler=Images(),
        clock=_Clock(),
    )
    await upstream.open()
    try:
        yield upstream
    finally:
        await upstream.close()


class Witness:
    """Looks at a whole database, and at a session that runs statements outside of any wall."""

    _STATE = """
        SELECT (SELECT json_agg(c.oid::text || c.relname || c.relfilenode ORDER BY c.oid)
                  FROM pg_class c WHERE c.relnamespace <> 'pg_toast'::regnamespace),
               (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_type),
               (SELECT json_agg(l::text ORDER BY l::text) FROM pg_largeobject l),
               (SELECT json_agg(m::text ORDER BY m::text) FROM pg_largeobject_metadata m),
               (SELECT json_agg(slot_name) FROM pg_replication_slots),
               (SELECT json_agg(roname) FROM pg_replication_origin),
               (SELECT json_agg(s::text) FROM pg_db_role_setting s),
               (SELECT json_agg(rolname ORDER BY oid) FROM pg_roles),
               (SELECT json_agg(stats_reset ORDER BY datid) FROM pg_stat_database
                 WHERE datname = current_database()),
               (SELECT json_agg(sequencename || last_value::text) FROM pg_sequences)"""
    _SESSION = """
        SELECT (SELECT json_agg(name || '=' || setting ORDER BY name) FROM pg_settings
                 WHERE source = 'session'),
               (SELECT json_agg(name) FROM pg_prepared_statements),
               (SELECT json_agg(name) FROM pg_cursors WHERE name <> ''),
               (SELECT json_agg(c) FROM pg_listening_channels() c), pg_my_temp_schema()::int,
               (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"""
    _TRACES = """
        SELECT pg_current_xact_id_if_assigned()::text,
               (SELECT json_agg(coalesce(relation::regclass::text, locktype) || ' ' || mode)
                  FROM pg_locks WHERE pid = pg_backend_pid() AND locktype <> 'virtualxid'
                   AND mode <> 'AccessShareLock')"""

    def __init__(self, url: str) -> None:
        self._looking = psycopg.connect(url, autocommit=True)
        self._running = psycopg.connect(
            url, autocommit=True, prepare_threshold=None, options="-c statement_timeout=5000"
        )
        self._tables = [
            str(name)
            for (name,) in self._looking.execute(
                "SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'm') "
                "AND relnamespace IN ('public'::regnamespace, 'other'::regnamespace)"
            )
        ]

    def state(self) -> list[Any]:
        rows = " UNION ALL ".join(
            f"SELECT '{t}', md5(string_agg(x::text, '|' ORDER BY x::text)) FROM {t} x"
            for t in self._tables
        )
        return [
            *self._looking.execute(self._STATE.encode()).fetchall(),
            *self._looking.execute(rows.encode()).fetchall(),
        ]

    def session(self) -> tuple[Any, ...] | None:
        return self._running.execute(self._SESSION.encode()).fetchone()

    def traces(self, sql: str) -> list[Any]:
        """Transaction id and locks that ``sql`` takes; it is committed."""
        self._running.execute("BEGIN")
        try:
            self._running.execute(sql.encode())
        except psycopg.Error:
            self._running.execute("ROLLBACK")
            return []
        found = self._running.execute(self._TRACES.encode()).fetchone()
        self._running.execute("COMMIT")
        return [trace for trace in found or () if trace is not None]

    def close(self) -> None:
        self._looking.close()
        self._running.close()


@pytest.fixture
def witness(postgres_server: PostgresServer, database: str) -> Iterator[Witness]:
    found = Witness(postgres_server.url(database))
    yield found
    found.close()


async def test_no_place_of_the_grammar_hides_a_call_from_the_judge_of_postgres(
    postgres_server: PostgresServer, database: str, witness: Witness
) -> None:
    before = witness.state()
    passed: list[str] = []
    taken_back: list[str] = []
    agreed: list[str] = []  # runs only after a person has agreed
    reasons: dict[str, int] = {}
    async with bench(postgres_server, database) as judging:
        for sql in _placed(POSTGRES):
            found = await judging.judged(sql)
            if isinstance(found, Deny):
                reasons[found.reason] = reasons.get(found.reason, 0) + 1
            elif found.name == "execute":
                agreed.append(sql)
            elif found.cls is ActionClass.READ or all(run.change is None for run in found.runs):
                passed.append(sql)
            else:
                taken_back.append(sql)

    assert passed == []
    assert any("bump()" in sql for sql in agreed)
    assert not any("pg_" in sql or "lo_" in sql or "setval" in sql for sql in agreed)
    # setval alone, however it is written, is a change of a sequence with an exact way back.
    assert all("setval('s1', 1" in sql for sql in taken_back)
    # Most of them are well formed: it is the call that they are refused for.
    assert reasons["action.unsupported"] > 0.8 * sum(reasons.values())
    assert witness.state() == before, "judging had an effect"


async def test_no_attack_on_postgres_is_judged_a_read(
    postgres_server: PostgresServer, database: str, witness: Witness
) -> None:
    before = witness.state()
    async with _postgres(postgres_server, database) as upstream:
        passed = [sql for sql in _attacks(POSTGRES) if _is_read(await _parsed(upstream, sql))]

    assert passed == []
    assert witness.state() == before, "judging had an effect"


async def test_what_is_judged_a_read_of_postgres_has_no_effect_behind_walls_or_without(
    postgres_server: PostgresServer, database: str, witness: Witness
) -> None:
    state, session = witness.state(), witness.session()
    faults: list[str] = []
    ran = 0
    async with _postgres(postgres_server, database) as upstream:
        for sql in (*POSTGRES["suspects"], *POSTGRES["reads"]):
            action = await _parsed(upstream, sql)
            if not isinstance(action, Action) or action.cls is not ActionClass.READ:
                continue
            ran += 1
            await _read(upstream, sql, action)
            if witness.state() != state:
                faults.append(f"behind READ ONLY: {sql}")
            traces = witness.traces(sql)
            # To plan a write is to lock its table as the write would, until the call ends.
            if traces and not sql.startswith("EXPLAIN"):
                faults.append(f"{traces}: {sql}")
            if witness.state() != state or witness.session() != session:
                faults.append(f"left something behind: {sql}")
                state, session = witness.state(), witness.session()

    assert faults == []
    assert ran > 0.8 * len(POSTGRES["suspects"] + POSTGRES["reads"])


async def test_ordinary_questions_to_postgres_are_reads(
    postgres_server: PostgresServer, database: str
) -> None:
    refused: list[tuple[str, object]] = []
    async with _postgres(postgres_server, database) as upstream:
        for sql in POSTGRES["reads"]:
            found = await _parsed(upstream, sql)
            if not _is_read(found):
                refused.append((sql, found))

    assert refused == []


async def test_what_a_write_to_postgres_changes_is_known_before_it_is_committed(
    postgres_server: PostgresServer, database: str
) -> None:
    missed: list[tuple[str, set[str]]] = []
    async with _postgres(postgres_server, database) as upstream:
        for sql, tables in POSTGRES["writes"]:
            action = await _parsed(upstream, sql)
            assert isinstance(action, Action), (sql, action)
            assert action.cls is not ActionClass.READ, sql
            known = {e.name for e in action.effects if e.verb != "select"}
            if not set(tables) <= known:
                async with upstream.attempt(_call(sql), action) as attempt:
                    known |= set((await attempt.run()).measured.tables)
            if not set(tables) <= known:
                missed.append((sql, set(tables) - known))

    assert missed == []


# --- SQLite -------------------------------------------------------------------------------


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    async with driving(tmp_path / "shop.db", SQLITE["schema"]) as found:
        yield found


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def test_no_place_of_the_grammar_hides_a_call_from_the_judge_of_sqlite(
    driver: Driver, tmp_path: Path
) -> None:
    before = _files(tmp_path)
    passed = [
        sql for sql in _placed(SQLITE) if not isinstance(await _parsed(driver.upstream, sql), Deny)
    ]

    assert passed == []
    assert _files(tmp_path) == before, "judging had an effect"


async def test_no_attack_on_sqlite_is_judged_a_read(driver: Driver, tmp_path: Path) -> None:
    before = _files(tmp_path)
    passed = [sql for sql in _attacks(SQLITE) if _is_read(await _parsed(driver.upstream, sql))]

    assert passed == []
    assert _files(tmp_path) == before, "judging had an effect"


async def test_what_is_judged_a_read_of_sqlite_has_no_effect_behind_walls_or_without(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy(driver.path, outside / "shop.db")
    monkeypatch.chdir(outside)  # where a file named in a statement would appear
    db = apsw.Connection("shop.db")
    before, rows = _files(tmp_path), rows_in(db)
    faults: list[str] = []
    ran = 0
    for sql in (*SQLITE["suspects"], *SQLITE["reads"]):
        action = await _parsed(driver.upstream, sql)
        if not isinstance(action, Action) or action.cls is not ActionClass.READ:
            continue
        ran += 1
        await _read(driver.upstream, sql, action)
        with suppress(apsw.Error):
            db.execute(sql).fetchall()
        settings = (db.in_transaction, db.total_changes(), db.pragma("foreign_keys"))
        if _files(tmp_path) != before or rows_in(db) != rows or settings != (False, 0, 0):
            faults.append(sql)
    db.close()

    assert faults == []
    assert ran > 0.8 * len(SQLITE["suspects"] + SQLITE["reads"])


async def test_ordinary_questions_to_sqlite_are_reads(driver: Driver) -> None:
    refused: list[tuple[str, object]] = []
    for sql in SQLITE["reads"]:
        found = await _parsed(driver.upstream, sql)
        if not _is_read(found):
            refused.append((sql, found))

    assert refused == []


async def test_a_write_to_sqlite_is_known_with_all_its_tables_and_undone_exactly(
    driver: Driver,
) -> None:
    for sql, tables in SQLITE["writes"]:
        before = rows_of(driver.path)
        done = await driver.do(sql)
        after = rows_of(driver.path)
        known = {e.name.removeprefix("main.") for e in done.action.effects if e.verb != "select"}
        changed = {table for table in before if before[table] != after[table]}

        assert set(tables) <= known, sql
        assert changed <= known, sql
        await driver.revert(done)
        assert rows_of(driver.path) == before, sql
