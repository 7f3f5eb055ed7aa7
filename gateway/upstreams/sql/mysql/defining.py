"""One agent's change of the schema, and its way back. Each is one statement that commits by itself,
so it runs last: after the permit, where other calls commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
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
    Step,
    Undo,
)
from gateway.upstreams.sql.mysql import alteration, catalog, receipts, rows
from gateway.upstreams.sql.mysql.alteration import Alteration
from gateway.upstreams.sql.mysql.catalog import Name
from gateway.upstreams.sql.mysql.difference import rekeyed
from gateway.upstreams.sql.mysql.images import NO_WAY_BACK
from gateway.upstreams.sql.mysql.landing import Ask, told
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.moves import FORMAT, KIND, Move, from_json
from gateway.upstreams.sql.mysql.plans import Plan, Wish, dotted, plan
from gateway.upstreams.sql.mysql.pool import Lent
from gateway.upstreams.sql.mysql.rights import hidden
from gateway.upstreams.sql.mysql.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What both ways need of their source."""

    source: str
    peers: Callable[[], AbstractAsyncContextManager[Lent]]
    verify: Callable[[Session], None]
    ask: Ask
    probe: Probe


class DefinitionAttempt:
    """``Attempt`` of a statement of ``definitions``."""

    def __init__(self, lent: Lent, wish: Wish, post: Post) -> None:
        self._lent = lent
        self._wish = wish
        self._call = wish.call
        self._post = post
        self._plan = Plan()

    async def read(self) -> Outcome:
        raise TypeError("a change of the schema is no read")

    async def run(self) -> Ran:
        """Changes nothing yet. Raises ``UpstreamError`` for what has no exact way back."""
        async with self._post.peers() as peer:
            measured = await self._lent.do_with(peer, self._prepare)
        self._post.probe("mysql.ran")
        return Ran(measured=measured, result=_result(self._wish.definition.verb))

    def _prepare(self, own: Session, peer: Session) -> Measured:
        self._post.verify(own)
        unseen = hidden(peer, [self._wish.target])
        if unseen:
            raise UpstreamError(
                f"Triggers of {dotted(unseen[0])} are not shown to the gateway's account: "
                "GRANT TRIGGER on it.",
                reason="undo.unavailable",
            )
        self._plan, measured = plan(own, peer, self._wish)
        return measured

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
            effect=EffectState.NONE if self._plan.empty else EffectState.APPLIED,
            result=_result(self._wish.definition.verb),
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
        self._repeatable = True

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
            way = (
                None
                if not told_
                else (alteration.from_json(told_) if "forward" in told_ else from_json(told_))
            )
        except (KeyError, TypeError, ValueError):
            return replace(step, state="failed", reason="revert.not_revertible",
                           detail="Its manifest cannot be read.")  # fmt: skip
        if way is None:
            return step
        keyed = _keyed_since(session, way)
        if keyed is not None:
            return replace(step, state="failed", reason="revert.schema_changed", detail=keyed)
        force = self._mode is OnConflict.FORCE
        if isinstance(way, Alteration):
            step = replace(step, action=f"alter {dotted(way.table)} back", restored=1)
            conflict = _altered(session, way, force=force)
            self._repeatable = conflict is not None or way.repeatable(session)
        else:
            step = replace(step, action=f"move {dotted(way.renames[0][0])} back", restored=1)
            conflict = _in_the_way(session, way, force=force)
        if isinstance(conflict, Conflict):
            return replace(step, state="conflict", restored=0, conflicts=(conflict,),
                           reason="revert.conflict")  # fmt: skip
        if conflict is not None:
            return replace(step, state="failed", restored=0, reason="revert.schema_changed",
                           detail=conflict)  # fmt: skip
        self._plan = _backwards(session, way, self._call, force=force)
        return step

    async def capture(self) -> Captured | Deny:
        if not self._repeatable:
            return Captured(undo=self._once(), receipt=self._plan.receipt or self._call)
        undo = Undo(
            upstream=self._post.source,
            kind=KIND,
            reversibility=Reversibility.EXACT,
            manifest={
                "format": FORMAT,
                "back": self._plan.back.as_json() if self._plan.back else None,
            },
        )
        return Captured(undo=undo, receipt=self._plan.receipt or self._call)

    def _once(self) -> Undo:
        return Undo(
            upstream=self._post.source,
            kind=NO_WAY_BACK,
            reversibility=Reversibility.IRREVERSIBLE,
            manifest={"format": FORMAT, "why": "The index would not come back under its name."},
        )

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
    if plan.empty:
        return landed

    affected = 0

    def work(session: Session) -> None:
        nonlocal affected
        receipts.announce(session, call)
        for statement in plan.statements:
            post.probe("mysql.announced")
            affected = session.run(statement)
        kept = None
        if plan.lock:
            affected, kept = _locked(session, plan, post.probe)
        post.probe("mysql.moved")
        if isinstance(plan.back, Move) and _written(session, plan):
            session.run(plan.back.sql())
            raise UpstreamError("Others wrote to the table meanwhile.", reason="revert.conflict")
        if isinstance(plan.back, Alteration) and not _stands(session, plan.back):
            raise UpstreamError(
                f"{dotted(plan.back.table)} did not become what it ought to.",
                reason="upstream.failed",
            )
        if plan.sums is not None and kept is None:
            kept = _checksum(session, plan.sums)
        receipts.settled(session, call, kept)

    try:
        await lent.do(work)
    except UpstreamError as error:
        # Its lock goes with the session; without it the server can say what became of the call.
        lent.session.drop()
        return await told(plan.receipt, landed, error, post.ask)
    if plan.counts and landed.result is not None:
        return replace(landed, result={**landed.result, "affected": affected})
    return landed


def _stands(session: Session, done: Alteration) -> bool:
    return alteration.stands(session, done.table, done.after)


def _locked(session: Session, plan: Plan, probe: Probe) -> tuple[int, int | None]:
    """Does what has to be done while nobody else can write: how many rows the last statement
    counts, and the checksum of what is left."""
    affected = 0
    listed = ", ".join(f"{quoted(*name)} WRITE" for name in plan.lock)
    session.run(f"LOCK TABLES {listed}")
    if plan.clean is not None and session.rows(plan.clean):
        raise UpstreamError("Others wrote to what would go.", reason="revert.conflict")
    for statement in plan.within:
        last = statement is plan.within[-1]
        if plan.copied is not None:
            kind = session.variety
            session.run(kind.tight.format(modes=session.modes) if last else kind.loose)
        if last and plan.copied is not None:
            one, other = (_checksum(session, name) for name in plan.copied)
            if one is None or one != other:
                raise UpstreamError(
                    f"{dotted(plan.copied[0])} could not be copied exactly.",
                    reason="undo.unavailable",
                )
        probe("mysql.locked")
        affected = session.run(statement)
    kept = None if plan.sums is None else _checksum(session, plan.sums)
    session.run("UNLOCK TABLES")
    return affected, kept


def _checksum(session: Session, name: Name) -> int | None:
    """``None`` where there is no such table."""
    table = catalog.tables(session, [name]).get(name)
    return None if table is None else rows.checksum(session, table)


def _written(session: Session, plan: Plan) -> bool:
    """Whether somebody wrote to the table that was just set aside."""
    if plan.guard is None:
        return False
    if plan.guard_sum is not None:
        return _checksum(session, plan.guard) != plan.guard_sum
    return bool(session.rows(f"SELECT 1 FROM {quoted(*plan.guard)} LIMIT 1"))


def _backwards(session: Session, way: Move | Alteration, call: str, *, force: bool) -> Plan:
    if isinstance(way, Alteration):
        back = way.inverse()
        return Plan(
            lock=(way.table,), clean=None if force else way.written(), within=(way.backward,),
            receipt=back.receipt(call), back=back,
        )  # fmt: skip
    way = _leaving(session, way)
    statements = [way.sql()]
    names = dict(way.renames)
    stays = next((to for to in names.values() if to == way.empty), None)
    if way.sums is not None and stays is not None:
        counter = catalog.counter(session, stays)
        if counter is not None:
            came = next(of for of, to in way.renames if to == stays)
            statements.insert(0, f"ALTER TABLE {quoted(*came)} AUTO_INCREMENT = {counter}")
    return Plan(
        statements=tuple(statements),
        receipt=way.receipt(call),
        back=way.inverse(empty=stays, sums=call) if way.sums and stays else way.inverse(),
        guard=None if way.empty is None or force else names[way.empty],
        guard_sum=receipts.rows_sum(session, way.sums) if way.sums else None,
        sums=stays if way.sums else None,
    )


def _leaving(session: Session, way: Move) -> Move:
    """A table that a call made is set aside without its foreign keys: there they would keep others
    from dropping what they refer to."""
    if len(way.renames) != 1 or way.empty is None or way.drops or way.adds:
        return way
    ((of, _),) = way.renames
    keys = [k for k in catalog.foreign_keys(session, [of]) if k.child == of != k.parent]
    if not keys:
        return way
    rekeys = rekeyed(catalog.definition(session, of), {k.name: k.columns for k in keys})
    return replace(way, drops=tuple(keys), rekeys=rekeys)


def _keyed_since(session: Session, way: Move | Alteration) -> str | None:
    """Foreign keys that came after the call, where they could not be kept as they are."""
    if session.variety.rekeys:
        return None
    moved = () if isinstance(way, Alteration) else way.renames
    names = [way.table] if isinstance(way, Alteration) else [n for pair in moved for n in pair]
    keys = catalog.foreign_keys(session, names)
    return f"{dotted(keys[0].child)} has got a foreign key since." if keys else None


def _altered(session: Session, way: Alteration, *, force: bool) -> Conflict | str | None:
    """What keeps a table from being altered back, if anything does."""
    if not alteration.stands(session, way.table, way.after):
        return f"{dotted(way.table)} is not the table that it was when the call ran."
    written = None if force else way.written()
    if written is not None and session.rows(written):
        return Conflict(resource=dotted(way.table), key=None, before=None, after=None,
                        now={"columns": list(way.fresh)}, why="changed")  # fmt: skip
    return None


def _in_the_way(session: Session, move: Move, *, force: bool) -> Conflict | str | None:
    """What keeps a move from being done, if anything does."""
    present = set(catalog.relations(session, [n for pair in move.renames for n in pair]))
    for of, to in move.renames:
        if of not in present:
            return f"{dotted(of)} is gone."
        if to in present and to not in {other for other, _ in move.renames}:
            return Conflict(resource=dotted(to), key=None, before=None, after=None,
                            now={"table": dotted(to)}, why="present")  # fmt: skip
    if move.empty is not None and move.sums is not None:
        kept = receipts.rows_sum(session, move.sums)
        if not force and (kept is None or _checksum(session, move.empty) != kept):
            return Conflict(resource=dotted(move.empty), key=None, before=None, after=None,
                            now={"rows": "other"}, why="changed")  # fmt: skip
    elif move.empty is not None and not force:
        try:
            found = session.rows(f"SELECT 1 FROM {quoted(*move.empty)} LIMIT 1 FOR UPDATE")
        except pymysql.ProgrammingError:
            return f"{dotted(move.empty)} is gone."
        if found:
            return Conflict(resource=dotted(move.empty), key=None, before=None, after=None,
                            now={"rows": "some"}, why="changed")  # fmt: skip
    return None


def _result(verb: str) -> dict[str, object]:
    return {"verb": verb, "columns": [], "rows": [], "affected": 0}
