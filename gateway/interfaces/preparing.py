"""The seam of ``holdfast source prepare``: what a database needs for exact images and reverts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gateway.model import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One right, role or object. ``statements`` give it and may be run again; they hold no
    password. ``without``: what does not work. ``unasked``: whether applying includes it without
    its being named, as it changes nothing for anybody else. ``state``: there, missing, applied,
    failed (``detail`` says why)."""

    id: str
    gives: str
    statements: tuple[str, ...]
    without: str
    state: str
    unasked: bool = True
    detail: str | None = None

    def as_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "gives": self.gives,
            "statements": list(self.statements),
            "without": self.without,
            "state": self.state,
            "unasked": self.unasked,
            "detail": self.detail,
        }


@runtime_checkable
class Preparable(Protocol):
    async def prepare(
        self, *, apply: bool, include: frozenset[str], admin_url: str | None
    ) -> list[Piece]:
        """What is there and what is missing; applies what is missing if asked, with the rights of
        ``admin_url``, or else of the gateway's own role. Raises ``UpstreamError`` when the
        database cannot be asked."""
        ...
