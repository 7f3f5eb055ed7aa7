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


_encode = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


_USUAL = [
    *((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in SAFE.items()),
    (b"content-type", b"application/json"),
]


def encoded(document: Json) -> bytes:
    """The same document gives the same bytes, whatever order its keys were stored in. Raises
    ``ValueError`` for what JSON cannot hold."""
    return _encode(document).encode("utf-8")


def answer(
    document: Json,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    return with_body(encoded(document), status=status, headers=headers, media_type=media_type)


def with_body(
    body: bytes,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """A response with the safe headers, which ``headers`` may add to and replace."""
    if headers or media_type != "application/json":
        return Response(body, status, {**SAFE, **(headers or {})}, media_type)
    return _Usual(body, status)


class _Usual(Response):
    """JSON with the safe headers alone, which are the same bytes every time."""

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        length = str(len(self.body)).encode("ascii")
        self.raw_headers = [*_USUAL, (b"content-length", length)]
