"""A statement of somebody's test suite: a read has no effect; whatever else is carried out is taken
back and done again, and the whole database is compared each time. Nobody thought of a gateway when
these were written, so they meet what no test of ours was made for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from gateway.errors import UpstreamError
from gateway.interfaces import Rehearsing, Upstream
from gateway.model import (
    ActionClass,
    Deny,
    OnConflict,
    Permit,
    Reversibility,
    Undo,
)
from tests.matrix.running import asked

_LONGEST = 20_000  # characters
_S = 60.0


class Target(Protocol):
    @property
    def upstream(self) -> Upstream: ...

    def dump(self) -> Mapping[str, Any]:
        """All rows and definitions, by a reader that is none of ours; no numbers of sequences."""
        ...

    def plain(self, sql: str) -> None:
        """Runs it without the gateway; whether that succeeds says nothing."""
        ...

    def kept(self, undo: Undo) -> Undo:
        """With its images, which would go with an attempt that no store knows of."""
        ...

    def fits(self, sql: str) -> bool:
        """Whether it can run here at all, and concerns this database only."""
        ...


class Suite:
    """``seen`` counts what became of the statements; ``wrong`` tells what should not be."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, statements: Iterable[str]) -> None:
        for sql in statements:
            if sql and len(sql) < _LONGEST and self._target.fits(sql):
                await self._one(sql)

    async def _one(self, sql: str) -> None:
        before = self._target.dump()
        found = await self._called(sql)
        if isinstance(found, Undo):
            await self._back(sql, found, before)
            return
        self.seen[found] += 1
        if self._target.dump() != before:
            self._tell(sql, f"{found}, and yet something changed")
        self._plain(sql)
        if found == "read" and self._target.dump() != before:
            self._tell(sql, "judged a read, and something changed")

    def _plain(self, sql: str) -> None:
        if not getattr(sql, "stdin", ""):  # who reads nothing waits for ever
            self._target.plain(sql)

    def _tell(self, sql: str, what: str) -> None:
        self.wrong.append(f"{what}: {sql[:300]}")

    async def _called(self, sql: str) -> Undo | str:
        call = asked(sql, getattr(sql, "stdin", None) or None)
        try:
            action = await self._target.upstream.parse(call)
            if isinstance(action, Deny):
                return action.reason
            if action.cls is ActionClass.READ:
                return "read"
            if action.reversibility is not Reversibility.EXACT:
                return "known to be inexact"
            async with asyncio.timeout(_S), self._target.upstream.attempt(call, action) as attempt:
                await attempt.run()
                captured = await attempt.capture()
                if isinstance(captured, Deny):
                    return captured.reason
                if action.cls is ActionClass.DESTRUCTIVE and isinstance(attempt, Rehearsing):
                    # As by default: a row that was an orphan before is not made one again.
                    refusal = await attempt.rehearse(demanded=False)
                    if refusal is not None:
                        return refusal.reason
                outcome = await attempt.commit(Permit.issue(call.id, 1))
                if outcome.refusal is not None:
                    return outcome.refusal.reason
                return self._target.kept(captured.undo)
        except UpstreamError as error:
            return error.reason

    async def _back(self, sql: str, undo: Undo, before: Mapping[str, Any]) -> None:
        after = self._target.dump()
        redo = await self._reverted(undo)
        if isinstance(redo, str):
            self._tell(sql, redo)
            return
        if _different(before, self._target.dump()):
            self._tell(sql, f"{_different(before, self._target.dump())} not as before")
            return
        self.seen["exact"] += 1
        if redo.reversibility is not Reversibility.EXACT:
            self._plain(sql)
            return
        again = await self._reverted(redo)
        if isinstance(again, str):
            self._tell(sql, f"done again: {again}")
        elif _different(after, self._target.dump()):
            self._tell(sql, f"{_different(after, self._target.dump())} not as after")
        else:
            self.seen["exact again"] += 1

    async def _reverted(self, undo: Undo) -> Undo | str:
        call = asked("revert")
        unwind = self._target.upstream.unwind(call, [("call", undo)], OnConflict.ABORT)
        async with asyncio.timeout(_S), unwind as unwinding:
            (step,) = await unwinding.run()
            if step.state != "reverted":
                return f"{step.state}: {step.detail} {[c.why for c in step.conflicts]}"
            captured = await unwinding.capture()
            if isinstance(captured, Deny):
                return captured.detail
            outcome = await unwinding.commit(Permit.issue(call.id, 1))
            if outcome.refusal is not None:
                return outcome.refusal.detail
            return self._target.kept(captured.undo)


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
