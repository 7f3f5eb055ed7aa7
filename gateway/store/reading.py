"""Looking calls up, for every store alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from gateway.interfaces import Clock
from gateway.lifecycle import State
from gateway.model import CallRecord
from gateway.store import listing
from gateway.store.cells import record_of, stamp
from gateway.store.refusing import SPARED
from gateway.store.tables import Tables

T = TypeVar("T")


# Refusals after which the same call may well be sent again, and that of whoever counts them.
class Reading(ABC):
    """``interfaces.CallRecords`` over ``Tables``."""

    _clock: Clock

    @abstractmethod
    async def _read(self, op: Callable[[Tables], T]) -> T:
        """The answer of ``op`` over one consistent state."""

    async def repeated(self, subject: str, digest: str, *, since: datetime) -> int:
        return await self._read(lambda t: t.misses(subject, digest, stamp(since), SPARED))

    async def find(self, subject: str, key: str) -> CallRecord | None:
        return await self._read(lambda t: listing.find(t, self._clock.now(), subject, key))

    async def call(self, id: str) -> CallRecord | None:
        row = await self._read(lambda t: t.call(id))
        return None if row is None else record_of(row, stamp(self._clock.now()))

    async def calls(
        self,
        *,
        session: str | None = None,
        agent: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        states: Sequence[State] = (),
        tool: str | None = None,
        reverts: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[CallRecord], str | None]:
        wanted = listing.wanted(
            session=session,
            agent=agent,
            since=since,
            until=until,
            states=states,
            tool=tool,
            reverts=reverts,
            limit=limit,
            cursor=cursor,
        )
        return await self._read(lambda t: listing.calls(t, self._clock.now(), wanted))
