"""The schema is the sum of its migrations, whole or not at all."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.migrating import migrate, statements
from gateway.store.queries import Migration, migrations, queries
from gateway.store.rows import (
    AgentRow,
    ApprovalRow,
    CallRow,
    EntryRow,
    FreezeRow,
    RevertRow,
    SnapshotRow,
)
from tests.fixtures.fakes import FakeClock
from tests.fixtures.stores import sqlite_store


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name"
    ).fetchall()


async def test_the_schema_of_a_store_is_the_sum_of_the_migrations(
    tmp_path: Path, empty: sqlite3.Connection
) -> None:
    store = sqlite_store(tmp_path, FakeClock())
    await store.open()
    await store.close()
    for step in migrations():
        empty.executescript(step.text)
    on_disk = sqlite3.connect(tmp_path / "store.db")
    found = [row for row in schema(on_disk) if row[0] != "migrations"]
    on_disk.close()
    assert found == schema(empty)


def test_migrating_again_changes_nothing(empty: sqlite3.Connection) -> None:
    migrate(empty)
    before = schema(empty)
    migrate(empty)
    assert schema(empty) == before
    assert [n for (n,) in empty.execute("SELECT number FROM migrations")] == [
        step.number for step in migrations()
    ]


def test_an_older_store_is_brought_up_step_by_step(empty: sqlite3.Connection) -> None:
    migrate(empty, migrations()[:1])
    migrate(empty)
    assert empty.execute("SELECT COUNT(*) FROM audit").fetchone() == (0,)


def test_a_newer_store_is_refused(empty: sqlite3.Connection) -> None:
    newer = Migration(len(migrations()) + 1, "0005_later.sql", "CREATE TABLE later (x);")
    migrate(empty, [*migrations(), newer])
    with pytest.raises(StoreUnavailable, match="newer"):
        migrate(empty)


def test_a_store_with_another_history_is_refused(empty: sqlite3.Connection) -> None:
    migrate(empty, [migrations()[0]._replace(text="CREATE TABLE calls (id);")])
    with pytest.raises(StoreUnavailable, match="another"):
        migrate(empty)


def test_an_interrupted_migration_leaves_nothing_behind(empty: sqlite3.Connection) -> None:
    broken = Migration(1, "0001_x.sql", "CREATE TABLE one (x);\nCREATE TABLE two (x);\nNONSENSE;\n")
    with pytest.raises(sqlite3.Error):
        migrate(empty, [broken])
    assert [name for name, _ in schema(empty)] == ["migrations"]
    migrate(empty)
    assert empty.execute("SELECT COUNT(*) FROM calls").fetchone() == (0,)


def test_a_trigger_is_one_statement() -> None:
    for step in migrations():
        assert all(sqlite3.complete_statement(s) for s in statements(step.text))


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("calls", CallRow),
        ("snapshots", SnapshotRow),
        ("freezes", FreezeRow),
        ("approvals", ApprovalRow),
        ("reverts", RevertRow),
        ("agents", AgentRow),
        ("audit", EntryRow),
    ],
)
def test_a_row_has_the_columns_of_its_table(
    empty: sqlite3.Connection, table: str, row: type[CallRow]
) -> None:
    migrate(empty)
    columns = [name for _, name, *_ in empty.execute(f"PRAGMA table_info({table})")]
    assert columns == list(row._fields)


def test_every_statement_is_understood_by_the_schema(empty: sqlite3.Connection) -> None:
    migrate(empty)
    for name, text in queries().items():
        cells = dict.fromkeys(re.findall(r":(\w+)", text))
        plan = empty.execute(f"EXPLAIN {text}", cells).fetchall()
        assert plan, name


def test_calls_of_a_session_or_an_agent_are_found_by_index(empty: sqlite3.Connection) -> None:
    migrate(empty)
    for name, index in (
        ("calls_of_session", "calls_by_session"),
        ("calls_of_agent", "calls_by_agent"),
        ("unsettled", "calls_unsettled"),
        ("key_holder", "calls_by_key"),
    ):
        cells = dict.fromkeys(re.findall(r":(\w+)", queries()[name]))
        plan = empty.execute(f"EXPLAIN QUERY PLAN {queries()[name]}", cells).fetchall()
        assert any(index in row[3] for row in plan), plan
