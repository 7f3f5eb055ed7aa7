from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.upstreams.sql.postgres import lookup
from gateway.upstreams.sql.postgres.lookup import Connection
from gateway.upstreams.sql.postgres.written import Named
from tests.fixtures.postgres_judging import SQL, bench, load
from tests.fixtures.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return load(postgres_server, (SQL / "postgres_schema.sql").read_text())


@pytest.fixture
async def connection(postgres_server: PostgresServer, database: str) -> AsyncIterator[Connection]:
    async with bench(postgres_server, database) as found:
        yield found.connection


async def oid(connection: Connection, kind: str, name: str) -> int:
    row = await (await connection.execute(f"SELECT '{name}'::{kind}::oid::int8")).fetchone()
    assert row is not None
    return int(row[0])


async def test_nothing_is_asked_about_nothing(connection: Connection) -> None:
    found = await lookup.by_oid(connection)

    assert (found.functions, found.relations, found.types) == ({}, {}, ())


async def test_relations_come_with_columns_and_foreign_parts(connection: Connection) -> None:
    customers = await oid(connection, "regclass", "customers")
    half = await oid(connection, "regclass", "half_far")
    found = await lookup.by_oid(connection, relations=[customers, half], targets=[customers])

    assert found.relations[customers].name == "public.customers"
    assert found.relations[customers].columns[2] == "name"
    assert not found.relations[customers].foreign
    assert found.relations[half].foreign
    assert len(found.defaults) == 3


async def test_types_come_with_all_that_is_inside_of_them(connection: Connection) -> None:
    pair = await oid(connection, "regtype", "noisy_pair[]")
    found = await lookup.by_oid(connection, types=[pair])

    inside = {t.name: t for t in found.types if t.root == pair}
    assert {"public._noisy_pair", "public.noisy_pair", "public.noisy"} <= inside.keys()
    assert "FUNCEXPR" in inside["public.noisy"].checks[0]


async def test_names_are_looked_up_in_every_schema(connection: Connection) -> None:
    assert len(await lookup.types_named(connection, {"mood", "text", "nothing"})) == 1
    assert len(await lookup.functions_named(connection, {"tally"})) == 2


async def test_relations_are_found_as_the_server_would_find_them(connection: Connection) -> None:
    named = [
        Named(verb="drop", kind="table", schema=schema, name=name)
        for schema, name in (
            (None, "customers"),
            ("secret", "keys"),
            (None, "new"),
            (None, "Mixed Case"),
        )
    ]

    assert await lookup.relations_named(connection, named) == [
        ("public.customers", "r"),
        ("secret.keys", "r"),
        ("public.new", None),
        ("public.Mixed Case", "r"),
    ]


async def test_a_truncate_that_cascades_reaches_all_that_refers(connection: Connection) -> None:
    assert await lookup.truncated_too(connection, ['"public"."customers"']) == [
        "public.customers",
        "public.items",
        "public.orders",
    ]
