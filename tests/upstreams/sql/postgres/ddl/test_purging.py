from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.model import Action, ActionClass, Call, Deny, Reversibility, Surface
from tests.fixtures.postgres_ddl import SchemaCase, prepared_database

pytestmark = pytest.mark.postgres


def _purge(case: SchemaCase, calls: object) -> Call:
    return replace(case.call_of("x"), surface=Surface.ADMIN, request={"purge": calls})


async def test_a_purge_names_what_it_throws_away(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int); CREATE TABLE b(id serial); CREATE VIEW v AS TABLE b")
    await case.call("DROP TABLE a")
    await case.call("DROP TABLE b CASCADE")
    first, second = await case.upstream.quarantined()
    assert (first.objects, second.objects) == (("a",), ("b", "v"))
    action = await case.upstream.parse(_purge(case, [second.call]))
    assert isinstance(action, Action)
    assert (action.name, action.cls) == ("purge", ActionClass.ADMIN)
    assert action.reversibility is Reversibility.IRREVERSIBLE
    assert {e.name for e in action.effects} == {f"{second.place}.b", f"{second.place}.v"}
    call = _purge(case, [second.call])
    async with case.upstream.attempt(call, action) as attempt:
        ran = await attempt.run()
        assert ran.result["bytes"] == second.bytes
    assert await case.upstream.quarantined() == [first, second]  # nothing was committed


async def test_bad_and_empty_purges_are_refused(case: SchemaCase) -> None:
    for calls, reason in ((["call_no"], "unknown_tool"), ("call", "malformed")):
        refused = await case.upstream.parse(_purge(case, calls))
        assert isinstance(refused, Deny)
        assert refused.reason == reason


async def test_an_agent_cannot_purge_or_touch_what_lies_there(case: SchemaCase) -> None:
    case.setup("CREATE TABLE a(id int)")
    done = await case.call("DROP TABLE a")
    (kept,) = await case.upstream.quarantined()
    agents = replace(case.call_of("x"), request={"purge": [kept.call]})
    assert isinstance(await case.upstream.parse(agents), Deny)
    for sql in (f"DROP TABLE {kept.place}.a", f"DELETE FROM {kept.place}.a"):
        action = await case.parse(sql)
        # The shipped policies close every schema that begins with ``holdfast``.
        assert not isinstance(action, Action) or all(
            e.name.startswith("holdfast") for e in action.effects
        )
    assert (await case.revert(done.undo)).states == ["reverted"]


async def test_a_source_without_a_quarantine_has_nothing_there(case: SchemaCase) -> None:
    name = prepared_database(case.server, prepared=False)
    bare = SchemaCase(case.server, case.folder, database=name)
    try:
        assert await bare.upstream.quarantined() == []
    finally:
        await bare.close()
        case.server.drop_database(name)
