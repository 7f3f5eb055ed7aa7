"""From the engine's acts to the effects that policy sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import apsw

from gateway.model import ActionClass, Effect
from gateway.upstreams.sql.sqlite.bounds import bounded
from gateway.upstreams.sql.sqlite.catalog import Names, folded
from gateway.upstreams.sql.sqlite.facts import Act, Bindings, Judged, Sole
from gateway.upstreams.sql.sqlite.functions import PRAGMAS, TABLE_FUNCTIONS
from gateway.upstreams.sql.sqlite.tokens import replaces, tokens

if TYPE_CHECKING:
    from gateway.upstreams.sql.sqlite.judge import Prepared

_DML = {
    apsw.SQLITE_INSERT: "insert",
    apsw.SQLITE_UPDATE: "update",
    apsw.SQLITE_DELETE: "delete",
}
# op -> (verb, kind, whether the second name is the table it belongs to)
_DDL = {
    apsw.SQLITE_CREATE_TABLE: ("create", "table", False),
    apsw.SQLITE_CREATE_INDEX: ("create", "index", True),
    apsw.SQLITE_CREATE_VIEW: ("create", "view", False),
    apsw.SQLITE_CREATE_TRIGGER: ("create", "trigger", True),
    apsw.SQLITE_DROP_TABLE: ("drop", "table", False),
    apsw.SQLITE_DROP_INDEX: ("drop", "index", True),
    apsw.SQLITE_DROP_VIEW: ("drop", "view", False),
    apsw.SQLITE_DROP_TRIGGER: ("drop", "trigger", True),
    apsw.SQLITE_REINDEX: ("alter", "index", False),
    apsw.SQLITE_ANALYZE: ("alter", "table", False),
}
_SYSTEM = frozenset({"sqlite_master", "sqlite_schema", "dbstat"})
_TEMPORARY = frozenset({"sqlite_temp_master", "sqlite_temp_schema"})


def readable(act: Act, schema: Names) -> bool:
    """Whether a read can be shown to policy by a name that policy can judge."""
    name = folded(act.first or "")
    if act.database == "temp":
        return name in _TEMPORARY
    if act.database not in ("main", None):
        return False
    if name in schema.kinds or name in _SYSTEM or name in TABLE_FUNCTIONS:
        return True
    return _pragma(name) is not None or unnamed(act, schema)


def made(acts: Iterable[Act]) -> frozenset[str]:
    """The very tables that the statement makes, folded; that it looks at them tells nothing."""
    return frozenset(folded(a.first or "") for a in acts if a.op == apsw.SQLITE_CREATE_TABLE)


def unnamed(act: Act, schema: Names) -> bool:
    """Whether the act only counts the rows of a common table expression or a subquery, whose own
    reads are acts of their own."""
    name = folded(act.first or "")
    return act.database is None and act.second == "" and not schema.known(name)


def _pragma(name: str) -> str | None:
    shown = name.removeprefix("pragma_")
    return shown if shown != name and shown in PRAGMAS else None


def judged(
    one: Prepared,
    kind: str,
    schema: Names,
    bindings: Bindings,
    enforced: frozenset[Act],
) -> Judged:
    """``enforced``: acts done only to keep foreign keys true. Their reads give the agent nothing
    and are left out; their writes are cascades and stay."""
    verb, cls, limited = _verb(one, kind, schema)
    found = list(_schema_effects(one.acts)) if kind == "schema" else []
    found.extend(_changes(one, kind, schema, limited))
    found.extend(_reads(one, kind, schema, enforced))
    if kind == "change" and verb == "delete" and one.word != "DELETE":
        target = next(e for e in found if e.verb in ("insert", "update"))
        found.append(
            Effect(
                verb="delete",
                kind=target.kind,
                name=target.name,
                columns=("*",),
                bounded=limited,
            )
        )
    return Judged(
        sql=one.sql,
        verb=verb,
        cls=cls,
        effects=tuple(dict.fromkeys(found)),
        functions=tuple(sorted(_functions(one))),
        bounded=limited,
        acts=frozenset(one.acts),
        modules=_modules(one.acts, schema),
        whole=any(a.op in _DML and folded(a.first or "") in schema.texts for a in one.acts),
        bindings=bindings,
        sole=_sole(one, verb, schema, limited) if kind == "change" else None,
    )


def _sole(one: Prepared, verb: str, schema: Names, limited: bool) -> Sole | None:
    """``None`` where a trigger, a foreign key or a conflict may change anything else too."""
    changes = {
        (_DML[a.op], a.first)
        for a in one.acts
        if a.op in _DML and a.first and not folded(a.first).startswith("sqlite_")
    }
    if len(changes) != 1:
        return None
    ((done, table),) = changes
    if done != verb or schema.kinds.get(folded(table)) != "table":
        return None
    return Sole(table=table, verb=verb, every=verb != "insert" and not limited)


def _verb(one: Prepared, kind: str, schema: Names) -> tuple[str, ActionClass, bool]:
    """Name, class and boundedness of the whole statement."""
    if kind in ("read", "explain", "pragma"):
        return {"read": "select"}.get(kind, kind), ActionClass.READ, True
    if kind == "schema":
        return one.word.lower(), ActionClass.DDL, True
    if one.word == "DELETE":
        return "delete", ActionClass.DESTRUCTIVE, _bounded(one)
    if replaces(one.sql) or _conflicts(one, schema):
        # Rows that stand in the way are removed: as far-reaching as a DELETE.
        return "delete", ActionClass.DESTRUCTIVE, one.word != "UPDATE" or _bounded(one)
    if any(_commands(act, schema) for act in one.acts):
        return "delete", ActionClass.DESTRUCTIVE, False
    if one.word == "UPDATE":
        limited = _bounded(one)
        return "update", ActionClass.WRITE if limited else ActionClass.DESTRUCTIVE, limited
    return "insert", ActionClass.WRITE, True


def _commands(act: Act, schema: Names) -> bool:
    """An INSERT into a full-text table may be a command in disguise, such as one to empty it."""
    return (
        act.op == apsw.SQLITE_INSERT and act.via is None and folded(act.first or "") in schema.texts
    )


def _bounded(one: Prepared) -> bool:
    read = {folded(a.second) for a in one.acts if a.op == apsw.SQLITE_READ and a.second}
    return bounded(one.sql, frozenset(read))


def _conflicts(one: Prepared, schema: Names) -> bool:
    return any(a.op in _DML and folded(a.first or "") in schema.replacing for a in one.acts)


def _by_trigger(act: Act, one: Prepared, schema: Names) -> bool:
    """Whether a read is a trigger's own look at rows, of which nothing reaches the agent. A
    common table expression can bear a trigger's name, so with one every read counts."""
    if act.via is None or "WITH" in tokens(one.sql):
        return False
    name = folded(act.via)
    return name in schema.triggers and name not in schema.kinds


def _schema_effects(acts: Iterable[Act]) -> Iterable[Effect]:
    for act in acts:
        if act.op == apsw.SQLITE_PRAGMA:
            name = f"main.pragma_{folded(act.first or '')}"
            yield Effect(verb="alter", kind="pragma", name=name, columns=("*",))
        elif act.op == apsw.SQLITE_ALTER_TABLE:
            yield Effect(verb="alter", kind="table", name=f"main.{act.second}", columns=("*",))
        elif act.op in _DDL:
            verb, kind, belongs = _DDL[act.op]
            yield Effect(verb=verb, kind=kind, name=f"main.{act.first}", columns=("*",))
            if belongs:
                yield Effect(verb="alter", kind="table", name=f"main.{act.second}", columns=("*",))


def _changes(one: Prepared, kind: str, schema: Names, limited: bool) -> Iterable[Effect]:
    if kind not in ("change", "schema"):
        return
    columns: dict[tuple[str, str], set[str]] = {}
    for act in one.acts:
        if act.op not in _DML or act.first is None or folded(act.first).startswith("sqlite_"):
            continue
        whole = act.op != apsw.SQLITE_UPDATE or act.second is None
        columns.setdefault((_DML[act.op], act.first), set()).add("*" if whole else str(act.second))
    for (verb, table), names in columns.items():
        yield Effect(
            verb=verb,
            kind="view" if schema.kinds.get(folded(table)) == "view" else "table",
            name=f"main.{table}",
            columns=tuple(sorted(names)),
            bounded=limited,
        )


def _reads(one: Prepared, kind: str, schema: Names, enforced: frozenset[Act]) -> Iterable[Effect]:
    columns: dict[tuple[str, str], set[str]] = {}
    aside = _SYSTEM | _TEMPORARY | made(one.acts) if kind == "schema" else frozenset()
    for act in one.acts:
        if act.op == apsw.SQLITE_PRAGMA:
            columns.setdefault(("pragma", f"main.pragma_{folded(act.first or '')}"), set()).add("*")
        if act.op != apsw.SQLITE_READ or act.first is None or act in enforced:
            continue
        if folded(act.first) in aside:
            continue
        if unnamed(act, schema) or (kind == "change" and _by_trigger(act, one, schema)):
            continue
        name = folded(act.first)
        what = "pragma" if _pragma(name) else "function" if name in TABLE_FUNCTIONS else None
        what = what or ("view" if schema.kinds.get(name) == "view" else "table")
        found = columns.setdefault((what, f"{act.database or 'main'}.{act.first}"), set())
        if act.second:
            found.add(act.second)
    for (what, table), names in columns.items():
        yield Effect(verb="select", kind=what, name=table, columns=tuple(sorted(names)))


def _functions(one: Prepared) -> set[str]:
    if one.word == "ALTER":
        return set()
    return {(a.second or "").lower() for a in one.acts if a.op == apsw.SQLITE_FUNCTION}


def _modules(acts: Iterable[Act], schema: Names) -> frozenset[str]:
    used = (apsw.SQLITE_READ, *_DML)
    read = {folded(a.first) for a in acts if a.op in used and a.first}
    shown = {name for name in read if _pragma(name)}
    own = {name for name in read if schema.kinds.get(name) == "virtual"}
    if shown or any(a.op == apsw.SQLITE_PRAGMA for a in acts):
        # To show a virtual table's columns is to open it.
        own = {name for name, kind in schema.kinds.items() if kind == "virtual"}
    shadows = {
        name
        for name, kind in schema.kinds.items()
        if kind == "shadow" and any(name.startswith(f"{module}_") for module in own)
    }
    return frozenset(own | shadows | shown)
