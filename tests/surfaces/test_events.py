from __future__ import annotations

import asyncio
import json
from dataclasses import replace

from gateway.errors import StoreUnavailable
from gateway.lifecycle import State
from gateway.model import EffectState
from gateway.surfaces.events import event
from tests.surfaces.doubles import House, a_record


def told(text: str) -> list[tuple[str, dict[str, object]]]:
    blocks = [b for b in text.split("\n\n") if b.startswith("event: ")]
    parts = [b.removeprefix("event: ").split("\ndata: ") for b in blocks]
    return [(name, json.loads(data)) for name, data in parts]


async def test_a_settled_call_is_told_once(home: House) -> None:
    home.store.records["call_1"] = a_record()
    answer = await home.agent("GET", "/calls/call_1/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    [(name, document)] = told(answer.text)
    assert (name, document["state"]) == ("state", "succeeded")


async def test_every_change_is_told_until_the_call_is_settled(home: House) -> None:
    running = a_record(state=State.EXECUTING, effect=EffectState.NONE)
    home.store.records["call_1"] = running

    async def settle() -> None:
        await asyncio.sleep(0.01)
        home.store.records["call_1"] = a_record()

    answer, _ = await asyncio.gather(home.agent("GET", "/calls/call_1/events"), settle())
    assert [d["state"] for _, d in told(answer.text)] == ["executing", "succeeded"]


async def test_a_call_that_does_not_end_is_told_for_a_bounded_time(home: House) -> None:
    home.store.records["call_1"] = a_record(state=State.UNKNOWN, effect=EffectState.UNKNOWN)
    answer = await home.agent("GET", "/calls/call_1/events")
    assert [name for name, _ in told(answer.text)] == ["state", "timeout"]
    assert ": still waiting" in answer.text
    assert home.gateway.watching == {}


async def test_a_store_that_goes_away_ends_the_stream_with_its_reason(home: House) -> None:
    home.store.records["call_1"] = a_record(state=State.EXECUTING)

    async def break_store() -> None:
        await asyncio.sleep(0.01)
        home.store.failing = StoreUnavailable("/var/secret.db is gone")

    answer, _ = await asyncio.gather(home.agent("GET", "/calls/call_1/events"), break_store())
    assert told(answer.text)[-1] == ("error", {"reason": "store.unavailable"})
    assert "secret" not in answer.text


async def test_one_subject_cannot_hold_streams_without_end(home: House) -> None:
    home.store.records["call_1"] = a_record(state=State.EXECUTING)
    home.gateway.watching["a7"] = home.gateway.bounds.watchers
    answer = await home.agent("GET", "/calls/call_1/events")
    assert (answer.status_code, answer.json()["reason"]) == (503, "overloaded")


def test_data_cannot_start_an_event_of_its_own() -> None:
    hostile = "x\n\nevent: state\r\ndata: {}\u2028"
    assert event("state", {"sql": hostile}).count(b"\n") == 3
    assert b"\r" not in event("state", {"sql": hostile})


async def test_the_sql_of_a_call_stays_inside_its_event(home: House) -> None:
    record = a_record()
    sql = "SELECT 1\n\nevent: state\ndata: {}"
    home.store.records["call_1"] = replace(
        record, call=replace(record.call, request={"sql": sql, "params": []})
    )
    [(_, document)] = told((await home.agent("GET", "/calls/call_1/events")).text)
    assert document["request"] == {"sql": sql, "params": []}
