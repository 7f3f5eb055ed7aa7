"""One agent's change of the schema, and its way back. Each is one statement that commits by itself,
so it runs last: after the permit, where other calls commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pymysql

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Probe, Ran
from gateway.lifecycle import State
from gateway.model import (
    Conflict,
    Deny,
    EffectState,
    Measured,
    OnConflict,
    Outcome,
    Permit,
    Reversibility,
    RowCounts,
    Step,
    Undo,
)
from gateway.upstreams.sql.mysql import catalog, receipts
from gateway.upstreams.sql.mysql.catalog import ForeignKey, Name
from gateway.upstreams.sql.mysql.definitions import Definition
from gateway.upstreams.sql.mysql.landing import Ask, told
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.moves import FORMAT, KIND, Move, aside, from_json, marked
from gateway.upstreams.sql.mysql.pool import Lent
from gateway.upstreams.sql.mysql.session import Session

_SHARE_FROM = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What both ways need of their source."""

    source: str
    verify: Callable[[Session], None]
    ask: Ask
    probe: Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``statements``: the last one is the effect, those before it prepare. ``back``: the way back;
    ``None`` where nothing is to be done. ``guard``: a table that has to be empty afterwards, or
    everything goes ``back`` at once."""

    statements: tuple[str, ...] = ()
    receipt: str = ""
    back: Move | None = None
    guard: Name | None = None


class DefinitionAttempt:
    """``Attempt`` of a statement of ``definitions``. ``text`` is what a CREATE TABLE sends."""

    def __init__(
        self, lent: Lent, call: str, definition: Definition, names: tuple[Name, Name | None],
        text: str, post: Post,
    ) -> None:  # fmt: skip
        self._lent = lent
        self._call = call
        self._definition = definition
        self._target, self._to = names
        self._text = text
        self._post = post
        self._plan = Plan()

    async def read(self) -> Outcome:
        raise TypeError("a change of the schema is no read")

    async def run(self) -> Ran:
        """Changes nothing yet. Raises ``UpstreamError`` for what has no exact way back."""
        measured = await self._lent.do(self._prepare)
        self._post.probe("mysql.ran")
        verb = self._definition.verb
        return Ran(measured=measured, result=_result(verb))

    def _prepare(self, session: Session) -> Measured:
        self._post.verify(session)
        found = catalog.relations(session, [self._target]).get(self._target)
        verb, lenient = self._definition.verb, self._definition.lenient
        if verb == "create":
            if found is None:
                self._plan = _creating(self._target, self._call, self._text)
            elif not lenient:
                raise UpstreamError(f"{_dotted(self._target)} exists already.")
            return Measured()
        if found is None:
            if lenient:
                return Measured()
            raise UpstreamError(f"{_dotted(self._target)} does not exist.")
        if found.kind != "BASE TABLE" or found.engine != "InnoDB":
            raise _no_way(f"{_dotted(self._target)} is not an InnoDB table.")
        if verb == "alter":
            self._plan = self._renaming(session)
            return Measured()
        keys = catalog.foreign_keys(session, [self._target])
        _unreferenced(self._target, keys)
        events = {t.event for t in catalog.triggers(session, [self._target])}
        if verb == "drop":
            self._plan = _dropping(self._target, self._call, keys, triggers=bool(events))
        else:
            self._plan = _emptying(self._target, self._call, keys, triggers=bool(events))
        return _extent(session, self._target)

    def _renaming(self, session: Session) -> Plan:
        assert self._to is not None
        if self._to[0] != self._target[0]:
            raise _no_way("A table that moves to another schema may lose what belongs to it there.")
        if catalog.relations(session, [self._to]):
            raise UpstreamError(f"{_dotted(self._to)} exists already.")
        if catalog.triggers(session, [self._target]):
            raise _no_way(f"{_dotted(self._target)} has triggers, which may name it.")
        move = Move(renames=((self._target, self._to),), trace=self._to, present=True)
        move = marked(move, self._call)
        mark = f"CREATE TABLE {quoted(*aside(self._call, 'm'))} (x INT) ENGINE=InnoDB"
        return Plan(
            statements=(mark, move.sql()),
            receipt=move.receipt(self._call),
            back=move.inverse(),
        )

    async def capture(self) -> Captured | Deny:
        undo = Undo(
            upstream=self._post.source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest={
                "format": FORMAT,
                "back": self._plan.back.as_json() if self._plan.back else None,
            },
        )
        self._post.probe("mysql.captured")
        return Captured(undo=undo, receipt=self._plan.receipt or self._call)

    async def commit(self, permit: Permit) -> Outcome:
        if permit.call != self._call:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call}")
        landed = Outcome(
            state=State.SUCCEEDED,
            effect=EffectState.APPLIED if self._plan.statements else EffectState.NONE,
            result=_result(self._definition.verb),
        )
        self._post.probe("mysql.committing")
        outcome = await carry_out(self._lent, self._call, self._plan, landed, self._post)
        self._post.probe("mysql.committed")
        return outcome


class DefinitionUnwinding:
    """``Unwinding`` of one change of the schema, which is a change of the schema itself."""

    def __init__(
        self, lent: Lent, call: str, target: tuple[str, Undo], on_conflict: OnConflict, post: Post
    ) -> None:
        self._lent = lent
        self._call = call
        self._target, self._undo = target
        self._mode = on_conflict
        self._post = post
        self._steps: tuple[Step, ...] = ()
        self._plan = Plan()
        self._redo: Move | None = None

    async def run(self) -> tuple[Step, ...]:
        """Looks whether it can be done; it is done by ``commit``."""
        step = await self._lent.do(self._prepare)
        self._steps = (step,)
        self._post.probe("mysql.unwound")
        return self._steps

    def _prepare(self, session: Session) -> Step:
        step = Step(
            call=self._target, upstream=self._post.source, action="nothing", state="reverted"
        )
        try:
            told_ = self._undo.manifest["back"]
            move = from_json(told_) if told_ else None
        except (KeyError, TypeError, ValueError):
            return replace(step, state="failed", reason="revert.not_revertible",
                           detail="Its manifest cannot be read.")  # fmt: skip
        if move is None:
            return step
        step = replace(step, action=f"move {_dotted(move.renames[0][0])} back", restored=1)
        conflict = _in_the_way(session, move, force=self._mode is OnConflict.FORCE)
        if isinstance(conflict, Conflict):
            return replace(step, state="conflict", restored=0, conflicts=(conflict,),
                           reason="revert.conflict")  # fmt: skip
        if conflict is not None:
            return replace(step, state="failed", restored=0, reason="revert.schema_changed",
                           detail=conflict)  # fmt: skip
        self._redo = move.inverse()
        guard = None
        if move.empty is not None and self._mode is not OnConflict.FORCE:
            guard = dict(move.renames)[move.empty]
        self._plan = Plan(
            statements=(move.sql(),),
            receipt=move.receipt(self._call),
            back=self._redo,
            guard=guard,
        )
        return step

    async def capture(self) -> Captured | Deny:
        undo = Undo(
            upstream=self._post.source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest={
                "format": FORMAT,
                "back": self._redo.as_json() if self._redo else None,
            },
        )
        return Captured(undo=undo, receipt=self._plan.receipt or self._call)

    async def commit(self, permit: Permit) -> Outcome:
        if permit.call != self._call:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call}")
        landed = Outcome(state=State.REVERTED, effect=EffectState.APPLIED, steps=self._steps)
        self._post.probe("mysql.unwind.committing")
        outcome = await carry_out(self._lent, self._call, self._plan, landed, self._post)
        self._post.probe("mysql.unwind.committed")
        return outcome


async def carry_out(lent: Lent, call: str, plan: Plan, landed: Outcome, post: Post) -> Outcome:
    """Runs a plan after its permit and returns ``landed``, or the truth."""
    if not plan.statements:
        return landed

    def work(session: Session) -> None:
        receipts.announce(session, call)
        for statement in plan.statements:
            post.probe("mysql.announced")
            session.run(statement)
        post.probe("mysql.moved")
        if (
            plan.guard
            and plan.back
            and session.rows(f"SELECT 1 FROM {quoted(*plan.guard)} LIMIT 1")
        ):
            session.run(plan.back.sql())
            raise UpstreamError("Others wrote to the table meanwhile.", reason="revert.conflict")
        receipts.settled(session, call)

    try:
        await lent.do(work)
    except UpstreamError as error:
        # Its lock goes with the session; without it the server can say what became of the call.
        lent.session.drop()
        return await told(plan.receipt, landed, error, post.ask)
    return landed


def _creating(target: Name, call: str, text: str) -> Plan:
    back = Move(renames=((target, aside(call)),), trace=aside(call), present=True, empty=target)
    return Plan(statements=(text,), receipt=f"{call}|?{target[0]}|{target[1]}", back=back)


def _dropping(target: Name, call: str, keys: Sequence[ForeignKey], *, triggers: bool) -> Plan:
    kept = aside(call)
    if triggers:
        kept = (target[0], f"{kept[0]}_{kept[1]}")  # triggers do not leave their schema
    leaving = tuple(key for key in keys if key.child == target)
    move = Move(renames=((target, kept),), trace=kept, present=True, drops=leaving)
    return Plan(statements=(move.sql(),), receipt=move.receipt(call), back=move.inverse())


def _emptying(target: Name, call: str, keys: Sequence[ForeignKey], *, triggers: bool) -> Plan:
    if triggers or any(key.child == target for key in keys):
        raise _no_way(f"{_dotted(target)} has triggers or foreign keys, which an empty copy of it "
                      "would not have. DELETE FROM it is undone exactly.")  # fmt: skip
    fresh, kept = aside(call, "n"), aside(call)
    move = Move(renames=((target, kept), (fresh, target)), trace=kept, present=True)
    made = f"CREATE TABLE {quoted(*fresh)} LIKE {quoted(*target)}"
    return Plan(
        statements=(made, move.sql()), receipt=move.receipt(call), back=move.inverse(empty=target)
    )


def _unreferenced(target: Name, keys: Sequence[ForeignKey]) -> None:
    for key in keys:
        if key.parent == target:
            raise UpstreamError(
                f"{_dotted(target)} is referenced by {_dotted(key.child)} ({key.name}); the server "
                "would refuse this as well.",
                code=1451,
            )


def _extent(session: Session, target: Name) -> Measured:
    count = int(session.rows(f"SELECT COUNT(*) FROM {quoted(*target)}")[0][0] or 0)
    share = 1.0 if count > _SHARE_FROM else 0.0
    return Measured(tables={_dotted(target): RowCounts(deleted=count)}, share=share)


def _in_the_way(session: Session, move: Move, *, force: bool) -> Conflict | str | None:
    """What keeps a move from being done, if anything does."""
    present = set(catalog.relations(session, [n for pair in move.renames for n in pair]))
    for of, to in move.renames:
        if of not in present:
            return f"{_dotted(of)} is gone."
        if to in present and to not in {other for other, _ in move.renames}:
            return Conflict(resource=_dotted(to), key=None, before=None, after=None,
                            now={"table": _dotted(to)}, why="present")  # fmt: skip
    if move.empty is not None and not force:
        try:
            found = session.rows(f"SELECT 1 FROM {quoted(*move.empty)} LIMIT 1 FOR UPDATE")
        except pymysql.ProgrammingError:
            return f"{_dotted(move.empty)} is gone."
        if found:
            return Conflict(resource=_dotted(move.empty), key=None, before=None, after=None,
                            now={"rows": "some"}, why="changed")  # fmt: skip
    return None


def _dotted(name: Name) -> str:
    return ".".join(name)


def _result(verb: str) -> dict[str, object]:
    return {"verb": verb, "columns": [], "rows": [], "affected": 0}


def _no_way(detail: str) -> UpstreamError:
    return UpstreamError(detail, reason="undo.unavailable")
