"""Freezes: the state that no policy can lift.

The store decides (inside ``begin`` and ``permit``); what stands here turns configuration into
windows, refuses early, and gives people the answer ``drained``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from gateway.interfaces import Clock, FreezeStore
from gateway.model import EXECUTE, Action, ActionClass, Call, Deny, Freeze, Reach, Scope

DRAIN_POLL_S = 0.05
_ROW_VERBS = ("insert", "update", "delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A recurring freeze: from each moment that ``cron`` names in ``timezone``, for
    ``duration``."""

    name: str
    cron: str
    duration: timedelta
    timezone: str
    scope: Scope

    def started(self, now: datetime) -> datetime | None:
        """When the occurrence that covers ``now`` began. Durations are elapsed time, so a window
        over a clock change is neither shorter nor longer than configured."""
        zone = ZoneInfo(self.timezone)
        # The cron walks wall-clock time backwards from just after now.
        moments = CronSim(self.cron, now.astimezone(zone) + timedelta(minutes=1), reverse=True)
        for moment in moments:
            start = moment.astimezone(now.tzinfo)
            if start > now:
                continue
            return start if now < start + self.duration else None
        return None


class Windows:
    """The recurring freezes of the configuration (``FreezeWindows``)."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = tuple(windows)

    def active(self, now: datetime) -> tuple[Freeze, ...]:
        found = []
        for window in self._windows:
            start = window.started(now)
            if start is not None:
                found.append(
                    Freeze(
                        id=f"window:{window.name}",
                        scope=window.scope,
                        reason=f"recurring freeze {window.name!r}",
                        starts_at=start,
                        ends_at=start + window.duration,
                        origin=f"window:{window.name}",
                        created_by="configuration",
                    )
                )
        return tuple(found)


def reach_of(call: Call, action: Action, tables: Sequence[str] = ()) -> Reach:
    """What a freeze is compared with; ``tables`` adds those that were measured."""
    named = [e.name for e in action.effects if e.verb != "select"]
    verbs = {e.verb for e in action.effects} | {action.name}
    if EXECUTE in verbs:
        verbs |= {str(ActionClass.WRITE), *_ROW_VERBS}  # it may turn out to be any of these
    return Reach(
        surface=call.surface,
        tool=call.tool,
        agent=call.subject.id,
        cls=action.cls,
        verbs=tuple(sorted(verbs)),
        tables=tuple(sorted({*named, *tables})),
    )


def frozen(reach: Reach, freezes: Sequence[Freeze], now: datetime) -> Deny | None:
    """``frozen`` with the ids and ends of what stops ``reach`` at ``now``."""
    stopping = [f for f in freezes if f.active(now) and f.scope.covers(reach)]
    if not stopping:
        return None
    return Deny(
        reason="frozen",
        detail="A freeze stops this: "
        + "; ".join(f.reason for f in stopping)
        + ". Nothing was changed. Wait until it is lifted or ask the person who set it.",
        extra={
            "freezes": [
                {
                    "id": f.id,
                    "reason": f.reason,
                    "until": f.ends_at.isoformat() if f.ends_at else None,
                }
                for f in stopping
            ]
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeAnswer:
    """``drained``: nothing in scope is running any more, so nothing in scope can still land."""

    freeze: Freeze
    in_flight: tuple[str, ...]
    drained: bool


class Freezer:
    """What the admin side calls. ``cancel`` stops a running call that holds no permit yet."""

    def __init__(
        self,
        store: FreezeStore,
        windows: Windows,
        clock: Clock,
        new_id: Callable[[str], str],
        cancel: Callable[[str], Awaitable[object]],
        *,
        drain_timeout_s: float = 30.0,
    ) -> None:
        self._store = store
        self._windows = windows
        self._clock = clock
        self._new_id = new_id
        self._cancel = cancel
        self._drain_timeout_s = drain_timeout_s

    async def freeze(
        self,
        scope: Scope,
        *,
        reason: str,
        by: str,
        starts_at: datetime | None = None,
        ends_at: datetime | None = None,
        drain: bool = False,
    ) -> FreezeAnswer:
        """Durable when it returns. With ``drain`` it first waits until nothing in scope runs,
        after cancelling what can still be cancelled."""
        wanted = Freeze(
            id=self._new_id("frz"),
            scope=scope,
            reason=reason,
            starts_at=starts_at or self._clock.now(),
            ends_at=ends_at,
            created_by=by,
        )
        answer = await self._store.freeze(wanted)
        drained = not answer.in_flight
        if drain and not drained:
            drained = await self._drain(answer.freeze, answer.in_flight)
        return FreezeAnswer(freeze=answer.freeze, in_flight=answer.in_flight, drained=drained)

    async def _drain(self, freeze: Freeze, in_flight: Sequence[str]) -> bool:
        for call in in_flight:
            await self._cancel(call)
        waited = 0.0
        while waited < self._drain_timeout_s:
            if not await self._store.in_flight(freeze.scope):
                return True
            await asyncio.sleep(DRAIN_POLL_S)
            waited += DRAIN_POLL_S
        return not await self._store.in_flight(freeze.scope)

    async def lift(self, id: str, *, by: str) -> Freeze | None:
        return await self._store.lift(id, by=by)

    async def freezes(self, *, lifted: bool = False) -> list[Freeze]:
        """Stored freezes and the recurring windows in force now, newest first."""
        stored = await self._store.freezes(lifted=lifted)
        now = self._clock.now()
        return [*(replace(w) for w in self._windows.active(now)), *stored]
