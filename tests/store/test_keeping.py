"""Undos, revert jobs, agents and the audit log, in both stores."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.audit import verify
from gateway.errors import StoreUnavailable
from gateway.interfaces import Agent, Store
from gateway.model import Conflict, OnConflict, RevertJob, Step
from tests.fixtures.fakes import START, FakeClock, a_call
from tests.fixtures.stores import done, freeze, permitted, running, undo


async def last(store: Store) -> dict[str, object]:
    body: dict[str, object] = json.loads((await store.entries())[-1].body)
    return body


@pytest.mark.parametrize("size", [10, 20_000])
async def test_a_deleted_snapshot_is_gone_for_good_and_on_record(
    store: Store, tmp_path: Path, size: int
) -> None:
    # Bytes that do not compress, so that they stand as they are wherever they stand.
    image = b"".join(n.to_bytes(2, "big") for n in range(size // 2))
    call = await done(store, way_back=undo(image))
    [info] = (await store.snapshots())[0]
    assert await store.delete_snapshot(info.id, by="ann")
    assert await store.undo_of(call.id) is None
    assert not await store.delete_snapshot(info.id, by="ann")
    assert not await store.delete_snapshot("snap_none", by="ann")
    deleted, erased = [json.loads(e.body) for e in (await store.entries())[-2:]]
    assert (deleted["event"], deleted["by"], deleted["why"]) == (
        "snapshot.delete",
        "ann",
        "deleted",
    )
    assert (erased["event"], erased["read_again"]) == ("snapshot.erase", "not found")
    for entry in (deleted, erased):
        assert (entry["sha256"], entry["bytes"]) == (info.sha256, info.bytes)
    assert list((tmp_path / "images").iterdir()) == []
    [row] = (await store.snapshots())[0]
    assert row.deleted_at is not None
    assert row.erased_at is not None


async def test_the_image_of_a_running_call_is_not_deleted(store: Store, clock: FakeClock) -> None:
    call = a_call()
    token = await running(store, call)
    await permitted(store, token, call, expires_at=clock.now())
    [info] = (await store.snapshots())[0]
    assert not await store.delete_snapshot(info.id, by="ann")
    assert await store.expire_snapshots(clock.now() + timedelta(days=9)) == 0
    assert await store.undo_of(call.id) is not None


async def test_expired_images_are_deleted_and_the_others_kept(
    store: Store, clock: FakeClock, tmp_path: Path
) -> None:
    now = clock.now()
    large = undo(bytes(range(256)) * 40)
    old = await done(store, expires_at=now + timedelta(hours=1), way_back=large)
    new = await done(store, expires_at=now + timedelta(hours=3), way_back=large)
    for_ever = await done(store)
    assert await store.expire_snapshots(now + timedelta(hours=2)) == 1
    assert await store.expire_snapshots(now + timedelta(hours=2)) == 0
    assert await store.undo_of(old.id) is None
    assert await store.undo_of(new.id) == large
    assert await store.undo_of(for_ever.id) is not None
    assert len(list((tmp_path / "images").iterdir())) == 1


async def test_a_revert_job_comes_back_as_it_was_saved(store: Store) -> None:
    job = RevertJob(
        id="rev_1",
        target={"session": "s1"},
        on_conflict=OnConflict.SKIP,
        plan=False,
        reason="oops",
        requested_by="ann",
        state="running",
        steps=(),
        created_at=START,
        updated_at=START,
    )
    await store.save_revert(job)
    assert await store.unfinished_reverts() == [job]
    conflict = Conflict(resource="main.a", key=[1], before={"x": 1}, after={"x": 2}, now=None)
    step = Step(
        call="call_1", upstream="box", action="restore", state="conflict", conflicts=(conflict,)
    )
    ended = replace(job, state="conflict", steps=(step,), updated_at=START + timedelta(1))
    await store.save_revert(ended)
    assert await store.revert("rev_1") == ended
    assert await store.revert("rev_2") is None
    assert await store.unfinished_reverts() == []
    assert (await last(store))["steps"] == {"call_1": "conflict"}


async def test_agents_are_added_found_by_token_and_revoked(store: Store) -> None:
    agent = Agent(name="a7", roles=("developer",), token_sha256="1" * 64, created_at=START)
    assert await store.add_agent(agent, by="ann")
    assert not await store.add_agent(replace(agent, token_sha256="2" * 64), by="ann")
    assert not await store.add_agent(replace(agent, name="b1"), by="ann")
    assert await store.agent_by_token("1" * 64) == agent
    assert await store.agent_by_token("2" * 64) is None
    assert await store.revoke_agent("a7", by="ann")
    assert not await store.revoke_agent("a7", by="ann")
    assert await store.agent_by_token("1" * 64) is None
    assert await store.add_agent(replace(agent, token_sha256="3" * 64), by="ann")
    assert [a.revoked_at is None for a in await store.agents()] == [False, True]
    assert all("1" * 64 not in e.body for e in await store.entries())


async def test_every_act_is_one_entry_of_one_gapless_chain(store: Store) -> None:
    await done(store)
    await store.freeze(freeze())
    await store.record("admin.read", {"what": "calls"})
    entries = await store.entries()
    events = [json.loads(e.body)["event"] for e in entries]
    assert events == [
        "call.intend",
        "call.begin",
        "call.permit",
        "call.settle",
        "freeze.add",
        "admin.read",
    ]
    verdict = verify((e.seq, e.hash, e.body) for e in entries)
    assert (verdict.fault, verdict.entries) == (None, 6)
    assert [e.seq for e in await store.entries(after=2, limit=2)] == [3, 4]
    assert await store.entries(after=6) == []


async def test_a_move_of_a_call_cannot_be_recorded_beside_it(store: Store) -> None:
    with pytest.raises(ValueError):
        await store.record("call.settle", {})
    assert await store.entries() == []


async def test_a_closed_store_says_so(store: Store) -> None:
    await store.ready()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.ready()
    with pytest.raises(StoreUnavailable):
        await store.calls()
