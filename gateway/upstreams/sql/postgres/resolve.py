"""What a statement would touch, told by the server on the connection and in the transaction in
which it will run: tables, columns, functions, types, with views and rules expanded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from gateway.model import Deny
from gateway.upstreams.sql.postgres import lookup
from gateway.upstreams.sql.postgres.asking import printed
from gateway.upstreams.sql.postgres.executing import LANGUAGES
from gateway.upstreams.sql.postgres.functions import FIRST_USER_OID, harmless
from gateway.upstreams.sql.postgres.implicit import HiddenCode
from gateway.upstreams.sql.postgres.lookup import Connection, Found, Function, Relation
from gateway.upstreams.sql.postgres.nodetree import (
    DELETE,
    INSERT,
    MERGE,
    UPDATE,
    TreeFacts,
    UnknownTree,
    read_tree,
)
from gateway.upstreams.sql.postgres.written import Written
from gateway.upstreams.sql.worker import ParseWorker

_VERBS = {UPDATE: "update", INSERT: "insert", DELETE: "delete", MERGE: "merge"}
_ACL_SELECT = 1 << 1
_OWN_SCHEMAS = frozenset({"pg_catalog", "information_schema"})
_LARGE_TREE = 40_000  # characters; smaller ones are read in a few milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """``verb``: insert, update or delete; a MERGE gives one for each of its actions."""

    verb: str
    table: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """``reads``: columns by ``schema.table``, all columns where the whole row is read.
    ``executes``: functions of users that would run. ``kinds``: ``pg_class.relkind`` by name.
    ``statement_name``: of the prepared statement that was judged and can be executed as such (not
    for EXPLAIN and schema statements, whose inner query it is)."""

    reads: Mapping[str, tuple[str, ...]]
    writes: tuple[Write, ...]
    functions: tuple[str, ...]
    kinds: Mapping[str, str]
    locks: bool
    statement_name: str
    executes: tuple[str, ...] = ()


class Resolver:
    """One per source: keeps what it has learnt about the server's own functions.

    ``allowed_functions``: qualified names (``public.citextin``) of functions, and of types with
    input functions of their own, that the operator vouches for.
    """

    def __init__(self, allowed_functions: frozenset[str], worker: ParseWorker) -> None:
        self._allowed = allowed_functions
        self._worker = worker
        self._own: dict[int, Function] = {}
        self._hidden_code = HiddenCode()

    async def resolve(
        self,
        connection: Connection,
        written: Written,
        *,
        reader: Connection | None = None,
        name: str = "",
        timeout_s: float = 2.0,
    ) -> Resolved | Deny:
        """``connection`` is in a transaction, and ``written.asks`` is set. A ``Deny`` may leave
        the transaction aborted. ``reader``: another one to the same database, which says what
        objects are. ``name``: of the prepared statement that stays behind."""
        assert written.asks is not None
        refusal = await self.spelled(connection, written)
        if refusal is None and self._only_reads(written):
            # Before the server reads any literal as a column's type.
            refusal = await self._hidden(connection, written)
        if refusal is not None:
            return refusal
        tree = await printed(connection, written.asks, name=name, param_types=written.param_types)
        if isinstance(tree, Deny):
            return tree
        facts = await self._facts(tree, timeout_s)
        if isinstance(facts, Deny):
            return facts
        found = await self._look_up(reader or connection, facts)
        refusal = self._refusal(facts, found, written)
        if refusal is not None:
            return refusal
        resolved = _resolved(facts, found, self._names(facts.called, found), name)
        return replace(resolved, executes=self._executed(facts, found, written))

    def _only_reads(self, written: Written) -> bool:
        return written.explains or not (written.changes or written.named)

    async def _hidden(self, connection: Connection, written: Written) -> Deny | None:
        """Code that a read would run without naming it. What a write runs so is measured with
        it, and was decided by whoever made the table."""
        types = await lookup.types_named(connection, written.types | written.functions)
        code = await self._hidden_code.of(connection, written.relations, types)
        unknown = [function for function in code if function not in self._allowed]
        if not unknown:
            return None
        return Deny(
            reason="action.unsupported",
            detail=f"Reading this runs {unknown[0]}, which may have effects that cannot be judged.",
            extra={"function": unknown[0]},
        )

    async def spelled(self, connection: Connection, written: Written) -> Deny | None:
        """Types that the text spells, before the server reads any literal as one of them: reading
        alone runs the checks of what an array or a row is made of."""
        # A function call may be a cast in disguise.
        types = await lookup.types_named(connection, written.types | written.functions)
        if not types:
            return None
        found = await lookup.by_oid(connection, types=types)
        await self._learn(connection, found)
        return self._refused_type(set(types), set(), found)

    async def refused_functions(self, connection: Connection, written: Written) -> Deny | None:
        """For schema statements, which the server does not analyse ahead: every function of a name
        that the text spells has to be harmless."""
        oids = await lookup.functions_named(connection, written.functions)
        found = await lookup.by_oid(connection, functions=oids)
        for oid in oids:
            function = found.functions.get(oid)
            if function is None or not self._accepted(oid, function):
                return _unjudged_function(function)
        return None

    async def _facts(self, tree: str, timeout_s: float) -> TreeFacts | Deny:
        if len(tree) > _LARGE_TREE:
            return await self._worker.run(facts_of, tree, timeout_s=timeout_s)
        return facts_of(tree)

    async def _look_up(self, connection: Connection, facts: TreeFacts) -> Found:
        found = await lookup.by_oid(
            connection,
            functions=facts.functions - self._own.keys(),
            operators=_users(facts.operators),
            relations={use.relation for use in facts.uses},
            types=_users(facts.made | facts.passed),
            targets={c.relation for c in facts.commands},
        )
        for oid, function in found.functions.items():
            if oid < FIRST_USER_OID:
                self._own[oid] = function
        await self._learn(connection, found)
        return found

    async def _learn(self, connection: Connection, found: Found) -> None:
        """The server's own functions that the checks of types call."""
        called: set[int] = set()
        for expression in (check for type_ in found.types for check in type_.checks):
            facts = facts_of(expression)
            if not isinstance(facts, Deny):
                called |= {oid for oid in facts.functions if oid < FIRST_USER_OID}
        unknown = called - self._own.keys()
        if unknown:
            self._own |= (await lookup.by_oid(connection, functions=unknown)).functions

    # --- judging --------------------------------------------------------------------------

    def _refusal(self, facts: TreeFacts, found: Found, written: Written) -> Deny | None:
        return (
            self._refused_function(facts, found, written)
            or self._refused_operator(facts, found)
            or self._refused_type(_users(facts.made), _users(facts.passed), found)
            or _refused_relation(facts, found)
        )

    def _refused_function(self, facts: TreeFacts, found: Found, written: Written) -> Deny | None:
        defaults = _of_defaults(facts, found)
        if written.explains:
            # Planning folds them, so they run although nothing is inserted.
            if not all(map(self._known_harmless, defaults)):
                return _unjudged("Explaining this runs the defaults of its table.")
            defaults = set()
        for oid in facts.functions:
            function = self._own.get(oid) or found.functions.get(oid)
            if function is not None and self._accepted(oid, function):
                continue
            # A column's own default is the table's business, unless the agent calls it itself.
            if function is None:
                return _unjudged_function(function)
            own = oid in defaults and function.name not in written.functions
            if not own and not _may_run(oid, function, written):
                return _unjudged_function(function)
        if facts.draws and not facts.commands:
            return _unjudged("The statement draws from a sequence.")
        return None

    def _executed(self, facts: TreeFacts, found: Found, written: Written) -> tuple[str, ...]:
        """Functions that are run only as a person agrees; those of defaults belong to a table."""
        defaults = _of_defaults(facts, found)
        names = {
            function.qualified
            for oid, function in found.functions.items()
            if oid in facts.functions
            and not self._accepted(oid, function)
            and (oid not in defaults or function.name in written.functions)
        }
        return tuple(sorted(names))

    def _accepted(self, oid: int, function: Function) -> bool:
        if oid < FIRST_USER_OID and function.schema in _OWN_SCHEMAS:
            return harmless(function.name, function.volatile, function.arguments)
        return function.qualified in self._allowed

    def _refused_operator(self, facts: TreeFacts, found: Found) -> Deny | None:
        for oid in _users(facts.operators):
            if found.operators.get(oid) not in self._allowed:
                return _unjudged("The statement uses an operator that users defined.")
        if _users(facts.others):
            return _unjudged("The statement uses an operator class that users defined.")
        return None

    def _refused_type(self, made: set[int], passed: set[int], found: Found) -> Deny | None:
        known = {t.root for t in found.types}
        if not (made | passed) <= known:
            return _unjudged("The statement uses a type that cannot be looked up.")
        for type_ in found.types:
            if type_.name in self._allowed:
                continue
            if any(oid >= FIRST_USER_OID for oid in type_.code):
                return _unjudged(f"The type {type_.name} is read and written by its own code.")
            if type_.root in made and not all(map(self._harmless_check, type_.checks)):
                return _unjudged(f"The checks of the type {type_.name} cannot be judged.")
        return None

    def _harmless_check(self, expression: str) -> bool:
        facts = facts_of(expression)
        if isinstance(facts, Deny):
            return False
        users = _users(facts.functions | facts.operators | facts.made | facts.others)
        return not users and all(self._known_harmless(oid) for oid in facts.functions)

    def _known_harmless(self, oid: int) -> bool:
        function = self._own.get(oid)
        return function is not None and self._accepted(oid, function)

    def _names(self, called: Iterable[int], found: Found) -> tuple[str, ...]:
        names: set[str] = set()
        for oid in called:
            function = self._own.get(oid) or found.functions[oid]
            own = function.schema == "pg_catalog"
            names.add(function.name if own else function.qualified)
        return tuple(sorted(names))


def facts_of(tree: str) -> TreeFacts | Deny:
    """Nobody changes what this returns: a call's tree is printed twice, and read once."""
    return _small(tree) if len(tree) <= _LARGE_TREE else _read(tree)


def _read(tree: str) -> TreeFacts | Deny:
    try:
        return read_tree(tree)
    except UnknownTree as error:
        return _unjudged(f"What the server says about the statement cannot be read: {error}.")


_small = lru_cache(maxsize=128)(_read)


def _of_defaults(facts: TreeFacts, found: Found) -> set[int]:
    """Functions in the defaults of the tables that the statement writes to."""
    defaults: set[int] = set()
    for expression in found.defaults if facts.commands else ():
        default = facts_of(expression)
        if not isinstance(default, Deny):
            defaults |= default.functions
    return defaults


def _may_run(oid: int, function: Function, written: Written) -> bool:
    """Whether a person may let it run: the statement names it, its text can be read, and what it
    does be measured."""
    measured = function.name in written.functions and not (written.explains or written.named)
    known = function.kind == "f" and function.language in LANGUAGES
    return measured and known and oid >= FIRST_USER_OID


def _users(oids: set[int]) -> set[int]:
    return {oid for oid in oids if oid >= FIRST_USER_OID}


def _refused_relation(facts: TreeFacts, found: Found) -> Deny | None:
    for use in facts.uses:
        relation = found.relations.get(use.relation)
        if relation is None:
            return _unjudged("The statement uses a relation that cannot be looked up.")
        if relation.foreign:
            return _unjudged(f"{relation.name} lives on another server.")
    return None


def _resolved(facts: TreeFacts, found: Found, functions: tuple[str, ...], name: str) -> Resolved:
    reads: dict[str, set[str]] = {}
    changed: dict[tuple[int, str], set[str]] = {}
    targets = {c.relation for c in facts.commands}
    for use in facts.uses:
        relation = found.relations[use.relation]
        changed.setdefault((use.relation, "insert"), set()).update(_named(relation, use.inserted))
        changed.setdefault((use.relation, "update"), set()).update(_named(relation, use.updated))
        # The range table of a view's or rule's query also names the view itself, for nothing.
        bystander = not use.required and (relation.kind == "v" or use.relation in targets)
        if use.selected or use.required & _ACL_SELECT or not (use.required or bystander):
            reads.setdefault(relation.name, set()).update(_named(relation, use.selected))
    writes: dict[Write, None] = {}
    for command in facts.commands:
        for code in _codes(command.command, command.actions):
            verb = _VERBS[code]
            columns = tuple(sorted(changed.get((command.relation, verb), ())))
            table = found.relations[command.relation].name
            writes[Write(verb=verb, table=table, columns=columns)] = None
    return Resolved(
        reads={table: tuple(sorted(columns)) for table, columns in sorted(reads.items())},
        writes=tuple(writes),
        functions=functions,
        kinds={r.name: r.kind for r in found.relations.values()},
        locks=facts.locks,
        statement_name=name,
    )


def _codes(command: int, actions: tuple[int, ...]) -> tuple[int, ...]:
    # What a MERGE does are its actions; one without any does nothing.
    taken = actions if command == MERGE else (command, *actions)
    return tuple(dict.fromkeys(code for code in taken if code in _VERBS))


def _named(relation: Relation, numbers: tuple[int, ...]) -> set[str]:
    if 0 in numbers:
        return set(relation.columns.values())
    return {relation.columns[n] for n in numbers if n in relation.columns}


def _unjudged_function(function: Function | None) -> Deny:
    if function is None:
        return _unjudged("The statement calls a function that cannot be looked up.")
    shown = function.name if function.schema == "pg_catalog" else function.qualified
    return Deny(
        reason="action.unsupported",
        detail=f"The function {shown} may have effects that cannot be judged.",
        extra={"function": shown},
    )


def _unjudged(detail: str) -> Deny:
    return Deny(reason="action.unsupported", detail=detail)
