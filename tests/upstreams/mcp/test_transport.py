from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import UpstreamError
from gateway.model import ActionClass, Json, Reversibility
from gateway.upstreams.mcp.repositories import Repositories
from gateway.upstreams.mcp.spec import ServerSpec, ToolSpec, in_order, maker
from gateway.upstreams.mcp.transport import McpTransport

WRITE = ToolSpec(
    cls=ActionClass.WRITE, reversibility=Reversibility.IRREVERSIBLE, error_is_harmless=True
)


class Server:
    """Answers each call with what is planned for it: a text, an error, or silence."""

    def __init__(self, *planned: str | Exception | dict[str, Json]) -> None:
        self.planned = list(planned)
        self.seen: list[Json] = []

    async def request(self, method: str, params: Mapping[str, Json], **_: Any) -> dict[str, Json]:
        self.seen.append((method, params["name"], params["arguments"]))
        planned = self.planned.pop(0)
        if isinstance(planned, Exception):
            raise planned
        if isinstance(planned, dict):
            return planned
        failed = planned.startswith("E")
        return {"content": [{"type": "text", "text": planned}], "isError": failed}


def transport(server: Server, companion: Repositories | None = None) -> McpTransport:
    link = SimpleNamespace(session=server, running=0)

    async def same(*_: object) -> Any:
        return link

    async def no_tool(*_: object) -> None:
        return None

    links = SimpleNamespace(link=same, ended=lambda link: None)
    shelf: Any = SimpleNamespace(links=links, tool=no_tool)
    spec = ServerSpec(name="it", tools={"*": WRITE}, companion=companion)
    return McpTransport(spec, shelf)


def both() -> Mapping[str, Json]:
    roots = ("arguments",)
    makers = [maker("first", {"id": "$arguments.id"}, roots), maker("second", {}, roots)]
    return in_order(makers)({"arguments": {"id": "7"}})


async def test_the_calls_of_a_sequence_are_sent_in_order_and_the_last_answers() -> None:
    server = Server("one", "two")
    answer = await transport(server).send(both())
    assert answer.view["text"] == "two"
    assert not answer.failed
    assert server.seen == [
        ("tools/call", "first", {"id": "7"}),
        ("tools/call", "second", {}),
    ]


async def test_after_an_error_nothing_more_of_a_sequence_is_sent() -> None:
    server = Server("Error")
    answer = await transport(server).send(both())
    assert (answer.failed, answer.proves_no_effect, len(server.seen)) == (True, True, 1)


async def test_a_later_error_does_not_show_that_nothing_happened() -> None:
    answer = await transport(Server("one", "Error")).send(both())
    assert (answer.failed, answer.proves_no_effect) == (True, False)
    gone = UpstreamError("gone", proves_no_effect=True)
    with pytest.raises(UpstreamError) as raised:
        await transport(Server("one", gone)).send(both())
    assert not raised.value.proves_no_effect
    with pytest.raises(UpstreamError) as raised:
        await transport(Server(gone)).send(both())
    assert raised.value.proves_no_effect


@pytest.mark.parametrize(
    ("mark", "said", "absent"),
    [
        (True, "E: whatever", True),
        (["ENOENT:"], "ENOENT: no such file", True),
        (["ENOENT:"], "EACCES: not this one, ENOENT:", False),
        ([], "ENOENT: no such file", False),
        (True, "it is there", False),
    ],
)
async def test_an_error_means_absence_where_it_is_declared_so(
    mark: Any, said: str, absent: bool
) -> None:
    request = maker("look", {}, (), absent=mark)({})
    assert (await transport(Server(said)).send(request)).absent is absent


async def test_calls_of_a_companion_do_not_go_to_the_server(tmp_path: Path) -> None:
    server = Server()
    call = maker("state", {"repo_path": str(tmp_path)}, (), absent=True, companion=True)({})
    with pytest.raises(UpstreamError) as none:
        await transport(server).send(call)
    assert none.value.proves_no_effect
    beside = transport(server, Repositories({"PATH": os.environ["PATH"]}))
    answer = await beside.send(in_order([lambda _: call])({}))
    assert (answer.failed, answer.absent, server.seen) == (True, True, [])


async def test_a_task_that_nobody_asked_for_is_no_success() -> None:
    server = Server({"task": {"taskId": "1", "status": "working"}})
    with pytest.raises(UpstreamError) as raised:
        await transport(server).send({"method": "tools/call", "name": "a", "arguments": {}})
    assert not raised.value.proves_no_effect
    assert "task" in raised.value.detail
