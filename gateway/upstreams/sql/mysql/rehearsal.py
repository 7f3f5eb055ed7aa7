"""Trying the way back before the call commits: in its own transaction, up to a savepoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pymysql

from gateway.model import OnConflict
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.bulk import bulk
from gateway.upstreams.sql.mysql.catalog import Trigger
from gateway.upstreams.sql.mysql.copies import counted
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.images import TableImage
from gateway.upstreams.sql.mysql.keeping import Kept
from gateway.upstreams.sql.mysql.restore import Restored, restore
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row
from gateway.upstreams.sql.mysql.triggers import way

_DENIED = frozenset({1142, 1143, 1044, 1227})


class CannotRehearse(Exception):
    """The agent's account may not do what the gateway's own may."""


def rehearse(own: Session, peer: Session, kept: Kept, triggers: Sequence[Trigger]) -> str | None:
    """How the rows after the way back differ from those before the call; ``None``: not at all.
    ``peer`` reads them as they stand committed. Nothing of this is left in ``own``, in whose open
    transaction the call ran. Blocks."""
    ways = {
        one.table.at: way(one, {t.event for t in triggers if t.table == one.table.at})
        for one in kept.summaries()
    }
    if any(one.fires for one in ways.values()):
        raise CannotRehearse("only the gateway's account may go around the triggers of its tables")
    own.run("SAVEPOINT holdfast_rehearsal")
    own.run(own.variety.loose)
    try:
        if not kept.large or bulk(own, kept, ways) is None:
            pairs = [(image, ways[image.table.at]) for image in kept.whole()]
            done = restore(own, pairs, OnConflict.ABORT, _heard)
            if done.conflicts:
                return _first(done)
        for image in kept.parts():
            if _differs(own, peer, image):
                return f"rows of {image.table.resource} would not be as they were"
    except pymysql.Error as error:
        if code_of(error) not in _DENIED:
            raise
        raise CannotRehearse("the agent's account may not put its rows back") from error
    finally:
        if own.in_transaction:
            own.run("ROLLBACK TO SAVEPOINT holdfast_rehearsal")
            own.run(own.variety.tight.format(modes=own.modes))
    return None


def _heard(conflict: object) -> None:
    """Conflicts are looked at in the end."""


def _first(done: Restored) -> str:
    conflict = done.conflicts[0]
    return f"{conflict.resource}: {conflict.why}"


def _differs(own: Session, peer: Session, image: TableImage) -> bool:
    table = image.table
    if rows.keyed(table):
        keys = [rows.key_of(table, row) for row in _sides(image)]
        mine, theirs = (Counter(rows.by_key(s, table, keys)) for s in (own, peer))
        return mine != theirs
    mine, theirs = (counted(s, table, _sides(image)) for s in (own, peer))
    return mine != theirs


def _sides(image: TableImage) -> list[Row]:
    both = [row for change in image.changes for row in (change.before, change.after)]
    return [row for row in both if row is not None]
