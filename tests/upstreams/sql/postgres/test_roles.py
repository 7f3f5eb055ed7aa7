from __future__ import annotations

from typing import Any

import psycopg

from gateway.upstreams.sql.postgres.roles import role_findings
from tests.fixtures.postgres_server import PostgresServer


async def findings(server: PostgresServer, database: str, user: str) -> str:
    connection: psycopg.AsyncConnection[Any]
    async with await psycopg.AsyncConnection.connect(
        server.url(database, user), autocommit=True
    ) as connection:
        found = await role_findings(connection)
    assert {f.level for f in found} <= {"warning"}
    assert {f.about for f in found} <= {user}
    return "\n".join(f.message for f in found)


def prepare(server: PostgresServer, *statements: str) -> str:
    name = server.create_database()
    with psycopg.connect(server.url(name), autocommit=True) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        for statement in statements:
            connection.execute(statement.encode())
    return name


async def test_an_unprivileged_role_gives_no_warning(postgres_server: PostgresServer) -> None:
    database = prepare(postgres_server, "CREATE ROLE plain_role LOGIN")

    assert await findings(postgres_server, database, "plain_role") == ""


async def test_a_superuser_is_warned_of(postgres_server: PostgresServer) -> None:
    assert "superuser" in await findings(postgres_server, "postgres", "postgres")


async def test_every_missing_wall_is_named(postgres_server: PostgresServer) -> None:
    database = prepare(
        postgres_server,
        "CREATE ROLE loose_role LOGIN BYPASSRLS CREATEROLE REPLICATION",
        "GRANT pg_read_server_files, pg_signal_backend TO loose_role",
        "CREATE TABLE its_own (id int)",
        "ALTER TABLE its_own OWNER TO loose_role",
        "GRANT CREATE ON SCHEMA public TO loose_role",
        "CREATE FUNCTION dblink_like() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    )
    said = await findings(postgres_server, database, "loose_role")

    for part in (
        "BYPASSRLS",
        "CREATEROLE",
        "REPLICATION",
        "pg_read_server_files, pg_signal_backend",
        "owns tables (its_own)",
        "dblink_like",
        "create objects in public",
        "owner's rights (dblink_like())",
    ):
        assert part in said


async def test_judgements_in_the_servers_log_are_warned_of(postgres_server: PostgresServer) -> None:
    database = prepare(
        postgres_server,
        "CREATE ROLE logged_role LOGIN",
        "ALTER ROLE logged_role SET log_min_messages = warning",
    )

    assert "log_min_messages" in await findings(postgres_server, database, "logged_role")
