from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from gateway.model import Deny
from gateway.upstreams.sql.postgres.asking import printed
from gateway.upstreams.sql.postgres.nodetree import read_tree
from tests.fixtures.postgres_server import PostgresServer

Connection = psycopg.AsyncConnection[Any]
SETTINGS = ("client_min_messages", "debug_print_rewritten", "log_min_messages")


@pytest.fixture
async def connection(postgres_server: PostgresServer) -> AsyncIterator[Connection]:
    connection = await psycopg.AsyncConnection.connect(postgres_server.url(), autocommit=True)
    await connection.execute("BEGIN READ ONLY")
    yield connection
    await connection.close()


async def settings(connection: Connection) -> list[str]:
    return [
        (await (await connection.execute(f"SHOW {s}")).fetchone() or ("",))[0] for s in SETTINGS
    ]


async def test_the_server_prints_what_a_statement_means(connection: Connection) -> None:
    tree = await printed(connection, "SELECT lower('X') FROM pg_class")

    assert isinstance(tree, str)
    facts = read_tree(tree)
    assert facts.called == {870}
    # From 16 on, what is read and what it takes to read it are printed apart.
    assert {u.relation for u in facts.uses} == {1259}


async def test_settings_are_as_before_afterwards(connection: Connection) -> None:
    before = await settings(connection)
    await printed(connection, "SELECT 1")

    assert await settings(connection) == before


async def test_the_prepared_statement_stays_behind_and_can_run(connection: Connection) -> None:
    await printed(connection, "SELECT $1::int + 1", name="judged")

    result = connection.pgconn.exec_prepared(b"judged", [b"4"])
    assert result.get_value(0, 0) == b"5"


async def test_parameters_that_are_not_used_can_be_given_a_type(connection: Connection) -> None:
    assert isinstance(await printed(connection, "SELECT $2::int", param_types=[25, 0]), str)


@pytest.mark.parametrize(
    "sql",
    ["SELECT * FROM nowhere", "SELECT 'x'::int", "SELECT 1; SELECT 2", "SELECT nope.f()", "SELEC"],
)
async def test_what_the_server_does_not_take_is_a_refusal_with_its_words(
    connection: Connection, sql: str
) -> None:
    answer = await printed(connection, sql)

    assert isinstance(answer, Deny)
    assert answer.reason == "sql.unparsable"
    assert "PostgreSQL says" in answer.detail


async def test_what_the_role_may_not_name_is_the_targets_refusal(connection: Connection) -> None:
    await connection.execute("ROLLBACK")
    await connection.execute("BEGIN")
    await connection.execute("CREATE ROLE asking_role; CREATE SCHEMA closed")
    await connection.execute("CREATE TABLE closed.t (id int); SET LOCAL ROLE asking_role")

    answer = await printed(connection, "SELECT * FROM closed.t")

    assert isinstance(answer, Deny)
    assert answer.reason == "upstream.failed"


async def test_nothing_runs(connection: Connection) -> None:
    await connection.execute("ROLLBACK")
    await connection.execute("BEGIN")
    await printed(connection, "SELECT pg_catalog.set_config('application_name', 'ran', false)")

    shown = await (await connection.execute("SHOW application_name")).fetchone()
    assert shown != ("ran",)


async def test_code_that_runs_while_a_literal_is_read_is_noticed(
    postgres_server: PostgresServer,
) -> None:
    name = postgres_server.create_database()
    async with await psycopg.AsyncConnection.connect(
        postgres_server.url(name), autocommit=True
    ) as connection:
        await connection.execute(
            "CREATE FUNCTION f(int) RETURNS bool LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN (SELECT count(*) > 0 FROM pg_class); END $$;"
            "CREATE DOMAIN d AS int CHECK (f(VALUE))"
        )
        await connection.execute("BEGIN READ ONLY")
        answer = await printed(connection, "SELECT '{5}'::d[]")

    assert isinstance(answer, Deny)
    assert answer.reason == "action.unsupported"


async def test_a_lost_connection_is_an_error_and_no_refusal(
    connection: Connection, postgres_server: PostgresServer
) -> None:
    with psycopg.connect(postgres_server.url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

    with pytest.raises(psycopg.OperationalError):
        await printed(connection, "SELECT 1")
    assert connection.closed


async def test_a_statement_timeout_is_an_error_and_no_refusal(connection: Connection) -> None:
    await connection.execute("SET LOCAL statement_timeout = 1")
    many = " UNION ALL ".join(["SELECT * FROM pg_class NATURAL JOIN pg_attribute"] * 300)

    with pytest.raises(psycopg.errors.QueryCanceled):
        await printed(connection, many)
