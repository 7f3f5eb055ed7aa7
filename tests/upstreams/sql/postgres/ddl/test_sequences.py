from __future__ import annotations

import json

import pytest

from gateway.errors import UpstreamError
from gateway.model import Action, Deny
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


async def test_a_setval_that_did_not_commit_left_the_sequence_where_it_stood(
    case: SchemaCase,
) -> None:
    case.setup("CREATE SEQUENCE s; SELECT nextval('s'), nextval('s')")
    call = case.call_of("SELECT setval('s', 500)")
    action = await case.upstream.parse(call)
    assert isinstance(action, Action)
    async with case.upstream.attempt(call, action) as attempt:
        ran = await attempt.run()
        assert ran.result["rows"] == [["500"]] or ran.result["rows"] == [[500]]
    assert case.owner.execute("SELECT last_value, is_called FROM s").fetchone() == (2, True)


async def test_a_setval_that_was_drawn_from_since_is_not_taken_back_behind_it(
    case: SchemaCase,
) -> None:
    case.setup("CREATE SEQUENCE s; SELECT nextval('s')")
    done = await case.call("SELECT setval('s', 500)")
    assert case.owner.execute("SELECT nextval('s')").fetchone() == (501,)
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.owner.execute("SELECT nextval('s')").fetchone() == (502,)


async def test_setval_without_the_right_to_hold_the_sequence_is_refused(case: SchemaCase) -> None:
    case.admin.execute("CREATE SEQUENCE s; GRANT ALL ON SEQUENCE s TO PUBLIC")
    with pytest.raises(UpstreamError, match="must be owner of sequence s") as raised:
        await case.call("SELECT setval('s', 500)")
    assert raised.value.reason == "undo.unavailable"
    assert case.admin.execute("SELECT last_value FROM s").fetchone() == (1,)


async def test_a_function_of_users_with_that_name_is_not_taken_for_it(case: SchemaCase) -> None:
    case.setup("CREATE SEQUENCE s; CREATE FUNCTION setval(text, int) RETURNS int LANGUAGE sql "
               "AS 'SELECT 1'")  # fmt: skip
    refused = await case.parse("SELECT setval('s', 5)")
    assert isinstance(refused, Deny)
    assert refused.reason == "action.unsupported"
