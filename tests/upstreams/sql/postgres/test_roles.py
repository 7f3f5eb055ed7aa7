from __future__ import annotations

from typing import Any

import psycopg
import pytest

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
        "pg_read_server_files: it can read files",
        "pg_signal_backend: it can end sessions",
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


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["GRANT pg_execute_server_program TO {role}"], "it can run programs"),
        (["GRANT pg_read_server_files TO {role}"], "it can read files"),
        (["GRANT pg_write_server_files TO {role}"], "it can write files"),
        (["GRANT pg_signal_backend TO {role}"], "it can end sessions"),
        (["GRANT pg_write_all_data TO {role}"], "it can write to every table"),
        (["GRANT CREATE ON DATABASE {database} TO {role}"], "has CREATE on database {database}"),
        (["GRANT CREATE ON SCHEMA public TO {role}"], "may create objects in public"),
        (["CREATE SEQUENCE s", "GRANT UPDATE ON s TO {role}"], "has UPDATE on sequences (s)"),
        (
            ["ALTER ROLE {role} SET lo_compat_privileges = on"],
            "everybody's large objects",
        ),
        (["SELECT lo_create(4711)", "ALTER LARGE OBJECT 4711 OWNER TO {role}"], "1 large objects"),
        (
            ["SELECT lo_create(4711)", "GRANT UPDATE ON LARGE OBJECT 4711 TO PUBLIC"],
            "1 large objects",
        ),
    ],
)
async def test_each_way_out_of_a_transaction_is_named_and_nothing_else(
    postgres_server: PostgresServer, statements: list[str], said: str
) -> None:
    database = prepare(postgres_server)
    role = f"out_{database}"
    with psycopg.connect(postgres_server.url(database), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
        for statement in statements:
            connection.execute(statement.format(role=role, database=database).encode())

    found = (await findings(postgres_server, database, role)).splitlines()

    assert len([line for line in found if said.format(database=database) in line]) == 1
    assert len(found) == 1


@pytest.mark.parametrize("extension", ["dblink", "postgres_fdw", "file_fdw"])
async def test_extensions_that_reach_other_servers_are_named(
    postgres_server: PostgresServer, extension: str
) -> None:
    database = prepare(postgres_server)
    role = f"out_{database}"
    with psycopg.connect(postgres_server.url(database), autocommit=True) as connection:
        if not connection.execute(
            "SELECT FROM pg_available_extensions WHERE name = %s", (extension,)
        ).fetchall():
            pytest.skip(f"the server has no {extension}")
        connection.execute(f"CREATE ROLE {role} LOGIN; CREATE EXTENSION {extension}".encode())
        options = " OPTIONS (filename '/dev/null')" if extension == "file_fdw" else ""
        if extension != "dblink":
            connection.execute(
                f"CREATE SERVER away FOREIGN DATA WRAPPER {extension}; "
                f"GRANT USAGE ON FOREIGN SERVER away TO {role}; "
                "CREATE FOREIGN TABLE far (v int) SERVER away"
                f"{options}; "
                f"GRANT INSERT ON far TO {role}".encode()
            )
    found = await findings(postgres_server, database, role)

    if extension == "dblink":
        assert "may call dblink" in found
    else:
        assert "has USAGE on foreign servers (away)" in found
        assert "may write to foreign tables (far)" in found
