"""One request of a call to the server, once, and what its answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import UpstreamError
from gateway.interfaces.mcp import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Client,
    Dialogue,
    McpFault,
)
from gateway.model import Json
from gateway.upstreams.mcp.shelf import Shelf
from gateway.upstreams.mcp.spec import ABSENT, COMPANION, SEQUENCE, ServerSpec
from gateway.upstreams.remote.transport import Answer

# What a server answers before it does anything.
_NOTHING_DONE = frozenset({PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS})


class McpTransport:
    """``Transport`` over the conversations of one server. ``body`` is the ``Dialogue`` of the
    request that a call came with; reads of our own have none."""

    def __init__(self, spec: ServerSpec, shelf: Shelf) -> None:
        self._spec = spec
        self._shelf = shelf

    async def send(
        self,
        request: Mapping[str, Json],
        *,
        key: str | None = None,
        body: Any = None,
        live: bool = False,  # noqa: ARG002 - an answer is one message
    ) -> Answer:
        if request["method"] == SEQUENCE:
            return await self._in_order(request["calls"])
        if request["method"] == COMPANION:
            return await self._beside(request)
        dialogue: Dialogue | None = body
        client = Client(owner="holdfast") if dialogue is None else dialogue.client
        link = await self._shelf.links.link(client)
        method = str(request["method"])
        params = {name: value for name, value in request.items() if name not in ("method", ABSENT)}
        headers: dict[str, str] = {}
        if method == "tools/call":
            params = self._with_key(params, key)
            headers = await self._headers(client, params)
        link.running += 1
        try:
            result = await link.session.request(
                method, params, client=client, dialogue=dialogue, headers=headers
            )
        except McpFault as fault:
            absent = _means_absent(request.get(ABSENT), fault.message)
            return _refused(fault, absent=absent)
        except UpstreamError:
            self._shelf.links.ended(link)
            raise
        finally:
            link.running -= 1
        return self._answer(request, params, result)

    async def _beside(self, request: Mapping[str, Json]) -> Answer:
        companion = self._spec.companion
        if companion is None:
            raise UpstreamError(
                f"The MCP server {self._spec.name!r} has no companion any more.",
                reason="upstream.unreachable",
                proves_no_effect=True,
            )
        answer = await companion.ask(str(request["name"]), request["arguments"])
        said = str(answer.view.get("text"))
        return replace(answer, absent=answer.failed and _means_absent(request.get(ABSENT), said))

    async def _in_order(self, calls: Sequence[Mapping[str, Json]]) -> Answer:
        """The last answer, or the first that is an error: nothing is sent after it. Once a call
        was accepted, no later end shows that nothing happened."""
        answer: Answer | None = None
        for call in calls:
            earlier = answer
            try:
                answer = await self.send(call)
            except UpstreamError as error:
                if earlier is None:
                    raise
                raise UpstreamError(
                    error.detail, reason=error.reason, proves_no_effect=False
                ) from error
            if answer.failed:
                return answer if earlier is None else replace(answer, proves_no_effect=False)
        if answer is None:
            raise ValueError("a sequence has at least one call")
        return answer

    def _with_key(self, params: dict[str, Json], key: str | None) -> dict[str, Json]:
        name = self._spec.tool(str(params.get("name"))).key
        if key is None or name is None:
            return params
        return {**params, "arguments": {**(params.get("arguments") or {}), name: key}}

    async def _headers(self, client: Client, params: Mapping[str, Json]) -> dict[str, str]:
        tool = await self._shelf.tool(client, str(params.get("name")))
        if tool is None or not tool.headed:
            return {}
        from mcp.shared.inbound import mcp_param_headers  # see catalog.py

        return mcp_param_headers(tool.headed, params.get("arguments") or {})

    def _answer(
        self, request: Mapping[str, Json], params: Mapping[str, Json], result: dict[str, Json]
    ) -> Answer:
        if "task" in result and "content" not in result and request["method"] == "tools/call":
            raise UpstreamError(
                "The MCP server answered with a task, which nobody asked for and which cannot be "
                "followed up here.",
                proves_no_effect=False,
            )
        failed = request["method"] == "tools/call" and result.get("isError") is True
        harmless = self._spec.tool(str(params.get("name"))).error_is_harmless
        view = view_of(result)
        return Answer(
            view=view,
            result={"mcp": {"result": result}},
            failed=failed,
            proves_no_effect=failed and harmless,
            absent=failed and _means_absent(request.get(ABSENT), str(view.get("text"))),
        )


def _means_absent(mark: Json, said: str) -> bool:
    if isinstance(mark, list | tuple):
        return said.startswith(tuple(str(text) for text in mark))
    return mark is True


def _refused(fault: McpFault, *, absent: bool) -> Answer:
    return Answer(
        view={"error": {"code": fault.code, "message": fault.message}},
        result={"mcp": {"error": fault.as_json()}},
        failed=True,
        proves_no_effect=fault.code in _NOTHING_DONE,
        absent=absent,
    )


def view_of(result: Mapping[str, Json]) -> dict[str, Json]:
    """What templates see: the structured content and, unless it has one itself, ``text``: all
    texts of the answer. A text that is a JSON object counts as structured content."""
    content = result.get("content")
    texts = [
        part["text"]
        for part in (content if isinstance(content, list) else [])
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]
    text = "\n".join(texts)
    structured = result.get("structuredContent")
    if not isinstance(structured, dict):
        structured = _parsed(text) if len(texts) == 1 else {}
    return {"text": text, **structured}


def _parsed(text: str) -> dict[str, Json]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
