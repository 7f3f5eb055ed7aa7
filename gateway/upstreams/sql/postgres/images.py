r"""Row images: COPY text per table and side, the form that dumps rely on, in one blob.

The manifest says what lies where. ``format`` names the coding, so that another (binary) can be
added and old images stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import ImageDamaged
from gateway.model import Json, Undo

FORMAT = "postgres-copy-text-1"
KIND = "postgres.rows"
NO_WAY_BACK = "postgres.irreversible"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageColumn:
    name: str
    type: str
    reg: str = ""  # images hold this column cast to "oid" or "oid[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """COPY text of ``count`` rows."""

    count: int = 0
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableImage:
    """Everything one transaction did to one table: rows as they were and as it left them.

    ``updated``: row versions replaced; more than there are keys on both sides means that a row
    changed its key. ``spread``: other partitions of ``family``, the root of the tree, were changed
    too. Either way rows found on one side only belong together.
    """

    oid: int
    schema: str
    name: str
    fingerprint: str
    columns: tuple[ImageColumn, ...]
    key: tuple[str, ...]
    before: Rows
    after: Rows
    updated: int
    spread: bool
    family: int

    @property
    def resource(self) -> str:
        return f"{self.schema}.{self.name}"


def encode(images: Sequence[TableImage], *, xid: str) -> tuple[dict[str, Json], bytes]:
    """The manifest and the blob of one call's images."""
    blob: list[bytes] = []
    tables: list[Json] = []
    offset = 0
    for image in images:
        entry: dict[str, Json] = {
            "oid": image.oid,
            "schema": image.schema,
            "name": image.name,
            "fingerprint": image.fingerprint,
            "columns": [{"name": c.name, "type": c.type, "reg": c.reg} for c in image.columns],
            "key": list(image.key),
            "updated": image.updated,
            "spread": image.spread,
            "family": image.family,
        }
        for side, rows in (("before", image.before), ("after", image.after)):
            size = len(rows.data)
            entry[side] = {"rows": rows.count, "offset": offset, "bytes": size}
            blob.append(rows.data)
            offset += size
        tables.append(entry)
    return {"format": FORMAT, "xid": xid, "tables": tables}, b"".join(blob)


def decode(undo: Undo) -> tuple[TableImage, ...]:
    """Raises ``ImageDamaged`` for a manifest or blob that is not one of ``encode``."""
    if undo.kind != KIND or undo.manifest.get("format") != FORMAT:
        raise ImageDamaged("The images of this call are in a form that is not known here.")
    try:
        return tuple(_table(entry, undo.image) for entry in undo.manifest["tables"])
    except (KeyError, TypeError, ValueError) as error:
        raise ImageDamaged("The manifest of this call's images cannot be read.") from error


def _table(entry: Mapping[str, Json], blob: bytes) -> TableImage:
    return TableImage(
        oid=int(entry["oid"]),
        schema=str(entry["schema"]),
        name=str(entry["name"]),
        fingerprint=str(entry["fingerprint"]),
        columns=tuple(
            ImageColumn(name=c["name"], type=c["type"], reg=c["reg"]) for c in entry["columns"]
        ),
        key=tuple(entry["key"]),
        before=_rows(entry["before"], blob),
        after=_rows(entry["after"], blob),
        updated=int(entry["updated"]),
        spread=bool(entry["spread"]),
        family=int(entry["family"]),
    )


def _rows(entry: Mapping[str, Json], blob: bytes) -> Rows:
    data = blob[entry["offset"] : entry["offset"] + entry["bytes"]]
    if len(data) != entry["bytes"] or data.count(b"\n") != entry["rows"]:
        raise ImageDamaged("The images of this call are not complete.")
    return Rows(count=entry["rows"], data=data)


# --- for people -----------------------------------------------------------------------------

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _field(text: bytes) -> str | None:
    if text == b"\\N":
        return None
    plain = _ESCAPE.sub(lambda m: _CONTROL.get(m.group(1), m.group(1)), text)
    return plain.decode("utf-8", "replace")


def read_rows(image: TableImage, rows: Rows) -> Iterator[dict[str, str | None]]:
    """The rows as column -> text."""
    names = [c.name for c in image.columns]
    for line in rows.data.split(b"\n")[:-1]:
        yield dict(zip(names, map(_field, line.split(b"\t")), strict=True))


def shown(image: TableImage) -> Iterator[dict[str, Json]]:
    """``{"resource", "key", "before", "after"}`` per row; without a key each side alone."""
    if not image.key:
        for row in read_rows(image, image.before):
            yield {"resource": image.resource, "key": None, "before": row, "after": None}
        for row in read_rows(image, image.after):
            yield {"resource": image.resource, "key": None, "before": None, "after": row}
        return
    after = {_key(image, row): row for row in read_rows(image, image.after)}
    for row in read_rows(image, image.before):
        key = _key(image, row)
        yield _shown(image, key, row, after.pop(key, None))
    for key, row in after.items():
        yield _shown(image, key, None, row)


def _key(image: TableImage, row: Mapping[str, str | None]) -> tuple[str | None, ...]:
    return tuple(row[name] for name in image.key)


def _shown(
    image: TableImage,
    key: tuple[str | None, ...],
    before: dict[str, str | None] | None,
    after: dict[str, str | None] | None,
) -> dict[str, Json]:
    named = dict(zip(image.key, key, strict=True))
    return {"resource": image.resource, "key": named, "before": before, "after": after}
