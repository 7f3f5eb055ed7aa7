"""What a revert takes back: the calls behind a target, and the undo of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.errors import ImageDamaged, Malformed, NotFound
from gateway.interfaces import CallRecords, SnapshotStore
from gateway.lifecycle import REVERTIBLE
from gateway.model import CallRecord, EffectState, Json, Step, Undo
from gateway.steps import cannot, is_open, undecided

PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Neighbours in the order of a revert that come back in one transaction of their upstream,
    newest first, each with its undo; one call alone where the upstream has no transactions."""

    upstream: str
    undos: tuple[tuple[str, Undo], ...]


def whole(groups: Sequence[Group]) -> list[Group]:
    """All calls of each upstream together: how they are foreseen, so that an older call is
    compared with what the newer ones, taken back, will leave."""
    undos: dict[str, list[tuple[str, Undo]]] = {}
    for group in groups:
        undos.setdefault(group.upstream, []).extend(group.undos)
    return [Group(upstream=name, undos=tuple(found)) for name, found in undos.items()]


def _runs(undos: Sequence[tuple[str, str, Undo]]) -> list[Group]:
    """Strictly in order: calls of one upstream share a transaction only as neighbours."""
    groups: list[Group] = []
    for upstream, call, undo in undos:
        last = groups[-1] if groups else None
        joins = last is not None and last.upstream == upstream and not undo.alone
        if last is not None and joins and not last.undos[-1][1].alone:
            groups[-1] = replace(last, undos=(*last.undos, (call, undo)))
        else:
            groups.append(Group(upstream=upstream, undos=((call, undo),)))
    return groups


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
        """What can be taken back, in order, and a step for each call that cannot."""
        undos: list[tuple[str, str, Undo]] = []
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
                undos.append((record.call.tool, record.call.id, undo))
        return _runs(undos), steps

    async def _done(self, job: str, record: CallRecord) -> Step | None:
        """The step of a call that this very job took back before it was interrupted, or that
        somebody is taking back without its being known whether that has happened."""
        if record.reverted_by is None:
            return None
        reverter = await self._store.call(record.reverted_by)
        if reverter is not None and is_open(reverter):
            return undecided(record, reverter)
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
            gone = record.undo.gone
            return cannot(record, gone or f"it has no way back ({record.undo.reversibility})")
        return undo
