"""Row images: per table and side the rows by COPY, one after the other in one image.

The manifest says what lies where and how it is coded: ``binary``, the types' own binary form and
without COPY's head and end, or ``text`` for tables with types that have none. Manifests of the
first format, where everything is text, stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import ImageDamaged
from gateway.model import Json, Undo
from gateway.upstreams.sql.postgres.catalog import Table

FORMAT = "postgres-copy-2"
_ALL_TEXT = "postgres-copy-text-1"
KIND = "postgres.rows"
NO_WAY_BACK = "postgres.irreversible"
BINARY, TEXT = "binary", "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageColumn:
    """``oid``: of the type, 0 where the manifest does not say. ``reg``: in text, images hold this
    column cast to "oid" or "oid[]". ``number``: that of the column, 0 where it is not known."""

    name: str
    type: str
    oid: int = 0
    reg: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Where ``count`` rows lie in the image."""

    count: int = 0
    offset: int = 0
    size: int = 0


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
    coding: str = BINARY
    likeness: str = ""  # as ``Table`` has it; manifests of before do not

    @property
    def resource(self) -> str:
        return f"{self.schema}.{self.name}"

    @classmethod
    def of(
        cls,
        table: Table,
        *,
        before: Rows,
        after: Rows,
        updated: int,
        coding: str,
        spread: bool = False,
    ) -> TableImage:
        return cls(
            oid=table.oid,
            schema=table.schema,
            name=table.name,
            fingerprint=table.fingerprint,
            likeness=table.likeness,
            columns=tuple(
                ImageColumn(name=c.name, type=c.type, oid=c.type_oid, reg=c.reg, number=c.number)
                for c in table.stored
            ),
            key=table.key.columns if table.key else (),
            before=before,
            after=after,
            updated=updated,
            spread=spread,
            family=table.ancestors[-1],
            coding=coding,
        )

    def fits(self, table: Table) -> bool:
        """Whether rows of this image mean in ``table`` what they meant when they were read. A
        column that was dropped and came back has another number, and nobody has its old one: the
        server gives no number twice. One that merely took the name of another does not fit."""
        if self.fingerprint == table.fingerprint:
            return True
        if not self.likeness or self.likeness != table.likeness:
            return False
        now = {c.name: c.number for c in table.columns}
        taken = set(now.values())
        return all(c.number == now[c.name] or c.number not in taken for c in self.columns)


def row_count(undo: Undo) -> int:
    """How many rows the images of a call are of."""
    tables = list(undo.manifest.get("tables", ()))
    for leg in undo.manifest.get("legs", ()):
        tables += leg.get("tables", ())
    return sum(max(int(t[s]["rows"]) for s in ("before", "after")) for t in tables)


def encode(images: Sequence[TableImage], *, xid: str) -> dict[str, Json]:
    """The manifest of one call's images."""
    return {"format": FORMAT, "xid": xid, "tables": [_entry(image) for image in images]}


def _entry(image: TableImage) -> dict[str, Json]:
    return {
        "oid": image.oid,
        "schema": image.schema,
        "name": image.name,
        "fingerprint": image.fingerprint,
        "columns": [
            {"name": c.name, "type": c.type, "oid": c.oid, "reg": c.reg, "number": c.number}
            for c in image.columns
        ],
        "likeness": image.likeness,
        "key": list(image.key),
        "updated": image.updated,
        "spread": image.spread,
        "family": image.family,
        "coding": image.coding,
        **{
            side: {"rows": rows.count, "offset": rows.offset, "bytes": rows.size}
            for side, rows in (("before", image.before), ("after", image.after))
        },
    }


def decode(undo: Undo) -> tuple[TableImage, ...]:
    """Raises ``ImageDamaged`` for a manifest that is not one of ``encode``."""
    if undo.kind != KIND or undo.manifest.get("format") not in (FORMAT, _ALL_TEXT):
        raise ImageDamaged("The images of this call are in a form that is not known here.")
    return images_of(undo, undo.manifest.get("tables"))


def images_of(undo: Undo, tables: Json) -> tuple[TableImage, ...]:
    """``tables``: those of a manifest of ``encode``, within the record of ``undo``. Raises
    ``ImageDamaged``."""
    try:
        images = tuple(_table(entry) for entry in tables)
    except (KeyError, TypeError, ValueError) as error:
        raise ImageDamaged("The manifest of this call's images cannot be read.") from error
    size = len(undo.image) if undo.spooled is None else undo.spooled.size
    at = 0
    for rows in (rows for image in images for rows in (image.before, image.after) if rows.count):
        if rows.offset < at or rows.size <= 0:
            raise ImageDamaged("The manifest of this call's images cannot be read.")
        at = rows.offset + rows.size
    if at > size:
        raise ImageDamaged("The images of this call are not complete.")
    return images


def _table(entry: Mapping[str, Json]) -> TableImage:
    coding = entry.get("coding", TEXT)
    if coding not in (BINARY, TEXT):
        raise ValueError(coding)
    return TableImage(
        oid=int(entry["oid"]),
        schema=str(entry["schema"]),
        name=str(entry["name"]),
        fingerprint=str(entry["fingerprint"]),
        columns=tuple(
            ImageColumn(
                name=c["name"],
                type=c["type"],
                oid=int(c.get("oid", 0)),
                reg=c["reg"],
                number=int(c.get("number", 0)),
            )
            for c in entry["columns"]
        ),
        likeness=str(entry.get("likeness", "")),
        key=tuple(entry["key"]),
        before=_rows(entry["before"]),
        after=_rows(entry["after"]),
        updated=int(entry["updated"]),
        spread=bool(entry["spread"]),
        family=int(entry["family"]),
        coding=coding,
    )


def _rows(entry: Mapping[str, Json]) -> Rows:
    return Rows(count=int(entry["rows"]), offset=int(entry["offset"]), size=int(entry["bytes"]))
