"""What the server counts by itself: the proof that images are complete."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

import pymysql

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.session import Session

_ORDER = ("HANDLER_WRITE", "HANDLER_UPDATE", "HANDLER_DELETE")
_STATUS = (
    "SELECT UPPER(variable_name), variable_value FROM {} WHERE "
    "variable_name IN ('HANDLER_WRITE', 'HANDLER_UPDATE', 'HANDLER_DELETE')"
)
_DENIED = frozenset({1227, 1142, 1044})
_STALE_S = 0.11  # the server's own copy of its transactions is renewed no more often than this
_TRIES = 6


@dataclass(frozen=True, slots=True)
class Handled:
    """Rows that the session wrote, changed and deleted, triggers included and foreign keys not.
    A write that met a row with its key counts too."""

    written: int
    updated: int
    deleted: int

    @property
    def total(self) -> int:
        return self.written + self.updated + self.deleted

    def since(self, before: Handled, parts: int = 1) -> Handled:
        """``parts``: how often the engine counts one row (a partitioned table does so twice)."""
        return Handled(
            (self.written - before.written) // parts,
            (self.updated - before.updated) // parts,
            (self.deleted - before.deleted) // parts,
        )


def handled(session: Session) -> Handled:
    """Raises ``UpstreamError`` where the server keeps no count."""
    status = _STATUS.format(session.variety.counted)
    found = {str(name): int(value or 0) for name, value in session.texts(status)}
    if not found.keys() >= set(_ORDER):
        raise UpstreamError(
            "The server does not tell what a session changed, so images could not be proven "
            "complete.",
            reason="undo.unavailable",
        )
    return Handled(*(found[name] for name in _ORDER))


def rows_modified(session: Session) -> int | None:
    """What the storage engine changed in the open transaction, cascades and triggers included;
    ``None`` where it cannot be had in time. Blocks for up to some tenths of a second when others
    ask too.

    The server answers from a copy that may be old. The copy holds the text of the query each
    transaction was running, so an answer that holds this one's is new.
    """
    for _ in range(_TRIES):
        nonce = secrets.token_hex(8)
        try:
            found = session.texts(
                f"SELECT trx_rows_modified, trx_query FROM information_schema.innodb_trx "
                f"WHERE trx_mysql_thread_id = CONNECTION_ID() AND '{nonce}' <> ''"
            )
        except pymysql.Error as error:
            if code_of(error) in _DENIED:
                return None
            raise
        if found and nonce in (found[0][1] or ""):
            return int(found[0][0] or 0)
        time.sleep(_STALE_S)
    return None
