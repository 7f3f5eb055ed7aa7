"""Rows of tables without a key, which only what they hold tells apart. A few are looked for one by
one; for many the table is read once, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql import rows
from gateway.upstreams.sql.mysql.catalog import Table
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.streams import Row

_FEW = 4
_READ = 500
_AT_ONCE = 1000


def counted(
    session: Session, table: Table, wanted: Collection[Row], lock: str = ""
) -> Counter[Row]:
    """How often each of the rows stands there, to the byte."""
    distinct = set(wanted)
    columns = rows.selected(rows.stored(table))
    if len(distinct) > _FEW:
        every = f"SELECT {columns} FROM {table.quoted} {lock}"
        return Counter(row for row in _read(session, every) if row in distinct)
    found: Counter[Row] = Counter()
    for row in distinct:
        query = f"SELECT {columns} FROM {table.quoted} WHERE {rows.same_row(table, row)} {lock}"
        found[row] = sum(one == row for one in session.rows(query))
    return found


def remove(session: Session, table: Table, gone: Counter[Row]) -> None:
    """Deletes so many copies of each row, which are there. Raises ``UpstreamError`` where they
    cannot be told from others."""
    single = gone
    if len(gone) > _FEW:
        digest = rows.digest(session, table)
        columns = rows.selected(rows.stored(table))
        there: Counter[Row] = Counter()
        digests: dict[Row, bytes] = {}
        query = f"SELECT {columns}, {digest} FROM {table.quoted} FOR UPDATE"
        for *cells, told in _read(session, query):
            row = tuple(cells)
            if row in gone:
                there[row] += 1
                digests[row] = told or b""
        whole = [row for row in gone if there[row] == gone[row]]
        for start in range(0, len(whole), _AT_ONCE):
            part = whole[start : start + _AT_ONCE]
            listed = ", ".join(f"'{digests[row].decode('ascii')}'" for row in part)
            count = session.run(f"DELETE FROM {table.quoted} WHERE {digest} IN ({listed})")
            if count != sum(gone[row] for row in part):
                raise UpstreamError(
                    f"Rows of {table.resource} cannot be told apart.", reason="upstream.failed"
                )
        single = Counter({row: gone[row] for row in gone.keys() - set(whole)})
    for row, count in single.items():
        session.run(f"DELETE FROM {table.quoted} WHERE {rows.same_row(table, row)} LIMIT {count}")


def _read(session: Session, query: str) -> Iterator[Row]:
    stream = session.streamed(query)
    while part := stream.take(_READ):
        yield from part
