"""Code that reading runs without naming it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres.implicit import HiddenCode, hidden_code
from gateway.upstreams.sql.postgres.judge import PRELOAD, Judge
from gateway.upstreams.sql.worker import ParseWorker
from tests.fixtures.postgres_server import PostgresServer

FOUND = yaml.safe_load(
    (Path(__file__).parents[3] / "fixtures" / "sql" / "attacks_postgres_hidden.yaml").read_text()
)
ATTACKS = [sql for group in FOUND["attacks"].values() for sql in group]


@pytest.fixture
async def connection(
    postgres_server: PostgresServer,
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    name = postgres_server.create_database()
    with psycopg.connect(postgres_server.url(name), autocommit=True) as admin:
        admin.execute(FOUND["schema"])
    connection = await psycopg.AsyncConnection.connect(postgres_server.url(name), autocommit=True)
    try:
        yield connection
    finally:
        await connection.close()
        postgres_server.drop_database(name)


async def test_what_reading_a_relation_runs_is_found(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    await connection.execute("BEGIN READ ONLY")
    assert await hidden_code(connection, names=["users"]) == []
    assert await hidden_code(connection) == []
    assert await hidden_code(connection, names=["liarix"]) == ["public.liar"]
    assert await hidden_code(connection, names=["hpar"]) == ["public.ihash"]
    assert await hidden_code(connection, names=["moody"]) == [
        "public.mood_json",
        "public.mood_text",
    ]


async def test_it_is_asked_anew_once_anything_was_written(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    url = f"host={connection.info.host} port={connection.info.port} user=postgres"
    with psycopg.connect(f"{url} dbname={connection.info.dbname}", autocommit=True) as other:
        hidden = HiddenCode()
        await connection.execute("BEGIN READ ONLY")
        for _ in range(5):
            assert await hidden.of(connection, ["users"], []) == []
        assert hidden.asked < 5
        assert await hidden.of(connection, ["moody"], []) == [
            "public.mood_json",
            "public.mood_text",
        ]
        other.execute("DROP CAST (public.mood AS text)")
        assert await hidden.of(connection, ["moody"], []) == ["public.mood_json"]
        # One that has written its commit, or will, and cannot be seen yet.
        with psycopg.connect(f"{url} dbname={connection.info.dbname}") as slow:
            slow.execute("CREATE INDEX sly ON users ((public.ihash(id, 1::int8)))")
            assert await hidden.of(connection, ["users"], []) == []
            slow.commit()
        assert await hidden.of(connection, ["users"], []) == ["public.ihash"]
        await connection.execute("ROLLBACK")
        await connection.execute("BEGIN")
        await connection.execute("DROP INDEX sly")
        assert await hidden.of(connection, ["users"], []) == []


async def test_no_statement_that_runs_hidden_code_is_judged_a_read(
    connection: psycopg.AsyncConnection[Any],
) -> None:
    worker = ParseWorker(preload=PRELOAD)
    judge = Judge(limits=SqlLimits(), worker=worker)
    reads = []
    try:
        for sql in ATTACKS:
            grammar = await judge.text(sql, [])
            if isinstance(grammar, Deny):
                continue
            await connection.execute("BEGIN READ ONLY")
            judged = await judge.server(connection, grammar)
            await connection.execute("ROLLBACK")
            if not isinstance(judged, Deny) and judged.cls is ActionClass.READ:
                reads.append(sql)
    finally:
        await worker.close()
    assert reads == []
