"""What people see: tables and lines in which nothing from the data can act on the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.model import Json

# Control, format (bidi, zero width), surrogate, private and unassigned characters, and the
# separators that break a line.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def escaped(text: object) -> str:
    """``text`` with everything that a terminal would obey or hide written as an escape."""
    return "".join(_escape(c) if _hidden(c) else c for c in _text(text))


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value) or "-"
    return str(value)


def _hidden(character: str) -> bool:
    return (not character.isascii() and unicodedata.category(character) in _HIDDEN) or (
        character < " " or character == "\x7f"
    )


def _escape(character: str) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else (f"\\U{code:08x}")
    )


def ascii_json(text: str) -> str:
    """The same JSON document in ASCII: in JSON only strings hold other characters."""
    return "".join(c if c < "\x7f" else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def shortened(text: object, width: int = 80) -> str:
    shown = escaped(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


class Printer:
    """``out`` is standard output, ``err`` standard error."""

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._err = err

    def line(self, text: str = "") -> None:
        """One line, escaped, never wrapped: what is pasted elsewhere stays whole."""
        self._out.print(Text(escaped(text) if text else ""), soft_wrap=True)

    def raw(self, text: str) -> None:
        """Bytes for programs."""
        self._out.file.write(text if text.endswith("\n") else f"{text}\n")
        self._out.file.flush()

    def complain(self, text: str) -> None:
        self._err.print(Text(escaped(text)), soft_wrap=True)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in headers:
            table.add_column(header, overflow="fold")
        count = 0
        for row in rows:
            table.add_row(*(Text(shortened(cell, 200)) for cell in row))
            count += 1
        if count:
            self._out.print(table)
        else:
            self._out.print(Text("none"))

    def fields(self, pairs: Iterable[tuple[str, Json]]) -> None:
        """Names and values below each other; values that are ``None`` are left out."""
        grid = Table(box=None, pad_edge=False, show_header=False)
        grid.add_column(style="bold")
        grid.add_column(overflow="fold")
        for name, value in pairs:
            if value is not None:
                grid.add_row(name, Text(escaped(value)))
        self._out.print(grid)
