from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.interfaces.mcp import CURRENT, Client
from gateway.model import Json
from gateway.upstreams.mcp import session

CLIENT = Client(owner="a")
MODERN = {"supportedVersions": [CURRENT], "capabilities": {"tools": {}}, "serverInfo": {}}
OLDER = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}}
REFUSED = {"error": {"code": -32600, "message": "is serving another revision"}}


class Line:
    """A ``Channel`` to a server that answers each method with what is planned for it."""

    alive, headed = True, False

    def __init__(self, **planned: list[Any]) -> None:
        self.planned = planned
        self.asked: list[str] = []

    async def exchange(self, message: Mapping[str, Json], **_: Any) -> Mapping[str, Json]:
        name = str(message["method"]).partition("/")[0]
        self.asked.append(name)
        answer = self.planned[name].pop(0)
        if answer is None:
            await asyncio.Event().wait()
        body = answer if "error" in answer else {"result": answer}
        return {"jsonrpc": "2.0", "id": message["id"], **body}

    async def post(self, message: Mapping[str, Json], **_: Any) -> None:
        self.asked.append(str(message["method"]))

    def remember(self, header: str, value: str) -> None:
        self.asked.append(f"{header}: {value}")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROBE_S", 0.01)


async def met(line: Line, **how: Any) -> session.Session:
    return await session.greet(line, CLIENT, **how)  # type: ignore[arg-type] # all that is used


async def test_the_newer_hello_comes_first() -> None:
    line = Line(server=[MODERN])
    assert (await met(line)).current
    assert line.asked == ["server"]


@pytest.mark.parametrize("first", [REFUSED, None], ids=["refused", "silence"])
async def test_a_server_that_does_not_know_it_gets_the_older_one(first: Json) -> None:
    line = Line(server=[first], initialize=[OLDER])
    assert not (await met(line)).current
    assert line.asked[-1] == "notifications/initialized"


async def test_a_newer_server_that_started_slowly_is_asked_again() -> None:
    line = Line(server=[None, MODERN], initialize=[REFUSED])
    assert (await met(line)).current
    assert line.asked == ["server", "initialize", "server"]


async def test_a_server_that_refuses_both_is_out_of_reach() -> None:
    line = Line(server=[REFUSED, REFUSED], initialize=[REFUSED])
    with pytest.raises(UpstreamError) as refused:
        await met(line)
    assert refused.value.reason == "upstream.unreachable"


async def test_where_only_the_older_is_configured_no_other_is_tried() -> None:
    line = Line(initialize=[REFUSED])
    with pytest.raises(UpstreamError):
        await met(line, first="previous", only=True)
    assert line.asked == ["initialize"]
