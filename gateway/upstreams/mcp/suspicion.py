"""What in a tool's description is not meant for the eyes of the people who approve it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from gateway.model import Json

_ADDRESSED = re.compile(r"<\s*/?\s*(?:important|system|instructions?|secret)\b", re.IGNORECASE)
_INVISIBLE = frozenset(
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2028\u2029\u3164\ufeff\uffa0"
)
_PLAIN_CONTROLS = "\t\n\r"


_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp)[;,]", re.IGNORECASE)


def is_picture(source: Json) -> bool:
    """Whether a client may load an icon from there: over the web, or out of the text itself. A
    script or a file of its machine is neither, nor is a drawing that could hold a script."""
    if not isinstance(source, str):
        return False
    return source.lower().startswith(("https://", "http://")) or bool(_PICTURE.match(source))


def bad_icons(document: Mapping[str, Json]) -> bool:
    icons = document.get("icons")
    if icons is None:
        return False
    return not isinstance(icons, list) or not all(
        isinstance(icon, Mapping) and is_picture(icon.get("src")) for icon in icons
    )


def without_bad_icons(document: Mapping[str, Json]) -> dict[str, Json]:
    """What agents are told of anything that may have icons."""
    bad = bad_icons(document)
    return {key: value for key, value in document.items() if not (bad and key == "icons")}


def hidden(letter: str) -> bool:
    """Whether people would not see ``letter``: controls, formats (zero width, bidirectional,
    tags), variation selectors and blank letters."""
    if letter in _PLAIN_CONTROLS:
        return False
    if letter in _INVISIBLE or 0xFE00 <= ord(letter) <= 0xFE0F or 0xE0000 <= ord(letter) <= 0xE0FFF:
        return True
    return unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs")


def shown(text: str) -> str:
    """``text`` with what is hidden written out."""
    return "".join(f"\\u{{{ord(letter):x}}}" if hidden(letter) else letter for letter in text)


def shown_document(value: Json) -> Json:
    """A document with every text in it as ``shown``."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown(str(key)): shown_document(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shown_document(member) for member in value]
    return value


def warnings(document: Json) -> tuple[str, ...]:
    """Why a person should look at this tool before anybody uses it; empty for most tools."""
    found: dict[str, None] = {}
    if isinstance(document, Mapping) and bad_icons(document):
        found["icons has a source that is no picture of the web"] = None
    for where, text in _texts(document, ""):
        letters = sorted({f"U+{ord(letter):04X}" for letter in text if hidden(letter)})
        if letters:
            found[f"{where} has hidden characters: {', '.join(letters[:5])}"] = None
        if _ADDRESSED.search(text):
            found[f"{where} addresses the model, not the reader"] = None
    return tuple(found)


def _texts(value: Json, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where or "the text", value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield f"a key of {where or 'the tool'}", str(key)
            yield from _texts(member, f"{where}.{shown(str(key))}".strip(".")[:100])
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member, f"{where}[]")
