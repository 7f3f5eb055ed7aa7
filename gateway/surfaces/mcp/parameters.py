"""``Mcp-Param-*`` headers, which have to say what the arguments say."""

from __future__ import annotations

from starlette.requests import Request

from gateway.errors import HoldfastError
from gateway.interfaces.mcp import Client, McpFault
from gateway.surfaces.mcp.messages import Message
from gateway.surfaces.mcp.names import Scope


async def check(request: Request, scope: Scope, message: Message, client: Client) -> None:
    """Raises ``McpFault`` where a header and the argument that it repeats differ."""
    # Slow to import: see messages.py.
    from mcp.shared.inbound import MCP_PARAM_HEADER_PREFIX, validate_mcp_param_headers

    arguments = message.params.get("arguments") or {}
    prefix = MCP_PARAM_HEADER_PREFIX.lower()
    headed = any(name.startswith(prefix) for name in request.headers)
    if message.method != "tools/call" or not isinstance(arguments, dict):
        return
    if not arguments and not headed:
        return
    server, name = scope.target(message.params.get("name"))
    try:
        schema = await server.headed_schema(client, name)
    except HoldfastError:
        return  # the call itself will say that the server is away
    if schema is None:
        return
    rejection = validate_mcp_param_headers(schema, arguments, request.headers)
    if rejection is not None:
        raise McpFault(rejection.code, rejection.message, rejection.data)
