"""Copies of the database file, for changes that no row image holds, where there is no rollback
journal to keep: in write-ahead mode. A copy is taken before the commit; it may be put back while
all that the database says is what it said right after the call, which a digest tells."""

from __future__ import annotations

import hashlib
import marshal
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from gateway.model import Deny
from gateway.upstreams.sql.sqlite.catalog import (
    ROWID_NAMES,
    folded,
    listed,
    quoted,
    without_rowid,
)
from gateway.upstreams.sql.sqlite.functions import RECEIPTS
from gateway.upstreams.sql.sqlite.journal import Journals, Kept, unavailable
from gateway.upstreams.sql.sqlite.pages import sync_folder

# What moves on by itself, and is nobody's data.
_ASIDE = (RECEIPTS, "sqlite_schema", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4")
_PLAIN = 2  # the last form of ``marshal`` that writes equal values alike


def keep(
    db: apsw.Connection, peek: apsw.Connection, journals: Journals, call: str, *, most: int
) -> Kept | Deny:
    """A copy of the file as ``peek`` still sees it, before the open transaction of ``db``. Durable
    when this returns. ``most``: bytes."""
    why = journals.copyable(db)
    if why is None and size_of(peek) > most:
        why = "the database is larger than snapshots.max_bytes, so no copy of it is made"
    if why is not None:
        return unavailable(why)
    path = journals.copy(call)
    try:
        seal = clone(peek, path)
    except (apsw.Error, OSError) as error:
        path.unlink(missing_ok=True)
        return unavailable(f"no copy of it can be made ({error})")
    # A full-text index writes what it holds back when a savepoint comes, at the latest at COMMIT.
    db.execute("SAVEPOINT holdfast_flush; RELEASE holdfast_flush")
    return Kept(path=path, counter=0, after=digest(db), seal=seal)


def size_of(db: apsw.Connection) -> int:
    """Bytes of the database."""
    return int(str(db.pragma("page_count"))) * int(str(db.pragma("page_size")))


def clone(source: apsw.Connection, path: Path) -> str:
    """Makes ``path`` a database with what ``source`` sees, durable when this returns, and gives its
    ``sealed``. Raises ``apsw.Error``, ``OSError``."""
    path.unlink(missing_ok=True)
    target = apsw.Connection(str(path))
    try:
        with target.backup("main", source, "main") as backup:
            backup.step(-1)
    finally:
        target.close()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
    return sealed(path)


def sealed(path: Path) -> str:
    """SHA-256 of the file's bytes. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(db: apsw.Connection) -> str:
    """Of the schema, of every row with its row id and of the numbers in the header. Reads
    everything."""
    found = hashlib.blake2b(digest_size=32)
    schema = db.execute(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema "
        "WHERE tbl_name NOT LIKE 'sqlite_stat%' ORDER BY type, name"
    ).fetchall()
    numbers = [str(db.pragma(name)) for name in ("user_version", "application_id")]
    found.update(marshal.dumps((schema, numbers), _PLAIN))
    # Those of a virtual table stand here as well, so that its own rows need not be read.
    for name, kind in listed(db).items():
        if kind not in ("table", "shadow"):
            continue
        if name not in _ASIDE:
            found.update(marshal.dumps(name, _PLAIN))
            for row in _rows(db, name, without_rowid(db, name)):
                found.update(marshal.dumps(row, _PLAIN))
    return found.hexdigest()


def _rows(db: apsw.Connection, table: str, keyed: bool) -> Iterable[Any]:
    found = db.execute(
        "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE hidden = 0 ORDER BY cid", (table,)
    ).fetchall()
    columns = [str(name) for (name,) in found]
    taken = set(map(folded, columns))
    wanted = [] if keyed else [n for n in ROWID_NAMES if n not in taken][:1]
    for column in map(quoted, columns):
        # Texts need not be valid; as bytes they are told from blobs by their type.
        wanted.append(f"iif(typeof({column}) = 'text', CAST({column} AS BLOB), {column})")
        wanted.append(f"typeof({column}) = 'text'")
    return db.execute(f"SELECT {', '.join(wanted)} FROM main.{quoted(table)} NOT INDEXED")
