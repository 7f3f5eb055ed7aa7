from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.extent import Extent, baseline, extent
from tests.fixtures.postgres_case import Case

_T = """
CREATE TABLE t(id int PRIMARY KEY, v int, CHECK (v < 1000));
INSERT INTO t SELECT i, i FROM generate_series(1, 200) i;
"""


@pytest.mark.parametrize(
    ("statement", "share"),
    [
        ("DELETE FROM t WHERE id <= 50", 0.25),
        ("DELETE FROM t", 1.0),
        ("DELETE FROM t WHERE id <= 10", 0.0),
        ("INSERT INTO t SELECT i, 1 FROM generate_series(1000, 1100) i", 0.0),
    ],
)
async def test_the_share_of_a_table_is_measured_for_more_than_a_few_rows(
    case: Case, statement: str, share: float
) -> None:
    case.setup(_T)
    assert (await case.call(statement)).ran.measured.share == pytest.approx(share)


async def test_counters_of_an_earlier_transaction_are_not_counted_again(case: Case) -> None:
    case.setup(_T)
    for id in range(1, 5):
        done = await case.call(f"DELETE FROM t WHERE id = {id}")
        assert done.ran.measured.rows == 1


async def _extent(case: Case, *statements: str) -> Extent:
    async with case.agents.session() as session:
        await session.run("BEGIN")
        before = await baseline(session)
        for statement in statements:
            await session.run(statement)
        return await extent(session, before)


async def test_the_extent_names_tables_and_sequences(case: Case) -> None:
    case.setup("CREATE TABLE t(id serial PRIMARY KEY, v int); CREATE TABLE read_only(id int)")
    found = await _extent(
        case,
        "INSERT INTO t(v) SELECT 1 FROM read_only RIGHT JOIN generate_series(1, 3) ON true",
        "UPDATE t SET v = 2 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    )
    (table,) = found.tables
    assert (table.resource, table.inserted, table.updated, table.deleted) == ("public.t", 3, 1, 1)
    assert found.sequences == ("public.t_id_seq",)
    assert (found.schema_changed, found.refusal) == (None, None)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("TRUNCATE t", "public.t was created, truncated or altered"),
        ("CREATE TABLE x(i int)", "public.x was created"),
        ("COMMENT ON TABLE t IS 'x'", "database objects"),
        ("GRANT SELECT ON t TO PUBLIC", "database objects"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "database objects"),
        ("ANALYZE t", "database objects"),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$", "database objects"),
        ("SELECT lo_create(0)", "database objects"),
    ],
)
async def test_more_than_rows_is_seen_without_reading_the_statement(
    case: Case, statement: str, named: str
) -> None:
    case.setup(_T)
    case.admin.execute("ALTER TABLE t OWNER TO agent")
    found = await _extent(case, statement)
    assert named in str(found.schema_changed)


async def test_reads_and_row_locks_are_no_writes(case: Case) -> None:
    case.setup(_T)
    found = await _extent(case, "SELECT * FROM t WHERE id < 9 FOR UPDATE", "SELECT count(*) FROM t")
    assert found == Extent(tables=(), sequences=(), schema_changed=None, refusal=None)


async def test_temporary_tables_cannot_be_captured(case: Case) -> None:
    case.setup(_T)
    async with case.agents.session() as session:
        await session.run("CREATE TEMP TABLE own(i int)")
        await session.run("BEGIN")
        await session.run("INSERT INTO own VALUES (1)")
        found = await extent(session, {})
        assert found.refusal == "own is a temporary table"
        assert (await extent(session, {}, own_temporary=True)).tables == ()
