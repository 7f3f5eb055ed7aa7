from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.ddl.closure import Seed, closure
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres


async def _gone(shop: SchemaCase, name: str, *, cascades: bool = True) -> set[str]:
    (oid,) = shop.admin.execute("SELECT %s::regclass::oid::int8", (name,)).fetchone() or (0,)
    async with shop.upstream._peers.session() as session:
        seeds = [Seed(catalog="pg_class", oid=oid)]
        return {g.identity for g in await closure(session, seeds, cascades=cascades)}


async def test_it_is_what_a_cascading_drop_takes_along(shop: SchemaCase) -> None:
    (listed,) = _told_by_the_server(shop, "DROP TABLE public.t CASCADE")
    gone = await _gone(shop, "t")
    assert listed <= gone, listed - gone
    assert "to_t on public.child" in gone
    assert "public.one(public.t)" in gone
    assert not {"public.child", "public.guarded", "public.borrower", "public.parent"} & gone


async def test_without_cascade_only_parts_of_the_thing_itself_go(shop: SchemaCase) -> None:
    gone = await _gone(shop, "t", cascades=False)
    assert {"public.t", "public.t_id_seq", "t_pkey on public.t", "public.vn"} <= gone
    assert not {"public.w", "public.mv", "to_t on public.child"} & gone


async def test_nothing_goes_with_nothing(shop: SchemaCase) -> None:
    async with shop.upstream._peers.session() as session:
        assert await closure(session, []) == []


def _told_by_the_server(shop: SchemaCase, sql: str) -> list[set[str]]:
    """The relations that are gone after the real statement."""
    names = (
        "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'v', 'm', 'S', 'p')"
    )
    with shop.owner.transaction(force_rollback=True):
        before = {f"public.{n}" for (n,) in shop.owner.execute(names)}
        shop.owner.execute(sql.encode())
        after = {f"public.{n}" for (n,) in shop.owner.execute(names)}
    return [before - after]
