"""One thread that looks at the clock for all statements: SQLite itself counts only its own steps,
and a single one, such as a built-in function over a large value, can take long."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Interruptible(Protocol):
    def interrupt(self) -> None: ...


class Watchdog:
    """The thread starts with the first statement. ``forget`` returns only when no interrupt of a
    statement that is over can still come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until: dict[Interruptible, float] = {}
        self._wakes = float("inf")
        self._thread: threading.Thread | None = None

    def watch(self, what: Interruptible, until: float) -> None:
        """``until``: of ``time.monotonic``."""
        with self._changed:
            self._until[what] = until
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sqlite-watchdog", daemon=True
                )
                self._thread.start()
            elif until < self._wakes:
                self._changed.notify()

    def forget(self, what: Interruptible) -> None:
        with self._changed:
            self._until.pop(what, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for what in [w for w, until in self._until.items() if until <= now]:
                    del self._until[what]
                    what.interrupt()
                self._wakes = min(self._until.values(), default=float("inf"))
                wait = None if self._wakes == float("inf") else self._wakes - now
                self._changed.wait(wait)
