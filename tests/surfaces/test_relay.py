from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import EffectState, Outcome, Reply
from gateway.surfaces.relay import Relay, relayed
from tests.surfaces.doubles import a_reply

SCOPE: Any = {"type": "http", "method": "GET"}


class Live:
    def __init__(self, *chunks: bytes, error: Exception | None = None, stays: bool = False) -> None:
        self.status = 200
        self.headers: Sequence[tuple[str, str]] = [("content-type", "text/event-stream")]
        self.pieces = chunks
        self.error = error
        self.stays = stays
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.stays:
            await asyncio.sleep(30)
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.closed = True


def reply(result: dict[str, Any] | None = None, live: Any = None, **changed: Any) -> Reply:
    outcome = Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=result, live=live)
    return a_reply("call_1", outcome=outcome, **changed)


async def sent(response: Any, *, leaves: bool = False) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        if not leaves:
            await asyncio.sleep(30)
        return {"type": "http.disconnect"}

    await response(SCOPE, receive, send)
    return messages


def test_a_recorded_answer_is_the_same_every_time() -> None:
    result = {
        "status": 201,
        "headers": [["content-type", "image/png"], ["content-length", "3"], ["x-a", "b"]],
        "kept": True,
        "base64": base64.b64encode(b"\x89P\xff").decode(),
    }
    first, again = relayed(reply(result), take_s=1), relayed(reply(result, replayed=True), take_s=1)
    assert first.status_code == again.status_code == 201
    assert first.body == again.body == b"\x89P\xff"
    assert dict(first.headers) == {
        k: v for k, v in again.headers.items() if k != "idempotency-replayed"
    }
    assert first.headers["holdfast-call"] == "call_1"
    assert first.headers["holdfast-effect"] == "applied"
    assert first.headers["holdfast-undo"].startswith("exact; available=?1; expires_at=")
    assert again.headers["idempotency-replayed"] == "true"


def test_what_a_tool_says_does_not_run_on_our_origin() -> None:
    headers = [["content-security-policy", "script-src *"], ["holdfast-effect", "none"]]
    result = {"status": 200, "headers": headers, "kept": True, "body": "<script>"}
    response = relayed(reply(result), take_s=1)
    assert "sandbox" in response.headers["content-security-policy"]
    assert response.headers.getlist("holdfast-effect") == ["applied"]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "result", [{"status": 200, "headers": [], "kept": False}, {"recovered": True}]
)
def test_an_answer_that_was_not_kept_is_said_so(result: dict[str, Any]) -> None:
    response = relayed(reply(result, replayed=True), take_s=1)
    assert response.status_code == 409
    document = json.loads(bytes(response.body))
    assert (document["reason"], document["effect"]) == ("idempotency.not_kept", "applied")


async def test_a_live_answer_goes_on_as_it_comes() -> None:
    live = Live(b"data: 1\n\n", b"data: 2\n\n")
    messages = await sent(relayed(reply({}, live), take_s=1))
    assert messages[0]["status"] == 200
    assert [m["body"] for m in messages[1:]] == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert [m["more_body"] for m in messages[1:]] == [True, True, False]
    assert live.closed


async def test_an_answer_that_breaks_off_has_no_end() -> None:
    live = Live(b"ab", error=UpstreamError("cut off"))
    messages = await sent(relayed(reply({}, live), take_s=1))
    assert messages[-1] == {"type": "http.response.body", "body": b"ab", "more_body": True}
    assert live.closed


async def test_an_agent_that_leaves_ends_the_answer() -> None:
    live = Live(b"ab", stays=True)
    async with asyncio.timeout(2):
        await sent(relayed(reply({}, live), take_s=1), leaves=True)
    assert live.closed


async def test_an_agent_that_takes_nothing_is_left() -> None:
    live = Live(b"ab", b"cd")
    started = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            started.set()
            await asyncio.sleep(30)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(30)
        return {}

    async with asyncio.timeout(2):
        await Relay([], live, 0.05)(SCOPE, receive, send)  # type: ignore[arg-type]
    assert started.is_set()
    assert live.closed
