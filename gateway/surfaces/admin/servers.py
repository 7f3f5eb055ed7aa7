"""``/admin/mcp``: the tools of MCP servers as they were seen and approved."""

from __future__ import annotations

from starlette.responses import Response

from gateway.errors import Malformed, NotFound, PreconditionFailed
from gateway.interfaces.mcp import McpServer, Pin
from gateway.model import Json
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.views import time_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway


def pin_json(pin: Pin) -> dict[str, Json]:
    state = "approved" if pin.usable else "waiting" if pin.approved is None else "changed"
    return {
        "server": pin.server,
        "tool": pin.tool,
        "state": state,
        "digest": pin.seen,
        "approved": pin.approved,
        "warnings": list(pin.warnings),
        "document": pin.document,
        "updated_at": time_json(pin.updated_at),
        "by": pin.by,
    }


def _server(gateway: Gateway, visit: Visit) -> McpServer:
    server = gateway.mcp.servers.get(visit.id("name"))
    if server is None:
        raise NotFound("There is no such MCP server.")
    return server


async def listed(gateway: Gateway, visit: Visit) -> Act:
    name = visit.id("name")

    async def run() -> Response:
        pins = await _server(gateway, visit).pins()
        return answer({"tools": [pin_json(pin) for pin in pins]})

    return Act(what="mcp.tools", about={"server": name}, run=run)


async def approve(gateway: Gateway, visit: Visit) -> Act:
    fields = Fields(await read_json(visit.request, gateway.bounds))
    tool, digest = fields.text("tool", most=128), fields.text("digest", most=64)
    fields.end()
    if len(digest) != 64:
        raise Malformed("'digest' is that of the tool as it was shown.")
    name = visit.id("name")

    async def run() -> Response:
        pin = await _server(gateway, visit).approve(tool, seen=digest, by=visit.subject.id)
        if pin is None:
            raise PreconditionFailed("The tool is not the one that was shown. Look at it again.")
        return answer(pin_json(pin))

    about = {"server": name, "tool": tool, "digest": digest}
    return Act(what="mcp.approve", about=about, run=run)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/admin/mcp/{name}/tools",
        access=Access.ADMIN,
        read=listed,
        summary="The tools of an MCP server as they were seen, approved or not.",
        answers={200: "Pins"},
    ),
    Endpoint(
        method="POST",
        path="/admin/mcp/{name}/tools",
        access=Access.ADMIN,
        read=approve,
        summary="Approves a tool as it was shown.",
        body="PinRuling",
        answers={200: "Pin"},
    ),
)
