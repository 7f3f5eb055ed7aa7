"""The circuit breaker of one upstream: a tool that does not answer is left alone for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.errors import UpstreamError
from gateway.interfaces import Clock


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to send one request. ``era``: the circuit opened that often before; ``trial``: it is
    the one that finds out whether the tool is back."""

    era: int
    trial: bool


class Breaker:
    """Opens after ``failures`` requests in a row without an answer; after ``rest_s`` it lets one
    through, whose end decides. What it stops has not been sent. Every ``enter`` is followed by
    ``answered``, ``silent`` or ``left``."""

    def __init__(self, clock: Clock, *, failures: int = 10, rest_s: float = 10.0) -> None:
        self._clock = clock
        self._most = failures
        self._rest = timedelta(seconds=rest_s)
        self._failed = 0
        self._era = 0
        self._open_until: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self._open_until is not None

    def enter(self) -> Pass:
        """Raises ``UpstreamError`` (nothing was sent) while the circuit is open."""
        if self._open_until is None:
            return Pass(self._era, trial=False)
        now = self._clock.now()
        if now < self._open_until:
            raise UpstreamError(
                "The tool has not answered for a while and is left alone. Nothing was sent; try "
                "again later.",
                reason="upstream.unreachable",
            )
        # The others wait until the one that goes now has told, or has taken too long itself.
        self._open_until = now + self._rest
        return Pass(self._era, trial=True)

    def answered(self) -> None:
        """Any answer shows that the tool is there, also one to an older request."""
        self._failed = 0
        self._open_until = None

    def silent(self, sent: Pass) -> None:
        """Of what was sent before the circuit opened, silence says nothing new."""
        if sent.era != self._era:
            return
        self._failed += 1
        if sent.trial or self._failed >= self._most:
            self._era += 1
            self._failed = 0
            self._open_until = self._clock.now() + self._rest

    def left(self, sent: Pass) -> None:
        """The request ended without telling anything of the tool: another may find out."""
        if sent.trial and sent.era == self._era and self._open_until is not None:
            self._open_until = self._clock.now()
