"""TRUNCATE: every row and every sequence comes back, or it is refused before it commits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.errors import SnapshotFailed, UpstreamError
from gateway.upstreams.sql.limits import SqlLimits
from tests.fixtures.postgres_ddl import SchemaCase, different

pytestmark = pytest.mark.postgres

TRUNCATES = [
    "TRUNCATE child",
    "TRUNCATE t CASCADE",
    "TRUNCATE t, child RESTART IDENTITY",
    "TRUNCATE TABLE parted",
    "TRUNCATE parted_1, guarded",
    "TRUNCATE base",
    "TRUNCATE ONLY base",
    "TRUNCATE parent RESTART IDENTITY CASCADE",
    "TRUNCATE child; TRUNCATE borrower",
    "TRUNCATE child; TRUNCATE child",
]


@pytest.mark.parametrize("sql", TRUNCATES)
async def test_every_row_and_sequence_comes_back(shop: SchemaCase, sql: str) -> None:
    before = shop.dump()
    done = await shop.call(sql)
    cleared = shop.dump()
    reverted = await shop.revert(done.undo)
    assert set(reverted.states) == {"reverted"}, reverted.steps
    assert different(before, shop.dump()) == []
    if reverted.undo is not None:
        again = await shop.revert(reverted.undo)
        assert again.states == ["reverted"]
        assert different(cleared, shop.dump()) == []
        assert again.undo is not None
        assert (await shop.revert(again.undo)).states == ["reverted"]
        assert different(before, shop.dump()) == []


@pytest.mark.parametrize(
    "sql", ["TRUNCATE t", "TRUNCATE nowhere", "TRUNCATE w", "TRUNCATE ONLY parted"]
)
async def test_the_agent_gets_the_servers_own_answer(shop: SchemaCase, sql: str) -> None:
    import psycopg

    before = shop.dump()
    with pytest.raises(psycopg.Error) as plain:
        shop.owner.execute(sql.encode())
    with pytest.raises(UpstreamError) as guarded:
        await shop.call(sql)
    assert guarded.value.extra["sqlstate"] == plain.value.sqlstate
    assert guarded.value.extra["message"] == plain.value.diag.message_primary
    assert different(before, shop.dump()) == []


async def test_what_was_cleared_is_measured(shop: SchemaCase) -> None:
    call = shop.call_of("TRUNCATE t CASCADE")
    action = await shop.upstream.parse(call)
    async with shop.upstream.attempt(call, action) as attempt:  # type: ignore[arg-type]
        ran = await attempt.run()
    assert (ran.measured.rows, ran.measured.share) == (51, 1.0)
    assert {n: c.deleted for n, c in ran.measured.tables.items()} == {
        "public.child": 1,
        "public.t": 50,
    }


async def test_a_sequence_that_somebody_used_since_is_not_moved_back(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id serial, v int); INSERT INTO a(v) SELECT generate_series(1, 9)")
    done = await case.call("TRUNCATE a RESTART IDENTITY")
    case.owner.execute("SELECT setval('a_id_seq', 500)")
    await case.revert(done.undo)
    assert case.owner.execute("SELECT last_value, is_called FROM a_id_seq").fetchone() == (
        500,
        True,
    )


async def test_a_sequence_that_runs_down_is_not_moved_up(case: SchemaCase) -> None:
    case.setup(
        "CREATE TABLE a(v int); CREATE SEQUENCE s INCREMENT -1 START -1 OWNED BY a.v;"
        "SELECT nextval('s') FROM generate_series(1, 9); INSERT INTO a VALUES (1)"
    )
    done = await case.call("TRUNCATE a RESTART IDENTITY")
    case.owner.execute("SELECT nextval('s'), nextval('s')")
    await case.revert(done.undo)
    assert case.owner.execute("SELECT last_value FROM s").fetchone() == (-9,)


async def test_a_key_that_was_used_again_is_a_conflict(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 1), (2, 2)")
    done = await case.call("TRUNCATE a")
    case.owner.execute("INSERT INTO a VALUES (2, 20)")
    there = case.dump()
    assert (await case.revert(done.undo)).states == ["conflict"]
    assert different(there, case.dump()) == []


@pytest.mark.parametrize(
    ("limits", "error", "reason"),
    [
        ({"max_capture_rows": 5}, UpstreamError, "limit.rows"),
        ({"max_capture_bytes": 10}, SnapshotFailed, "snapshot.failed"),
    ],
)
async def test_over_the_budget_it_is_rolled_back(
    case: SchemaCase, limits: dict[str, int], error: type[Exception], reason: str
) -> None:
    case.setup("CREATE TABLE a(id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 9)")
    before = case.dump()
    case.upstream._limits = replace(SqlLimits(), **limits)
    with pytest.raises(error) as raised:
        await case.call("TRUNCATE a")
    assert raised.value.reason == reason  # type: ignore[attr-defined]
    assert different(before, case.dump()) == []


async def test_writers_wait_and_none_of_their_rows_is_missed(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int PRIMARY KEY); INSERT INTO a VALUES (1)")
    case.owner.execute("BEGIN")
    case.owner.execute("INSERT INTO a VALUES (2)")
    with pytest.raises(UpstreamError) as raised:
        await case.call("TRUNCATE a")
    assert raised.value.reason == "upstream.timeout"
    case.owner.execute("COMMIT")
    done = await case.call("TRUNCATE a")
    await case.revert(done.undo)
    assert case.owner.execute("SELECT id FROM a ORDER BY 1").fetchall() == [(1,), (2,)]


@pytest.mark.parametrize("sql", ["TRUNCATE kid", "TRUNCATE mum CASCADE", "TRUNCATE kid, mum"])
@pytest.mark.parametrize("orphan", [True, False])
async def test_rows_that_refer_to_nothing_are_not_cleared(
    case_prepared: SchemaCase, sql: str, orphan: bool
) -> None:
    shop = case_prepared
    shop.owner.execute(
        "CREATE TABLE mum(id int PRIMARY KEY); CREATE TABLE kid(id int PRIMARY KEY, mum int);"
        "INSERT INTO mum VALUES (1); INSERT INTO kid VALUES (1, 1)"
    )
    if orphan:
        shop.owner.execute("INSERT INTO kid VALUES (7, 99)")
    shop.owner.execute("ALTER TABLE kid ADD FOREIGN KEY (mum) REFERENCES mum NOT VALID")
    before = shop.dump()
    if orphan:
        with pytest.raises(UpstreamError) as error:
            await shop.call(sql)
        assert error.value.reason == "undo.unavailable"
    else:
        assert (await shop.revert((await shop.call(sql)).undo)).states == ["reverted"]
    assert different(before, shop.dump()) == []
