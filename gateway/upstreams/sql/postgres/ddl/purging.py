"""What lies in quarantine, and throwing it away for good: a call of its own, which a person has
agreed to."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg.sql import Identifier

from gateway.errors import UpstreamError
from gateway.interfaces import Captured, Probe, Quarantined, Ran
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
from gateway.upstreams.sql.postgres.failures import upstream_error
from gateway.upstreams.sql.postgres.images import FORMAT, NO_WAY_BACK
from gateway.upstreams.sql.postgres.landing import Ask, land
from gateway.upstreams.sql.postgres.preparing import HOME, REGISTER
from gateway.upstreams.sql.postgres.session import Session

_LISTED = f"""
SELECT p.place, p.call, p.at,
  ARRAY(SELECT c.relname::text FROM pg_catalog.pg_class c
         WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid
             AND d.classid = c.tableoid AND d.refclassid = c.tableoid AND d.deptype IN ('a', 'i'))
         ORDER BY 1),
  COALESCE((SELECT sum(pg_catalog.pg_total_relation_size(c.oid)) FROM pg_catalog.pg_class c
             WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'm', 'S')), 0)::int8
FROM {REGISTER} p JOIN pg_catalog.pg_namespace n ON n.nspname = p.place
ORDER BY p.at, p.place"""


async def quarantined(session: Session, source: str) -> list[Quarantined]:
    """As the capture role, oldest first. Nothing where there is no quarantine."""
    (there,) = await session.one("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", REGISTER)
    if not there:
        return []
    return [
        Quarantined(
            source=source, place=place, call=call, at=at, objects=tuple(objects), bytes=size
        )
        for place, call, at, objects, size in await session.rows(_LISTED)
    ]


def purge_of(call: Call, found: Sequence[Quarantined], resource: Resource) -> Action | Deny:
    """The action of a call that purges, over all that lies in quarantine."""
    calls = call.request.get("purge")
    if not isinstance(calls, list | tuple):
        return Deny(reason="malformed", detail='"purge" has to be a list of calls.')
    meant = [one for one in found if one.call in calls]
    nothing = sorted({str(call) for call in calls} - {one.call for one in meant})
    if nothing or not meant:
        named = ", ".join(nothing) or "no call"
        return Deny(reason="unknown_tool", detail=f"Nothing lies in quarantine for {named}.")
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
            for name in one.objects or ("*",)
        ),
        resource=resource,
        why_irreversible="what is purged is thrown away for good",
    )


class Purge:
    """``Attempt`` that drops what was put away for ``calls``."""

    def __init__(
        self, source: str, session: Session, calls: Sequence[str], *, ask: Ask, probe: Probe
    ) -> None:
        self._source = source
        self._session = session
        self._calls = list(calls)
        self._ask = ask
        self._probe = probe
        self._receipt = ""
        self._result: dict[str, Json] = {}

    async def read(self) -> Outcome:
        raise UpstreamError("A purge is no read.", reason="internal")

    async def run(self) -> Ran:
        """Raises ``UpstreamError``."""
        session = self._session
        try:
            await session.run("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            (self._receipt,) = await session.one("SELECT pg_catalog.pg_current_xact_id()::text")
            await session.run(f"LOCK TABLE {REGISTER} IN SHARE ROW EXCLUSIVE MODE")
            found = [q for q in await quarantined(session, self._source) if q.call in self._calls]
            for one in found:
                await session.run(f"DROP SCHEMA {Identifier(one.place).as_string()} CASCADE")
                await session.run(f"DELETE FROM {REGISTER} WHERE place = %s", one.place)
        except psycopg.Error as error:
            raise upstream_error(error, self._source) from error
        self._probe("postgres.purged")
        self._result = {
            "purged": [one.as_json() for one in found],
            "bytes": sum(one.bytes for one in found),
        }
        tables = {f"{one.place}.{name}": RowCounts() for one in found for name in one.objects}
        return Ran(measured=Measured(tables=tables), result=self._result)

    async def capture(self) -> Captured | Deny:
        undo = Undo(
            upstream=self._source,
            kind=NO_WAY_BACK,
            reversibility=Reversibility.IRREVERSIBLE,
            manifest={"format": FORMAT, "xid": self._receipt, "why": f"purged from {HOME}"},
        )
        return Captured(undo=undo, receipt=self._receipt)

    async def commit(self, permit: Permit) -> Outcome:  # noqa: ARG002 - the duty is the type's
        landed = Outcome(state=State.SUCCEEDED, effect=EffectState.APPLIED, result=self._result)
        return await land(self._session, self._receipt, landed, ask=self._ask, source=self._source)
