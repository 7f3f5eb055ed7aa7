from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.ddl.closure import Seed, closure
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack, Plan, Quarantine
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres

TOKEN = "0123456789ab"


async def _plan(case: SchemaCase, name: str) -> Plan:
    (oid,) = case.admin.execute("SELECT %s::regclass::oid::int8", (name,)).fetchone() or (0,)
    async with case.upstream._peers.session() as session:
        gone = await closure(session, [Seed(catalog="pg_class", oid=oid)])
        return await Quarantine(session, gone, TOKEN, "call_1").plan()


async def test_a_plain_table_is_moved_and_nothing_else(shop: SchemaCase) -> None:
    plan = await _plan(shop, "guarded")
    place = f"holdfast_q{TOKEN}_1"
    assert plan.redo == [
        f"SELECT holdfast_quarantine.make_room('{place}', 'call_1', true)",
        f'ALTER TABLE "public"."guarded" SET SCHEMA "{place}"',
    ]
    assert plan.undo == [
        f'ALTER TABLE "{place}"."guarded" SET SCHEMA "public"',
        f'DROP SCHEMA "{place}"',
        f"DELETE FROM holdfast_quarantine.places WHERE place = '{place}'",
    ]
    assert not plan.prove


async def test_what_is_taken_off_comes_back_after_what_moved(shop: SchemaCase) -> None:
    plan = await _plan(shop, "t")
    assert plan.prove
    moved = next(i for i, s in enumerate(plan.undo) if 'ALTER TABLE "holdfast' in s)
    again = next(i for i, s in enumerate(plan.undo) if "CREATE POLICY" in s)
    assert moved < again
    assert not [s for s in plan.redo if s.startswith(("DROP TABLE", "DROP VIEW", "DROP MAT"))]


async def test_names_that_need_quotes_are_quoted(case: SchemaCase) -> None:
    case.setup(
        """CREATE TABLE "odd "" name; --"(id int); COMMENT ON TABLE "odd "" name; --" IS ''"""
    )
    plan = await _plan(case, '"odd "" name; --"')
    assert plan.redo[1].startswith('ALTER TABLE "public"."odd "" name; --" SET SCHEMA ')


async def test_a_column_elsewhere_of_the_tables_type_has_no_way_back(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int); CREATE TABLE b(x a)")
    with pytest.raises(NoWayBack, match=r"public\.b\.x"):
        await _plan(case, "a")
