from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.audit import digest_of
from gateway.errors import Overloaded, StoreUnavailable
from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Outcome, Reply, Surface
from tests.surfaces.doubles import ADMIN, House, a_reply


async def test_sql_becomes_one_call_with_what_was_sent(home: House) -> None:
    body = {"sql": "SELECT ?", "params": [1, "x", None]}
    answer = await home.agent(
        "POST",
        "/sql/shop",
        json=body,
        headers={
            "Idempotency-Key": "k-1",
            "Holdfast-Session": "run-9",
            "Holdfast-Reason": "Größe prüfen".encode(),
            "traceparent": "nonsense",
        },
    )
    assert answer.status_code == 200
    [call] = home.walk.calls
    assert (call.tool, call.surface, call.request) == ("shop", Surface.SQL, body)
    assert (call.subject.id, call.subject.session) == ("a7", "run-9")
    assert (call.idempotency_key, call.reason, call.dry_run) == ("k-1", "Größe prüfen", False)
    assert call.digest == digest_of(Surface.SQL, "shop", body)
    assert answer.headers["Holdfast-Call"] == call.id


@pytest.mark.parametrize(
    ("stdin", "kept"),
    [("1\n", ["1\n"]), (["1\n", "2\n"], ["1\n", "2\n"]), (None, None), ([], None)],
)
async def test_rows_beside_the_text_are_part_of_the_call(
    home: House, stdin: object, kept: object
) -> None:
    body = {"sql": "COPY t FROM STDIN", "params": []}
    await home.agent("POST", "/sql/shop", json={**body, "stdin": stdin})
    [call] = home.walk.calls
    assert call.request == (body if kept is None else {**body, "stdin": kept})
    assert call.digest == digest_of(Surface.SQL, "shop", call.request)


async def test_a_success_is_one_object_as_the_contract_has_it(home: House) -> None:
    answer = await home.agent("POST", "/sql/shop", json={"sql": "DELETE FROM t"})
    document = answer.json()
    assert document == {
        "call": home.walk.calls[0].id,
        "state": "succeeded",
        "verb": "delete",
        "columns": [],
        "rows": [],
        "affected": 1,
        "effect": "applied",
        "undo": {
            "reversibility": "exact",
            "available": True,
            "expires_at": "2026-03-02T09:00:00Z",
        },
    }
    assert answer.headers["Content-Type"] == "application/json"


async def test_several_statements_come_as_results(home: House) -> None:
    results = [{"verb": "insert", "affected": 1}, {"verb": "select", "rows": [[1]]}]
    home.walk.answer = lambda call: a_reply(call.id, {"results": results})
    answer = await home.agent("POST", "/sql/shop", json={"sql": "INSERT ...; SELECT 1"})
    assert answer.json()["results"] == results


async def test_a_result_cannot_speak_for_the_gateway(home: House) -> None:
    lie = {"call": "x", "state": "failed", "effect": "none", "undo": None}
    home.walk.answer = lambda call: a_reply(call.id, lie)
    document = (await home.agent("POST", "/sql/shop", json={"sql": "SELECT 1"})).json()
    assert (document["state"], document["effect"]) == ("succeeded", "applied")
    assert document["call"] == home.walk.calls[0].id


async def test_a_replay_gives_the_same_bytes_and_says_so(home: House) -> None:
    first = a_reply("call_x", {"verb": "delete", "affected": 2})
    stored = {"affected": 2, "verb": "delete"}
    again = replace(a_reply("call_x", stored), replayed=True)
    home.walk.answer = lambda call: first
    one = await home.agent("POST", "/sql/shop", json={"sql": "DELETE"})
    home.walk.answer = lambda call: again
    two = await home.agent("POST", "/sql/shop", json={"sql": "DELETE"})
    assert one.content == two.content
    assert "Idempotency-Replayed" not in one.headers
    assert two.headers["Idempotency-Replayed"] == "true"


async def test_a_rehearsal_has_a_digest_of_its_own(home: House) -> None:
    for dry_run in (False, True):
        await home.agent("POST", "/sql/shop", json={"sql": "DELETE", "dry_run": dry_run})
    real, rehearsal = home.walk.calls
    assert (real.dry_run, rehearsal.dry_run) == (False, True)
    assert real.digest != rehearsal.digest
    assert real.request == rehearsal.request


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "SELECT 1",
        {"sql": None},
        {"sql": 1},
        {"sql": ["SELECT 1"]},
        {"sql": "SELECT 1", "params": "x"},
        {"sql": "SELECT 1", "params": 0},
        {"sql": "COPY t FROM STDIN", "stdin": 1},
        {"sql": "COPY t FROM STDIN", "stdin": ["1", None]},
        {"sql": "COPY t FROM STDIN", "stdin": {"t": "1"}},
        {"sql": "SELECT 1", "dry_run": "true"},
        {"sql": "SELECT 1", "dry_run": None},
        {"sql": "SELECT 1", "dryrun": True},
        {"sql": "SELECT 1", "call": "call_1"},
    ],
)
async def test_a_body_that_is_not_exactly_a_call_is_malformed(home: House, body: Any) -> None:
    answer = await home.agent("POST", "/sql/shop", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.walk.calls == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "x" * 256),
        ("Idempotency-Key", "é".encode()),
        ("Idempotency-Key", "a\tb"),
        ("Holdfast-Session", "a b"),
        ("Holdfast-Session", "x" * 129),
        ("Holdfast-Reason", "x" * 501),
        ("Holdfast-Reason", b"\xff\xfe"),
        ("Holdfast-Reason", "a\u202eb".encode()),
    ],
)
async def test_a_header_out_of_bounds_is_malformed(home: House, name: str, value: Any) -> None:
    answer = await home.agent("POST", "/sql/shop", json={"sql": "S"}, headers={name: value})
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")
    assert home.walk.calls == []


@pytest.mark.parametrize("name", ["Idempotency-Key", "Holdfast-Session", "Holdfast-Reason"])
async def test_a_repeated_header_is_malformed(home: House, name: str) -> None:
    headers = [("Authorization", "Bearer token-of-a7"), (name, "a"), (name, "a")]
    answer = await home.http.post("/sql/shop", json={"sql": "SELECT 1"}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


@pytest.mark.parametrize("source", ["nowhere", "crm", "shop%00", "..", "SHOP"])
async def test_a_source_that_is_not_here_is_unknown(home: House, source: str) -> None:
    answer = await home.agent("POST", f"/sql/{source}", json={"sql": "SELECT 1"})
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_tool")
    assert home.walk.calls == []


async def test_an_unknown_query_parameter_is_malformed(home: House) -> None:
    answer = await home.agent("POST", "/sql/shop?dry_run=true", json={"sql": "DELETE"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_the_admin_token_runs_no_sql(home: House) -> None:
    answer = await home.agent("POST", "/sql/shop", token=ADMIN, json={"sql": "SELECT 1"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthenticated")


async def test_a_refusal_is_a_problem_with_the_call(home: House) -> None:
    deny = Deny(
        reason="limit.rows", detail="800 rows", reasons=("too many",), extra={"measured": 800}
    )
    home.walk.answer = lambda call: Reply(
        call=call.id,
        state=State.FAILED,
        effect=EffectState.NONE,
        outcome=Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=deny),
    )
    answer = await home.agent("POST", "/sql/shop", json={"sql": "DELETE"})
    document = answer.json()
    assert answer.status_code == 403
    assert (document["reason"], document["effect"]) == ("limit.rows", "none")
    assert (document["measured"], document["reasons"]) == (800, ["too many"])
    assert document["call"] == answer.headers["Holdfast-Call"] == home.walk.calls[0].id


async def test_an_error_of_ours_says_that_nothing_ran(home: House) -> None:
    home.walk.answer = lambda call: Overloaded("Too many calls.")
    answer = await home.agent("POST", "/sql/shop", json={"sql": "DELETE"})
    document = answer.json()
    assert (answer.status_code, document["reason"], document["effect"]) == (
        503,
        "overloaded",
        "none",
    )
    assert document["call"] == home.walk.calls[0].id
    assert answer.headers["Retry-After"] == "1"


async def test_a_fault_of_ours_claims_nothing_about_the_effect(home: House) -> None:
    home.walk.answer = lambda call: RuntimeError("password=hunter2")
    answer = await home.agent("POST", "/sql/shop", json={"sql": "DELETE"})
    document = answer.json()
    assert (answer.status_code, document["reason"], document["effect"]) == (
        500,
        "internal",
        "unknown",
    )
    assert "hunter2" not in answer.text
    assert document["call"] == home.walk.calls[0].id


async def test_respond_async_answers_once_the_call_is_on_record(home: House) -> None:
    home.walk.gate = asyncio.Event()
    answer = await home.agent(
        "POST", "/sql/shop", json={"sql": "DELETE"}, headers={"Prefer": "respond-async, wait=5"}
    )
    call = home.walk.calls[0].id
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/calls/{call}"
    assert answer.json()["state"] == "executing"
    polled = await home.agent("GET", f"/calls/{call}")
    assert (polled.status_code, polled.json()["state"]) == (200, "executing")
    assert len(home.gateway.tasks) == 1
    home.walk.gate.set()
    await asyncio.gather(*home.gateway.tasks)
    await asyncio.sleep(0)
    assert home.gateway.tasks == set()


async def test_respond_async_gives_the_reply_when_that_comes_first(home: House) -> None:
    answer = await home.agent(
        "POST", "/sql/shop", json={"sql": "SELECT 1"}, headers={"Prefer": "respond-async"}
    )
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")


async def test_respond_async_stays_true_when_only_the_looking_fails(home: House) -> None:
    home.store.failing = StoreUnavailable("down")
    answer = await home.agent(
        "POST", "/sql/shop", json={"sql": "DELETE"}, headers={"Prefer": "respond-async"}
    )
    assert (answer.status_code, answer.json()["effect"]) == (200, "applied")
