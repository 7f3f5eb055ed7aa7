"""Messages of a server as bytes: what it sends is read strictly, whatever its transport."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from gateway.interfaces.mcp import INTERNAL_ERROR, McpFault
from gateway.model import Json

MAX_MESSAGE_BYTES = 8_388_608
MAX_DEPTH = 128
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")


class NotAMessage(ValueError):
    """What the server sent is no JSON-RPC message."""


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(message: Mapping[str, Json]) -> bytes:
    """One line without raw line breaks."""
    return _encode(message).encode("utf-8")


def decode(data: bytes) -> dict[str, Json]:
    """One JSON-RPC object. Raises ``NotAMessage``."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise NotAMessage("the message is too large")
    if _depth(data) > MAX_DEPTH:
        raise NotAMessage("the message is nested too deeply")
    try:
        message = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        raise NotAMessage(f"the message is not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise NotAMessage("the message is not a JSON-RPC 2.0 object")
    if b"\\u" in data:
        _check_texts(message)
    return message


def _check_texts(message: dict[str, Json]) -> None:
    try:
        encode(message)
    except UnicodeEncodeError:
        raise NotAMessage("the message has half of a surrogate pair in it") from None


def _depth(data: bytes) -> int:
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return 0  # cannot be deeper than that
    deepest = depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


def result_of(response: Mapping[str, Json]) -> dict[str, Json]:
    """The result of a response. Raises ``McpFault`` for an error and ``NotAMessage`` for what is
    neither."""
    error = response.get("error")
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        sound = isinstance(code, int) and not isinstance(code, bool)
        raise McpFault(
            code if sound and isinstance(code, int) else INTERNAL_ERROR,
            message if isinstance(message, str) else "the server gave no reason",
            error.get("data"),
        )
    result = response.get("result")
    if not isinstance(result, dict):
        raise NotAMessage("the response has neither a result nor an error")
    return result
