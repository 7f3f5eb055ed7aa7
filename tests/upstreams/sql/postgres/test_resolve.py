from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from gateway.model import Deny
from gateway.upstreams.sql.postgres.grammar import read
from gateway.upstreams.sql.postgres.resolve import Resolved, Resolver, Write
from gateway.upstreams.sql.postgres.written import Grammar
from gateway.upstreams.sql.worker import ParseWorker
from tests.fixtures.postgres_judging import AGENT, SQL, Bench, bench, load
from tests.fixtures.postgres_server import PostgresServer

_names = itertools.count()


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return load(postgres_server, (SQL / "postgres_schema.sql").read_text())


@pytest.fixture
async def judging(postgres_server: PostgresServer, database: str) -> AsyncIterator[Bench]:
    async with bench(postgres_server, database, user=AGENT) as found:
        yield found


async def answer(
    judging: Bench, sql: str, allowed: frozenset[str] = frozenset()
) -> Resolved | Deny:
    grammar = read(sql, 1 << 20)
    assert isinstance(grammar, Grammar)
    worker = ParseWorker()
    await judging.connection.execute("BEGIN READ ONLY")
    try:
        resolver = Resolver(allowed, worker)
        name = f"kept_{next(_names)}"
        written = grammar.statements[0]
        return await resolver.resolve(judging.connection, written, name=name, timeout_s=20)
    finally:
        await judging.connection.execute("ROLLBACK")
        await worker.close()


async def resolved(judging: Bench, sql: str) -> Resolved:
    found = await answer(judging, sql)
    assert isinstance(found, Resolved), found
    return found


async def test_views_are_seen_with_what_is_behind_them(judging: Bench) -> None:
    found = await resolved(judging, "SELECT name FROM active_customers")

    assert found.reads == {
        "public.active_customers": ("name",),
        "public.customers": ("active", "id", "name"),
    }
    assert found.kinds["public.active_customers"] == "v"
    assert found.statement_name.startswith("kept_")


async def test_columns_are_exact(judging: Bench) -> None:
    found = await resolved(
        judging, "SELECT c.name, count(*) FROM customers c WHERE c.plan = 'x' GROUP BY 1"
    )

    assert found.reads == {"public.customers": ("name", "plan")}
    assert found.functions == ("count",)


async def test_a_whole_row_is_all_columns(judging: Bench) -> None:
    found = await resolved(judging, "SELECT row_to_json(t) FROM things t")

    assert found.reads == {"public.things": ("id",)}


@pytest.mark.parametrize(
    ("sql", "writes"),
    [
        ("INSERT INTO things VALUES (1)", [("insert", "public.things", ("id",))]),
        (
            "UPDATE customers SET plan = name WHERE id = 1",
            [("update", "public.customers", ("plan",))],
        ),
        ("DELETE FROM customers WHERE id = 1", [("delete", "public.customers", ())]),
        (
            "INSERT INTO active_customers VALUES (1, 'x')",
            [("insert", "public.customers", ("id", "name"))],
        ),
        ("INSERT INTO ruled VALUES (1)", [("delete", "public.orders", ())]),
        (
            "INSERT INTO also VALUES (1)",
            [("insert", "public.also", ("id",)), ("insert", "public.trail", ("id", "what"))],
        ),
        (
            "INSERT INTO customers (id, name) VALUES (1, 'x') "
            "ON CONFLICT (id) DO UPDATE SET plan = 'y'",
            [
                ("insert", "public.customers", ("active", "balance", "id", "name", "plan")),
                ("update", "public.customers", ("plan",)),
            ],
        ),
        (
            "MERGE INTO heavy_things t USING customers c ON t.id = c.id "
            "WHEN MATCHED AND c.active THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (c.id)",
            [("delete", "public.heavy_things", ()), ("insert", "public.heavy_things", ("id",))],
        ),
        (
            "WITH d AS (DELETE FROM items RETURNING n) INSERT INTO things SELECT n FROM d",
            [("insert", "public.things", ("id",)), ("delete", "public.items", ())],
        ),
    ],
)
async def test_writes_are_those_that_would_happen(
    judging: Bench, sql: str, writes: list[tuple[str, str, tuple[str, ...]]]
) -> None:
    found = await resolved(judging, sql)

    wanted = {Write(verb=verb, table=table, columns=columns) for verb, table, columns in writes}
    assert {(w.verb, w.table) for w in found.writes} == {(w.verb, w.table) for w in wanted}
    spelled = {w for w in wanted if w.table not in ("public.trail", "public.customers")}
    assert spelled <= set(found.writes)


async def test_policies_of_row_security_are_seen(judging: Bench) -> None:
    found = await answer(judging, "SELECT * FROM guarded")

    assert isinstance(found, Deny)
    assert found.extra == {"function": "public.tally"}


async def test_the_operators_list_lets_functions_and_types_through(judging: Bench) -> None:
    allowed = frozenset({"public.tally", "public.own", "public.sum_noisy", "public.fine"})

    assert isinstance(await answer(judging, "SELECT tally()", allowed), Resolved)
    assert isinstance(await answer(judging, "SELECT 1 <+> 2", allowed), Resolved)
    assert isinstance(await answer(judging, "SELECT o FROM typed", allowed), Resolved)
    found = await answer(judging, "SELECT liar()", allowed)
    assert isinstance(found, Resolved)
    assert found.executes == ("public.liar",)


async def test_a_tree_that_is_large_is_read_in_another_process(judging: Bench) -> None:
    found = await resolved(judging, "SELECT * FROM information_schema.columns")

    assert "pg_catalog.pg_attribute" in found.reads
    assert found.kinds["information_schema.columns"] == "v"


async def test_locks_inside_of_views_are_seen(judging: Bench) -> None:
    assert (await resolved(judging, "SELECT * FROM locking_view")).locks
    assert not (await resolved(judging, "SELECT * FROM customers")).locks
