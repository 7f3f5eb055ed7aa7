"""Answers as one JSON document or as an event stream, whichever the request turns out to need."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.responses import Response, StreamingResponse

from gateway.interfaces.mcp import McpFault
from gateway.model import Json
from gateway.surfaces.answers import SAFE, with_body

BEAT_S = 15.0
STREAM = "text/event-stream"


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def wire(document: Json) -> bytes:
    """In the order it has: what a schema lists first is meant to be read first."""
    return _encode(document).encode("utf-8")


def response(id: Json, *, result: Json = None, fault: McpFault | None = None) -> dict[str, Json]:
    """The message that answers the request ``id``."""
    body = {"result": result} if fault is None else {"error": fault.as_json()}
    return {"jsonrpc": "2.0", "id": id, **body}


def answered(
    document: Json, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return with_body(wire(document), status=status, headers=headers)


def accepted(headers: Mapping[str, str] | None = None) -> Response:
    return Response(status_code=202, headers={**SAFE, **(headers or {})})


def event(document: Json) -> bytes:
    """One event. JSON has no raw line break, so no data can begin another one."""
    return b"event: message\ndata: " + wire(document) + b"\n\n"


def streamed(
    pieces: AsyncIterator[bytes],
    *,
    headers: Mapping[str, str] | None = None,
    closed: Callable[[], None] | None = None,
) -> Response:
    """``closed`` is called when the stream is over, also when the client has gone away."""
    return StreamingResponse(
        _closing(pieces, closed),
        headers={**SAFE, "X-Accel-Buffering": "no", **(headers or {})},
        media_type=STREAM,
    )


async def _closing(
    pieces: AsyncIterator[bytes], closed: Callable[[], None] | None
) -> AsyncIterator[bytes]:
    try:
        async for piece in pieces:
            yield piece
    finally:
        if closed is not None:
            closed()
