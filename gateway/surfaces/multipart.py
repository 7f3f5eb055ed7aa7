"""``multipart/form-data`` read strictly enough that no two readers find different parts in it.

The bytes go on as they came; what stands here proves that they have one reading, and tells policy
which parts there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from gateway.errors import Malformed
from gateway.model import Json

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=?]{1,70}")
_PARTS_MOST = 256
_HEAD_MOST = 8_192
_PARAMETER = re.compile(r';[ \t]*([a-z-]+\*?)="([^"\\\r\n]*)"')
_DISPOSITION = re.compile(r'form-data((?:;[ \t]*[a-z-]+\*?="[^"\\\r\n]*")*)', re.IGNORECASE)


def boundary_of(parameters: dict[str, str]) -> bytes:
    """Raises ``Malformed``."""
    boundary = parameters.get("boundary", "")
    if parameters.keys() != {"boundary"} or _BOUNDARY.fullmatch(boundary) is None:
        _refuse("multipart/form-data needs one boundary and nothing else")
    return boundary.encode("ascii")


@dataclass(slots=True)
class PartReader:
    """Fed with the body as it arrives. ``parts`` is complete after ``end``."""

    boundary: bytes
    parts: list[dict[str, Json]] = field(default_factory=list)
    _held: bytearray = field(default_factory=lambda: bytearray(b"\r\n"))
    _state: str = "begin"
    _size: int = 0

    def feed(self, data: bytes) -> None:
        """Raises ``Malformed``."""
        self._held += data
        for _ in self._steps():
            continue
        if self._state == "over" and len(self._held) > 2:
            _refuse("something stands behind its closing boundary")

    def end(self) -> list[dict[str, Json]]:
        """The parts. Raises ``Malformed`` when the closing boundary is missing."""
        if self._state != "over" or bytes(self._held) not in (b"", b"\r\n"):
            _refuse("it does not end with its closing boundary")
        return self.parts

    def _steps(self) -> Iterator[None]:
        steps = {
            "begin": self._begin,
            "head": self._head,
            "opening": self._opening,
            "content": self._content,
        }
        while self._state in steps and steps[self._state]():
            yield

    def _begin(self) -> bool:
        line = b"\r\n--" + self.boundary
        if len(self._held) < len(line):
            if not line.startswith(bytes(self._held)):
                _refuse("it does not begin with its boundary")
            return False
        if not self._held.startswith(line):
            _refuse("it does not begin with its boundary")
        return self._content()

    def _content(self) -> bool:
        line = b"\r\n--" + self.boundary
        at = self._held.find(line)
        if at < 0:
            keep = len(line) - 1
            self._size += max(0, len(self._held) - keep)
            del self._held[: max(0, len(self._held) - keep)]
            return False
        after = bytes(self._held[at + len(line) : at + len(line) + 2])
        if len(after) < 2:
            return False
        if self.parts:
            self.parts[-1]["size"] = self._size + at
        self._size = 0
        del self._held[: at + len(line) + 2]
        if after == b"--":
            self._state = "over"
        elif after == b"\r\n":
            self._state = "head"
        else:
            _refuse("a boundary is followed by something else")
        return True

    def _head(self) -> bool:
        end = self._held.find(b"\r\n\r\n", 0, _HEAD_MOST + 4)
        if end < 0:
            if len(self._held) > _HEAD_MOST:
                _refuse("the head of a part is too large")
            return False
        if len(self.parts) >= _PARTS_MOST:
            _refuse(f"it has more than {_PARTS_MOST} parts")
        head = bytes(self._held[:end])
        del self._held[: end + 4]
        self.parts.append(_part(head))
        self._state = "opening"
        return True

    def _opening(self) -> bool:
        # Some readers take the empty line after the head for the beginning of a boundary.
        line = b"--" + self.boundary
        if len(self._held) < len(line) and line.startswith(bytes(self._held)):
            return False
        if self._held.startswith(line):
            _refuse("a boundary stands right behind the head of a part")
        self._state = "content"
        return True


def _part(head: bytes) -> dict[str, Json]:
    try:
        lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        _refuse("the head of a part is not UTF-8")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        low = name.lower()
        if not colon or not re.fullmatch(r"[a-z-]+", low) or low in headers:
            _refuse("the head of a part cannot be read")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            _refuse("the head of a part has control characters")
        headers[low] = value.strip(" \t")
    if headers.keys() - {"content-disposition", "content-type"}:
        _refuse("a part has headers other than Content-Disposition and Content-Type")
    found = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if found is None:
        _refuse("a part needs Content-Disposition: form-data with quoted parameters")
    named = _PARAMETER.findall(found[1])
    parameters = dict(named)
    if len(parameters) < len(named) or parameters.keys() - {"name", "filename"}:
        _refuse("a part has one name and at most one filename")
    if not parameters.get("name"):
        _refuse("a part needs a name")
    return {
        "name": parameters["name"],
        "filename": parameters.get("filename"),
        "type": headers.get("content-type"),
        "size": 0,
    }


def _refuse(why: str) -> NoReturn:
    raise Malformed(f"The multipart body is not acceptable: {why}.")
