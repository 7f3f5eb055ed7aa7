"""Regular expressions that OPA's engine and the embedded one read alike.

Both are linear-time engines of the same family; they differ in character classes of Unicode,
set operations in brackets, quoting, repeat limits and modes. So a pattern is a literal, and of a
small grammar that has none of those.
"""

from __future__ import annotations

import re

_MAX_REPEAT = 1000
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,4})(?:,(\d{1,4})?)?\})\??")
_ATOM = re.compile(
    r"""
    [^\\\[\](){}*+?|^$\x00]        # a plain character or the dot
    | \\[.\\\[\](){}*+?|^$/-]      # an escaped one
    | \[\^?(?:[^\\\[\]^&~-]|\\[.\\\[\](){}*+?|^$/-])   # a class: first member
      (?:-?(?:[^\\\[\]^&~-]|\\[.\\\[\](){}*+?|^$/-]))*\]
    """,
    re.VERBOSE,
)
_MODE = "(?i)"


def fault_of(pattern: str) -> str | None:
    """Why ``pattern`` is not of the common grammar, or ``None``. Accepted: plain characters, ``.``,
    ``[a-z]`` classes of plain characters, escaped punctuation, groups ``( )`` and ``(?: )``, ``|``,
    ``^ $``, ``* + ?`` and ``{n,m}`` up to 1,000, and ``(?i)`` at the very start."""
    at = len(_MODE) if pattern.startswith(_MODE) else 0
    depth = 0
    repeatable = False
    while at < len(pattern):
        letter = pattern[at]
        quantifier = _QUANTIFIER.match(pattern, at)
        if quantifier is not None:
            if not repeatable or not _small(quantifier):
                return f"the repetition at {at} is not accepted"
            at, repeatable = quantifier.end(), False
        elif letter == "(":
            depth += 1
            at += 3 if pattern.startswith("(?:", at) else 1
            repeatable = False
        elif letter == ")" and depth:
            depth, at, repeatable = depth - 1, at + 1, True
        elif letter in "|^$":
            at, repeatable = at + 1, False
        else:
            atom = _ATOM.match(pattern, at)
            if atom is None:
                return (
                    f"{letter!r} at {at} is not accepted; for \\d write [0-9], for \\w [A-Za-z0-9_]"
                )
            at, repeatable = atom.end(), True
    return "a group is not closed" if depth else None


def _small(quantifier: re.Match[str]) -> bool:
    low, high = quantifier[1], quantifier[2]
    if low is None:
        return True
    bounds = [int(bound) for bound in (low, high) if bound is not None]
    return max(bounds) <= _MAX_REPEAT and bounds == sorted(bounds)
