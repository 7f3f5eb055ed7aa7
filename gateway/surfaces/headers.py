"""The optional headers of agents' requests, each read strictly."""

from __future__ import annotations

import re

from starlette.requests import Request

from gateway.errors import Malformed, Unauthenticated

KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_BEARER = re.compile(r"bearer +([\x21-\x7e]{1,512})", re.IGNORECASE)
_TOKEN_PARAMETERS = frozenset({"token", "access_token", "api_key", "apikey", "authorization"})
_MAX_REASON = 500


def bearer(request: Request) -> str:
    """The token of the one Authorization header. Raises ``Unauthenticated``, and ``Malformed``
    for a token in the address, where logs and histories would keep it."""
    if request.scope["query_string"] and _TOKEN_PARAMETERS & {
        name.lower() for name, _ in request.query_params.multi_items()
    }:
        raise Malformed("A token belongs into the Authorization header, never into the address.")
    values = request.headers.getlist("authorization")
    match = _BEARER.fullmatch(values[0].strip()) if len(values) == 1 else None
    if match is None:
        raise Unauthenticated("Send exactly one header Authorization: Bearer TOKEN.")
    return match[1]


def single(request: Request, name: str) -> str | None:
    """The one value of a header, or ``None``. Raises ``Malformed`` when it is repeated."""
    values = request.headers.getlist(name)
    if len(values) > 1:
        raise Malformed(f"The header {name} is given twice.")
    return values[0] if values else None


def idempotency_key(request: Request) -> str | None:
    value = single(request, "Idempotency-Key")
    if value is not None and KEY.fullmatch(value) is None:
        raise Malformed("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    return value


def reason(request: Request) -> str | None:
    """``Holdfast-Reason``: why the agent does this, in UTF-8."""
    value = single(request, "Holdfast-Reason")
    if value is None or not value.strip():
        return None
    try:
        text = value.encode("latin-1").decode("utf-8").strip()
    except UnicodeDecodeError:
        raise Malformed("Holdfast-Reason must be UTF-8.") from None
    if len(text) > _MAX_REASON or not text.isprintable():
        raise Malformed(f"Holdfast-Reason must be at most {_MAX_REASON} printable characters.")
    return text


def wants_async(request: Request) -> bool:
    """``Prefer: respond-async`` (RFC 7240); other preferences are ignored, as it asks."""
    wanted = ",".join(request.headers.getlist("prefer")).lower()
    return any(part.split(";")[0].strip() == "respond-async" for part in wanted.split(","))


def if_match(request: Request) -> str | None:
    """The revision of ``If-Match``; ``None`` without one and for ``*``."""
    value = single(request, "If-Match")
    if value is None or value.strip() == "*":
        return None
    match = re.fullmatch(r'"?([A-Za-z0-9._:-]{1,128})"?', value.strip())
    if match is None:
        raise Malformed("If-Match must be one revision.")
    return match[1]
