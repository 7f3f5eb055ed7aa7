"""Streams of a session that a client may take up again where they broke: what was said is kept for
a while, and what a request comes to is never lost with its connection."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from gateway.interfaces.mcp import McpFault
from gateway.model import Json
from gateway.surfaces.mcp.exchange import Exchange
from gateway.surfaces.mcp.streams import BEAT_S, response, wire

RESUMABLE = "2025-11-25"  # from this revision on, clients know a stream that begins with no data
RETRY_MS = 500
MOST_KEPT = 32
MOST_BYTES = 8_388_608
_PLACE = re.compile(r"([0-9]{1,12})-([0-9]{1,9})")


@dataclass(slots=True, kw_only=True)
class Track:
    """The stream of one request. ``kept`` begins with the event without data."""

    number: int
    id: Json
    exchange: Exchange
    kept: list[bytes] = field(default_factory=lambda: [b""])
    over: bool = False

    @property
    def size(self) -> int:
        return sum(len(data) for data in self.kept)

    async def pieces(self, after: int = -1) -> AsyncIterator[bytes]:
        """The events behind number ``after``, then what comes, until the answer or until the
        server wants its client to come back later."""
        place = after + 1
        while True:
            while place < len(self.kept):
                yield self._event(place)
                place += 1
            if self.over:
                return
            if self.exchange.interrupted:
                self.exchange.interrupted = False
                return
            if not await self.exchange.wait(BEAT_S):
                yield b": still at it\n\n"
            self._keep()

    def _keep(self) -> None:
        while self.exchange.outgoing:
            self.kept.append(wire(self.exchange.outgoing.popleft()))
        if self.exchange.over and not self.over:
            self.over = True
            try:
                last = response(self.id, result=self.exchange.outcome())
            except McpFault as fault:
                last = response(self.id, fault=fault)
            self.kept.append(wire(last))

    def _event(self, place: int) -> bytes:
        head = b"id: %d-%d\n" % (self.number, place)
        if place == 0:
            return head + b"retry: %d\ndata: \n\n" % RETRY_MS
        return head + b"event: message\ndata: " + self.kept[place] + b"\n\n"


class Tracks:
    """Of one session. What is over goes first when there is too much."""

    def __init__(self) -> None:
        self._tracks: dict[int, Track] = {}
        self._next = 1

    def lay(self, id: Json, exchange: Exchange) -> Track:
        self._make_room()
        track = Track(number=self._next, id=id, exchange=exchange)
        self._tracks[self._next] = track
        self._next += 1
        return track

    def find(self, last_event: str) -> tuple[Track, int] | None:
        """The stream that ``Last-Event-ID`` names and the number of the event; ``None`` for what
        is not kept any more."""
        place = _PLACE.fullmatch(last_event)
        track = self._tracks.get(int(place[1])) if place is not None else None
        return None if track is None or place is None else (track, int(place[2]))

    def _make_room(self) -> None:
        over = [track for track in self._tracks.values() if track.over]
        size = sum(track.size for track in over)
        while over and (len(over) >= MOST_KEPT or size > MOST_BYTES):
            gone = over.pop(0)
            size -= gone.size
            del self._tracks[gone.number]
