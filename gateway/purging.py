"""Purges: what was put into quarantine is thrown away for good. Always a call that waits for a
person; the end of a call's undo only leads to a proposal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.audit import digest_of
from gateway.errors import NotFound, UpstreamError
from gateway.interfaces import Clock, Quarantined, Quarantining, Store
from gateway.lifecycle import State
from gateway.model import Call, CallRecord, Reply, Subject, Surface


class Purger:
    """``sources``: those that have a quarantine, by name. ``handle``: the walk."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Quarantining],
        handle: Callable[[Call], Awaitable[Reply]],
        store: Store,
        clock: Clock,
        new_id: Callable[[str], str],
    ) -> None:
        self._sources = sources
        self._handle = handle
        self._store = store
        self._clock = clock
        self._new_id = new_id

    async def listed(self) -> list[tuple[Quarantined, CallRecord | None]]:
        """Everything in quarantine, with the call it is kept for. Raises ``UpstreamError``."""
        found = [q for source in self._sources.values() for q in await source.quarantined()]
        return [(q, await self._store.call(q.call)) for q in found]

    async def propose(self, source: str, calls: Sequence[str], *, by: str) -> Reply:
        """Holds the purge of what lies in quarantine for ``calls``. Raises ``NotFound``."""
        if source not in self._sources:
            raise NotFound("There is no such source with a quarantine.")
        request = {"purge": sorted(calls)}
        return await self._handle(
            Call(
                id=self._new_id("call"),
                subject=Subject(id=by, roles=("admin",), session="purge"),
                surface=Surface.ADMIN,
                tool=source,
                request=request,
                digest=digest_of(Surface.ADMIN, source, request),
                received_at=self._clock.now(),
            )
        )

    async def propose_expired(self) -> int:
        """Proposes to purge what is kept for calls that cannot be taken back any more; how many
        proposals were made. One that waits already, or was rejected, is not made again."""
        asked = await self._asked()
        made = 0
        for name, source in self._sources.items():
            try:
                found = await source.quarantined()
            except UpstreamError:
                continue  # asked again the next time
            over = {q.call for q in found if await self._over(q.call)}
            for call in sorted(over - asked):
                await self.propose(name, [call], by="gateway")
                made += 1
        return made

    async def _over(self, call: str) -> bool:
        """Whether nothing can be taken back from what is kept for ``call``."""
        record = await self._store.call(call)
        if record is None or record.undo.expires_at is None:
            return record is None
        return record.undo.expires_at <= self._clock.now()

    async def _asked(self) -> set[str]:
        records, _ = await self._store.calls(
            session="purge", states=(State.HELD, State.DENIED), limit=1000
        )
        return {call for record in records for call in record.call.request.get("purge", ())}
