"""Runs a piece of work in a forked child that is killed (SIGKILL) when it reaches a step."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path


class Killer:
    """A probe: kills this process on the ``nth`` time that ``step`` is reached."""

    def __init__(self, step: str, nth: int) -> None:
        self._step = step
        self._left = nth

    def __call__(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Notes:
    """What the child was told, on disk before it goes on: replies that must stay true."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def write(self, line: str) -> None:
        os.write(self._file, (line + "\n").encode())


@dataclass(frozen=True)
class Ended:
    """``killed`` is false when the work ended before the step was reached often enough."""

    killed: bool


def run_and_kill(work: Callable[[Killer], Awaitable[None]], killer: Killer, log: Path) -> Ended:
    """Forks; raises with the child's own traceback when it failed otherwise."""
    return ended(start(work, killer, log), log)


def start(work: Callable[[Killer], Awaitable[None]], killer: Killer, log: Path) -> int:
    """The number of a child process that does the work."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(work(killer))  # type: ignore[arg-type]
            status = 0
        except BaseException:  # noqa: BLE001 - the parent raises what is written here
            log.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    return child


def ended(child: int, log: Path) -> Ended:
    """Waits for it."""
    _, raw = os.waitpid(child, 0)
    if os.WIFSIGNALED(raw) and os.WTERMSIG(raw) == signal.SIGKILL:
        return Ended(killed=True)
    if os.WEXITSTATUS(raw) != 0:
        raise AssertionError(f"the child failed by itself:\n{log.read_text()}")
    return Ended(killed=False)
