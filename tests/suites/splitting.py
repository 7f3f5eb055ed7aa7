"""Statements out of the test files of database projects. What steers their own test programs is
left out, and so is whatever needs it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

_STEERS = re.compile(
    r"(--|#|\}|\{|(source|let|eval|evalp|echo|inc|dec|error|send|reap|sleep|real_sleep|exec|execw"
    r"|perl|die|skip|exit|system|require|ping|connection|disconnect|query|assert|write_file"
    r"|append_file|remove_file|cat_file|copy_file|move_file|mkdir|rmdir|delimiter)\b"
    r"|(disable|enable|replace|vertical|horizontal|query|sync|save|wait|shutdown|start|end|list"
    r"|diff|file|dirty|reset|change|result|sorted|character)_\w+|(connect|if|while)\s*\()",
    re.IGNORECASE,
)
_DELIMITER = re.compile(r"(?:--\s*)?delimiter\s+(\S+)", re.IGNORECASE)
_COMMENTS = re.compile(r"^(\s*(--[^\n]*(\n|$)|/\*.*?\*/))+", re.DOTALL)
_FROM_STDIN = re.compile(r"\bcopy\b.*\bfrom\s+stdin\b", re.IGNORECASE)
_PSQL = re.compile(
    r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|\bbegin\s+atomic\b.*?\bend\b|;",
    re.DOTALL | re.IGNORECASE,
)
_TCL = re.compile(r"\b(?:do_execsql_test|do_catchsql_test|execsql|catchsql)\b[^{}\n]{0,80}\{")


def mysqltest(text: str) -> Iterator[str]:
    """Of MariaDB's ``mysql-test``."""
    end, lines, aside = ";", list[str](), False
    for line in map(str.strip, text.splitlines()):
        delimiter = _DELIMITER.match(line)
        if delimiter is not None and not lines:
            end = delimiter[1].removesuffix(end) or end
        elif aside:
            aside = not line.endswith(end)
        elif not lines and (not line or _STEERS.match(line)):
            steers = line and not line.startswith(("--", "#", "}", "{"))
            aside = bool(steers) and not line.endswith((end, "{"))
        elif not line.startswith("#"):
            lines.append(line)
            if line.endswith(end):
                yield "\n".join(lines).removesuffix(end).strip()
                lines = []


class WithRows(str):
    """A COPY FROM STDIN and what it reads."""

    stdin: str = ""


def psql(text: str) -> Iterator[str]:
    """Of PostgreSQL's ``src/test/regress/sql``."""
    lines, rows = list[str](), list[list[str]]()
    data = False
    for line in text.splitlines():
        if data and line.strip() != "\\.":
            rows[-1].append(line)
        elif not line.startswith("\\"):
            lines.append(line)
        starts = not data and _FROM_STDIN.search(line) is not None
        rows += [[]] if starts else []
        data = line.strip() != "\\." and (data or starts)
    whole, start, read = "\n".join(lines), 0, iter(rows)
    for found in _PSQL.finditer(whole):
        if found[0] == ";":
            statement = WithRows(_COMMENTS.sub("", whole[start : found.start()]).strip())
            if _FROM_STDIN.search(whole[start : found.start()]):
                statement.stdin = "".join(f"{row}\n" for row in next(read, []))
            yield statement
            start = found.end()


def tcl(text: str) -> Iterator[str]:
    """Of SQLite's ``test``."""
    for block in tcl_blocks(text):
        statement = ""
        for part in re.split("(;)", block):
            statement += part
            if part == ";" and sqlite3.complete_statement(statement):
                yield statement.strip().removesuffix(";")
                statement = ""
        yield statement.strip()


def tcl_blocks(text: str) -> Iterator[str]:
    """The same, several statements at once where they stand together."""
    for found in _TCL.finditer(text):
        depth, at = 1, found.end()
        while depth and at < len(text):
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield text[found.end() : at - 1].strip()
