"""Server-sent events, read piece by piece with bounds on every part."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.upstreams.mcp.wire import MAX_MESSAGE_BYTES, NotAMessage


class EventReader:
    """Feeds on bytes as they come and gives the data of each whole event. Only ``message`` events
    count; ``last_id`` and ``retry_ms`` are what the stream said last. Raises ``NotAMessage`` when
    an event grows beyond its bound."""

    def __init__(self, most: int = MAX_MESSAGE_BYTES) -> None:
        self._most = most
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._kind = b"message"
        self.last_id: str | None = None
        self.retry_ms: int | None = None

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._rest += piece
        if len(self._rest) > self._most:
            raise NotAMessage("a line of the event stream is too long")
        while (line := self._line()) is not None:
            if line:
                self._field(line)
                continue
            data, kind = b"\n".join(self._data), self._kind
            had = bool(self._data)
            self._data, self._size, self._kind = [], 0, b"message"
            if had and data and kind == b"message":
                yield data

    def _line(self) -> bytes | None:
        """The next line without its end: CR, LF or both. A CR at the end of what has come may be
        half of a CRLF, so it waits."""
        ends = [place for place in (self._rest.find(b"\n"), self._rest.find(b"\r")) if place >= 0]
        if not ends:
            return None
        place = min(ends)
        if self._rest.startswith(b"\r", place):
            if place + 1 == len(self._rest):
                return None
            skip = 2 if self._rest.startswith(b"\r\n", place) else 1
        else:
            skip = 1
        line, self._rest = self._rest[:place], self._rest[place + skip :]
        return line

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value)
            if self._size > self._most:
                raise NotAMessage("an event of the stream is too long")
            self._data.append(value)
        elif name == b"id" and b"\0" not in value and len(value) <= 1024:
            self.last_id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= 9:
            self.retry_ms = int(value)
        elif name == b"event":
            self._kind = value or b"message"
