from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.app import assemble, opened
from gateway.app.life import UNKNOWN_EVERY_S, Checkpoints, Unknowns, expire_approvals
from gateway.config import load
from gateway.lifecycle import State
from gateway.model import Hold, Obligations
from tests.fixtures.fakes import FakePolicy, a_call
from tests.fixtures.serving import ROOT, environment
from tests.fixtures.shelf import Shelf, shelf_call
from tests.fixtures.walks import walks


async def test_a_checkpoint_file_holds_the_newest_entry(tmp_path: Path) -> None:
    w = await walks()
    file = tmp_path / "checkpoint.json"
    checkpoints = Checkpoints(w.store, file)
    await checkpoints.write()
    assert not file.exists()
    for _ in range(2):
        await w.pipeline.handle(a_call("a", verb="select"))
        await checkpoints.write()
        newest = (await w.store.entries(limit=1000))[-1]
        assert json.loads(file.read_text()) == {"seq": newest.seq, "hash": newest.hash}


async def test_a_held_call_that_nobody_approves_in_time_is_denied() -> None:
    hold = Hold(obligations=Obligations(approval_ttl=60))
    w = await walks(policy=FakePolicy(hold))
    call = (await w.pipeline.handle(a_call())).call
    await expire_approvals(w.store, w.clock)
    record = await w.store.call(call)
    assert record is not None
    assert record.state is State.HELD
    w.clock.advance(seconds=61)
    await expire_approvals(w.store, w.clock)
    record = await w.store.call(call)
    assert record is not None
    assert record.state is State.DENIED
    assert record.outcome is not None
    assert record.outcome.refusal is not None
    assert record.outcome.refusal.reason == "approval.expired"


async def test_a_call_of_unknown_outcome_is_told_once_within_ten_seconds() -> None:
    w = await walks(shelf=Shelf(items={"7": "old", "8": "old"}, faults=["lost", "lost"]))
    alarm = Unknowns(w.store)
    first = (await w.pipeline.handle(shelf_call("delete", "7"))).call
    with capture_logs() as logs:
        await alarm.look()
        await alarm.look()
        second = (await w.pipeline.handle(shelf_call("delete", "8"))).call
        await alarm.look()
    told = [(entry["event"], entry["call"], entry["unknown"]) for entry in logs]
    assert told == [("calls.unknown", first, 1), ("calls.unknown", second, 2)]
    assert UNKNOWN_EVERY_S < 10


async def test_opening_settles_what_an_earlier_process_left(tmp_path: Path) -> None:
    settings = load(ROOT / "config.example.yaml", environment(tmp_path))
    parts = assemble(settings)
    call = replace(
        a_call(tool="shop"),
        request={"sql": "DELETE FROM customers WHERE id = 1", "params": []},
    )
    async with opened(parts):
        action = await parts.sources["shop"].parse(call)
        intent = await parts.store.intend(
            call,
            action={},
            reach=parts.decider.reach(call, action),  # type: ignore[arg-type]
            decision={"decision": "allow", "revision": "r"},
        )
        await parts.store.begin(
            intent,  # type: ignore[arg-type]
            windows=(),
            revision="r",
            lease=timedelta(seconds=600),
        )
    again = assemble(settings)
    async with opened(again):
        record = await again.store.call(call.id)
    assert record is not None
    assert record.state is State.FAILED


async def test_background_work_ends_with_the_process(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    parts = assemble(load(ROOT / "config.example.yaml", environment(tmp_path)))
    async with opened(parts):
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before


async def test_a_policy_that_does_not_load_keeps_everything_closed(tmp_path: Path) -> None:
    from gateway.errors import PolicyInvalid

    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.rego").write_text("package gateway\n\nallow {\n")
    text = (ROOT / "config.example.yaml").read_text()
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("path: policies", f"path: {tmp_path}/policies"))
    parts = assemble(load(config, environment(tmp_path)))
    with pytest.raises(PolicyInvalid):
        async with opened(parts):
            pytest.fail("it opened")
