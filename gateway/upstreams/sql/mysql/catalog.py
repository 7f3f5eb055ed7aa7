"""What the server knows of tables: columns, keys, foreign keys, triggers, views, routines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pymysql

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql.failures import code_of
from gateway.upstreams.sql.mysql.literals import quoted, text_literal
from gateway.upstreams.sql.mysql.session import Session
from gateway.upstreams.sql.mysql.varieties import MYSQL

Name = tuple[str, str]  # schema, table

OWN_SCHEMA = "holdfast"  # receipts, and tables that were set aside

FLOATS = frozenset({"float", "double"})  # types whose values no text finds again
_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
# MariaDB keeps referential actions under these names; the other two stop a change instead.
ACTING = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    type: str  # int, varchar, ...
    charset: str | None
    generated: bool
    counter: bool  # AUTO_INCREMENT


@dataclass(frozen=True, kw_only=True)
class Table:
    """``key``: the columns of the primary key, as many as there are. ``fingerprint``: of the whole
    definition, without the counter. What is asked for every row is worked out once."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    fingerprint: str

    @property
    def at(self) -> Name:
        return self.schema, self.name

    @property
    def quoted(self) -> str:
        return quoted(self.schema, self.name)

    @property
    def resource(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def counter(self) -> str | None:
        return next((c.name for c in self.columns if c.counter), None)

    @cached_property
    def stored(self) -> tuple[Column, ...]:
        """The columns that hold something of their own."""
        return tuple(c for c in self.columns if not c.generated)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where the key's columns stand among those."""
        names = [c.name for c in self.stored]
        return tuple(names.index(k) for k in self.key)

    @cached_property
    def keyed(self) -> bool:
        """Whether rows can be found again by their primary key."""
        types = {c.name: c for c in self.columns}
        return bool(self.key) and all(
            not types[k].generated and types[k].type not in FLOATS for k in self.key
        )


@dataclass(frozen=True, slots=True)
class Relation:
    """What a name stands for. ``kind``: BASE TABLE, VIEW, SEQUENCE, SYSTEM VERSIONED,
    SYSTEM VIEW, TEMPORARY."""

    at: Name
    kind: str
    engine: str | None
    partitioned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    name: str
    child: Name
    columns: tuple[str, ...]
    parent: Name
    references: tuple[str, ...]
    on_delete: str
    on_update: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """``modes``: the ``sql_mode`` that its body is read under, whatever that of the session."""

    table: Name
    name: str
    event: str  # INSERT UPDATE DELETE
    body: str
    modes: frozenset[str] = frozenset()


def _one(value: str) -> str:
    return text_literal(value.encode())


def _among(session: Session, schema_column: str, table_column: str, names: Iterable[Name]) -> str:
    """The server compares names of its catalog without regard to case and accents, also where
    tables differ in nothing else; of two such in one list it looks for one only."""
    by_schema: dict[str, set[str]] = {}
    for schema, name in names:
        by_schema.setdefault(schema, set()).add(name)
    parts = []
    for schema, known in by_schema.items():
        of, listed = f"{schema_column} = {_one(schema)}", ", ".join(map(_one, sorted(known)))
        loosely = f"{table_column} IN ({listed})"
        inner = schema.lower() == "information_schema"  # in any letters
        if inner and session.variety is MYSQL:
            listed = ", ".join(map(_one, sorted(name.upper() for name in known)))
            parts.append(
                f"(LOWER({schema_column}) = {_one(schema.lower())} AND "
                f"UPPER({table_column}) IN ({listed}))"
            )
            continue
        if inner or session.names_fold:
            parts.append(f"({of} AND {loosely})")
            continue
        exactly = f"BINARY {schema_column} = {_one(schema)} AND BINARY {table_column} IN ({listed})"
        plain = all(map(str.isascii, known)) and len({n.lower() for n in known}) == len(known)
        alike = len(known) > 1 and not plain
        parts.append(f"({of} AND {exactly})" if alike else f"({of} AND {loosely} AND {exactly})")
    return "(" + " OR ".join(parts or ["FALSE"]) + ")"


def relations(session: Session, names: Iterable[Name]) -> dict[Name, Relation]:
    """What exists of ``names``, by the name as it was asked for."""
    wanted = sorted(set(names))
    if not wanted:
        return {}
    rows = session.texts(
        "SELECT table_schema, table_name, table_type, engine, create_options "
        "FROM information_schema.tables WHERE "
        + _among(session, "table_schema", "table_name", wanted)
    )
    found = {
        (str(s), str(n)): Relation((str(s), str(n)), str(t), e, "partitioned" in (o or ""))
        for s, n, t, e, o in rows
    }
    folded = {(s.lower(), n.lower()): relation for (s, n), relation in found.items()}
    told: dict[Name, Relation] = {}
    for name in wanted:
        relation = found.get(name)
        if relation is None and (session.names_fold or name[0].lower() == "information_schema"):
            relation = folded.get((name[0].lower(), name[1].lower()))
        if relation is not None:
            told[name] = relation
    return told


def names_in(session: Session, schema: str) -> frozenset[str]:
    """Every table and view of a schema."""
    rows = session.texts(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = {_one(schema)}"
    )
    return frozenset(str(row[0]) for row in rows)


def view_definitions(session: Session, names: Iterable[Name]) -> dict[Name, str]:
    """The canonical text of views; empty where the account may not see it."""
    rows = session.texts(
        "SELECT table_schema, table_name, view_definition FROM information_schema.views WHERE "
        + _among(session, "table_schema", "table_name", names)
    )
    return {(str(s), str(n)): text or "" for s, n, text in rows}


def routines(session: Session) -> frozenset[str]:
    """Names of all stored routines, in lower case."""
    rows = session.texts("SELECT DISTINCT routine_name FROM information_schema.routines")
    return frozenset(str(row[0]).lower() for row in rows)


def triggers(session: Session, names: Iterable[Name]) -> list[Trigger]:
    rows = session.texts(
        "SELECT event_object_schema, event_object_table, trigger_name, event_manipulation, "
        "action_statement, sql_mode FROM information_schema.triggers WHERE "
        + _among(session, "event_object_schema", "event_object_table", names)
    )
    return [
        Trigger(
            table=(str(s), str(t)),
            name=str(n),
            event=str(e),
            body=str(b),
            modes=frozenset((m or "").split(",")),
        )
        for s, t, n, e, b, m in rows
    ]


def foreign_keys(session: Session, names: Iterable[Name]) -> list[ForeignKey]:
    """Those that leave or reach one of ``names``. A session that may not ask InnoDB itself has to
    look at every table of the server that it is shown. Raises ``UpstreamError`` for a table that
    InnoDB knows of and that is not shown."""
    wanted = list(names)
    related = _related(session, wanted)
    if related is None:
        leaving = _among(session, "k.table_schema", "k.table_name", wanted)
        reaching = _among(session, "k.referenced_table_schema", "k.referenced_table_name", wanted)
        return _keys_where(session, f"({leaving} OR {reaching})")
    found: list[ForeignKey] = []
    for child, reaches in related:
        # One table at a time: the server finds the files of one by its name.
        here = _among(session, "k.table_schema", "k.table_name", [child])
        also = _among(session, "r.constraint_schema", "r.table_name", [child])
        keys = _keys_where(session, f"{here} AND {also}")
        if reaches and not any(_one_of(session, key.parent, wanted) for key in keys):
            raise UpstreamError(
                f"{'.'.join(child)} has foreign keys to what changes and is not shown to this "
                "account.",
                reason="undo.unavailable",
            )
        found += [k for k in keys if _one_of(session, k.child, wanted) or
                  _one_of(session, k.parent, wanted)]  # fmt: skip
    return found


def _one_of(session: Session, name: Name, names: Sequence[Name]) -> bool:
    if session.names_fold:
        return [part.lower() for part in name] in [[p.lower() for p in one] for one in names]
    return name in names


def _keys_where(session: Session, condition: str) -> list[ForeignKey]:
    """``condition``: over ``k`` (key_column_usage) and ``r`` (referential_constraints)."""
    rows = session.texts(
        "SELECT k.constraint_name, k.table_schema, k.table_name, k.column_name, "
        "k.referenced_table_schema, k.referenced_table_name, k.referenced_column_name, "
        "r.delete_rule, r.update_rule FROM information_schema.key_column_usage k "
        "JOIN information_schema.referential_constraints r "
        "ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name "
        "AND r.table_name = k.table_name "
        f"WHERE k.referenced_table_name IS NOT NULL AND {condition} "
        "ORDER BY k.table_schema, k.table_name, k.constraint_name, k.ordinal_position"
    )
    grouped: dict[tuple[str | None, ...], list[tuple[str, str]]] = {}
    for name, schema, table, column, to_schema, to_table, to_column, delete, update in rows:
        group = (name, schema, table, to_schema, to_table, delete, update)
        grouped.setdefault(group, []).append((str(column), str(to_column)))
    return [
        ForeignKey(
            name=str(name),
            child=(str(schema), str(table)),
            columns=tuple(c for c, _ in pairs),
            parent=(str(to_schema), str(to_table)),
            references=tuple(r for _, r in pairs),
            on_delete=str(delete),
            on_update=str(update),
        )
        for (name, schema, table, to_schema, to_table, delete, update), pairs in grouped.items()
    ]


_PLAIN = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_]+")
_DENIED = frozenset({1227, 1142, 1044})


def _related(session: Session, names: Sequence[Name]) -> list[tuple[Name, bool]] | None:
    """The tables with foreign keys that leave or reach ``names``, and whether one of theirs reaches
    them; ``None`` where InnoDB cannot be asked: without the right, or for names that it writes in
    another way."""
    spelled = [f"{schema}/{name}" for schema, name in names]
    if not spelled:
        return []
    if not all(map(_PLAIN.fullmatch, spelled)):
        return None
    listed = ", ".join(map(_one, spelled))
    try:
        rows = session.texts(
            f"SELECT for_name, MAX(ref_name IN ({listed})) FROM {session.variety.keys} WHERE "
            f"ref_name IN ({listed}) OR for_name IN ({listed}) GROUP BY for_name"
        )
    except pymysql.Error as error:
        if code_of(error) in _DENIED:
            return None
        raise
    found = sorted((str(child), reaches == "1") for child, reaches in rows)
    if not all(_PLAIN.fullmatch(child) for child, _ in found):
        return None
    return [((c.partition("/")[0], c.partition("/")[2]), reaches) for c, reaches in found]


def unique_keys(session: Session, name: Name) -> list[tuple[str, ...]]:
    """Columns of each unique index, the primary key included."""
    return indexes(session, name, "non_unique = 0")


def indexes(session: Session, name: Name, which: str = "TRUE") -> list[tuple[str, ...]]:
    """Columns of each index, the primary key included."""
    of = _among(session, "table_schema", "table_name", [name])
    rows = session.texts(
        f"SELECT index_name, column_name FROM information_schema.statistics WHERE {which} "
        f"AND {of} ORDER BY index_name, seq_in_index"
    )
    grouped: dict[str, list[str]] = {}
    for index, column in rows:
        grouped.setdefault(str(index), []).append(str(column))
    return [tuple(columns) for columns in grouped.values()]


def tables(
    session: Session, names: Sequence[Name], known: dict[Name, Relation] | None = None
) -> dict[Name, Table]:
    """Definitions of base tables, by name; what is none is left out. ``known``: what ``relations``
    just said of ``names``."""
    found = relations(session, names) if known is None else known
    base = sorted({r.at for r in found.values() if r.kind == "BASE TABLE"})
    if not base:
        return {}
    columns = _columns(session, base)
    keys = _keys(session, base)
    made = {
        at: Table(
            schema=at[0],
            name=at[1],
            columns=columns[at],
            key=keys.get(at, ()),
            fingerprint=fingerprint(session, at),
        )
        for at in base
    }
    return {name: made[r.at] for name, r in found.items() if r.at in made}


def definition(session: Session, name: Name) -> str:
    """``SHOW CREATE TABLE`` without the counter."""
    row = session.texts(f"SHOW CREATE TABLE {quoted(*name)}")[0]
    return _COUNTER.sub("", str(row[1]))


def counter(session: Session, name: Name) -> int | None:
    """The next AUTO_INCREMENT of a table that has one."""
    found = session.texts(
        "SELECT auto_increment FROM information_schema.tables WHERE "
        + _among(session, "table_schema", "table_name", [name])
    )
    return int(found[0][0]) if found and found[0][0] is not None else None


def fingerprint(session: Session, name: Name) -> str:
    return hashlib.sha256(definition(session, name).encode()).hexdigest()


def _columns(session: Session, names: Sequence[Name]) -> dict[Name, tuple[Column, ...]]:
    rows = session.texts(
        "SELECT table_schema, table_name, column_name, data_type, character_set_name, "
        f"{session.variety.generated}, extra FROM information_schema.columns WHERE "
        + _among(session, "table_schema", "table_name", names)
        + " ORDER BY table_schema, table_name, ordinal_position"
    )
    found: dict[Name, list[Column]] = {name: [] for name in names}
    for schema, table, name, type_, charset, generated, extra in rows:
        column = Column(
            name=str(name),
            type=str(type_),
            charset=charset,
            generated=generated == "1",
            counter="auto_increment" in (extra or ""),
        )
        found[str(schema), str(table)].append(column)
    return {name: tuple(columns) for name, columns in found.items()}


def _keys(session: Session, names: Sequence[Name]) -> dict[Name, tuple[str, ...]]:
    rows = session.texts(
        "SELECT table_schema, table_name, column_name FROM information_schema.statistics "
        f"WHERE index_name = 'PRIMARY' AND {_among(session, 'table_schema', 'table_name', names)} "
        "ORDER BY table_schema, table_name, seq_in_index"
    )
    found: dict[Name, tuple[str, ...]] = {}
    for schema, table, column in rows:
        at = (str(schema), str(table))
        found[at] = (*found.get(at, ()), str(column))
    return found
