"""The text as MariaDB's lexer reads it, and the text that is sent: without comments, parameters
put in. What two lexers could read differently is refused.

Holds under a session whose ``sql_mode`` has neither ANSI_QUOTES nor NO_BACKSLASH_ESCAPES and whose
character set is utf8mb4; ``session`` pins both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.model import Deny, Json
from gateway.upstreams.sql.mysql.literals import parameter

_TOKENS = re.compile(
    r"""(?P<space>[ \t\r\n\f]+)
    |(?P<comment>--(?=[ \t\r\n\f]|\Z)[^\n]*+|\#[^\n]*+|/\*(?![!+]|M!)(?:[^*]++|\*(?!/))*+\*/)
    |(?P<string>'(?:[^'\\]++|''|\\.)*+'|"(?:[^"\\]++|""|\\.)*+")
    |(?P<quoted>`[^`]++`(?!`))
    |(?P<word>@{0,2}[A-Za-z0-9_$\u0080-\uffff]++)
    |(?P<mark>\?)
    |(?P<end>;)
    |(?P<other>:=|--|/\*[!+M]?|.)""",
    re.DOTALL | re.VERBOSE,
)
_FORBIDDEN = {
    "--": "a double minus without a space after it",
    ":=": "an assignment (:=)",
    "/*!": "a comment that the server executes",
    "/*+": "an optimizer hint",
    "/*M": "a comment that the server executes",
    "/*": "a comment without an end",
    "'": "a string without an end",
    '"': "a string without an end",
    "`": "a quoted name without an end, or one that holds a quote",
    "\\": "a backslash outside of strings",
    "@": "a user variable",
    "{": "an ODBC escape",
    "}": "an ODBC escape",
}
_PLAIN = re.compile(r"[^A-Za-z0-9 _.,:%/+-]")


@dataclass(frozen=True, slots=True)
class Token:
    """``kind``: word, quoted (``text`` without its quotes), string, other. ``spaced``: white space
    or a comment stands before it. ``at``: where it begins in the text that is sent."""

    kind: str
    text: str
    spaced: bool
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One statement. ``sent`` goes to the server; ``shown`` to sqlglot: there every string holds
    harmless characters only, so that no lexer can end it elsewhere."""

    sent: str
    shown: str
    tokens: tuple[Token, ...]

    @property
    def first(self) -> str:
        return self.tokens[0].text.lower()


def read(sql: str, params: Sequence[Json]) -> tuple[Text, ...] | Deny:
    """The statements of a text that passed ``gate.check_text``. A ``?`` takes its value."""
    reader = _Reader(params)
    for found in _TOKENS.finditer(sql):
        refusal = reader.take(str(found.lastgroup), found.group())
        if refusal is not None:
            return refusal
    reader.end()
    if reader.left:
        return _malformed(f"{len(params)} parameters came; {len(params) - reader.left} are used.")
    if not reader.texts:
        return Deny(reason="sql.unparsable", detail="The text holds no statement.")
    return tuple(reader.texts)


class _Reader:
    def __init__(self, params: Sequence[Json]) -> None:
        self._params = list(params)
        self.texts: list[Text] = []
        self._start()

    @property
    def left(self) -> int:
        return len(self._params)

    def _start(self) -> None:
        self._sent: list[str] = []
        self._shown: list[str] = []
        self._tokens: list[Token] = []
        self._spaced = False
        self._length = 0

    def end(self) -> None:
        if self._tokens:
            self.texts.append(
                Text(
                    sent="".join(self._sent).rstrip(),
                    shown="".join(self._shown).rstrip(),
                    tokens=tuple(self._tokens),
                )
            )
        self._start()

    def take(self, kind: str, text: str) -> Deny | None:
        if kind in ("space", "comment"):
            self._space()
            self._spaced = True
            return None
        if kind == "end":
            self.end()
            return None
        if kind == "mark":
            return self._parameter()
        if kind == "other" and text in _FORBIDDEN:
            return _unparsable(f"The SQL holds {_FORBIDDEN[text]}.")
        if kind == "word" and text.startswith("@") and not text.startswith("@@"):
            return _unparsable("The SQL holds a user variable.")
        self._add(kind, text, text)
        return None

    def _parameter(self) -> Deny | None:
        if not self._params:
            return _malformed("The SQL takes more parameters than came.")
        literal = parameter(self._params.pop(0))
        if isinstance(literal, Deny):
            return literal
        # A value never touches what stands beside it.
        self._space()
        self._add(literal.kind, literal.text, literal.shown)
        self._space()
        return None

    def _space(self) -> None:
        if self._tokens:
            self._sent.append(" ")
            self._shown.append(" ")
            self._length += 1

    def _add(self, kind: str, text: str, shown: str) -> None:
        if kind == "string" and text is shown:
            shown = "'" + _PLAIN.sub("_", text[1:-1]) + "'"
        self._sent.append(text)
        self._shown.append(shown)
        at, self._length = self._length, self._length + len(text)
        name = text[1:-1] if kind == "quoted" else text
        self._tokens.append(Token(kind, name, self._spaced, at))
        self._spaced = False


def _unparsable(detail: str) -> Deny:
    return Deny(reason="sql.unparsable", detail=detail)


def _malformed(detail: str) -> Deny:
    return Deny(reason="malformed", detail=detail)
