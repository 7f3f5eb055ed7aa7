"""Failed sign-ins on record, few enough that nobody can flood the audit log with them."""

from __future__ import annotations

import logging
from collections import deque
from datetime import datetime, timedelta

from gateway.errors import StoreUnavailable
from gateway.interfaces import AuditStore, Clock

_log = logging.getLogger(__name__)
_WINDOW = timedelta(minutes=1)


class FailedSignIns:
    """Records at most ``per_minute`` of them; the next entry carries how many were left out."""

    def __init__(self, store: AuditStore, clock: Clock, *, per_minute: int = 6) -> None:
        self._store = store
        self._clock = clock
        self._per_minute = per_minute
        self._recorded: deque[datetime] = deque()
        self._left_out = 0

    async def note(self, reason: str, where: str) -> None:
        """``where``: method and route, never what was sent. Does not raise: the caller is refused
        whether or not that could be recorded."""
        now = self._clock.now()
        while self._recorded and now - self._recorded[0] >= _WINDOW:
            self._recorded.popleft()
        if len(self._recorded) >= self._per_minute:
            self._left_out += 1
            return
        self._recorded.append(now)
        left_out, self._left_out = self._left_out, 0
        try:
            await self._store.record(
                "identity.refused", {"reason": reason, "where": where, "left_out": left_out}
            )
        except StoreUnavailable:
            self._left_out += left_out + 1
            _log.warning("a failed sign-in could not be recorded")
