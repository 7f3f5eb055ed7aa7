"""Requests as bytes: exactly what was judged, and the headers that only the configuration knows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gateway.addresses import query_from
from gateway.hosts import Origin
from gateway.messages import FORM_TYPE, is_json, may_be_sent
from gateway.model import Json

_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def body_of(request: Mapping[str, Json]) -> bytes | None:
    """The body that JSON holds, written again; ``None`` where it is none or is kept aside."""
    kind = request.get("type")
    if kind is None:
        return None
    if is_json(kind):
        return json.dumps(request.get("body"), ensure_ascii=False, separators=(",", ":")).encode()
    if kind == FORM_TYPE:
        return query_from(_pairs(request.get("body"))).encode("ascii")
    return None


def _pairs(body: Json) -> list[tuple[str, str]]:
    """Agents' forms are lists of pairs; templates write objects."""
    if isinstance(body, Mapping):
        return [(str(name), str(value)) for name, value in body.items()]
    return [(name, value) for name, value in body]


def head_of(
    origin: Origin,
    request: Mapping[str, Json],
    injected: Mapping[str, str],
    *,
    length: int | None,
    key_header: str | None = None,
    key: str | None = None,
) -> bytes:
    """Request line and headers. ``injected`` wins over what the request says; nobody but the
    gateway sets ``key_header``."""
    query = query_from(request.get("query") or ())
    target = origin.path + request["path"] + (f"?{query}" if query else "")
    headers = {"host": origin.authority, "user-agent": "holdfast", "accept-encoding": "identity"}
    for name, value in (request.get("headers") or {}).items():
        if name != key_header and may_be_sent(name) and _VALUE.fullmatch(value):
            headers[name] = value
    if request.get("type") is not None:
        headers["content-type"] = request["type"]
    if key_header is not None and key is not None:
        headers[key_header] = key
    headers |= {name.lower(): value for name, value in injected.items()}
    if length is not None or request["method"] in _WITH_BODY:
        headers["content-length"] = str(length or 0)
    lines = [f"{request['method']} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
