"""The judgement of a text: first by itself, then by the server on the connection where it runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.model import EXECUTE, ActionClass, Deny, Effect, Json, Statement
from gateway.upstreams.sql.display import shown_aside
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.postgres import executing, loading, lookup
from gateway.upstreams.sql.postgres.functions import FIRST_USER_OID
from gateway.upstreams.sql.postgres.grammar import read
from gateway.upstreams.sql.postgres.lookup import Connection
from gateway.upstreams.sql.postgres.nearby import Near
from gateway.upstreams.sql.postgres.outlying import outlying
from gateway.upstreams.sql.postgres.resolve import Resolved, Resolver
from gateway.upstreams.sql.postgres.setting import SETVAL
from gateway.upstreams.sql.postgres.written import Grammar, Named, Written
from gateway.upstreams.sql.worker import SMALL_TEXT, ParseWorker

# What each process of the ``ParseWorker`` should have loaded.
PRELOAD = (
    "gateway.upstreams.sql.display",
    "gateway.upstreams.sql.postgres.grammar",
    "gateway.upstreams.sql.postgres.resolve",
)

# The less consequential first.
_RANKS = """
    savepoint prepare close fetch show explain select insert update merge delete truncate execute
    create alter drop grant revoke
    """.split()  # noqa: SIM905 - a list of words
_EFFECTLESS = frozenset({"show", "savepoint", "prepare", "fetch", "close"})
_KINDS = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized view",
    "i": "index",
    "I": "index",
    "S": "sequence",
    "f": "foreign table",
    "c": "type",
    "t": "table",
}
_OTHERS = frozenset({"function", "procedure", "routine", "aggregate", "type", "domain"})
_NO_RELATIONS = frozenset({"schema", "default privileges"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedStatement:
    """One statement, to be sent verbatim as its own extended-protocol message. ``param_types``:
    one for each ``$n`` from the call's parameters that goes with it, 0 where the server infers
    the type. ``statement_name``: of the prepared statement on the judging connection, when one
    was asked for and can be executed as such. ``near``: where its rows should be. ``change``: what
    the text says of a schema change or TRUNCATE, ``None`` for everything else. ``code``: whether
    functions that users wrote run with it. ``loads``: it reads rows that travel beside it."""

    verb: str
    sql: str
    param_types: tuple[int, ...]
    statement_name: str | None
    near: Near | None = None
    change: Written | None = None
    code: bool = False
    loads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What an ``Action`` is made of."""

    cls: ActionClass
    name: str
    effects: tuple[Effect, ...]
    statements: tuple[Statement, ...]
    runs: tuple[JudgedStatement, ...]
    warnings: tuple[str, ...] = ()


class Judge:
    """One per source. ``allowed_functions``: qualified names of functions (and types) of users
    that the operator vouches for. ``worker``: made with ``PRELOAD``; the owner closes it."""

    def __init__(
        self,
        *,
        limits: SqlLimits,
        worker: ParseWorker,
        allowed_functions: frozenset[str] = frozenset(),
    ) -> None:
        self._limits = limits
        self._worker = worker
        self._allowed = allowed_functions
        self._resolver = Resolver(allowed_functions, worker)

    async def text(self, sql: str, params: Json) -> Grammar | Deny:
        """What the text says by itself; no server is asked. ``params``: the call's, a list."""
        if not isinstance(params, list | tuple):
            return Deny(
                reason="malformed",
                detail="PostgreSQL's parameters are a list, for $1, $2, ...; names are not "
                "accepted.",
            )
        limits = self._limits
        if len(sql) <= SMALL_TEXT:
            grammar = read(sql, limits.max_sql_bytes)
        elif len(sql) > limits.max_sql_bytes:
            return Deny(
                reason="too_large", detail=f"The SQL is longer than {limits.max_sql_bytes} bytes."
            )
        else:
            answer = await self._worker.run(
                read, sql, limits.max_sql_bytes, timeout_s=limits.parse_timeout_s
            )
            grammar = answer
        if isinstance(grammar, Deny):
            return grammar
        if grammar.parameters != len(params):
            return Deny(
                reason="malformed",
                detail=f"The SQL takes {grammar.parameters} parameters; {len(params)} came.",
            )
        return grammar

    async def server(
        self,
        connection: Connection,
        grammar: Grammar,
        *,
        reader: Connection | None = None,
        name_prefix: str | None = None,
    ) -> Judged | Deny:
        """``connection`` has the agents' role and an open transaction that has changed nothing
        yet: that in which the text will run, or a READ ONLY one to be rolled back. A ``Deny`` may
        leave it aborted. ``reader``: a connection of the gateway's own to the same database, which
        sees the same catalogs and keeps its plans. With ``name_prefix`` the prepared statements
        stay behind, ``PREFIX0``, ``PREFIX1``, ..."""
        parts: list[_Part] = []
        made: set[str] = set()
        for number, written in enumerate(grammar.statements):
            name = "" if name_prefix is None else f"{name_prefix}{number}"
            part = await self._part(connection, reader, written, name, made)
            if isinstance(part, Deny):
                return part
            parts.append(part)
            made |= {n.name for n in written.named if n.fresh and n.schema is None}
        warnings = await self._second_opinion(grammar, parts)
        effects = tuple(dict.fromkeys(e for part in parts for e in part.effects))
        if len(parts) > 1 and any(e.verb == EXECUTE for e in effects):
            return Deny(
                reason="sql.unsupported",
                detail="What code does is known only once it has run, so nothing can stand beside "
                "it: send it in a call of its own.",
            )
        code = next((w.code for w in grammar.statements if w.code is not None), None)
        beyond = await outlying(reader or connection, effects, self._allowed, code=code)
        if isinstance(beyond, Deny):
            return beyond
        far = await executing.far(connection) if beyond.dynamic else None
        if far is not None:
            return far
        return Judged(
            cls=max((part.cls for part in parts), key=list(ActionClass).index),
            name=_most_consequential(v for part in parts for v in part.verbs),
            effects=effects,
            statements=tuple(part.statement for part in parts),
            runs=tuple(replace(part.run, code=beyond.code) for part in parts),
            warnings=(*warnings, *beyond.warnings),
        )

    async def _part(
        self,
        connection: Connection,
        reader: Connection | None,
        written: Written,
        name: str,
        made: set[str],
    ) -> _Part | Deny:
        resolved: Resolved | None = None
        own: tuple[Effect, ...] = ()
        if written.loads is not None:
            filled = await loading.filled(connection, written)
            if isinstance(filled, Deny):
                return filled
            written, own = filled[0], (filled[1],)
        if written.asks is not None:
            answer = await self._resolver.resolve(
                connection,
                written,
                reader=reader,
                name=name,
                timeout_s=self._limits.parse_timeout_s,
            )
            if isinstance(answer, Deny):
                return answer
            resolved = answer
            if written.loads is not None:
                altered = await loading.refilled(connection, written.loads, own[0])
                if altered is not None:
                    return altered
        else:
            refusal = await self._resolver.spelled(connection, written)
            refusal = refusal or await self._resolver.refused_functions(connection, written)
            if refusal is not None:
                return refusal
        if SETVAL in written.alters and await _shadowed(connection):
            return Deny(
                reason="action.unsupported",
                detail="There is a function of users that is called setval, too.",
                extra={"function": SETVAL},
            )
        named = await _named_effects(connection, written, made)
        if isinstance(named, Deny):
            return named
        run = await executing.effects_of(connection, written)
        if isinstance(run, Deny):
            return run
        run += tuple(map(executing.executed, resolved.executes if resolved else ()))
        return _part_of(written, resolved, (*own, *named, *run))

    async def _second_opinion(self, grammar: Grammar, parts: list[_Part]) -> tuple[str, ...]:
        if any(part.cls is not ActionClass.READ for part in parts):
            return ()
        shown = await shown_aside(
            self._worker, grammar.text, "postgres", timeout_s=self._limits.parse_timeout_s
        )
        writes = {v for s in shown.statements for v in s.verbs} - {"select"} if shown else set()
        if not writes:
            return ()
        return (f"A second parser sees {', '.join(sorted(writes))} in what was judged a read.",)


async def _shadowed(connection: Connection) -> bool:
    found = await lookup.functions_named(connection, [SETVAL, "pg_get_serial_sequence"])
    return any(oid >= FIRST_USER_OID for oid in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    cls: ActionClass
    verbs: tuple[str, ...]
    effects: tuple[Effect, ...]
    statement: Statement
    run: JudgedStatement


def _part_of(
    written: Written, resolved: Resolved | None, named: tuple[Effect, ...]
) -> _Part | Deny:
    effects = (*named, *(_query_effects(written, resolved) if resolved else ()))
    writes = written.changes or (resolved is not None and resolved.writes)
    locks = written.locks or (resolved is not None and resolved.locks)
    if locks and not (writes or written.explains or written.cursor):
        return Deny(
            reason="sql.unsupported",
            detail="FOR UPDATE and FOR SHARE lock rows for a transaction that ends with the call; "
            "leave them out.",
        )
    verbs: tuple[str, ...] = (written.verb,)
    if not (written.explains or written.schema_change):
        verbs += (*(c.verb for c in written.changes), *(e.verb for e in effects))
    # A WITH query's own verb says less than the writes in it.
    verb = _most_consequential(verbs) if written.verb == "select" else written.verb
    statement = Statement(
        verb=verb,
        tables=tuple(dict.fromkeys(e.name for e in effects)),
        functions=resolved.functions if resolved else tuple(sorted(written.functions)),
        bounded=all(e.bounded for e in effects) and all(c.bounded for c in written.changes),
    )
    run = JudgedStatement(
        verb=verb,
        sql=written.sql,
        param_types=written.param_types,
        statement_name=(resolved.statement_name or None)
        if resolved and written.asks == written.sql
        else None,
        near=written.near,
        change=written if written.schema_change or written.verb == "truncate" else None,
        loads=written.loads is not None,
    )
    return _Part(
        cls=_class(written, effects), verbs=verbs, effects=effects, statement=statement, run=run
    )


def _class(written: Written, effects: tuple[Effect, ...]) -> ActionClass:
    if written.verb in ("grant", "revoke"):
        return ActionClass.ADMIN
    if written.schema_change:
        return ActionClass.DDL
    if written.explains or written.verb in _EFFECTLESS:
        return ActionClass.READ
    unbounded = {e.verb for e in effects if not e.bounded}
    unbounded |= {c.verb for c in written.changes if not c.bounded}
    verbs = {e.verb for e in effects} | {c.verb for c in written.changes}
    if verbs & {"delete", "truncate", EXECUTE} or unbounded & {"update", "merge"}:
        return ActionClass.DESTRUCTIVE
    if verbs - {"select"} or written.verb != "select":
        return ActionClass.WRITE
    return ActionClass.READ


def _query_effects(written: Written, resolved: Resolved) -> Iterable[Effect]:
    """Reads last. EXPLAIN shows sizes of what it would write, which is a kind of reading."""
    spoken = {c.verb: True for c in written.changes}
    for change in written.changes:
        spoken[change.verb] = spoken[change.verb] and change.bounded
    merged = spoken.get("merge")
    for write in resolved.writes:
        # A write that the text does not spell (a rule's) is bounded by nothing that we know.
        bounded = spoken.get(write.verb, merged if merged is not None else False)
        yield Effect(
            verb="select" if written.explains else write.verb,
            kind=_kind(resolved.kinds, write.table),
            name=write.table,
            columns=write.columns,
            bounded=bounded or write.verb == "insert" or written.explains,
        )
    for table, columns in resolved.reads.items():
        yield Effect(verb="select", kind=_kind(resolved.kinds, table), name=table, columns=columns)


def _kind(kinds: object, table: str) -> str:
    return _KINDS.get(kinds[table], "table") if isinstance(kinds, dict) else "table"


async def _named_effects(
    connection: Connection, written: Written, made: set[str]
) -> tuple[Effect, ...] | Deny:
    """What a schema statement (or TRUNCATE) names, by the names that it has at the server."""
    others = [n for n in written.named if n.kind in _OTHERS and n.name != "*"]
    relations = [n for n in written.named if n.kind not in _OTHERS | _NO_RELATIONS]
    found: dict[Named, tuple[str, str | None]] = dict(
        zip(relations, await lookup.relations_named(connection, relations), strict=True)
    )
    for named, name in zip(others, await lookup.others_named(connection, others), strict=True):
        found[named] = (name, None)
    effects: list[Effect] = []
    for named in written.named:
        name, relkind = found.get(named, (named.name or "*", None))
        if named.name == "*":
            name = f"{named.schema}.*"
        unnamed = named.fresh and (relkind is not None or named.kind in _OTHERS)
        if (named.name in made and named.schema is None) or unnamed:
            name = await _where_made(connection, named)
        if relkind == "f":
            return Deny(reason="action.unsupported", detail=f"{name} lives on another server.")
        effects.append(
            Effect(
                verb=named.verb,
                kind=named.kind,
                name=name,
                columns=named.columns,
                bounded=named.bounded,
            )
        )
    if written.cascades:
        effects += await _cascade(connection, written, effects)
    return tuple(dict.fromkeys(effects))


async def _where_made(connection: Connection, named: Named) -> str:
    """Where a relation that is made without a schema lands, whatever has the name elsewhere."""
    if named.schema is not None:
        return f"{named.schema}.{named.name}"
    cursor = await connection.execute("SELECT pg_catalog.current_schema()::text")
    row = await cursor.fetchone()
    return f"{row[0] if row else ''}.{named.name}"


async def _cascade(connection: Connection, written: Written, effects: list[Effect]) -> list[Effect]:
    if written.verb != "truncate":
        # What else goes is for the server to say when it runs; every freeze of a table counts.
        return [Effect(verb=written.verb, kind="table", name="*", columns=("*",), bounded=False)]
    quoted = [".".join(_quoted(part) for part in e.name.split(".", 1)) for e in effects]
    return [
        Effect(verb="truncate", kind="table", name=name, bounded=False)
        for name in await lookup.truncated_too(connection, quoted)
    ]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _most_consequential(verbs: Iterable[str]) -> str:
    return max(verbs, key=_RANKS.index)
