from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from gateway.errors import REASONS
from gateway.model import ActionClass, Deny, Effect
from gateway.upstreams.sql.postgres.judge import Judged
from gateway.upstreams.sql.postgres.written import Grammar
from tests.fixtures.postgres_judging import AGENT, SQL, Bench, bench, load
from tests.fixtures.postgres_server import PostgresServer


def table() -> Iterator[tuple[str, str]]:
    for line in (SQL / "postgres_statements.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            want, sql = line.split(" | ", 1)
            yield want, sql


# A call with an effect, wherever the grammar takes an expression.
POSITIONS = [
    "SELECT {}",
    "SELECT 1 + {}",
    "SELECT 1 FROM customers WHERE id = {}",
    "SELECT * FROM customers c JOIN orders o ON o.id = {}",
    "SELECT * FROM customers LEFT JOIN LATERAL (SELECT {} AS x) y ON true",
    "SELECT * FROM {} AS f",
    "SELECT * FROM ROWS FROM (generate_series(1, 2), {}) AS f",
    "SELECT * FROM generate_series(1, {}) g",
    "SELECT * FROM (VALUES ({})) v",
    "VALUES (1), ({})",
    "SELECT 1 LIMIT {}",
    "SELECT 1 OFFSET {}",
    "SELECT 1 FETCH FIRST ({}) ROWS ONLY",
    "SELECT id FROM customers ORDER BY {}",
    "SELECT count(*) FROM customers GROUP BY id + {}",
    "SELECT count(*) FROM customers GROUP BY GROUPING SETS ((id, {}))",
    "SELECT count(*) FROM customers HAVING count(*) > {}",
    "SELECT count(*) FILTER (WHERE id > {}) FROM customers",
    "SELECT array_agg(id ORDER BY id + {}) FROM customers",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id + {}) FROM customers",
    "SELECT sum(id) OVER (PARTITION BY {}) FROM customers",
    "SELECT sum(id) OVER (ORDER BY id + {}) FROM customers",
    "SELECT sum(id) OVER (ORDER BY id ROWS {} PRECEDING) FROM customers",
    "SELECT sum(id) OVER w FROM customers WINDOW w AS (ORDER BY {})",
    "SELECT * FROM customers TABLESAMPLE SYSTEM ({})",
    "SELECT * FROM customers TABLESAMPLE SYSTEM (1) REPEATABLE ({})",
    "SELECT DISTINCT ON ({}) id FROM customers",
    "SELECT CASE WHEN {} > 0 THEN 1 END",
    "SELECT CASE {} WHEN 1 THEN 2 END",
    "SELECT CASE WHEN true THEN 1 ELSE {} END",
    "SELECT (ARRAY[1, 2])[{}]",
    "SELECT (ARRAY[1, 2])[1:{}]",
    "SELECT ARRAY[{}]",
    "SELECT ARRAY(SELECT {})",
    "SELECT ROW({}, 1)",
    "SELECT (ROW({}, 'x')::pair).a",
    "SELECT ({})::text",
    "SELECT CAST({} AS text)",
    "SELECT coalesce(NULL, {})",
    "SELECT greatest(1, {})",
    "SELECT nullif(1, {})",
    "SELECT 1 IN (2, {})",
    "SELECT 1 BETWEEN 0 AND {}",
    "SELECT 1 = ANY (ARRAY[{}])",
    "SELECT (1, 2) < (1, {})",
    "SELECT EXISTS (SELECT {})",
    "SELECT (SELECT {})",
    "SELECT 1 IN (SELECT {})",
    "SELECT NOT ({} > 0)",
    "SELECT ({}) IS NULL",
    "SELECT ({} > 0) IS TRUE",
    'SELECT ({})::text COLLATE "C"',
    "SELECT concat_ws(',', VARIADIC ARRAY[({})::text])",
    "SELECT make_interval(days => ({})::int)",
    "SELECT now() AT TIME ZONE ({})::text",
    "SELECT xmlelement(name a, {})",
    "SELECT xmlforest({} AS a)",
    "SELECT * FROM XMLTABLE('/a' PASSING (({})::text::xml) COLUMNS b int PATH '@b') x",
    "SELECT * FROM XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS b int DEFAULT {}) x",
    "SELECT * FROM json_to_record(json_build_object('a', {})) AS x(a int)",
    "WITH c AS (SELECT {}) SELECT 1",
    "WITH c AS MATERIALIZED (SELECT {} AS x) SELECT x FROM c",
    "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + {} FROM c) SELECT * FROM c",
    "SELECT 1 UNION SELECT {}",
    "SELECT 1 EXCEPT (SELECT 2 INTERSECT SELECT {})",
    "EXPLAIN SELECT {}",
    "EXPLAIN ANALYZE SELECT {}",
    "EXPLAIN (ANALYZE FALSE) DELETE FROM orders WHERE id = {}",
    "SELECT 1; SELECT {}",
    "INSERT INTO trail (id) VALUES ({})",
    "INSERT INTO trail (id) SELECT {}",
    "INSERT INTO trail (what) VALUES ('x') RETURNING {}",
    "INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET balance = {}",
    "INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET plan = 'x' "
    "WHERE customers.id = {}",
    "UPDATE customers SET balance = {} WHERE id = 1",
    "UPDATE customers SET (plan, balance) = (SELECT 'x', {}) WHERE id = 1",
    "UPDATE orders SET tags[{}] = 'x' WHERE id = 1",
    "UPDATE customers SET plan = 'x' FROM generate_series(1, {}) g WHERE g = id",
    "UPDATE customers SET plan = 'x' WHERE id = {}",
    "UPDATE customers SET plan = 'x' WHERE id = 1 RETURNING {}",
    "DELETE FROM customers USING orders o WHERE o.id = {}",
    "DELETE FROM customers WHERE id = 1 RETURNING {}",
    "MERGE INTO customers c USING orders o ON c.id = {} WHEN MATCHED THEN DELETE",
    "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED AND {} > 0 THEN DELETE",
    "MERGE INTO customers c USING orders o ON c.id = o.id WHEN MATCHED THEN "
    "UPDATE SET balance = {}",
    "MERGE INTO customers c USING orders o ON c.id = o.id WHEN NOT MATCHED THEN "
    "INSERT (id, name) VALUES ({}, 'x')",
    "WITH d AS (DELETE FROM items WHERE id = {} RETURNING 1) SELECT 1",
    "CREATE TABLE fresh AS SELECT {}",
    "SELECT {} INTO fresh",
    "CREATE VIEW fresh AS SELECT {}",
    "CREATE TABLE fresh (id int DEFAULT {})",
    "CREATE TABLE fresh (id int CHECK (id > {}))",
    "CREATE INDEX ON customers ((id + {}))",
    "CREATE INDEX ON customers (id) WHERE id > {}",
    "ALTER TABLE customers ADD COLUMN fresh int DEFAULT {}",
    "ALTER TABLE customers ALTER COLUMN balance TYPE int USING {}",
]
# Known by its name, by the catalog, behind a lie, and as an operator.
CALLS = ["nextval('counter')", "tally()", "constant_liar(1)", "pg_catalog.lo_create(0)"]


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return load(postgres_server, (SQL / "postgres_schema.sql").read_text())


@pytest.fixture
async def judging(postgres_server: PostgresServer, database: str) -> AsyncIterator[Bench]:
    async with bench(postgres_server, database) as found:
        yield found


async def judged(judging: Bench, sql: str, *params: object) -> Judged:
    found = await judging.judged(sql, *params)
    assert isinstance(found, Judged), found
    return found


async def without_xml(judging: Bench, *texts: str) -> frozenset[str]:
    """Those of ``texts`` that a server built without libxml does not take, if this is one."""
    try:
        await judging.connection.execute("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return frozenset(text for text in texts if re.search(r"(?i)\bxml", text))
    return frozenset()


async def test_every_statement_of_the_table_is_judged_as_written_there(judging: Bench) -> None:
    wrong = []
    unknown = await without_xml(judging, *(sql for _, sql in table()))
    for want, sql in table():
        found = await judging.judged(sql)
        if sql in unknown and isinstance(found, Deny) and "XML" in found.detail:
            continue  # refused by the server itself, whatever we would make of it
        got = found.reason if isinstance(found, Deny) else f"{found.cls} {found.name}"
        if got != want:
            wrong.append((want, got, sql))

    assert wrong == []
    assert len(list(table())) > 250


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_with_an_effect_is_found_in_every_position(judging: Bench, call: str) -> None:
    missed = []
    for position in POSITIONS:
        found = await judging.judged(position.format(call))
        # A position that the server does not take is no hole; with most calls it is taken. What
        # runs code only after a person agreed is none either.
        if not isinstance(found, Deny) and found.name != "execute":
            missed.append((position, found.cls))

    assert missed == []


async def test_the_positions_are_ones_that_the_server_takes(judging: Bench) -> None:
    refused = {}
    unknown = await without_xml(judging, *POSITIONS)
    assert len(unknown) <= 4
    for position in POSITIONS:
        if position in unknown:
            continue
        found = await judging.judged(position.format("vouched(1)"))
        if isinstance(found, Deny):
            refused[position] = found.detail

    assert len(refused) <= 3, refused


async def test_effects_say_what_is_touched(judging: Bench) -> None:
    found = await judged(judging, "UPDATE customers SET plan = 'x' WHERE id = $1", 1)

    assert found.effects == (
        Effect(verb="update", kind="table", name="public.customers", columns=("plan",)),
        Effect(verb="select", kind="table", name="public.customers", columns=("id",)),
    )
    assert found.statements[0].tables == ("public.customers",)
    assert found.runs[0].param_types == (0,)


async def test_unbounded_changes_say_so(judging: Bench) -> None:
    found = await judged(judging, "DELETE FROM customers")

    assert not found.effects[0].bounded
    assert not found.statements[0].bounded
    assert (await judged(judging, "DELETE FROM customers WHERE id = 1")).statements[0].bounded


async def test_what_a_rule_does_is_unbounded_and_destructive(judging: Bench) -> None:
    found = await judged(judging, "INSERT INTO ruled VALUES (1)")

    assert found.cls is ActionClass.DESTRUCTIVE
    assert Effect(verb="delete", kind="table", name="public.orders", bounded=False) in found.effects


async def test_names_of_schema_statements_are_those_at_the_server(judging: Bench) -> None:
    found = await judged(judging, "DROP TABLE customers, secret.keys CASCADE")

    assert [e.name for e in found.effects] == ["public.customers", "secret.keys", "*"]
    cleared = await judged(judging, "TRUNCATE customers CASCADE")
    assert {e.name for e in cleared.effects} == {
        "public.customers",
        "public.orders",
        "public.items",
    }


async def test_each_statement_is_one_message(judging: Bench) -> None:
    found = await judged(
        judging, "INSERT INTO trail (what) VALUES ($1); SELECT $2::int + 1;", "x", 1
    )

    assert [(r.verb, r.sql, r.param_types) for r in found.runs] == [
        ("insert", "INSERT INTO trail (what) VALUES ($1)", (0,)),
        ("select", "SELECT $2::int + 1", (25, 0)),
    ]


async def test_the_judged_statement_itself_can_be_executed(judging: Bench) -> None:
    grammar = await judging.judge.text("SELECT name FROM customers WHERE id = $1", [1])
    assert isinstance(grammar, Grammar)
    await judging.connection.execute("BEGIN READ ONLY")
    found = await judging.judge.server(judging.connection, grammar, name_prefix="judged_")
    assert isinstance(found, Judged)
    name = found.runs[0].statement_name
    assert name == "judged_0"

    result = judging.connection.pgconn.exec_prepared(name.encode(), [b"3"])
    assert result.get_value(0, 0) == b"c3"


@pytest.mark.parametrize("params", [[], [1, 2], {"a": 1}, "x", None])
async def test_parameters_have_to_match(judging: Bench, params: object) -> None:
    found = await judging.judge.text("SELECT $1::int", params)

    assert isinstance(found, Deny)
    assert found.reason == "malformed"


async def test_every_reason_given_is_a_known_one(judging: Bench) -> None:
    assert {want for want, _ in table() if " " not in want} <= REASONS.keys()


LONG = {
    "20,000 rows": "INSERT INTO trail (id, what) VALUES " + ",".join(["(1, 'a')"] * 20_000),
    "1,000 parentheses": "SELECT " + "(" * 1_000 + "1" + ")" * 1_000 + "-- " + "x" * 5_000,
    "1 MB": "SELECT '" + "x" * 1_000_000 + "'",
    "many additions": "SELECT " + "+".join(["1"] * 100_000),
    "many CASEs": "SELECT " + "CASE WHEN true THEN " * 5_000 + "1" + " END" * 5_000,
}


@pytest.mark.parametrize("name", LONG)
async def test_the_event_loop_goes_on_while_long_texts_are_judged(
    judging: Bench, name: str
) -> None:
    await judging.judge.text("SELECT " + "1 + " * 2_000 + "1", [])  # the process is up
    gaps: list[float] = []
    done = False

    async def tick() -> None:
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    started = time.perf_counter()
    found = await judging.judge.text(LONG[name], [])
    took = time.perf_counter() - started
    done = True
    await ticking

    assert not gaps or statistics.median(gaps) < 0.02
    assert took < 8
    if isinstance(found, Deny):
        assert found.reason in ("too_large", "sql.unparsable")


async def test_judged_reads_change_nothing_behind_the_second_wall(
    postgres_server: PostgresServer, database: str
) -> None:
    def state() -> list[object]:
        with psycopg.connect(postgres_server.url(database)) as connection:
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM trail), (SELECT count(*) FROM customers), "
                "(SELECT count(*) FROM orders), (SELECT last_value FROM counter), "
                "(SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_largeobject_metadata)"
            ).fetchall()
        return [counts]

    before = state()
    ran = 0
    async with bench(postgres_server, database, user=AGENT) as found:
        for want, sql in table():
            grammar = await found.judge.text(sql, []) if want.startswith("read") else None
            if not isinstance(grammar, Grammar):
                continue
            for statement in grammar.statements:
                await found.connection.execute("BEGIN READ ONLY")
                pgconn = found.connection.pgconn
                result = pgconn.exec_params(statement.sql.encode(), None)
                ran += result.status in (1, 2)
                await found.connection.execute("ROLLBACK")

    assert ran > 60
    assert state() == before
