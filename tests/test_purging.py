"""A purge, from the proposal to the revert that says that there is nothing left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.deciding import Decider
from gateway.errors import NotFound
from gateway.flights import Timing
from gateway.guards.freeze import Windows
from gateway.guards.limits import Limits
from gateway.lifecycle import State
from gateway.model import Approval, Call, Reply
from gateway.pipeline import Pipeline
from gateway.purging import Purger
from gateway.revert import Reverter, RevertRequest
from tests.fixtures.fakes import FakeClock, FakePolicy, ids
from tests.fixtures.postgres_ddl import SchemaCase, different
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.stores import sqlite_store
from tests.fixtures.walks import LEASE, judges

pytestmark = pytest.mark.postgres

RETENTION = timedelta(days=30)


@dataclass
class Place:
    case: SchemaCase
    clock: FakeClock
    store: object
    pipeline: Pipeline
    reverter: Reverter
    purger: Purger

    async def drop(self, sql: str) -> Call:
        call = replace(self.case.call_of(sql), received_at=self.clock.now())
        reply = await self.pipeline.handle(call)
        assert reply.state is State.SUCCEEDED, reply.outcome
        return call

    async def approve(self, reply: Reply) -> Reply:
        assert (reply.state, reply.approval) != (State.SUCCEEDED, None)
        approval = await self.store.decide_approval(  # type: ignore[attr-defined]
            reply.approval, approve=True, by="admin", note=None
        )
        assert isinstance(approval, Approval)
        return await self.pipeline.resume(approval)


@pytest.fixture
async def place(postgres_server: PostgresServer, tmp_path: Path) -> AsyncIterator[Place]:
    case = SchemaCase(postgres_server, tmp_path)
    clock, policy, new_id = FakeClock(), FakePolicy(), ids()
    store = sqlite_store(tmp_path, clock)
    await store.open()
    upstreams = {"app": case.upstream}
    decider = Decider(
        policy=policy,
        judges=judges(Limits(max_rows=1000, max_share=1.0)),
        windows=Windows([]),
        store=store,
        clock=clock,
    )
    pipeline = Pipeline(
        upstreams=upstreams,
        decider=decider,
        store=store,
        clock=clock,
        new_id=new_id,
        timing=Timing(lease=LEASE, retention=RETENTION),
    )
    reverter = Reverter(
        upstreams=upstreams,
        store=store,
        clock=clock,
        new_id=new_id,
        revision=lambda: policy.revision,
        lease=LEASE,
        retention=RETENTION,
    )
    purger = Purger(
        sources={"app": case.upstream},
        handle=pipeline.handle,
        store=store,
        clock=clock,
        new_id=new_id,
    )
    yield Place(case, clock, store, pipeline, reverter, purger)
    await store.close()
    await case.close()


async def test_a_purge_is_held_and_then_for_good(place: Place) -> None:
    place.case.setup("CREATE TABLE a(id int); INSERT INTO a SELECT generate_series(1, 1000)")
    call = await place.drop("DROP TABLE a")
    ((kept, record),) = await place.purger.listed()
    assert (kept.call, kept.objects, kept.source) == (call.id, ("a",), "app")
    assert kept.bytes >= 32768
    assert record is not None
    held = await place.purger.propose("app", [call.id], by="admin")
    assert held.state is State.HELD
    assert len(await place.purger.listed()) == 1  # nothing has happened yet
    done = await place.approve(held)
    assert done.state is State.SUCCEEDED, done.outcome
    assert done.outcome.result is not None
    assert done.outcome.result["purged"][0]["call"] == call.id
    assert await place.purger.listed() == []
    job = await place.reverter.revert(RevertRequest(target={"call": call.id}, by="admin"))
    (step,) = job.steps
    assert (step.state, step.reason) == ("failed", "revert.not_revertible")
    assert "what it put into quarantine was purged" in (step.detail or "")
    record = await place.store.call(call.id)  # type: ignore[attr-defined]
    assert (record.undo.available, record.undo.gone) == (
        False,
        "what it put into quarantine was purged",
    )


async def test_a_purge_takes_the_way_back_from_the_revert_that_put_things_away(
    place: Place,
) -> None:
    call = await place.drop("CREATE TABLE a(id int)")
    job = await place.reverter.revert(RevertRequest(target={"call": call.id}, by="admin"))
    assert job.state == "reverted", job.steps
    record = await place.store.call(call.id)  # type: ignore[attr-defined]
    back = await place.store.call(record.reverted_by)  # type: ignore[attr-defined]
    assert (back.undo.available, back.undo.gone) == (True, None)
    held = await place.purger.propose("app", [call.id], by="admin")
    assert (await place.approve(held)).state is State.SUCCEEDED
    back = await place.store.call(record.reverted_by)  # type: ignore[attr-defined]
    assert not back.undo.available
    assert "purged" in back.undo.gone


async def test_of_several_calls_all_must_have_something_there(place: Place) -> None:
    place.case.setup("CREATE TABLE a(id int)")
    call = await place.drop("DROP TABLE a")
    refused = await place.purger.propose("app", [call.id, "call_nowhere"], by="admin")
    assert refused.state is State.DENIED
    assert refused.outcome.refusal is not None
    assert "call_nowhere" in refused.outcome.refusal.detail
    assert call.id not in refused.outcome.refusal.detail


async def test_what_ran_out_says_so_and_not_that_somebody_deleted_it(place: Place) -> None:
    place.case.setup("CREATE TABLE a(id int); INSERT INTO a VALUES (1)")
    calls = [await place.drop(f"UPDATE a SET id = {n}") for n in (2, 3)]
    (info,), _ = await place.store.snapshots(call=calls[0].id)  # type: ignore[attr-defined]
    assert await place.store.delete_snapshot(info.id, by="admin")  # type: ignore[attr-defined]
    place.clock.advance(seconds=RETENTION.total_seconds() + 1)
    assert await place.store.expire_snapshots(place.clock.now()) == 1  # type: ignore[attr-defined]
    gone = [(await place.store.call(c.id)).undo.gone for c in calls]  # type: ignore[attr-defined]
    assert gone == ["its images were deleted", "its images have expired"]


async def test_the_end_of_an_undo_leads_to_one_proposal_and_drops_nothing(place: Place) -> None:
    place.case.setup("CREATE TABLE a(id int); CREATE TABLE b(id int)")
    before = place.case.dump()
    call = await place.drop("DROP TABLE a")
    assert await place.purger.propose_expired() == 0
    place.clock.advance(seconds=RETENTION.total_seconds() + 1)
    await place.drop("DROP TABLE b")
    assert await place.purger.propose_expired() == 1
    assert await place.purger.propose_expired() == 0
    assert {kept.call for kept, _ in await place.purger.listed()} >= {call.id}
    assert len(await place.purger.listed()) == 2
    assert different(before, place.case.dump())


async def test_what_is_not_there_cannot_be_purged(place: Place) -> None:
    with pytest.raises(NotFound):
        await place.purger.propose("elsewhere", ["call_1"], by="admin")
    refused = await place.purger.propose("app", ["call_nowhere"], by="admin")
    assert refused.state is State.DENIED


async def test_after_a_revert_nothing_lies_there(place: Place) -> None:
    place.case.setup("CREATE SCHEMA box; CREATE TABLE box.a(id int)")
    before = place.case.dump()
    call = await place.drop("DROP SCHEMA box CASCADE")
    assert [kept.objects for kept, _ in await place.purger.listed()] == [("a",)]
    job = await place.reverter.revert(RevertRequest(target={"call": call.id}, by="admin"))
    assert job.state == "reverted", job.steps
    assert await place.purger.listed() == []
    assert different(before, place.case.dump()) == []
