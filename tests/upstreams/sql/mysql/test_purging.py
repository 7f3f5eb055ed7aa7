from __future__ import annotations

import dataclasses

import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import ActionClass, Call, Deny, EffectState, Permit, Surface
from tests.fixtures.mariadb_case import Case

T = (
    "CREATE TABLE t (id INT PRIMARY KEY)",
    "INSERT INTO t VALUES (1), (2)",
    "CREATE TABLE u (id INT PRIMARY KEY)",
    "CREATE TRIGGER x BEFORE INSERT ON u FOR EACH ROW SET NEW.id = 1",
)


def purge(case: Case, *calls: object) -> Call:
    return dataclasses.replace(
        case.request("purge"), surface=Surface.ADMIN, request={"purge": list(calls)}
    )


async def test_what_lies_aside_is_listed_and_thrown_away(case: Case) -> None:
    case.run("DROP DATABASE holdfast")
    case.setup(*T)
    one, two = await case.call("DROP TABLE t"), await case.call("DROP TABLE u")
    found = await case.source.quarantined()
    assert [(q.place, q.objects) for q in found] == [
        ("holdfast", (f"q_{found[0].call}",)),
        (case.database, (f"holdfast_q_{found[1].call}",)),
    ]
    assert [one.receipt.split("|")[0], two.receipt.split("|")[0]] == [q.call for q in found]
    assert all(q.bytes > 0 for q in found)
    call = purge(case, found[0].call)
    action = await case.source.parse(call)
    assert not isinstance(action, Deny)
    assert (action.cls, action.name) == (ActionClass.ADMIN, "purge")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        assert len(await case.source.quarantined()) == 2  # nothing without a permit
        outcome = await attempt.commit(Permit.issue(call.id, 1))
    assert (outcome.state, outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert await case.source.happened(captured.receipt) is EffectState.APPLIED
    assert [q.call for q in await case.source.quarantined()] == [found[1].call]
    (step,) = (await case.revert(one.undo, commit=False)).steps
    assert (step.state, step.reason) == ("failed", "revert.schema_changed")
    assert (await case.revert(two.undo)).states == ["reverted"]


async def test_only_what_lies_there_can_be_purged(case: Case) -> None:
    case.setup(*T)
    for calls in (["call_of_nobody"], []):
        refusal = await case.source.parse(purge(case, *calls))
        assert isinstance(refusal, Deny)
        assert refusal.reason == "unknown_tool"
    bad = dataclasses.replace(purge(case), request={"purge": "t"})
    refusal = await case.source.parse(bad)
    assert isinstance(refusal, Deny)
    assert refusal.reason == "malformed"


async def test_nothing_is_listed_without_a_table_of_receipts(case: Case) -> None:
    case.setup(*T)
    case.run("DROP DATABASE holdfast")
    assert await case.source.quarantined() == []
    with pytest.raises(UpstreamError):
        await case.call("DROP TABLE missing")
