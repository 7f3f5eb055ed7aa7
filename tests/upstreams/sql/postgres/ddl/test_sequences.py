from __future__ import annotations

import json

import pytest

from gateway.upstreams.sql.postgres.ddl.sequences import Reset, put_back, stands
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("step", "before", "after", "now", "then"),
    [
        (1, (9, True), (1, False), (1, False), (9, True)),
        (1, (9, True), (1, False), (5, True), (9, True)),
        (1, (9, True), (1, False), (20, True), (20, True)),
        (1, (9, True), (9, False), (9, True), (9, True)),
        (-1, (-9, True), (-1, False), (-1, False), (-9, True)),
        (-1, (-9, True), (-1, False), (-20, True), (-20, True)),
    ],
)
async def test_a_sequence_goes_back_but_never_behind_what_was_drawn(
    case: SchemaCase,
    step: int,
    before: tuple[int, bool],
    after: tuple[int, bool],
    now: tuple[int, bool],
    then: tuple[int, bool],
) -> None:
    case.setup(f"CREATE SEQUENCE s INCREMENT {step} MINVALUE -99 MAXVALUE 99 START {after[0]}")
    case.owner.execute("SELECT setval('s', %s, %s)", now)
    (oid,) = case.owner.execute("SELECT 's'::regclass::oid::int8").fetchone() or (0,)
    reset = Reset(oid=oid, step=step, before=before, after=after)
    async with case.upstream._peers.session() as session:
        await session.run("BEGIN")
        done = await put_back(session, [Reset.from_json(json.loads(json.dumps(reset.as_json())))])
        assert await stands(session, "public.s") == then
        assert [d.before for d in done] == ([now] if then != now else [])
        await session.run("ROLLBACK")
        assert await stands(session, "public.s") == now  # it went with the transaction


async def test_a_sequence_that_is_gone_is_passed_over(case: SchemaCase) -> None:
    async with case.upstream._peers.session() as session:
        reset = Reset(oid=4_000_000_000, step=1, before=(1, True), after=(1, False))
        assert await put_back(session, [reset]) == []
