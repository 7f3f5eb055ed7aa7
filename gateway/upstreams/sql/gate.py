"""The first look at SQL text: what no parser should ever see is refused here, in linear time.

Parsers and servers differ on NUL, byte order marks, exotic white space, template marks and very
deep nesting; a text that has none of these outside of literals is read alike by all.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate

from gateway.model import Deny

MAX_DEPTH = 200
_COMMENT_LEVELS = 5

_WORD = r"[A-Za-z0-9_$\u0080-\U0010ffff]"
_SINGLE = r"'(?:[^']++|'')*+(?:'|\Z)"
_DOUBLE = r'"(?:[^"]++|"")*+(?:"|\Z)'
_ESCAPED = r"'(?:[^'\\]++|''|\\.)*+(?:'|\Z)"
# A string goes on after a line break, in the manner of its first part.
_MORE_ESCAPED = rf"(?:(?:[ \t\f\v]*+(?:--[^\r\n]*+)?[\r\n])++[ \t\f\v]*+{_ESCAPED})*+"
_TAG = r"(?:[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_\u0080-\U0010ffff]*+)?"
_FLAT_COMMENT = r"/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)"
_ESCAPED_DOUBLE = r'"(?:[^"\\]++|""|\\.)*+(?:"|\Z)'


def unread(stdin: object) -> Deny | None:
    """The refusal of rows beside the text, at a source whose statements read none."""
    if not stdin:
        return None
    return Deny(
        reason="malformed",
        detail="'stdin' is for COPY FROM STDIN, which PostgreSQL sources have. Use INSERT here.",
    )


def _nested_comment(levels: int) -> str:
    inner = "" if levels == 1 else "|" + _nested_comment(levels - 1)
    return rf"/\*(?:[^*/]++|\*(?!/)|/(?!\*){inner})*+(?:\*/|\Z)"


# What a text quotes or comments out. What is not terminated runs to the end of the text: the
# parsers say what they think of it. Every branch begins with its own character, which is what
# makes the search fast.
_QUOTED = {
    "postgres": re.compile(
        "|".join(
            (
                rf"e(?<!{_WORD}e){_ESCAPED}{_MORE_ESCAPED}",
                rf"E(?<!{_WORD}E){_ESCAPED}{_MORE_ESCAPED}",
                _SINGLE,
                _DOUBLE,
                rf"\$(?<!{_WORD}\$)({_TAG})\$(?:.*?\$\1\$|.*+\Z)",
                r"--[^\r\n]*+",
                _nested_comment(_COMMENT_LEVELS),
            )
        ),
        re.DOTALL,
    ),
    "sqlite": re.compile(
        "|".join(
            (
                _SINGLE,
                _DOUBLE,
                r"`(?:[^`]++|``)*+(?:`|\Z)",
                r"\[[^\]]*+(?:\]|\Z)",
                r"--[^\n]*+",
                _FLAT_COMMENT,
            )
        ),
        re.DOTALL,
    ),
    # What the server executes (/*!, /*M!) or takes as a hint (/*+) is no comment.
    "mysql": re.compile(
        "|".join(
            (
                _ESCAPED,
                _ESCAPED_DOUBLE,
                r"`[^`]*+(?:`|\Z)",
                r"--(?=[ \t\r\n\f]|\Z)[^\n]*+",
                r"#[^\n]*+",
                r"/\*(?![!+]|M!)(?:[^*]++|\*(?!/))*+(?:\*/|\Z)",
            )
        ),
        re.DOTALL,
    ),
}
_TEMPLATE = re.compile(r"\{[{%#]")
# Brackets as signed bytes, so that their running sum is the depth.
_STEPS = bytes.maketrans(b"([)]", b"\x01\x01\xff\xff")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"([)]"))

# Letters and marks that show as nothing.
_INVISIBLE = frozenset(
    chr(code)
    for code in (
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    )
)


def check_text(sql: str, *, max_bytes: int, dialect: str) -> Deny | None:
    """The refusal of a text that no parser should see. ``dialect``: ``postgres``, ``sqlite`` or
    ``mysql``.

    Non-ASCII letters are fine everywhere; non-ASCII white space, invisible characters and
    look-alikes of ASCII only in literals, quoted names and comments.
    """
    if len(sql) > max_bytes:
        return _too_large(max_bytes)
    try:
        size = len(sql.encode())
    except UnicodeEncodeError:
        return Deny(reason="malformed", detail="The SQL holds half of a surrogate pair.")
    if size > max_bytes:
        return _too_large(max_bytes)
    if "\0" in sql:
        return Deny(reason="malformed", detail="The SQL holds a NUL character.")
    if sql.startswith("\ufeff"):
        return Deny(reason="malformed", detail="The SQL starts with a byte order mark.")
    bare = _QUOTED[dialect].sub(" ", sql)
    if dialect == "mysql" and "/*" in bare:
        return _unparsable("The SQL holds a comment that the server executes or takes as a hint.")
    return _check_bare(bare)


def _check_bare(bare: str) -> Deny | None:
    """``bare``: the text with a blank for everything quoted or commented out."""
    if not bare.strip(" \t\n\r\f;"):
        return _unparsable("The text holds no statement.")
    if "/*" in bare:
        return _unparsable(f"Comments are nested deeper than {_COMMENT_LEVELS} levels.")
    if _TEMPLATE.search(bare):
        return _unparsable("The SQL holds template marks ({{, {% or {#); send the finished text.")
    for char in sorted(set(bare)):
        if _exotic(char):
            return _unparsable(
                f"The SQL holds the character U+{ord(char):04X} outside of literals and quoted "
                "names."
            )
    steps = bare.encode().translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_DEPTH:
        return Deny(
            reason="too_large", detail=f"Brackets are nested deeper than {MAX_DEPTH} levels."
        )
    return None


def _exotic(char: str) -> bool:
    if char in "\t\n\r\f" or " " <= char <= "~":
        return False
    if char < "\u0080" or char in _INVISIBLE or unicodedata.category(char)[0] in "ZC":
        return True
    # Full-width letters, ligatures, the Kelvin sign: what folds to ASCII may pass for a keyword.
    return any(part < "\u0080" for part in unicodedata.normalize("NFKC", char))


def _too_large(max_bytes: int) -> Deny:
    return Deny(reason="too_large", detail=f"The SQL is longer than {max_bytes} bytes.")


def _unparsable(detail: str) -> Deny:
    return Deny(reason="sql.unparsable", detail=detail)
