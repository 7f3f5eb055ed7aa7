"""What a revert takes back: the calls behind a target, and the undo of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.errors import ImageDamaged, Malformed, NotFound
from gateway.interfaces import CallRecords, SnapshotStore
from gateway.lifecycle import REVERTIBLE
from gateway.model import CallRecord, EffectState, Json, Step, Undo
from gateway.steps import cannot, is_open

PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The calls of one upstream, newest first, each with its undo."""

    upstream: str
    undos: tuple[tuple[str, Undo], ...]


class Recorded(CallRecords, SnapshotStore, Protocol):
    """The part of the store that is read here."""


class Selection:
    """``upstreams`` names those that can be reverted now."""

    def __init__(self, store: Recorded, upstreams: Collection[str]) -> None:
        self._store = store
        self._upstreams = upstreams

    async def records(self, target: Mapping[str, Json]) -> list[CallRecord]:
        """The calls with an effect, known or possible, newest first."""
        if "call" in target:
            record = await self._store.call(target["call"])
            if record is None:
                raise NotFound("There is no such call.")
            return [record]
        if "session" not in target and not ("agent" in target and "since" in target):
            raise Malformed("Name a call, a session, or an agent with since.")
        found: list[CallRecord] = []
        cursor: str | None = None
        while True:
            page, cursor = await self._store.calls(
                session=target.get("session"),
                agent=target.get("agent"),
                since=target.get("since"),
                until=target.get("until"),
                reverts=False,
                limit=PAGE,
                cursor=cursor,
            )
            found.extend(r for r in page if r.effect is not EffectState.NONE or is_open(r))
            if cursor is None:
                return found

    async def grouped(
        self, job: str, records: Sequence[CallRecord]
    ) -> tuple[list[Group], list[Step]]:
        """What can be taken back, by upstream, and a step for each call that cannot."""
        undos: dict[str, list[tuple[str, Undo]]] = {}
        steps: list[Step] = []
        for record in records:
            done = await self._done(job, record)
            if done is not None:
                steps.append(done)
                continue
            if record.reverted_by is not None and len(records) > 1:
                continue  # of many, those that somebody took back already need nothing
            undo = await self._undo_of(record)
            if isinstance(undo, Step):
                steps.append(undo)
            else:
                undos.setdefault(record.call.tool, []).append((record.call.id, undo))
        groups = [Group(upstream=name, undos=tuple(found)) for name, found in undos.items()]
        return groups, steps

    async def _done(self, job: str, record: CallRecord) -> Step | None:
        """The step of a call that this very job took back before it was interrupted."""
        if record.reverted_by is None:
            return None
        reverter = await self._store.call(record.reverted_by)
        if reverter is None or reverter.call.request.get("job") != job:
            return None
        steps = reverter.outcome.steps if reverter.outcome else ()
        return next((s for s in steps if s.call == record.call.id), None)

    async def _undo_of(self, record: CallRecord) -> Undo | Step:
        why = None
        if is_open(record):
            why = f"its outcome is not settled (state {record.state})"
            return cannot(record, why, reason="outcome.unknown")
        if record.state not in REVERTIBLE or record.effect is not EffectState.APPLIED:
            why = "it had no effect"
        elif record.reverted_by is not None:
            why = f"it was reverted by {record.reverted_by}; revert that call to redo this one"
        elif record.call.tool not in self._upstreams:
            why = "its source is no longer configured"
        if why is not None:
            return cannot(record, why)
        try:
            undo = await self._store.undo_of(record.call.id)
        except ImageDamaged as error:
            return cannot(record, error.detail)
        if undo is None or not record.undo.available:
            return cannot(record, f"it has no way back ({record.undo.reversibility})")
        answer = record.outcome.result if record.outcome else None
        return replace(undo, answer=answer)
