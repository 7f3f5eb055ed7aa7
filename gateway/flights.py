"""The calls that this process is carrying out: shielded from callers that go away, and stopped
only while nothing can have landed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gateway.errors import Overloaded, StoreUnavailable
from gateway.interfaces import CallStore, Pace
from gateway.model import Reply, Reversibility, Running, Undo


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    lease: timedelta = timedelta(seconds=120)
    retention: timedelta | None = timedelta(days=30)
    max_in_flight: int = 256
    pace: Pace = field(default_factory=Pace)

    def expiry(self, undo: Undo, now: datetime) -> datetime | None:
        """Until when the call can be taken back; ``None`` for ever, or where it never can."""
        if undo.reversibility is Reversibility.IRREVERSIBLE or self.retention is None:
            return None
        return now + self.retention


@dataclass(slots=True)
class _Flight:
    task: asyncio.Task[Reply]
    cancellable: bool = False


class Flights:
    """``most`` bounds how many calls run at once; one more raises ``Overloaded``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._flights: dict[str, _Flight] = {}

    async def fly(self, id: str, walk: Coroutine[Any, Any, Reply]) -> Reply:
        """Runs ``walk`` to its end even if the caller is cancelled."""
        if len(self._flights) >= self._most:
            walk.close()
            raise Overloaded("Too many calls are running. Nothing was done; try again shortly.")
        task = asyncio.create_task(walk, name=f"call {id}")
        self._flights[id] = _Flight(task)
        task.add_done_callback(lambda _: self._flights.pop(id, None))
        return await asyncio.shield(task)

    @contextmanager
    def cancellable(self, id: str) -> Iterator[None]:
        """The stretch of the walk in which ``cancel`` may stop the call."""
        flight = self._flights.get(id)
        if flight is None:
            yield
            return
        flight.cancellable = True
        try:
            yield
        finally:
            flight.cancellable = False

    def seal(self, id: str) -> None:
        """From here on the call can land: ``cancel`` leaves it alone."""
        flight = self._flights.get(id)
        if flight is not None:
            flight.cancellable = False

    async def cancel(self, id: str) -> bool:
        """Stops the call if that is still possible, and waits until it has ended."""
        flight = self._flights.get(id)
        if flight is None or not flight.cancellable:
            return False
        flight.task.cancel()
        await asyncio.wait([flight.task])
        return True

    async def land(self, timeout_s: float) -> int:
        """Waits for all flights; the number still in the air after ``timeout_s``."""
        tasks = [flight.task for flight in self._flights.values()]
        if not tasks:
            return 0
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        return len(pending)


@asynccontextmanager
async def held(store: CallStore, running: Running, lease: timedelta) -> AsyncIterator[None]:
    """Renews the lease of a running call until the context is left, so that recovery takes over
    only what nobody works on."""
    pause = lease.total_seconds() / 3
    keepers: list[asyncio.Task[None]] = []

    def keep() -> None:
        keepers.append(asyncio.create_task(_renewing(store, running, lease, pause)))

    # Most calls are over before the first renewal is due: only then is there a task.
    due = asyncio.get_running_loop().call_later(pause, keep)
    try:
        yield
    finally:
        due.cancel()
        for keeper in keepers:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper


async def _renewing(store: CallStore, running: Running, lease: timedelta, pause: float) -> None:
    mine = True
    while mine:
        # A store that is away now may be back before the lease ends.
        with suppress(StoreUnavailable):
            mine = await store.renew(running, lease=lease)
        await asyncio.sleep(pause)


def clear_cancellation() -> None:
    """Called by the task that handled its own cancellation and goes on to settle."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
