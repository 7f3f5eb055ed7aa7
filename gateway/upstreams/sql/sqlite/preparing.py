"""What a database file needs for schema changes, and very large ones, to be undone. Rows are
captured whatever its settings are."""

from __future__ import annotations

from pathlib import Path

import apsw

from gateway.interfaces import Piece
from gateway.upstreams.sql.sqlite.connections import explained, open_writer

_BUSY_S = 2.0


def prepared(path: Path, *, apply: bool) -> list[Piece]:
    """Raises ``UpstreamError``."""
    db = open_writer(path, busy_s=_BUSY_S, foreign_keys=False)
    try:
        return [_journal(db, apply=apply)]
    except apsw.Error as error:
        raise explained(error, "prepare") from error
    finally:
        db.close()


def _journal(db: apsw.Connection, *, apply: bool) -> Piece:
    statement = "PRAGMA journal_mode = DELETE"
    state, detail = "there", None
    mode = str(db.pragma("journal_mode")).lower()
    if mode != "delete":
        state, detail = "missing", f"The journal mode is {mode}."
    if apply and state == "missing":
        try:
            mode = str(db.execute(statement).get).lower()
        except apsw.BusyError:
            detail = "Other connections have the file open: close them first."
        state = "applied" if mode == "delete" else "failed"
    return Piece(
        id="journal-mode",
        gives="rollback journals, which can be kept, put the whole file back",
        statements=(statement,),
        without="In write-ahead mode a change of the schema, and a call over the row budget, "
        "keeps a copy of the whole file; in any other mode it is refused.",
        state=state,
        detail=None if state in ("there", "applied") else detail,
    )
