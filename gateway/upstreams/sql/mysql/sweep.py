"""Images of one large statement, handed on part by part while they are read, so that a million
rows take no more memory than a thousand. The proof is that of ``capture``: the server counted as
many changes as were found. Where it does not hold, what was handed on is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import pymysql

from gateway.upstreams.sql.mysql import images, rows
from gateway.upstreams.sql.mysql.capture import Ranged, TooMany, accounted, condition, numbered
from gateway.upstreams.sql.mysql.closure import Closure
from gateway.upstreams.sql.mysql.counters import Handled
from gateway.upstreams.sql.mysql.failures import lost
from gateway.upstreams.sql.mysql.images import Change, Summary, TableImage, paired
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row

Put = Callable[[TableImage], None]


def sweepable(reach: Closure, ranged: Ranged) -> bool:
    """Whether the statement changed nothing but rows of its own table that its condition, or the
    keys that it gave, still find."""
    return (
        not ranged.strict
        and not reach.fired
        and not reach.cascades
        and set(reach.tables) == {ranged.table.at}
        and rows.keyed(ranged.table)
    )


class Sweep:
    """``own``: the session of the call, in its transaction; ``peer``: another one, outside of any.
    Both read exact bytes. ``most``: how many rows may be looked at."""

    def __init__(self, own: Session, peer: Session, ranged: Ranged, *, most: int) -> None:
        self._own = own
        self._peer = peer
        self._ranged = ranged
        self._most = most

    def ways(self) -> Iterator[Callable[[Put], Summary | None]]:
        """What to try, one after the other, each with a place of its own to put images to: it
        gives their summary, or ``None`` where they are not everything. They block, raise
        ``TooMany``, and whatever ``put`` raises ends the session that was read from."""
        counted = self._ranged.handled
        if self._ranged.verb == "insert":
            yield self._came
            return
        if counted == Handled(0, 0, counted.deleted):
            yield self._went
        yield self._compared

    def _went(self, put: Put) -> Summary | None:
        """All that the condition finds: nothing is left of it when as many were deleted."""
        return self._told(self._peer, lambda part: [Change(row, None) for row in part], put)

    def _came(self, put: Put) -> Summary | None:
        """All that the keys find, if none of it was there before."""
        source = self._source()
        try:
            if source is None or self._peer.rows(f"SELECT 1 {source} LIMIT 1"):
                return None
        except pymysql.Error as error:
            self._judge(error)
            return None
        return self._told(self._own, lambda part: [Change(None, row) for row in part], put)

    def _compared(self, put: Put) -> Summary | None:
        table = self._ranged.table

        def changes(part: Sequence[Row]) -> Sequence[Change]:
            keys = [rows.key_of(table, row) for row in part]
            return paired(table, part, rows.by_key(self._own, table, keys)).changes

        return self._told(self._peer, changes, put)

    def _told(
        self, session: Session, changes: Callable[[Sequence[Row]], Sequence[Change]], put: Put
    ) -> Summary | None:
        found = Summary(table=self._ranged.table)
        source = self._source()
        if source is None:
            return None
        try:
            with closing(self._read(session, source)) as read:
                for part in read:
                    image = TableImage(table=found.table, changes=tuple(changes(part)))
                    put(image)
                    found = found.plus(image.summary())
        except pymysql.Error as error:
            self._judge(error)
            return None
        return found if accounted(self._ranged, found.counts()) else None

    def _judge(self, error: pymysql.Error) -> None:
        """As ``capture``: what the condition says in the call's session it may not say here."""
        if lost(error) or not self._own.in_transaction or not self._both_open():
            raise error

    def _both_open(self) -> bool:
        return self._own.open and self._peer.open

    def _source(self) -> str | None:
        single, table = self._ranged.single, self._ranged.table
        where = condition(self._ranged, numbered(self._own))
        if where is None:
            return None
        return f"FROM {table.quoted} AS {quoted(single.alias or table.name)} WHERE {where}"

    def _read(self, session: Session, source: str) -> Generator[Sequence[Row], None, None]:
        table = self._ranged.table
        alias = self._ranged.single.alias or table.name
        stream = session.streamed(f"SELECT {rows.selected(rows.stored(table), alias)} {source}")
        count = 0
        while part := stream.take(images.PART, images.PART_BYTES):
            count += len(part)
            if count > self._most:
                stream.abandon()
                raise TooMany(self._most)
            try:
                yield part
            except GeneratorExit:
                stream.abandon()
                raise
