from __future__ import annotations

from typing import Any

import pytest

from gateway.lifecycle import State
from gateway.model import Call, Deny, EffectState, Outcome, Surface
from gateway.surfaces.http import http_digest
from tests.surfaces.doubles import House, a_reply

ANSWER = {"status": 200, "headers": [["content-type", "text/plain"]], "kept": True, "body": "hi"}


def answering(result: dict[str, Any], state: State = State.SUCCEEDED) -> Any:
    def answer(call: Call) -> Any:
        outcome = Outcome(state=state, effect=EffectState.NONE, result=result)
        return a_reply(call.id, state=state, effect=EffectState.NONE, outcome=outcome)

    return answer


async def test_a_request_becomes_a_call_in_canonical_form(home: House) -> None:
    home.walk.answer = answering(ANSWER)
    headers = {
        "Content-Type": "application/vnd.api+json",
        "X-Note": "mine",
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
        "Idempotency-Key": "k1",
        "Holdfast-Reason": "clean-up",
        "Accept-Encoding": "gzip",
        "User-Agent": "agent/1",
    }
    answer = await home.agent(
        "POST",
        "/http/crm/%63ustomers?b=2&a=1&_method=DELETE",
        content=b'{"n" : 1.50}',
        headers=headers,
    )
    assert answer.status_code == 200
    [call] = home.walk.calls
    assert call.surface is Surface.HTTP
    assert (call.tool, call.idempotency_key, call.reason) == ("crm", "k1", "clean-up")
    assert call.request["path"] == "/customers"
    assert call.request["query"] == [["b", "2"], ["a", "1"]]
    assert call.request["type"] == "application/vnd.api+json"
    assert call.request["body"] == {"n": 1.5}
    passed = call.request["headers"]
    assert passed["x-note"] == "mine"
    assert passed["accept-encoding"] == "gzip"
    assert not {"authorization", "cookie", "x-forwarded-for", "idempotency-key", "host"} & set(
        passed
    )
    assert not any(name.startswith("holdfast-") for name in passed)
    assert call.body is None


async def test_a_file_is_kept_aside_and_named_by_its_hash(home: House) -> None:
    home.gateway.uploads["crm"] = 100  # type: ignore[index]
    home.walk.answer = answering(ANSWER)
    answer = await home.agent(
        "PUT", "/http/crm/logo", content=b"\x89PNG", headers={"Content-Type": "image/png"}
    )
    assert answer.status_code == 200
    [call] = home.walk.calls
    assert call.request["body"]["size"] == 4
    assert call.request["body"]["sha256"] == call.body.sha256
    large = await home.agent(
        "PUT", "/http/crm/logo", content=b"x" * 101, headers={"Content-Type": "image/png"}
    )
    assert (large.status_code, large.json()["reason"]) == (413, "too_large")
    assert len(home.walk.calls) == 1


@pytest.mark.parametrize(("reason", "kept"), [("approval.required", True), ("frozen", False)])
async def test_a_file_is_kept_for_the_call_that_waits_for_a_person(
    home: House, reason: str, kept: bool
) -> None:
    def held(call: Call) -> Any:
        deny = Deny(reason=reason, detail="wait")
        outcome = Outcome(state=State.HELD, effect=EffectState.NONE, refusal=deny)
        return a_reply(call.id, state=State.HELD, effect=EffectState.NONE, outcome=outcome)

    home.gateway.uploads["crm"] = 100  # type: ignore[index]
    home.walk.answer = held
    answer = await home.agent(
        "PUT", "/http/crm/logo", content=b"\x89PNG", headers={"Content-Type": "image/png"}
    )
    assert answer.headers["holdfast-effect"] == "none"
    [call] = home.walk.calls
    found = home.gateway.shelf.find(call.request["body"]["sha256"])
    assert (found is call.body) is kept


async def test_a_repetition_may_carry_another_trace(home: House) -> None:
    home.walk.answer = answering(ANSWER)
    for trace, note in (("1", "a"), ("2", "a"), ("2", "b")):
        headers = {"traceparent": trace, "X-Note": note}
        await home.agent("GET", "/http/crm/a", headers=headers)
    digests = [call.digest for call in home.walk.calls]
    assert digests[0] == digests[1] != digests[2]
    assert home.walk.calls[0].request["headers"]["traceparent"] == "1"
    assert digests[0] == http_digest("crm", home.walk.calls[0].request)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/http/shop/a", 404),
        ("/http/none/a", 404),
        ("/http/crm/a/%2e%2e/b", 400),
        ("/http/crm", 404),
    ],
)
async def test_what_is_no_tool_or_no_path_is_no_call(home: House, target: str, status: int) -> None:
    answer = await home.agent("GET", target)
    assert answer.status_code == status
    assert home.walk.calls == []


async def test_the_admin_token_is_no_agents(home: House) -> None:
    assert (await home.admin("GET", "/http/crm/a")).status_code == 401
    assert (await home.http.get("/http/crm/a")).status_code == 401


async def test_a_refusal_is_a_problem_document(home: House) -> None:
    def refused(call: Call) -> Any:
        deny = Deny(reason="policy.denied", detail="no")
        outcome = Outcome(state=State.DENIED, effect=EffectState.NONE, refusal=deny)
        return a_reply(call.id, state=State.DENIED, effect=EffectState.NONE, outcome=outcome)

    home.walk.answer = refused
    answer = await home.agent("DELETE", "/http/crm/customers/7")
    assert (answer.status_code, answer.json()["reason"]) == (403, "policy.denied")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_call_can_be_answered_early(home: House) -> None:
    import asyncio

    home.walk.gate = asyncio.Event()
    home.walk.answer = answering(ANSWER)
    answer = await home.agent("DELETE", "/http/crm/a", headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert "prefer" not in home.walk.calls[0].request["headers"]
    home.walk.gate.set()
    await asyncio.gather(*home.gateway.tasks)


async def decided(home: House, **body: Any) -> Any:
    return await home.agent("POST", "/decide", json={"surface": "http", "tool": "crm", **body})


async def test_a_described_call_is_the_call_itself(home: House) -> None:
    home.walk.answer = answering(ANSWER)
    await home.agent("PUT", "/http/crm/a?x=1", json={"n": 1}, headers={"Accept-Encoding": "br"})
    headers = {n: v for n, v in home.walk.calls[0].request["headers"].items()}
    answer = await decided(
        home, method="PUT", path="/%61", query={"x": "1"}, headers=headers, body={"n": 1}
    )
    assert answer.status_code == 200
    real, described = home.walk.calls
    assert described.request == real.request
    assert described.digest == real.digest


@pytest.mark.parametrize("query", ["a=1&a=2", {"a": ["1", "2"]}, [["a", "1"], ["a", "2"]]])
async def test_a_query_is_described_in_three_ways(home: House, query: object) -> None:
    await decided(home, method="get", path="/a", query=query)
    assert home.walk.calls[0].request["query"] == [["a", "1"], ["a", "2"]]


async def test_a_described_path_that_would_be_refused_is_judged_as_it_stands(home: House) -> None:
    await decided(home, method="GET", path="/pub/../admin")
    assert home.walk.calls[0].request["path"] == "/pub/../admin"


@pytest.mark.parametrize(
    "body",
    [
        {"method": "FROB", "path": "/"},
        {"method": "GET"},
        {"method": "GET", "path": "/?a=1", "query": {"a": "1"}},
        {"method": "GET", "path": "/", "query": {"a": 1}},
        {"method": "GET", "path": "/", "query": 7},
        {"method": "GET", "path": "/", "headers": {"a": 1}},
        {"method": "GET", "path": "/", "headers": {"a b": "1"}},
        {"method": "GET", "path": "/", "headers": ["a"]},
        {"method": "GET", "path": "/", "headers": {"A": "1", "a": "2"}},
        {"method": "GET", "path": "/", "more": 1},
    ],
)
async def test_a_description_that_is_no_request_is_malformed(home: House, body: Any) -> None:
    answer = await decided(home, **body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_a_described_form_is_a_form(home: House) -> None:
    await decided(
        home,
        method="POST",
        path="/a",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body={"a": ["1", "2"]},
    )
    request = home.walk.calls[0].request
    assert request["type"] == "application/x-www-form-urlencoded"
    assert request["body"] == [["a", "1"], ["a", "2"]]
