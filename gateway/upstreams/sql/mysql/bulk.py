"""Takes many rows back part by part, so that a million take no more memory than a thousand. It
goes only where nothing is in the way: what conflicts is for ``restore``, which sees all at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gateway.model import OnConflict
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.items import Item, compared
from gateway.upstreams.sql.mysql.keeping import Kept
from gateway.upstreams.sql.mysql.orphans import References
from gateway.upstreams.sql.mysql.restore import put, remove, verified
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.triggers import Way


def bulk(session: Session, kept: Kept, ways: Mapping[Name, Way]) -> int | None:
    """How many rows were restored; ``None``, and all is as it was, where a row was touched by
    others, stands in the way, or did not come back as it was. As ``restore``, in an open
    transaction in which foreign keys are off."""
    session.run("SAVEPOINT holdfast_bulk")
    count = _restored(session, kept, ways)
    if count is None:
        session.run("ROLLBACK TO SAVEPOINT holdfast_bulk")
    return count


def _restored(session: Session, kept: Kept, ways: Mapping[Name, Way]) -> int | None:
    """The steps of ``restore``, each over all parts: unique values that were swapped between rows
    of two parts meet no one."""
    count = 0
    for image in kept.parts():
        if not rows.keyed(image.table):
            return None
        items = compared(session, image, OnConflict.ABORT)
        if any(item.why is not None for item in items):
            return None
        remove(session, items, ways[image.table.at])
        count += len(items)
    for items in _left(kept):
        if not put(session, items, ways[items[0].image.table.at]):
            return None
    references = References(session, ways)
    for items in _left(kept):
        if not verified(session, items) or references.leave_out(items):
            return None
    return count


def _left(kept: Kept) -> Iterator[list[Item]]:
    """All changes as the call left them, part by part, each to be taken back."""
    for image in kept.parts():
        yield [Item(image, c, c.after, c.before) for c in image.changes]
