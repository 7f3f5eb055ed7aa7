"""The kept rollback journal: the pages as they were before a transaction, under a second name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import apsw

from gateway.model import Deny, EffectState, Json
from gateway.upstreams.sql.sqlite.mounts import over_network
from gateway.upstreams.sql.sqlite.pages import DatabaseFile, sync_folder

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,119}")
_KEPT = (".journal", ".copy")
RECEIPT = "putback:"
_AUTO_VACUUM = 1  # FULL; the pages that are cut off at the commit are not journaled
_CHAIN = 1_000  # calls with row images whose journals are kept for the sake of one without


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``counter``: the file's change counter once the transaction is committed. ``after``, where
    this is no journal but a copy: the digest of what the database then says; ``seal``: the copy's
    own SHA-256."""

    path: Path
    counter: int
    after: str = ""
    seal: str = ""

    def as_json(self) -> dict[str, Json]:
        told: dict[str, Json] = {"name": self.path.name, "counter": self.counter}
        return {**told, "after": self.after, "seal": self.seal} if self.after else told

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)


class Journals:
    """Journals of the file at ``path``, kept in ``folder`` on the same file system. ``plain``:
    whether they may be kept, as they are never encrypted."""

    def __init__(self, path: Path, folder: Path, *, plain: bool = True) -> None:
        self.path = path
        self.folder = folder
        self._plain = plain
        self._remote: str | None = None  # not looked up yet
        self._tail: int | None = None
        self._chained = 0
        self._same: dict[int, int] = {}

    def keepable(self, db: apsw.Connection) -> str | None:
        """Why the journal of a transaction on ``db`` cannot be kept; ``None`` when it can."""
        if not self._plain:
            return "it would keep pages of the database unencrypted (snapshots.encryption.journals)"
        mode = str(db.pragma("journal_mode")).lower()
        if mode != "delete":
            return f"the database's journal mode is {mode}, not delete"
        if int(str(db.pragma("auto_vacuum"))) == _AUTO_VACUUM:
            return "its file shrinks by itself (auto_vacuum), by pages that no journal holds"
        why = self.unsafe(db)
        if why is not None:
            return why
        if self.path.stat().st_dev != self.folder.stat().st_dev:
            return "the folder for kept journals is on another file system"
        return None

    def copyable(self, db: apsw.Connection) -> str | None:
        """Why no copy of the file can take the journal's place; ``None`` when it can."""
        mode = str(db.pragma("journal_mode")).lower()
        if mode != "wal":
            return f"the database's journal mode is {mode}, not wal"
        if not self._plain:
            return (
                "it would keep a copy of the database unencrypted (snapshots.encryption.journals)"
            )
        return self.unsafe(db)

    def whole(self, db: apsw.Connection) -> str | None:
        """Why neither a journal nor a copy can take back what rows cannot."""
        why = self.keepable(db)
        return None if why is None or self.copyable(db) is None else why

    def unsafe(self, db: apsw.Connection) -> str | None:
        """Why no write on ``db`` could be taken back, or even rolled back, for sure."""
        mode = str(db.pragma("journal_mode")).lower()
        if mode in ("off", "memory"):
            return f"the database's journal mode is {mode}: a crash would corrupt it"
        if int(str(db.pragma("synchronous"))) == 0:
            return "the database is written without syncing"
        if str(db.pragma("locking_mode")).lower() != "normal":
            return "the database is locked exclusively"
        if self._remote is None:
            self._remote = over_network(self.path) or ""
        if self._remote:
            return f"the database lies on a network file system ({self._remote})"
        return None

    def counter(self) -> int:
        """The file's change counter, while no transaction writes to it."""
        with DatabaseFile(self.path) as file:
            return file.counter()

    def keep(
        self, db: apsw.Connection, call: str, counter: int, *, sync: bool = True
    ) -> Kept | Deny:
        """Links the journal of ``db``'s open transaction; durably, if it is the only way back.
        ``counter``: the file's as the transaction began."""
        why = self.keepable(db)
        if why is None and not _NAME.fullmatch(call):
            why = "the call's id cannot name a file"
        if why is not None:
            return unavailable(why)
        kept = Kept(path=self.folder / f"{call}.journal", counter=counter + 1)
        try:
            kept.discard()
            # The same file under a second name: COMMIT syncs it and removes only its own name.
            os.link(db.filename_journal, kept.path)
            if sync:
                sync_folder(self.folder)
        except OSError as error:
            return unavailable(f"its journal cannot be kept ({error.strerror})")
        return kept

    def extend(self, db: apsw.Connection, call: str, counter: int) -> Kept | None:
        """Links the journal of a call that has row images too, where the call before it can only
        be taken back as a whole file: so both can come back together. ``None`` where there is no
        use in it, or no way."""
        if self._tail != counter or self._chained > _CHAIN or self.keepable(db) is not None:
            return None
        kept = self.keep(db, call, counter, sync=False)
        return None if isinstance(kept, Deny) else kept

    def landed(self, kept: Kept | None, *, rowwise: bool) -> None:
        """After a commit: what the next call's journal could be chained to."""
        self._chained = self._chained + 1 if rowwise else 0
        self._tail = None if kept is None else kept.counter

    def put_back(self, counter: int, base: int) -> None:
        """After a revert by journal: the file at ``counter`` is what it was at ``base``, if that
        is not 0, and can be put back again."""
        if base:
            self._same[counter] = base
            while len(self._same) > _CHAIN:
                del self._same[next(iter(self._same))]
        self._tail, self._chained = counter, 0

    def like(self, counter: int) -> set[int]:
        """``counter``, and the earlier ones at which the file held what it holds at ``counter``."""
        alike = {counter}
        while (counter := self._same.get(counter, 0)) and counter not in alike:
            alike.add(counter)
        return alike

    def kept(self, told: Mapping[str, Json]) -> Kept | None:
        """What an undo's manifest names, if that is a name that could have been given."""
        name = str(told.get("name", ""))
        if not _NAME.fullmatch(name) or "counter" not in told:
            return None
        return Kept(
            path=self.folder / name,
            counter=int(told["counter"]),
            after=str(told.get("after", "")),
            seal=str(told.get("seal", "")),
        )

    def copy(self, call: str) -> Path:
        """Raises ``ValueError`` for a call whose id cannot name a file."""
        if not _NAME.fullmatch(call):
            raise ValueError("the call's id cannot name a file")
        return self.folder / f"{call}.copy"

    def putback(self, call: str) -> Path:
        return self.folder / f"{call}.putback"

    def happened(self, receipt: str) -> EffectState:
        """Whether the journal behind a ``putback:`` receipt was put back. One that was not never
        will be after this."""
        name = receipt.removeprefix(RECEIPT)
        if not _NAME.fullmatch(name):
            return EffectState.UNKNOWN
        waiting = self.putback(name)
        void = waiting.with_name(f"{name}.void")
        try:
            waiting.rename(void)
        except FileNotFoundError:
            return EffectState.NONE if void.exists() else EffectState.APPLIED
        except OSError:
            return EffectState.UNKNOWN
        return EffectState.NONE

    def erase(self, call: str) -> None:
        """Removes the journal or the copy of ``call`` for good. Raises ``OSError``."""
        if _NAME.fullmatch(call) and self.folder.exists():
            for suffix in _KEPT:
                (self.folder / f"{call}{suffix}").unlink(missing_ok=True)
            sync_folder(self.folder)

    def prune(self, *, receipts: datetime, journals: datetime | None) -> None:
        """Forgets receipts, and journals that a crash left, which are older than given; never one
        that waits to be put back."""
        for path in self.folder.glob("*.scratch*"):
            path.unlink(missing_ok=True)
        for suffix, oldest in ((".void", receipts), *((kept, journals) for kept in _KEPT)):
            for path in self.folder.glob(f"*{suffix}"):
                if oldest is not None and path.stat().st_mtime < oldest.timestamp():
                    path.unlink(missing_ok=True)


def unavailable(why: str) -> Deny:
    return Deny(
        reason="undo.unavailable",
        detail=f"This call could not be taken back exactly: {why}. It was rolled back.",
    )
