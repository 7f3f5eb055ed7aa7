"""The body of a request to a tool: what it says it is, read as exactly that, or refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from gateway.addresses import Ambiguous, query_of
from gateway.errors import Deadline, Malformed, TooLarge, UnsupportedMedia
from gateway.messages import FORM_TYPE, JSON_TYPE, is_json, overrides_method
from gateway.model import Json
from gateway.surfaces import strict_json
from gateway.surfaces.multipart import PartReader, boundary_of
from gateway.surfaces.uploads import Shelf, Upload
from gateway.surfaces.wiring import Bounds

MULTIPART = "multipart/form-data"

_TYPE = re.compile(r"([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)((?:[ \t]*;[^;]*)*)", re.IGNORECASE)
_PARAMETER = re.compile(
    r"[ \t]*([a-z0-9_-]+)=(?:\"([^\"\\]*)\"|([a-z0-9!#$%&'*+.^_`|~/:=?()-]+))[ \t]*", re.IGNORECASE
)
_CHARSETS = frozenset({"utf-8", "us-ascii"})
# A body of this size is read in a thread, so that no request holds up the others.
_LARGE = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """``kind`` and ``body`` are the parts of ``Call.request``; ``upload`` what JSON cannot hold."""

    kind: str | None = None
    body: Json = None
    upload: Upload | None = None


async def read_content(request: Request, bounds: Bounds, *, most: int, shelf: Shelf) -> Content:
    """``most`` bounds a body that is not JSON. Raises ``TooLarge``, ``Deadline``, ``Malformed``,
    ``UnsupportedMedia`` and ``Overloaded``."""
    length = request.headers.get("content-length", "0")
    coded = request.headers.get("transfer-encoding") is not None
    if length == "0" and not coded:
        return Content()
    if request.headers.getlist("content-encoding"):
        raise UnsupportedMedia("A body with a Content-Encoding is not accepted.")
    kind, parameters = _kind(request)
    if is_json(kind):
        if parameters:
            raise UnsupportedMedia("JSON is sent as UTF-8, without parameters but charset=utf-8.")
        data = await _gathered(request, bounds, bounds.json.bytes)
        if not data:
            return Content()
        found = await _json(data, bounds)
        _refuse_overrides(found if isinstance(found, dict) else ())
        return Content(kind=kind, body=found)
    if kind == FORM_TYPE:
        return _form(await _gathered(request, bounds, bounds.json.bytes))
    return await _kept(request, bounds, kind, parameters, most=most, shelf=shelf)


def _kind(request: Request) -> tuple[str, dict[str, str]]:
    """The media type and its parameters but for the character set, which is checked."""
    given = request.headers.getlist("content-type")
    found = _TYPE.fullmatch(given[0].strip()) if len(given) == 1 else None
    if found is None:
        raise UnsupportedMedia("A body needs one Content-Type.")
    parameters: dict[str, str] = {}
    for part in found[2].split(";")[1:]:
        named = _PARAMETER.fullmatch(part)
        if named is None or named[1].lower() in parameters:
            raise UnsupportedMedia("The parameters of the Content-Type cannot be read.")
        parameters[named[1].lower()] = named[2] if named[2] is not None else named[3]
    charset = parameters.pop("charset", "utf-8").lower()
    if charset not in _CHARSETS:
        raise UnsupportedMedia("Texts are sent as UTF-8.")
    return found[1].lower(), parameters


async def _pieces(request: Request, idle_s: float, total_s: float | None) -> AsyncIterator[bytes]:
    now = asyncio.get_running_loop().time
    end = None if total_s is None else now() + total_s
    stream = request.stream()
    while True:
        until = now() + idle_s if end is None else min(now() + idle_s, end)
        try:
            async with asyncio.timeout_at(until):
                piece = await anext(stream, None)
        except TimeoutError:
            raise Deadline("The body did not arrive in time. Nothing was done.") from None
        except ClientDisconnect:
            raise Malformed("The body was cut off.") from None
        if piece is None:
            return
        if piece:
            yield piece


def _announced(request: Request, most: int) -> None:
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > most:
        raise _too_large(most)


async def _gathered(request: Request, bounds: Bounds, most: int) -> bytes:
    _announced(request, most)
    data = bytearray()
    async for piece in _pieces(request, bounds.body_idle_s, bounds.body_total_s):
        data += piece
        if len(data) > most:
            raise _too_large(most)
    return bytes(data)


async def _json(data: bytes, bounds: Bounds) -> Json:
    if len(data) < _LARGE:
        return strict_json.parse(data, bounds.json)
    return await asyncio.to_thread(strict_json.parse, data, bounds.json)


def _refuse_overrides(names: Iterable[str]) -> None:
    """What cannot be left out of a body that goes on as it came is refused."""
    if any(map(overrides_method, names)):
        raise Malformed("A field that tools take for the method is not accepted: use the method.")


def _form(data: bytes) -> Content:
    if not data:
        return Content()
    if data.lstrip()[:1] in (b"{", b"["):
        raise UnsupportedMedia("This form looks like JSON. Say what it is: application/json.")
    try:
        pairs = query_of(data.decode("ascii"))
    except (Ambiguous, UnicodeDecodeError) as error:
        raise Malformed(f"The form is not acceptable: {error}.") from None
    kept = [[name, value] for name, value in pairs if not overrides_method(name)]
    return Content(kind=FORM_TYPE, body=kept)


async def _kept(
    request: Request,
    bounds: Bounds,
    kind: str,
    parameters: dict[str, str],
    *,
    most: int,
    shelf: Shelf,
) -> Content:
    if kind.startswith("multipart/") and kind != MULTIPART:
        raise UnsupportedMedia("Of multipart bodies, only multipart/form-data is accepted.")
    _announced(request, most)
    parts = PartReader(boundary_of(parameters)) if kind == MULTIPART else None
    upload = Upload(shelf)
    try:
        async for piece in _pieces(request, bounds.upload_idle_s, None):
            if upload.size == 0:
                _check_beginning(kind, piece)
            if upload.size + len(piece) > most:
                raise _too_large(most)
            if parts is not None:
                parts.feed(piece)
            await upload.write(piece)
        body: dict[str, Json] = {"sha256": upload.sha256, "size": upload.size}
        if parts is not None:
            body["parts"] = parts.end()
            _refuse_overrides(part["name"] for part in body["parts"])
    except BaseException:
        upload.close()
        raise
    shown = "".join(f'; {name}="{value}"' for name, value in parameters.items())
    if upload.size == 0:
        upload.close()
        return Content()
    return Content(kind=kind + shown, body=body, upload=upload)


def _check_beginning(kind: str, piece: bytes) -> None:
    """Tools that look at the content and not at its name would read JSON that nobody judged."""
    if kind.startswith("text/") and piece.lstrip()[:1] in (b"{", b"["):
        raise UnsupportedMedia(f"This {kind} looks like JSON. Say what it is: {JSON_TYPE}.")


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"The body has more than {most} bytes.", limit=most)
