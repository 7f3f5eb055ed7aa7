"""Pages of lists, the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Json
from gateway.surfaces.arguments import Query

MOST = 500
DEFAULT = 100

SCHEMA: dict[str, Json] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT},
    "cursor": {"type": "string", "description": "`cursor` of the page before"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    limit: int
    cursor: str | None


def page_of(query: Query) -> Page:
    limit = query.number("limit", default=DEFAULT, most=MOST, least=1)
    return Page(limit=limit, cursor=query.text("cursor"))
