"""The freezes that stand, kept in memory: every decision looks at them, and they seldom change.

Only what policy is shown and what is refused early depends on them. ``begin`` and ``permit`` look
into the tables themselves, in their own transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from gateway.model import Freeze

T = TypeVar("T")


class Standing:
    """Sound where one process writes the tables, and every change of them is a ``changed_by``."""

    def __init__(self) -> None:
        self._known: tuple[Freeze, ...] | None = None
        self._changes = 0

    async def changed_by(self, write: Coroutine[Any, Any, T]) -> T:
        """The answer of a write that may change what stands. A caller that goes away leaves the
        write to its end, and what is known goes when it has ended."""
        task = asyncio.create_task(write)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, _: object) -> None:
        self._changes += 1
        self._known = None

    async def at(
        self, now: datetime, look_up: Callable[[], Awaitable[Sequence[Freeze]]]
    ) -> list[Freeze]:
        """Those that have not ended at ``now``, also those that start later."""
        known = self._known
        if known is None:
            changes = self._changes
            known = tuple(await look_up())
            if changes == self._changes:
                # Otherwise a change came meanwhile, which the look-up may not have seen.
                self._known = known
        return [f for f in known if f.ends_at is None or f.ends_at > now]
