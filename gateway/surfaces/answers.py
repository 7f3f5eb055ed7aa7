"""JSON out: one serialisation, one set of headers."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from gateway.model import Json

SAFE = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def encoded(document: Json) -> bytes:
    """The same document gives the same bytes, whatever order its keys were stored in. Raises
    ``ValueError`` for what JSON cannot hold."""
    text = json.dumps(
        document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode("utf-8")


def answer(
    document: Json,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    return Response(
        encoded(document),
        status_code=status,
        headers={**SAFE, **(headers or {})},
        media_type=media_type,
    )
