"""Replies of the server as the surface's JSON, and the names of types."""

from __future__ import annotations

from collections.abc import Container

from gateway.model import Json
from gateway.upstreams.sql.masking import Origin
from gateway.upstreams.sql.mysql.grammar import Written
from gateway.upstreams.sql.mysql.streams import Field, Reply
from gateway.upstreams.sql.values import render_text

_BINARY = 63  # the character set of what is no text
_UNSIGNED, _ENUM, _SET = 32, 256, 2048
_NAMES = {
    0: "decimal", 1: "tinyint", 2: "smallint", 3: "int", 4: "float", 5: "double", 6: "null",
    7: "timestamp", 8: "bigint", 9: "mediumint", 10: "date", 11: "time", 12: "datetime",
    13: "year", 14: "date", 16: "bit", 242: "vector", 245: "json", 246: "decimal", 247: "enum",
    248: "set", 255: "geometry",
}  # fmt: skip
_TEXTS = {249: "tinytext", 250: "mediumtext", 251: "longtext", 252: "text", 15: "varchar",
          253: "varchar", 254: "char"}  # fmt: skip
_BYTES = {249: "tinyblob", 250: "mediumblob", 251: "longblob", 252: "blob", 15: "varbinary",
          253: "varbinary", 254: "binary"}  # fmt: skip
_INTEGERS = frozenset({1, 2, 3, 9})
_SMALL_BITS = 53


def type_name(field: Field) -> str:
    """As in a CREATE TABLE, without lengths."""
    if field.flags & _ENUM:
        return "enum"
    if field.flags & _SET:
        return "set"
    if field.type in _TEXTS:
        names = _BYTES if field.charset == _BINARY else _TEXTS
        return names[field.type]
    name = _NAMES.get(field.type, "unknown")
    integer = field.type in _INTEGERS or field.type == 8
    return f"{name} unsigned" if integer and field.flags & _UNSIGNED else name


def render(verb: str, reply: Reply) -> dict[str, Json]:
    """``{"verb", "columns", "rows", "affected"}``; what JSON cannot hold exactly is text."""
    fields = reply.fields
    return {
        "verb": verb,
        "columns": [{"name": f.name, "type": type_name(f)} for f in fields],
        "rows": [
            [_cell(cell, field) for cell, field in zip(row, fields, strict=True)]
            for row in reply.rows
        ],
        "affected": reply.affected,
    }


def _cell(cell: bytes | None, field: Field) -> Json:
    if cell is None:
        return None
    if field.type == 16:
        number = int.from_bytes(cell, "big")
        return number if number < 2**_SMALL_BITS else str(number)
    if field.type in (242, 255) or (field.charset == _BINARY and field.type in _BYTES):
        return "\\x" + cell.hex()
    text = cell.decode("utf-8", "replace")
    if field.type in _INTEGERS:
        return int(text)
    if field.type in (4, 5):
        return render_text(text, "double precision")
    return text


def origins(reply: Reply, written: Written, base: Container[str]) -> list[Origin | None]:
    """Where each column comes from, as it is; ``None`` for what is not known to. ``base``: the
    tables among the statement's names, without its views. With a query inside, a name that the
    server tells may be one that the statement gave."""
    selects = sum(t.kind == "word" and t.text.lower() == "select" for t in written.text.tokens)
    if selects > 1 or written.local:
        return [None for _ in reply.fields]
    return [
        f.origin if f.origin is not None and f.origin[0] in base else None for f in reply.fields
    ]
