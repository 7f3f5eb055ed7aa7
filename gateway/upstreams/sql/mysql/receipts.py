"""One line per call in a table of the gateway, written in the call's own transaction: what a crash
left open is answered by looking it up.

Who asks takes the line for himself if it is not there. So a transaction that was believed dead and
is not can no longer commit, and an answer stays true for ever.
"""

from __future__ import annotations

import pymysql

from gateway.errors import UpstreamError
from gateway.model import EffectState
from gateway.upstreams.sql.mysql.alteration import TRIAL, stands
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA, relations
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.literals import quoted, text_literal
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.varieties import MARIADB

TABLE = quoted(OWN_SCHEMA, "receipts")
_DONE, _BEGUN = b"done", b"begun"

_DUPLICATE = 1062
_MISSING = frozenset({1146, 1049, 1054, 1142, 1044, 1143})
_LOCKED = frozenset({1205, 1213})

CREATE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (call_id VARCHAR(64) CHARACTER SET ascii "
    "COLLATE ascii_bin NOT NULL PRIMARY KEY, state VARCHAR(8) CHARACTER SET ascii "
    "COLLATE ascii_bin NOT NULL, made_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), "
    "rows_sum BIGINT UNSIGNED, KEY (made_at)) ENGINE=InnoDB"
)
# What an earlier version made lacks it.
ADD_SUM = f"ALTER TABLE {TABLE} ADD COLUMN IF NOT EXISTS rows_sum BIGINT UNSIGNED"
_KEPT_DAYS = 30
_TRIAL_HOURS = 24


def prepare(session: Session) -> None:
    """Makes the table, where the account may. Ends an open transaction, so not within one."""
    session.run(f"CREATE DATABASE IF NOT EXISTS {quoted(OWN_SCHEMA)}")
    session.run(CREATE)
    if session.variety is MARIADB:  # no other had an earlier version
        session.run(ADD_SUM)


def there(session: Session) -> bool:
    try:
        session.rows(f"SELECT rows_sum FROM {TABLE} LIMIT 0")
    except pymysql.Error as error:
        if code_of(error) in _MISSING:
            return False
        raise
    return True


def sweep(session: Session) -> None:
    """Drops lines that nobody can ask for any more, and tables of trials that were cut off, where
    the account may."""
    try:
        session.run(
            f"DELETE FROM {TABLE} WHERE made_at < NOW() - INTERVAL {_KEPT_DAYS} DAY LIMIT 10000"
        )
        left = session.texts(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = "
            f"'{OWN_SCHEMA}' AND LEFT(table_name, {len(TRIAL)}) = '{TRIAL}' "
            f"AND create_time < NOW() - INTERVAL {_TRIAL_HOURS} HOUR"
        )
        for (name,) in left:
            session.run(f"DROP TABLE {quoted(OWN_SCHEMA, str(name))}")
    except pymysql.Error as error:
        if code_of(error) not in _MISSING:
            raise


def write(session: Session, call: str) -> None:
    """The call's line, first of all in its transaction."""
    try:
        session.run(f"INSERT INTO {TABLE} (call_id, state) VALUES ({_id(call)}, 'done')")
    except pymysql.Error as error:
        if code_of(error) == _DUPLICATE:
            raise UpstreamError(
                "This call was given up before it ran.", reason="upstream.failed"
            ) from error
        if code_of(error) in _MISSING:
            raise UpstreamError(
                f"The account may not write to {OWN_SCHEMA}.receipts, which proves after a crash "
                "what happened. `holdfast check` says what to grant.",
                reason="undo.unavailable",
            ) from error
        raise


def announce(session: Session, call: str) -> None:
    """Before a statement that commits by itself: the line stands before it and is ``settled``
    after it, and the session holds the call's lock for as long as it lives."""
    session.rows(f"SELECT GET_LOCK({_lock(call)}, 0)")
    try:
        session.run(f"INSERT INTO {TABLE} (call_id, state) VALUES ({_id(call)}, 'begun')")
    except pymysql.Error as error:
        if code_of(error) == _DUPLICATE:
            raise UpstreamError("This call was given up before it ran.") from error
        raise


def settled(session: Session, call: str, rows_sum: int | None = None) -> None:
    """``rows_sum``: the checksum of the table that the call left behind."""
    kept = "NULL" if rows_sum is None else str(rows_sum)
    session.run(f"UPDATE {TABLE} SET state = 'done', rows_sum = {kept} WHERE call_id = {_id(call)}")


def rows_sum(session: Session, call: str) -> int | None:
    """What ``settled`` kept; ``None`` also where the call was cut off before."""
    found = session.rows(f"SELECT rows_sum FROM {TABLE} WHERE call_id = {_id(call)}")
    return int(found[0][0]) if found and found[0][0] is not None else None


def made_at(session: Session, call: str) -> float | None:
    """When the call's line was written, in seconds of the epoch."""
    found = session.texts(
        f"SELECT UNIX_TIMESTAMP(made_at) FROM {TABLE} WHERE call_id = {_id(call)}"
    )
    return float(found[0][0] or 0) if found else None


def ask(session: Session, receipt: str) -> EffectState:
    """What became of the call. Blocks for as long as a lock may be waited for."""
    call, _, trace = receipt.partition("|")
    try:
        session.run(f"INSERT INTO {TABLE} (call_id, state) VALUES ({_id(call)}, 'void')")
    except pymysql.Error as error:
        code = code_of(error)
        if code in _LOCKED:
            return EffectState.UNKNOWN  # its transaction is still open
        if code != _DUPLICATE:
            raise
    else:
        return EffectState.NONE
    found = session.rows(f"SELECT state FROM {TABLE} WHERE call_id = {_id(call)}")
    if not found:
        return EffectState.UNKNOWN
    if found[0][0] == _BEGUN:
        return _traced(session, call, trace)
    return EffectState.APPLIED if found[0][0] == _DONE else EffectState.NONE


def _traced(session: Session, call: str, trace: str) -> EffectState:
    """By the table that the statement left behind or took away, once nothing of the call can still
    run. ``trace``: ``+`` (there: done), ``-`` (gone: done) or ``?`` (gone: not done), a schema and
    a table; ``=`` and its states before and after."""
    if session.rows(f"SELECT IS_FREE_LOCK({_lock(call)})") != [(b"1",)]:
        return EffectState.UNKNOWN
    done = _done(session, trace)
    if done is None:
        return EffectState.UNKNOWN
    state = "done" if done else "void"
    session.run(
        f"UPDATE {TABLE} SET state = '{state}' WHERE call_id = {_id(call)} AND state = 'begun'"
    )
    return EffectState.APPLIED if done else EffectState.NONE


def _done(session: Session, trace: str) -> bool | None:
    sign, (schema, _, name) = trace[:1], trace[1:].partition("|")
    if sign == "=":
        name, before, after = name.rsplit("|", 2)
        if stands(session, (schema, name), after):
            return True
        return False if stands(session, (schema, name), before) else None
    there = bool(relations(session, [(schema, name)]))
    if sign == "?" and there:
        return None  # whoever made it: it cannot be told
    return there if sign == "+" else not there and sign == "-"


def _lock(call: str) -> str:
    return text_literal(f"holdfast:{call}".encode())


def _id(call: str) -> str:
    return text_literal(call.encode())
