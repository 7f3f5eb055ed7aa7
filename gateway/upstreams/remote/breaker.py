"""The circuit breaker of one upstream: a tool that does not answer is left alone for a while."""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.errors import UpstreamError
from gateway.interfaces import Clock


class Breaker:
    """Opens after ``failures`` requests in a row without an answer; after ``rest_s`` it lets one
    through, whose end decides. What it stops has not been sent."""

    def __init__(self, clock: Clock, *, failures: int = 10, rest_s: float = 10.0) -> None:
        self._clock = clock
        self._most = failures
        self._rest = timedelta(seconds=rest_s)
        self._failed = 0
        self._open_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self._open_until is not None

    def enter(self) -> None:
        """Raises ``UpstreamError`` (nothing was sent) while the circuit is open."""
        if self._open_until is None:
            return
        now = self._clock.now()
        if now < self._open_until:
            raise UpstreamError(
                "The tool has not answered for a while and is left alone. Nothing was sent; try "
                "again later.",
                reason="upstream.unreachable",
            )
        # The others wait until the one that goes now has told.
        self._open_until = now + self._rest

    def answered(self) -> None:
        self._failed = 0
        self._open_until = None

    def silent(self) -> None:
        self._failed += 1
        if self._failed >= self._most:
            self._open_until = self._clock.now() + self._rest
