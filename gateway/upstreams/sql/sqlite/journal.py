"""The kept rollback journal: the pages as they were before a transaction, under a second name."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import apsw

from gateway.model import Deny, Json

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,120}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``counter``: the file's change counter once the transaction is committed."""

    path: Path
    counter: int

    def as_json(self) -> dict[str, Json]:
        return {"name": self.path.name, "counter": self.counter}

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


class Journals:
    """Journals of the file at ``path``, kept in ``folder`` on the same file system."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._folder = folder

    def keepable(self, db: apsw.Connection) -> str | None:
        """Why the journal of a transaction on ``db`` cannot be kept; ``None`` when it can."""
        mode = str(db.pragma("journal_mode")).lower()
        if mode != "delete":
            return f"the database's journal mode is {mode}, not delete"
        if int(str(db.pragma("synchronous"))) == 0:
            return "the database is written without syncing"
        if str(db.pragma("locking_mode")).lower() != "normal":
            return "the database is locked exclusively"
        return None

    def keep(self, db: apsw.Connection, call: str) -> Kept | Deny:
        """Links the journal of ``db``'s open transaction, which has written its last page."""
        why = self.keepable(db)
        if why is None and not _NAME.fullmatch(call):
            why = "the call's id cannot name a file"
        if why is not None:
            return _unavailable(why)
        kept = Kept(path=self._folder / f"{call}.journal", counter=_counter(self._path) + 1)
        try:
            kept.discard()
            # The same file under a second name: COMMIT syncs it and removes only its own name.
            os.link(db.filename_journal, kept.path)
            sync_folder(self._folder)
        except OSError as error:
            return _unavailable(f"its journal cannot be kept ({error.strerror})")
        return kept


def _counter(path: Path) -> int:
    return int.from_bytes(read_pages(path, 24, 4), "big")


def read_pages(path: Path, offset: int, amount: int) -> bytes:
    """Bytes of the database file, read through SQLite's own file layer: closing a descriptor of
    ours would drop the locks that this process holds on the file."""
    flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY
    file = apsw.VFSFile("", str(path), [flags, 0])
    try:
        return file.xRead(amount, offset)
    finally:
        file.xClose()


def sync_folder(folder: Path) -> None:
    """Makes the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(why: str) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This call could not be taken back exactly: {why}. It was rolled back.",
    )
