"""What a tool answered: what is passed on, what templates see, what is recorded."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import NoReturn

from gateway.hosts import Origin
from gateway.messages import is_json
from gateway.model import Json

Headers = Sequence[tuple[str, str]]

# Of one hop, or meant for the tool's own origin and not for that of the gateway.
_NOT_PASSED = frozenset(
    {
        "alt-svc", "clear-site-data", "connection", "date", "keep-alive", "nel",
        "origin-agent-cluster",
        "proxy-authenticate", "proxy-authentication-info", "proxy-connection", "public-key-pins",
        "refresh", "report-to", "reporting-endpoints", "set-cookie", "set-cookie2",
        "service-worker-allowed", "sourcemap", "strict-transport-security", "te", "trailer",
        "transfer-encoding", "upgrade", "www-authenticate", "x-accel-redirect", "x-sendfile",
    }
)  # fmt: skip
_NOT_PASSED_BEGINNINGS = ("access-control-", "holdfast-", "x-accel-")
_SCHEME = re.compile(r"[\x00-\x20]*([A-Za-z][A-Za-z0-9+.\-]*):")
_BODILESS = frozenset({204, 205, 304})


def passed_on(headers: Headers, status: int, *, tool: str, origin: Origin) -> list[tuple[str, str]]:
    """The end-to-end headers that the agent gets."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name == "connection"
        for token in value.split(",")
    }
    kept = []
    for name, value in headers:
        if name in _NOT_PASSED or name.startswith(_NOT_PASSED_BEGINNINGS):
            continue
        if name in named and name not in ("content-length", "content-type", "content-encoding"):
            continue
        if name == "content-length" and status in _BODILESS:
            continue
        if name in ("location", "content-location"):
            if not _followed(value):
                continue
            value = _here(value, tool, origin)
        kept.append((name, value))
    return kept


def _followed(location: str) -> bool:
    """Whether a client may be sent there: a path, or an address of the web; no script, no file."""
    scheme = _SCHEME.match(location)
    return scheme is None or scheme[1].lower() in ("http", "https")


def _here(location: str, tool: str, origin: Origin) -> str:
    """An address at the tool as the same address behind the gateway; others stay as they are."""
    for place in (f"{origin.scheme}://{origin.authority}", ""):
        prefix = f"{place}{origin.path}/"
        if location.startswith(prefix) and not location.startswith("//"):
            return f"/http/{tool}/{location[len(prefix) :]}"
    return location


def view_of(status: int, headers: Headers, body: bytes | None) -> dict[str, Json]:
    """What templates see. ``body`` is ``None`` where it cannot be told exactly: too large to be
    kept, compressed, or no JSON and no text."""
    by_name: dict[str, Json] = {}
    for name, value in headers:
        by_name[name] = f"{by_name[name]}, {value}" if name in by_name else value
    return {"status": status, "headers": by_name, "body": _content(by_name, body)}


def _content(headers: Mapping[str, Json], body: bytes | None) -> Json:
    if body is None or headers.get("content-encoding", "identity") != "identity":
        return None
    kind = str(headers.get("content-type", "")).partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8")
        if not is_json(kind):
            return text
        return json.loads(
            text, parse_float=_exact, parse_constant=_refused, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError):
        return None


def _exact(literal: str) -> float:
    value = float(literal)
    try:
        same = math.isfinite(value) and Decimal(literal) == Decimal(repr(value))
    except InvalidOperation:
        same = False
    if not same:
        raise ValueError("a number that would be changed")
    return value


def _refused(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def record_of(status: int, headers: Headers, body: bytes | None) -> dict[str, Json]:
    """What is kept on the call's row; ``body`` is ``None`` where it was not kept."""
    kept: dict[str, Json] = {"status": status, "headers": [list(pair) for pair in headers]}
    if body is None:
        return {**kept, "kept": False}
    try:
        return {**kept, "kept": True, "body": body.decode("utf-8")}
    except UnicodeDecodeError:
        return {**kept, "kept": True, "base64": base64.b64encode(body).decode("ascii")}
