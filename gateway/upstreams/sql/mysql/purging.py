"""What was set aside instead of being dropped, and throwing it away for good: a call of its own,
which a person has agreed to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.interfaces import Captured, Quarantined, Ran
from gateway.lifecycle import State
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Deny,
    Effect,
    EffectState,
    Json,
    Measured,
    Outcome,
    Permit,
    Resource,
    Reversibility,
    RowCounts,
    Undo,
)
from gateway.upstreams.sql.mysql import receipts
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA, relations
from gateway.upstreams.sql.mysql.defining import Post, carry_out
from gateway.upstreams.sql.mysql.images import NO_WAY_BACK
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.moves import FORMAT
from gateway.upstreams.sql.mysql.plans import Plan
from gateway.upstreams.sql.mysql.pool import Lent
from gateway.upstreams.sql.mysql.session import Session

_INSIDE = f"{OWN_SCHEMA}_q_"  # in its own schema, for its triggers' sake
_LISTED = (
    "SELECT table_schema, table_name, COALESCE(data_length + index_length, 0), "
    "UNIX_TIMESTAMP(create_time) FROM information_schema.tables "
    # n_: what a revert set aside, so that it can be taken back itself.
    f"WHERE (table_schema = '{OWN_SCHEMA}' AND table_name REGEXP '^[qn]_') "
    f"OR table_name LIKE '{OWN_SCHEMA}\\_q\\_%'"
)


def quarantined(session: Session, source: str) -> list[Quarantined]:
    """Oldest first. Blocks."""
    if not receipts.there(session):
        return []
    found: list[Quarantined] = []
    for schema, name, size, made in session.texts(_LISTED):
        call = str(name).removeprefix(_INSIDE) if schema != OWN_SCHEMA else str(name)[2:]
        found.append(
            Quarantined(
                source=source,
                place=str(schema),
                call=call,
                at=datetime.fromtimestamp(receipts.made_at(session, call) or float(made or 0), UTC),
                objects=(str(name),),
                bytes=int(size or 0),
            )
        )
    return sorted(found, key=lambda one: (one.at, one.place, one.call))


def purge_of(call: Call, found: Sequence[Quarantined], resource: Resource) -> Action | Deny:
    """The action of a call that purges, over all that lies in quarantine."""
    calls = call.request.get("purge")
    if not isinstance(calls, list | tuple):
        return Deny(reason="malformed", detail='"purge" has to be a list of calls.')
    meant = [one for one in found if one.call in calls]
    if not meant:
        return Deny(reason="unknown_tool", detail="Nothing lies in quarantine for these calls.")
    return Action(
        surface=call.surface,
        tool=call.tool,
        name="purge",
        cls=ActionClass.ADMIN,
        reversibility=Reversibility.IRREVERSIBLE,
        idempotent=False,
        digest=call.digest,
        effects=tuple(
            Effect(verb="purge", kind="table", name=f"{one.place}.{name}", bounded=False)
            for one in meant
            for name in one.objects
        ),
        resource=resource,
        why_irreversible="what is purged is thrown away for good",
    )


class Purge:
    """``Attempt`` that drops what was set aside for ``calls``."""

    def __init__(self, lent: Lent, call: str, calls: Sequence[str], post: Post) -> None:
        self._lent = lent
        self._call = call
        self._calls = list(calls)
        self._post = post
        self._plan = Plan()
        self._result: dict[str, Json] = {}

    async def read(self) -> Outcome:
        raise TypeError("a purge is no read")

    async def run(self) -> Ran:
        """Drops nothing yet. Raises ``UpstreamError``."""
        source = self._post.source
        every = await self._lent.do(lambda session: quarantined(session, source))
        found = [one for one in every if one.call in self._calls]
        names = [(one.place, name) for one in found for name in one.objects]
        self._result = {
            "purged": [one.as_json() for one in found],
            "bytes": sum(one.bytes for one in found),
        }
        if names:
            schema, last = names[-1]
            kinds = await self._lent.do(lambda session: relations(session, names))
            dropped = tuple(
                f"DROP {'VIEW' if kinds[name].kind == 'VIEW' else 'TABLE'} {quoted(*name)}"
                for name in names
                if name in kinds
            )
            self._plan = Plan(statements=dropped, receipt=f"{self._call}|-{schema}|{last}")
        tables = {".".join(name): RowCounts() for name in names}
        return Ran(measured=Measured(tables=tables), result=self._result)

    async def capture(self) -> Captured | Deny:
        undo = Undo(
            upstream=self._post.source,
            kind=NO_WAY_BACK,
            reversibility=Reversibility.IRREVERSIBLE,
            manifest={"format": FORMAT, "why": "what was purged is gone for good"},
        )
        return Captured(undo=undo, receipt=self._plan.receipt or self._call)

    async def commit(self, permit: Permit) -> Outcome:
        if permit.call != self._call:
            raise ValueError(f"the permit of {permit.call} does not commit {self._call}")
        landed = Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=self._result)
        return await carry_out(self._lent, self._call, self._plan, landed, self._post)
