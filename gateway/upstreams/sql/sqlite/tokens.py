"""SQLite's lexical rules, as far as the judge needs them: which keywords a statement has outside
strings, quoted names and comments. The engine parses; this is a second opinion on its first word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\n\f\r]+)
    | (?P<comment>--[^\n]*|/\*(?:.*?\*/|.*\Z))
    | (?P<literal>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    | (?P<word>[A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*)
    | (?P<number>[0-9][A-Za-z0-9_.]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_BODIES = frozenset({"SELECT", "VALUES", "INSERT", "REPLACE", "UPDATE", "DELETE"})


def tokens(sql: str) -> Iterator[str]:
    """Words in upper case, quoted things as ``'``, every other character by itself."""
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind in ("space", "comment"):
            continue
        if kind == "literal":
            yield "'"
        else:
            yield match.group().upper() if kind == "word" else match.group()


def keywords(sql: str) -> tuple[str, str]:
    """The first word, and the one that names what is done: the same, except after WITH (the body
    behind the common table expressions) and EXPLAIN (what is explained). Empty when absent."""
    stream = tokens(sql)
    first = next((t for t in stream if t != ";"), "")
    if first == "EXPLAIN":
        for part in stream:
            if part not in ("QUERY", "PLAN"):
                return first, _body(part, stream)
        return first, ""
    return first, _body(first, stream)


def _body(word: str, rest: Iterator[str]) -> str:
    if word != "WITH":
        return word
    depth = 0
    for part in rest:
        if part == "(":
            depth += 1
        elif part == ")":
            depth -= 1
        elif depth == 0 and part in _BODIES:
            return part
    return ""


def replaces(sql: str) -> bool:
    """Whether the statement may remove rows that stand in its way: ``REPLACE`` as a keyword, that
    is, not as a function. Errs towards yes."""
    previous = ""
    for part in tokens(sql):
        if previous == "REPLACE" and part != "(":
            return True
        previous = part
    return previous == "REPLACE"


def module(sql: str) -> str | None:
    """The module of a CREATE VIRTUAL TABLE, in upper case."""
    stream = tokens(sql)
    if next(stream, "") != "CREATE" or next(stream, "") != "VIRTUAL":
        return None
    return next(stream, None) if "USING" in stream else None


def unnumbered(sql: str) -> str:
    """The statement with every ``?NNN`` written ``?``, for a parser that knows only that."""
    parts: list[str] = []
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "number" and parts and parts[-1] == "?":
            continue
        parts.append(match.group())
    return "".join(parts)
