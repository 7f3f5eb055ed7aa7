"""Tries a call's way back while its transaction is still open, in a savepoint that is rolled back.

Row images are put back by the code that reverts, and what stands then is compared with the file as
the second connection still sees it: every table that the call touched, as a whole and with
its generated columns while it is small, otherwise the touched rows. A kept
journal is compared page by page with the file on the disk, which until COMMIT is the file before.
"""

from __future__ import annotations

import apsw

from gateway.model import Deny, OnConflict, Undo
from gateway.upstreams.sql.rehearsed import inexact
from gateway.upstreams.sql.sqlite import rows, unwind
from gateway.upstreams.sql.sqlite.catalog import Shape, quoted, shape
from gateway.upstreams.sql.sqlite.cells import Row, fetch, same
from gateway.upstreams.sql.sqlite.copies import digest
from gateway.upstreams.sql.sqlite.journal import Kept
from gateway.upstreams.sql.sqlite.pages import DatabaseFile, JournalDamaged, read_journal
from gateway.upstreams.sql.sqlite.recorder import Touched
from gateway.upstreams.sql.sqlite.rows import Key

_WHOLE = 5_000  # rows of a table that is compared as a whole


def of_rows(
    db: apsw.Connection,
    peek: apsw.Connection,
    undo: tuple[str, Undo],
    touched: dict[str, Touched],
    *,
    foreign_keys: bool,
) -> Deny | None:
    """Raises ``apsw.Error``; the transaction is as it was, however this ends."""
    db.execute("SAVEPOINT holdfast_rehearsal")
    unwind.loosen(db)
    try:
        (step,) = unwind.take_back(db, [undo], OnConflict.ABORT, foreign_keys=foreign_keys)
        if step.state != "reverted":
            return inexact(step.detail or "rows would not come back")
        for name, what in sorted(touched.items()):
            why = _difference(db, peek, name, what)
            if why is not None:
                return inexact(why)
        return None
    finally:
        db.execute("ROLLBACK TO holdfast_rehearsal")
        db.execute("RELEASE holdfast_rehearsal")
        unwind.tighten(db, foreign_keys=foreign_keys)


def _difference(
    db: apsw.Connection, peek: apsw.Connection, name: str, touched: Touched
) -> str | None:
    there = shape(peek, name)
    if there is None or not there.capturable:
        return f"{name} cannot be compared"
    whole = touched.whole or not _large(peek, there)
    keys = None if whole else touched.keys
    before, after = _rows(peek, there, keys), _rows(db, there, keys)
    if before.keys() != after.keys() or not all(same(before[k], after[k]) for k in before):
        return f"rows of {name} would not be as they were"
    return None


def _large(peek: apsw.Connection, table: Shape) -> bool:
    # Counting all the rows of a large table would take longer than the call.
    return rows.count(peek, table.name, most=_WHOLE + 1) > _WHOLE


def _rows(db: apsw.Connection, table: Shape, keys: set[Key] | None) -> dict[Key, Row]:
    """By identity: the whole table with its generated columns, or the stored ones of ``keys``."""
    if keys is not None:
        return rows.by_key(db, table, keys)
    identity = rows.identity(table)
    wanted = [*identity, *map(quoted, (*table.columns, *table.generated))]
    found = fetch(db, wanted, f"FROM main.{quoted(table.name)}", ())
    return {row[: len(identity)]: row for row in found}


def of_journal(file: DatabaseFile, kept: Kept) -> Deny | None:
    """Whether the kept journal holds the file before, as far as the call has changed it by now."""
    try:
        pages = read_journal(kept.path, growing=True)
    except (JournalDamaged, OSError) as error:
        return inexact(f"its journal cannot be used: {error}")
    if pages.count != file.count(pages.size):
        return inexact("its journal is of a file of another size")
    for number, image in pages.images.items():
        if file.page(number, pages.size) != image:
            return inexact(f"page {number} of the file would not be as it was")
    return None


def of_copy(peek: apsw.Connection, kept: Kept) -> Deny | None:
    """Whether the copy says what the database said before the call."""
    try:
        copy = apsw.Connection(str(kept.path), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.Error as error:
        return inexact(f"its copy cannot be used: {error}")
    try:
        if digest(copy) != digest(peek):
            return inexact("the copy of the database does not say the same")
    finally:
        copy.close()
    return None
