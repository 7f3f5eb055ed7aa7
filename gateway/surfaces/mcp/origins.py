"""Who may call at all: by which name the gateway was called, and from which web page."""

from __future__ import annotations

import re

from starlette.requests import Request

from gateway.errors import BadHost, BadOrigin
from gateway.surfaces.headers import single
from gateway.surfaces.mcp.desk import Desk

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


def check(request: Request, desk: Desk) -> None:
    """A web page that has its own name resolve to this address reaches us under that name. Raises
    ``BadHost`` and ``BadOrigin``."""
    host = _HOST.fullmatch(single(request, "host") or "")
    if host is None or _bare(host[1]) not in desk.hosts:
        raise BadHost("The gateway is not called by this name (server.allowed_hosts).")
    origin = single(request, "origin")
    if origin is None or origin in desk.origins:
        return
    place = _ORIGIN.fullmatch(origin)
    if place is None or _bare(place[1]) not in desk.hosts:
        raise BadOrigin("Pages of this origin may not call here (server.allowed_origins).")


def _bare(host: str) -> str:
    return host.strip("[]").lower()
