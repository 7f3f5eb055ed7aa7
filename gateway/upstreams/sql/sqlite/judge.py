"""What a text would do, told by SQLite itself: each statement is prepared, never run, on a
read-only connection whose authorizer writes down every act and denies what is not allow-listed.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import dataclass, field, replace
from typing import Any

import apsw

from gateway.model import Deny
from gateway.upstreams.sql.sqlite import effects
from gateway.upstreams.sql.sqlite.catalog import Names as Schema
from gateway.upstreams.sql.sqlite.catalog import folded, names
from gateway.upstreams.sql.sqlite.facts import Act, Judged, Judgement
from gateway.upstreams.sql.sqlite.functions import (
    ALTER_FUNCTIONS,
    FUNCTIONS,
    HEADER_PRAGMAS,
    PRAGMAS,
    RECEIPTS,
    SHOWN_PRAGMAS,
)
from gateway.upstreams.sql.sqlite.params import Names, bind
from gateway.upstreams.sql.sqlite.staging import CannotStage, Stage
from gateway.upstreams.sql.sqlite.tokens import keywords

_MAX_STATEMENTS = 1000
_MAX_ACTS = 250_000  # a few views of views can stand for many times as many
_TOO_MUCH = Deny(
    reason="too_large",
    detail="The statement looks at tables too often: views of views multiply.",
)
# Stands for every parameter of a statement that is prepared but not run.
_UNBOUND: Any = apsw._null_bindings  # type: ignore[attr-defined]
_SPOKEN = frozenset({"SELECT", "VALUES", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE"}) | {
    "CREATE",
    "DROP",
    "ALTER",
    "EXPLAIN",
    "PRAGMA",
    "REINDEX",
    "ANALYZE",
}
_SCHEMA_WORDS = frozenset({"CREATE", "DROP", "ALTER", "REINDEX", "ANALYZE"})
_NUMBER = re.compile(r"[+-]?[0-9]{1,10}")
_READING = frozenset(
    {apsw.SQLITE_READ, apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE, apsw.SQLITE_FUNCTION}
)
_WRITING = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
# The act that a statement beginning with the word must do first.
_FIRST = {
    "INSERT": apsw.SQLITE_INSERT,
    "REPLACE": apsw.SQLITE_INSERT,
    "UPDATE": apsw.SQLITE_UPDATE,
    "DELETE": apsw.SQLITE_DELETE,
}
_SCHEMA = frozenset(
    {
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_ALTER_TABLE,
        apsw.SQLITE_REINDEX,
        apsw.SQLITE_ANALYZE,
    }
)


@dataclass(slots=True)
class Prepared:
    """One statement as the engine prepared it."""

    sql: str
    first: str
    word: str
    acts: dict[Act, None] = field(default_factory=dict)  # each once, in the order in which it came
    readonly: bool = False
    explained: bool = False
    runs: bool = False
    names: Names = ()


class Judge:
    """``db`` is a connection of its own that runs nothing of an agent's."""

    def __init__(self, db: apsw.Connection, *, foreign_keys: bool) -> None:
        self._own = _Ground(db)
        self._foreign_keys = foreign_keys

    def judge(self, sql: str, params: object) -> Judgement | Deny:
        """Every statement of ``sql``, or the refusal of the first that is refused."""
        with contextlib.ExitStack() as stack:
            found = self._judged(sql, stack)
        if isinstance(found, Deny):
            return found
        if not found:
            return Deny(reason="sql.unparsable", detail="The text holds no statement.")
        bindings = bind([names for _, names in found], params)
        if isinstance(bindings, Deny):
            return bindings
        judged = (
            replace(one, bindings=values) for (one, _), values in zip(found, bindings, strict=True)
        )
        return Judgement(statements=tuple(judged), single=len(found) == 1)

    def _judged(self, sql: str, stack: contextlib.ExitStack) -> list[tuple[Judged, Names]] | Deny:
        """With the names of each statement's parameters. ``stack`` closes what is opened."""
        ground = self._own
        found: list[tuple[Judged, Names]] = []
        rest = sql
        changed: Prepared | None = None
        while rest.strip():
            if changed is not None:
                staged = self._staged(ground, changed, stack)
                if isinstance(staged, Deny):
                    return staged
                ground, changed = staged, None
            ground.refresh()
            one = ground.prepare(rest)
            if isinstance(one, Deny):
                return one
            if one.runs:
                verdict = ground.verdict(one)
                if isinstance(verdict, Deny):
                    return verdict
                aside = self._aside(ground, one)
                found.append((effects.judged(one, verdict, ground.schema, (), aside), one.names))
                changed = one if verdict == "schema" else None
            elif found and one.sql.strip("; \t\r\n\f"):
                # "; --" is how an injected text gets rid of what stood behind it.
                return _unsupported("Only white space may follow the last semicolon.")
            if not one.sql or len(found) > _MAX_STATEMENTS:
                return _unsupported("The text holds too many statements.")
            rest = rest[len(one.sql) :]
        return found

    def _staged(
        self, ground: _Ground, changed: Prepared, stack: contextlib.ExitStack
    ) -> _Ground | Deny:
        """Where the statements after ``changed`` are judged."""
        try:
            if ground.stage is None:
                stage = Stage(ground.db, foreign_keys=self._foreign_keys)
                stack.callback(stage.close)
                ground = _Ground(stage.db, stage)
            assert ground.stage is not None
            ground.stage.carry_out(changed.sql, _UNBOUND, _Wall(changed).ask)
        except CannotStage as error:
            return _unsupported(
                "What comes after a change of the schema in the same text cannot be judged before "
                f"it ({error}); send it in a call of its own."
            )
        return ground

    def _aside(self, ground: _Ground, one: Prepared) -> frozenset[Act]:
        """What the statement does only because foreign keys are enforced."""
        if not self._foreign_keys or one.readonly:
            return frozenset()
        bare = Prepared(sql=one.sql, first=one.first, word=one.word)
        ground.db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        try:
            error = ground.ask(bare, [])
        finally:
            ground.db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        return frozenset() if error else frozenset(one.acts) - frozenset(bare.acts)


class _Wall:
    """Permits what a statement was seen to do when it was prepared."""

    def __init__(self, one: Prepared) -> None:
        self._acts = one.acts

    def ask(self, op: int, a: str | None, b: str | None, c: str | None, d: str | None) -> int:
        return apsw.SQLITE_OK if Act(op, a, b, c, d) in self._acts else apsw.SQLITE_DENY


class _Ground:
    """What statements are judged by: a database, and what it holds. ``stage``: set where it is
    not the file."""

    def __init__(self, db: apsw.Connection, stage: Stage | None = None) -> None:
        self.db = db
        self.stage = stage
        self._version = -1
        self.schema = Schema(
            kinds={}, triggers=frozenset(), replacing=frozenset(), modules=frozenset()
        )

    def refresh(self) -> None:
        version = int(str(self.db.pragma("schema_version")))
        if version != self._version:
            self.schema = names(self.db)
            self._version = version

    # --- preparing ------------------------------------------------------------------------

    def prepare(self, sql: str) -> Prepared | Deny:
        first, word = keywords(sql)
        one = Prepared(sql=sql, first=first, word=word)
        if first and first not in _SPOKEN:
            # The engine still has the word on where this statement ends and whether it is one.
            return self._refused_word(sql, first)
        refusals: list[Deny] = []
        error = self.ask(one, refusals)
        if refusals:
            return refusals[0]
        if error is not None:
            return Deny(reason="sql.unparsable", detail=f"SQLite says: {error}.")
        return one

    def ask(self, one: Prepared, refusals: list[Deny]) -> str | None:
        """Fills ``one`` from the engine; its message when it does not accept the statement."""

        asked = itertools.count(1)

        def authorize(op: int, a: str | None, b: str | None, c: str | None, d: str | None) -> int:
            act = Act(op, a, b, c, d)
            refusal = _refusal(act, one) if next(asked) < _MAX_ACTS else _TOO_MUCH
            if refusal is not None:
                refusals.append(refusal)
                return apsw.SQLITE_DENY
            one.acts[act] = None
            return apsw.SQLITE_OK

        def stop(cursor: apsw.Cursor, sql: str, _: object) -> bool:
            one.sql = sql
            one.readonly = cursor.is_readonly
            one.explained = cursor.is_explain > 0
            one.runs = cursor.has_vdbe
            one.names = cursor.bindings_names
            return False

        cursor = self.db.cursor()
        cursor.exec_trace = stop
        self.db.authorizer = authorize
        try:
            cursor.execute(one.sql, _UNBOUND, can_cache=False)
        except apsw.ExecTraceAbort:
            return None
        except apsw.Error as error:
            return str(error)
        finally:
            self.db.authorizer = None
            cursor.close()
        return "nothing was prepared"

    def _refused_word(self, sql: str, word: str) -> Deny:
        shown = word if word.isalpha() else "This"
        one = Prepared(sql=sql, first=word, word=word)
        refusals: list[Deny] = []
        error = self.ask(one, refusals)
        if error is not None and not refusals:
            return Deny(reason="sql.unparsable", detail=f"SQLite says: {error}.")
        return _unsupported(f"{shown} is not a kind of statement that is accepted here.")

    # --- judging --------------------------------------------------------------------------

    def verdict(self, one: Prepared) -> str | Deny:
        """The kind of statement: ``read``, ``explain``, ``pragma``, ``change`` or ``schema``."""
        unknown = self._unknown_table(one)
        if unknown is not None:
            return unknown
        ops = {act.op for act in one.acts}
        reads = apsw.SQLITE_SELECT in ops and ops <= _READING
        if one.explained or one.first == "EXPLAIN":
            whole = one.explained and one.readonly and reads
            return "explain" if whole else _unsupported("Only reads can be explained here.")
        if one.first == "PRAGMA":
            if one.readonly and self._shows(one):
                return "pragma"
            sets = [_sets(act) for act in one.acts]
            return "schema" if sets == [True] else _unsupported("This PRAGMA is not accepted.")
        if one.readonly and reads and one.word in ("SELECT", "VALUES"):
            return "read"
        if not one.readonly and one.word in _SCHEMA_WORDS and ops & _SCHEMA:
            return "schema"
        changes = [act for act in one.acts if act.op in _WRITING and act.via is None]
        if not one.readonly and changes and not ops & _SCHEMA:
            wanted = _FIRST.get(one.word)
            if changes[0].op == wanted:
                return "change"
        return _unsupported("The engine does not show what this statement would do.")

    def _shows(self, one: Prepared) -> bool:
        """Whether a PRAGMA, each of which was allowed by name, does nothing besides but open the
        virtual tables that it shows."""
        for act in one.acts:
            if act.op == apsw.SQLITE_READ:
                if self.schema.kinds.get(folded(act.first or "")) not in ("virtual", "shadow"):
                    return False
            elif act.op not in _READING and act.op != apsw.SQLITE_PRAGMA:
                return False
        return any(act.op == apsw.SQLITE_PRAGMA for act in one.acts)

    def _unknown_table(self, one: Prepared) -> Deny | None:
        made = effects.made(one.acts)
        for act in one.acts:
            if act.op in _WRITING and act.first is not None:
                kind = self.schema.kinds.get(folded(act.first))
                if kind in ("virtual", "shadow") and folded(act.first) not in self.schema.texts:
                    return _unjudged(
                        f"{act.first} is a {kind} table: writes to it cannot be followed."
                    )
            elif act.op == apsw.SQLITE_READ and folded(act.first or "") in made:
                continue
            elif act.op == apsw.SQLITE_READ and not effects.readable(act, self.schema):
                return _unjudged(f"{act.first} is not a table that may be read.")
        return None


def _refusal(act: Act, one: Prepared) -> Deny | None:
    """The refusal of one act, whatever else the statement does."""
    if any(folded(part) == RECEIPTS for part in (act.first, act.second) if part):
        return _unjudged(f"{RECEIPTS} belongs to the gateway.")
    if act.op in (apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE):
        return None
    if act.op == apsw.SQLITE_FUNCTION:
        return _refused_function((act.second or "").lower(), one)
    if act.op in _WRITING:
        return _refused_write(act, one)
    if act.op == apsw.SQLITE_PRAGMA:
        return _refused_pragma(act)
    if act.op == apsw.SQLITE_REINDEX and one.word == "CREATE":
        return None
    if act.op in _SCHEMA and one.word in _SCHEMA_WORDS:
        database = act.first if act.op == apsw.SQLITE_ALTER_TABLE else act.database
        if database == "main":
            return None
        return _unsupported("Temporary and attached tables are not accepted.")
    name = str(apsw.mapping_authorizer_function.get(act.op, act.op))
    return _unsupported(f"{name.removeprefix('SQLITE_').replace('_', ' ')} is not accepted here.")


def _refused_function(name: str, one: Prepared) -> Deny | None:
    if name in FUNCTIONS or (one.word == "ALTER" and name in ALTER_FUNCTIONS):
        return None
    return Deny(
        reason="action.unsupported",
        detail=f"The function {name} may have effects that cannot be judged.",
        extra={"function": name},
    )


def _refused_write(act: Act, one: Prepared) -> Deny | None:
    if one.word in _SCHEMA_WORDS:
        return None
    if folded(act.first or "").startswith("sqlite_"):
        return _unjudged(f"{act.first} belongs to SQLite and is not written directly.")
    if act.database not in ("main", None):
        return _unsupported("Temporary and attached tables are not accepted.")
    return None


def _sets(act: Act) -> bool:
    """Whether the act writes a number of the file's header, which a rollback takes back."""
    if act.op != apsw.SQLITE_PRAGMA or act.second is None:
        return False
    return folded(act.first or "") in HEADER_PRAGMAS and bool(_NUMBER.fullmatch(act.second))


def _refused_pragma(act: Act) -> Deny | None:
    name = folded(act.first or "")
    if name in PRAGMAS or _sets(act) or (name in SHOWN_PRAGMAS and act.second is None):
        return None
    return _unsupported(f"PRAGMA {name} is not accepted here.")


def _unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)


def _unjudged(detail: str) -> Deny:
    return Deny(reason="action.unsupported", detail=detail)
