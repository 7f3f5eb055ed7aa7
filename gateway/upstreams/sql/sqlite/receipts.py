"""The gateway's own table in the target: one row per call, written in the call's transaction, so
that the file itself answers whether a call happened."""

from __future__ import annotations

from datetime import datetime

import apsw

from gateway.model import EffectState
from gateway.upstreams.sql.sqlite.functions import RECEIPTS


def prepare(db: apsw.Connection, oldest: datetime) -> None:
    """Makes the table where it is missing and forgets receipts from before ``oldest``."""
    with db:
        db.execute(
            f"CREATE TABLE IF NOT EXISTS {RECEIPTS}"
            "(call TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID"
        )
        db.execute(f"DELETE FROM {RECEIPTS} WHERE at < ?", (oldest.isoformat(),))


def write(db: apsw.Connection, call: str, at: datetime) -> None:
    db.execute(f"INSERT OR REPLACE INTO {RECEIPTS} VALUES(?, ?)", (call, at.isoformat()))


def written(db: apsw.Connection, call: str) -> bool:
    row = db.execute(f"SELECT 1 FROM {RECEIPTS} WHERE call = ?", (call,)).fetchone()
    return row is not None


def ask(db: apsw.Connection, call: str) -> EffectState:
    """``db`` can write and is used for nothing else. Without a receipt the answer is ``NONE``
    only when no writer is under way, whose transaction might still bring it."""
    if written(db, call):
        return EffectState.APPLIED
    try:
        db.execute("BEGIN IMMEDIATE")
    except apsw.BusyError:
        return EffectState.UNKNOWN
    try:
        return EffectState.APPLIED if written(db, call) else EffectState.NONE
    finally:
        db.execute("ROLLBACK")
