"""HTTP/1.1 read strictly before any parser sees it: where a request begins and ends, told one way.

What a lenient reader could take for something else is refused: two lengths, folded lines, bare line
feeds, odd versions, names with underscores. What passes is written again in one plain form, chunk
extensions and trailers left out, so the parser behind this has nothing to decide. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_LINE_MOST = 16_384
_HEAD_MOST = 65_536
_HEADERS_MOST = 128
_KNOWN_MOST = 2_048
_EXTENSION_MOST = 1_024
_TRAILERS_MOST = 8_192

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^ ]+) HTTP/([0-9])\.([0-9])")
_TARGET = re.compile(rb"/[!\"$-~]*")
_HEADER = re.compile(rb"([!#$%&'*+\-.^`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_HOST = re.compile(
    rb"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e\x80-\xff]*)?")
_CHUNK_BEGINNING = re.compile(rb"(?:[0-9A-Fa-f]{1,8}(?:;[\t\x20-\x7e\x80-\xff]*)?)?\r?")

# Headers that ``Connection`` cannot take away: they say who calls and how long the body is.
_STAYS = frozenset({b"authorization", b"host", b"idempotency-key", b"prefer", b"traceparent"})
_STAYS_BEGINNINGS = (b"content-", b"transfer-", b"holdfast-", b"mcp-")
_HOP = frozenset({b"upgrade", b"http2-settings", b"keep-alive", b"proxy-connection", b"te"})
_OURS = frozenset({b"holdfast-session", b"holdfast-reason"})
_INTERNAL = (b"x-gateway-", b"x-holdfast-", b"holdfast-")


@dataclass(frozen=True, slots=True)
class Fault(Exception):
    """Why the connection ends with ``status``."""

    status: int
    why: str


class _Part(Enum):
    HEAD = "head"
    FIXED = "fixed"
    SIZE = "size"
    DATA = "data"
    DATA_END = "data end"
    TRAILERS = "trailers"
    OVER = "over"


@dataclass(slots=True)
class Framing:
    """The requests of one connection. ``heads`` counts those whose head is complete;
    ``broken``: after a fault nothing more is read."""

    heads: int = 0
    broken: bool = False
    _part: _Part = _Part.HEAD
    _held: bytearray = field(default_factory=bytearray)
    _left: int = 0
    _trailers: int = 0
    _last: bool = False

    @property
    def within_head(self) -> bool:
        """A head has begun and is not complete."""
        return self._part is _Part.HEAD and bool(self._held)

    @property
    def within_body(self) -> bool:
        """A body has not arrived whole."""
        return self._part not in (_Part.HEAD, _Part.OVER)

    def feed(self, data: bytes) -> tuple[bytes, Fault | None]:
        """What the parser may see of ``data``, and the fault that ends the connection."""
        self._held += data
        out: list[bytes] = []
        try:
            out.extend(self._read())
        except Fault as fault:
            self._part, self.broken = _Part.OVER, True
            self._held.clear()
            return b"".join(out), fault
        return b"".join(out), None

    def _read(self) -> Iterator[bytes]:
        while self._held:
            before = (self._part, len(self._held))
            if self._part is _Part.HEAD:
                yield from self._head()
            elif self._part is _Part.OVER:
                self._held.clear()
            elif self._part is _Part.FIXED:
                yield self._take(self._left)
                self._ended(self._left == 0)
            else:
                yield from self._chunked()
            if before == (self._part, len(self._held)):
                return  # more bytes are needed

    def _take(self, most: int) -> bytes:
        taken = bytes(self._held[:most])
        del self._held[:most]
        self._left -= len(taken)
        return taken

    def _ended(self, ended: bool) -> None:
        if ended:
            self._part = _Part.OVER if self._last else _Part.HEAD

    # --- heads ----------------------------------------------------------------------------

    def _head(self) -> Iterator[bytes]:
        held = self._held
        if held.startswith(b"\r\n"):
            del held[:2]  # one empty line before a request is let be
            if held.startswith(b"\r"):
                raise Fault(400, "empty lines before the request")
        end = held.find(b"\r\n\r\n")
        if end < 0:
            self._check_beginning()
            return
        head = bytes(held[:end])
        if len(head) > _HEAD_MOST:
            raise Fault(431, "the head is too large")
        del held[: end + 4]
        read = _known(head) if len(head) <= _KNOWN_MOST else _read_head(head)
        self._follow(read)
        yield read.plain
        self.heads += 1

    def _check_beginning(self) -> None:
        held = self._held
        bare = _BARE.search(held, 0, len(held) - 1 if held.endswith(b"\r") else len(held))
        if bare is not None:
            raise Fault(400, "a line ends with CR LF")
        if not 0x21 <= held[0] <= 0x7E and held != b"\r":
            raise Fault(400, "this is not HTTP")
        if len(held) > _LINE_MOST and held.find(b"\r\n") < 0:
            raise Fault(414, "the request line is too long")
        if len(held) > _HEAD_MOST:
            raise Fault(431, "the head is too large")

    def _follow(self, head: _Head) -> None:
        """Sets what comes after the head."""
        self._last = head.last
        self._left = head.length
        if head.chunked:
            self._part = _Part.SIZE
        elif head.length:
            self._part = _Part.FIXED
        else:
            self._ended(True)

    # --- chunks ---------------------------------------------------------------------------

    def _chunked(self) -> Iterator[bytes]:
        if self._part is _Part.SIZE:
            line = self._line(_EXTENSION_MOST, _CHUNK_BEGINNING)
            if line is None:
                return
            found = _CHUNK_SIZE.fullmatch(line)
            if found is None:
                raise Fault(400, "a chunk begins with its size in hexadecimal digits")
            self._left = int(found[1], 16)
            self._part = _Part.DATA if self._left else _Part.TRAILERS
            self._trailers = 0
        elif self._part is _Part.DATA:
            data = self._take(self._left)
            yield b"%x\r\n%s\r\n" % (len(data), data)
            if self._left == 0:
                self._part = _Part.DATA_END
        elif self._part is _Part.DATA_END:
            if not b"\r\n".startswith(bytes(self._held[:2])):
                raise Fault(400, "a chunk ends with CR LF")
            if len(self._held) >= 2:
                del self._held[:2]
                self._part = _Part.SIZE
        else:
            line = self._line(_TRAILERS_MOST, None)
            if line is None:
                return
            self._trailers += len(line)
            if self._trailers > _TRAILERS_MOST:
                raise Fault(431, "the trailers are too large")
            if line:
                _header(line)
            else:
                self._ended(True)
                yield b"0\r\n\r\n"

    def _line(self, most: int, beginning: re.Pattern[bytes] | None) -> bytes | None:
        """The next line, or ``None`` while it is not whole."""
        held = self._held
        end = held.find(b"\r\n", 0, most + 2)
        part = bytes(held[: most + 2] if end < 0 else held[:end])
        if _BARE.search(part, 0, len(part) - 1 if part.endswith(b"\r") else len(part)):
            raise Fault(400, "a line ends with CR LF")
        if end >= 0:
            del held[: end + 2]
            return part
        if len(part) > most or (beginning is not None and beginning.fullmatch(part) is None):
            raise Fault(400, "a chunk begins with its size in hexadecimal digits")
        return None


@dataclass(frozen=True, slots=True)
class _Head:
    """A head in its one form, and what follows it. ``last``: no request comes after it."""

    plain: bytes
    chunked: bool
    length: int
    last: bool


def _read_head(head: bytes) -> _Head:
    if _BARE.search(head):
        raise Fault(400, "a line ends with CR LF")
    line, *rest = head.split(b"\r\n")
    method, target, minor = _request_line(line)
    if len(rest) > _HEADERS_MOST:
        raise Fault(431, "there are too many headers")
    headers = [_header(each) for each in rest]
    named = _check_headers(headers)
    chunked, length = _body_of(headers, minor)
    lines = [b"%s %s HTTP/1.%d" % (method, target, minor)]
    for name, value in headers:
        if name in _HOP or (name in named and not _stays(name)):
            continue
        if name == b"connection":
            value = b", ".join(t for t in _tokens(value) if t in (b"close", b"keep-alive"))
            if not value:
                continue
        lines.append(name + b": " + value)
    return _Head(b"\r\n".join([*lines, b"", b""]), chunked, length, b"close" in named)


# Agents send the same head over and over; reading it is a function of its bytes alone.
_known = lru_cache(maxsize=512)(_read_head)


def _body_of(headers: list[tuple[bytes, bytes]], minor: int) -> tuple[bool, int]:
    """Whether the body comes in chunks, and otherwise its length."""
    lengths = [value for name, value in headers if name == b"content-length"]
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings:
        _check_codings(codings, lengths, minor)
        return True, 0
    if len(lengths) > 1 or (lengths and _LENGTH.fullmatch(lengths[0]) is None):
        raise Fault(400, "Content-Length must be one number")
    return False, int(lengths[0]) if lengths else 0


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise Fault(400, "the request line cannot be read")
    method, target, major, minor = found.groups()
    if (major, minor) not in ((b"1", b"1"), (b"1", b"0")):
        raise Fault(505, "HTTP/1.1 is spoken here")
    if method.decode("ascii") not in METHODS:
        raise Fault(405, "the method is not one that is served")
    if len(line) > _LINE_MOST:
        raise Fault(414, "the request line is too long")
    if _TARGET.fullmatch(target) is None or target.startswith(b"//"):
        raise Fault(400, "the target is a path that begins with one slash, without a fragment")
    return method, target, int(minor)


def _header(line: bytes) -> tuple[bytes, bytes]:
    found = _HEADER.fullmatch(line)
    if found is None:
        raise Fault(400, "a header cannot be read")
    name = found[1].lower()
    if name.startswith(_INTERNAL) and name not in _OURS:
        raise Fault(400, "a header that only the gateway sets")
    return name, found[2].rstrip(b" \t")


def _check_headers(headers: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """The headers that ``Connection`` names."""
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
        raise Fault(400, "there must be one Host, a name or an address")
    for name, value in headers:
        if name == b"expect" and value.lower() != b"100-continue":
            raise Fault(417, "nothing but 100-continue can be expected")
    return frozenset(
        token for name, value in headers if name == b"connection" for token in _tokens(value)
    )


def _check_codings(codings: list[bytes], lengths: list[bytes], minor: int) -> None:
    if lengths:
        raise Fault(400, "Content-Length and Transfer-Encoding exclude each other")
    if minor == 0:
        raise Fault(400, "HTTP/1.0 has no Transfer-Encoding")
    if codings == [b"chunked"]:
        return
    tokens = [token for value in codings for token in _tokens(value)]
    if tokens[-1:] == [b"chunked"] and tokens.count(b"chunked") == 1:
        raise Fault(501, "no transfer coding but chunked is served")
    raise Fault(400, "Transfer-Encoding must be chunked")


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip(b" \t").lower() for token in value.split(b",")]


def _stays(name: bytes) -> bool:
    return name in _STAYS or name.startswith(_STAYS_BEGINNINGS)
