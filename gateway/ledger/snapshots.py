"""Snapshots in the tables: kept with the permit, dropped when the call had no effect, deleted on
schedule or by a person, always on record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from gateway.interfaces import SnapshotInfo
from gateway.ledger.journal import note
from gateway.ledger.tables import StoredSnapshot, Tables
from gateway.model import Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An image that is durable already (``file``) or becomes so with the row (``image``)."""

    info: SnapshotInfo
    undo: Undo
    file: str | None
    image: bytes | None


def keep(tables: Tables, prepared: Prepared) -> None:
    tables.put_snapshot(
        StoredSnapshot(
            info=prepared.info,
            undo=replace(prepared.undo, image=b""),
            file=prepared.file,
            image=prepared.image,
        )
    )


def drop_image(tables: Tables, id: str, now: datetime) -> str | None:
    """Forgets the image; the name of its file, which the caller removes after the commit."""
    stored = tables.snapshot(id)
    if stored is None or stored.info.deleted_at is not None:
        return None
    tables.put_snapshot(
        replace(stored, info=replace(stored.info, deleted_at=now), image=None, file=None)
    )
    return stored.file


def delete(tables: Tables, now: datetime, id: str, by: str) -> tuple[bool, str | None]:
    """Whether there was such an image, and its file. The call can no longer be reverted."""
    stored = tables.snapshot(id)
    if stored is None or stored.info.deleted_at is not None:
        return False, None
    file = drop_image(tables, id, now)
    record = tables.call(stored.info.call)
    if record is not None:
        tables.put_call(replace(record, undo=replace(record.undo, available=False), updated_at=now))
    note(
        tables,
        now,
        "snapshot.delete",
        {
            "snapshot": id,
            "call": stored.info.call,
            "sha256": stored.info.sha256,
            "bytes": stored.info.bytes,
            "by": by,
        },
    )
    return True, file
