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
from gateway.upstreams.sql.postgres.implicit import hidden_code
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
