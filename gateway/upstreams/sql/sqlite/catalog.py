"""The shape of tables as images and reverts need it, read from the database's own catalog."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import apsw

from gateway.upstreams.sql.sqlite.tokens import module, replaces

ROWID_NAMES = ("rowid", "_rowid_", "oid")


def quoted(name: str) -> str:
    """An identifier that means exactly ``name``."""
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Names compare without regard to the case of ASCII letters, as in the engine."""
    return "".join(c.lower() if c.isascii() else c for c in name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``columns`` are those that are stored or can be written: generated ones are left out.
    ``key`` is the primary key's columns, for a table WITHOUT ROWID the row's identity; for every
    other table that is ``rowid``, an alias of the row id that no column hides (``None`` when all
    are hidden); ``rowid_column`` is the INTEGER PRIMARY KEY that shows it, if there is one.
    ``fingerprint`` changes with the table's definition."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rowid: str | None
    rowid_column: str | None
    without_rowid: bool
    generated: tuple[str, ...]
    fingerprint: str
    types: tuple[str, ...] = ()  # as declared, column by column

    @property
    def capturable(self) -> bool:
        return self.without_rowid or self.rowid is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """``columns`` of ``table`` refer to ``to`` of ``parent``."""

    table: str
    columns: tuple[str, ...]
    parent: str
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the main database holds, by folded name. ``kinds``: ``table``, ``view``, ``virtual``
    or ``shadow`` of each table. ``replacing``: tables whose constraints say ON CONFLICT REPLACE.
    ``texts``: virtual tables of FTS5, which keep all they know in their shadow tables."""

    kinds: Mapping[str, str]
    triggers: frozenset[str]
    replacing: frozenset[str]
    modules: frozenset[str]
    texts: frozenset[str] = frozenset()

    def known(self, name: str) -> bool:
        """Whether the folded ``name`` stands for anything but what a statement names itself."""
        if name in self.kinds or name in self.modules:
            return True
        return name.startswith(("sqlite_", "pragma_"))


_LISTED = "SELECT name, type, sql FROM main.sqlite_schema WHERE type IN ('table', 'view')"
_VIRTUAL = "CREATE VIRTUAL TABLE "  # what the engine keeps begins with, however it was written
_TREE = frozenset({"node", "parent", "rowid"})
_WORDS = frozenset({"content", "docsize", "segdir", "segments", "stat"})
# How the names of tables end in which modules keep what they know.
_SHADOWS = {
    "FTS3": _WORDS,
    "FTS4": _WORDS,
    "FTS5": frozenset({"config", "content", "data", "docsize", "idx"}),
    "RTREE": _TREE,
    "RTREE_I32": _TREE,
    "GEOPOLY": _TREE,
}


def listed(db: apsw.Connection) -> dict[str, str]:
    """The kind of each table of the main database, as in ``Names``. ``pragma_table_list`` would
    say it too, but works out the columns of every view, and views of views can stand for more
    than could ever be worked out."""
    return _kinds(db.execute(f"{_LISTED} ORDER BY name").fetchall())


def _kinds(rows: Sequence[tuple[object, ...]]) -> dict[str, str]:
    virtual = {
        folded(str(name)): module(str(sql)) or ""
        for name, kind, sql in rows
        if kind == "table" and str(sql).upper().startswith(_VIRTUAL)
    }
    found: dict[str, str] = {}
    for name, kind, _ in rows:
        of, _, end = folded(str(name)).rpartition("_")
        if folded(str(name)) in virtual:
            kind = "virtual"
        elif of in virtual and end in _SHADOWS.get(virtual[of], {end}):
            kind = "shadow"
        found[str(name)] = str(kind)
    return found


def without_rowid(db: apsw.Connection, table: str) -> bool:
    """The engine shows the key of such a table as an index of the same name."""
    return (
        db.execute("SELECT 1 FROM pragma_index_info(?, 'main') LIMIT 1", (table,)).fetchone()
        is not None
    )


def names(db: apsw.Connection) -> Names:
    """Also opens every virtual table, so that no statement is seen to do what opening one does."""
    kinds = listed(db)
    for name in (n for n, kind in kinds.items() if kind == "virtual"):
        with contextlib.suppress(apsw.Error):  # who names it is told what is wrong with it
            db.execute("SELECT 1 FROM pragma_table_xinfo(?, 'main') LIMIT 1", (name,)).fetchall()
    schema = db.execute(
        "SELECT name, type, sql FROM sqlite_schema WHERE type IN ('trigger', 'table')"
    ).fetchall()
    modules = db.execute("SELECT name FROM pragma_module_list").fetchall()
    return Names(
        modules=frozenset(folded(str(name)) for (name,) in modules),
        kinds={"sqlite_schema": "table"} | {folded(n): kind for n, kind in kinds.items()},
        triggers=frozenset(folded(str(name)) for name, kind, _ in schema if kind == "trigger"),
        replacing=frozenset(
            folded(str(name))
            for name, kind, sql in schema
            if kind == "table" and replaces(str(sql))
        ),
        texts=frozenset(
            folded(str(name))
            for name, kind, sql in schema
            if kind == "table" and module(str(sql)) == "FTS5"
        ),
    )


def shape(db: apsw.Connection, table: str) -> Shape | None:
    """``None`` when there is no such ordinary table."""
    one_or_virtual = f"{_LISTED} AND (name = ? COLLATE NOCASE OR sql LIKE '{_VIRTUAL}%')"
    kinds = _kinds(db.execute(one_or_virtual, (table,)).fetchall())
    name = next((n for n in kinds if folded(n) == folded(table)), None)
    if name is None or kinds[name] != "table":
        return None
    bare = without_rowid(db, name)
    info = db.execute(
        'SELECT name, type, "notnull", pk, hidden '
        "FROM pragma_table_xinfo(?, 'main') ORDER BY cid",
        (name,),
    ).fetchall()
    sql = db.execute(
        "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?", (name,)
    ).fetchone()
    taken = {folded(str(row[0])) for row in info}
    keyed = sorted((int(row[3]), str(row[0])) for row in info if row[3])
    text = json.dumps([sql[0] if sql else None, info], ensure_ascii=True)
    return Shape(
        name=name,
        columns=tuple(str(row[0]) for row in info if row[4] == 0),
        key=tuple(column for _, column in keyed),
        rowid=None if bare else next((n for n in ROWID_NAMES if n not in taken), None),
        rowid_column=_rowid_column(db, name, bare, info),
        without_rowid=bare,
        generated=tuple(str(row[0]) for row in info if row[4] in (2, 3)),
        fingerprint=hashlib.sha256(text.encode("ascii")).hexdigest(),
        types=tuple(str(row[1]) for row in info if row[4] == 0),
    )


def _rowid_column(
    db: apsw.Connection, table: str, bare: bool, info: list[tuple[object, ...]]
) -> str | None:
    keyed = [row for row in info if row[3]]
    if bare or len(keyed) != 1 or str(keyed[0][1]).upper() != "INTEGER":
        return None
    # "INTEGER PRIMARY KEY DESC" is an ordinary column with an index of its own.
    indexed = db.execute(
        "SELECT 1 FROM pragma_index_list(?, 'main') WHERE origin = 'pk'", (table,)
    ).fetchone()
    return None if indexed else str(keyed[0][0])


def foreign_keys(
    db: apsw.Connection, concerning: Collection[str] | None = None
) -> list[ForeignKey]:
    """Every foreign key of the main database whose parent table exists; those from or to one of
    the folded names ``concerning``, where there are some."""
    plain = [name for name, kind in listed(db).items() if kind == "table"]
    rows = db.execute(
        'SELECT t.value, f.id, f.seq, f."table", f."from", f."to" FROM json_each(?) AS t '
        "JOIN pragma_foreign_key_list(t.value, 'main') AS f ORDER BY t.value, f.id, f.seq",
        (json.dumps(plain),),
    ).fetchall()
    grouped: dict[tuple[str, int], list[tuple[str, str, str | None]]] = {}
    for table, number, _, parent, column, to in rows:
        grouped.setdefault((str(table), int(str(number))), []).append(
            (str(parent), str(column), None if to is None else str(to))
        )
    keys: list[ForeignKey] = []
    for (table, _), parts in grouped.items():
        ends = {folded(table), folded(parts[0][0])}
        if concerning is not None and ends.isdisjoint(concerning):
            continue
        there = shape(db, parts[0][0])
        if there is None:
            continue
        to = tuple(p[2] for p in parts if p[2] is not None) or there.key
        if len(to) == len(parts):
            columns = tuple(p[1] for p in parts)
            keys.append(ForeignKey(table=table, columns=columns, parent=there.name, to=to))
    return keys


def unique_keys(db: apsw.Connection, table: str) -> list[tuple[str, ...]]:
    """The column sets of the table's plain unique indexes (no expressions, no partial ones)."""
    names = db.execute(
        "SELECT name FROM pragma_index_list(?, 'main') WHERE \"unique\" AND NOT partial", (table,)
    ).fetchall()
    found: list[tuple[str, ...]] = []
    for (name,) in names:
        columns = db.execute(
            "SELECT name FROM pragma_index_info(?, 'main') ORDER BY seqno", (name,)
        ).fetchall()
        if all(column is not None for (column,) in columns):
            found.append(tuple(str(column) for (column,) in columns))
    return found
