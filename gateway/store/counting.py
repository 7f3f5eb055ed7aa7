"""What policy is told of a subject's earlier calls: counts of its session and of its last hour.

They are the store's own rows, counted once when a subject or session is first asked about and kept
up to date from the moves after that, so a decision costs no query and a restart forgets nothing.
"""

from __future__ import annotations

import json
import operator
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

from gateway.interfaces.metering import Meter, NoMeter
from gateway.lifecycle import State
from gateway.model import (
    ActionClass,
    Approval,
    Call,
    CallRecord,
    Deny,
    Intent,
    Json,
    Measured,
    Outcome,
    Permit,
    Reach,
    RevertJob,
    Running,
    Undo,
)
from gateway.store.cells import stamp
from gateway.store.rows import Tallied
from gateway.store.tables import Tables
from gateway.store.transactional import TransactionalStore

HOUR = timedelta(hours=1)
_CLOCK = timedelta(minutes=5)  # by which a clock may have been set back
_TO_THE_MINUTE = len("2026-01-01T00:00")
_MOST = 10_000  # subjects and sessions that are kept; the longest unused one is counted anew
_DENIED_AT_BEGIN = ("frozen", "policy.unavailable")  # other denials leave no row
_CLASSES = {ActionClass.READ.value: "reads", ActionClass.WRITE.value: "writes"}


class Counts(NamedTuple):
    """``calls``: all that were refused or let through. Of those let through, rehearsals aside:
    ``reads``, ``writes`` and ``destructive`` (which schema changes are too), and the ``rows`` that
    they changed. By how they ended: ``denied``, ``failed``, ``unknown``. Reverts do not count."""

    calls: int = 0
    reads: int = 0
    writes: int = 0
    destructive: int = 0
    rows: int = 0
    denied: int = 0
    failed: int = 0
    unknown: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*map(operator.add, self, other))

    def minus(self, other: Counts) -> Counts:
        return Counts(*map(operator.sub, self, other))


def counted(tallied: Tallied) -> Counts:
    """What ``Tallied`` rows are to policy. A call that waits for a person is not counted yet."""
    if tallied.state == State.HELD:
        return Counts()
    found = Counts(calls=tallied.calls, rows=tallied.rows)
    if tallied.begun and not tallied.dry_run:
        found = found._replace(**{_name_of(tallied.cls): tallied.calls})
    ended = {State.DENIED: "denied", State.FAILED: "failed", State.UNKNOWN: "unknown"}
    name = ended.get(State(tallied.state))
    return found if name is None else found._replace(**{name: tallied.calls})


def _name_of(cls: str | None) -> str:
    return _CLASSES.get(str(cls), "destructive")


@dataclass(slots=True)
class _Tally:
    """The sum of the minutes that are not older than ``since``; a whole session is one minute
    without a name."""

    loaded: int
    since: str
    whole: Counts = field(default_factory=Counts)
    minutes: dict[str, Counts] = field(default_factory=dict)

    def add(self, minute: str, counts: Counts) -> None:
        if minute >= self.since:
            self.minutes[minute] = self.minutes.get(minute, Counts()).plus(counts)
            self.whole = self.whole.plus(counts)

    def total(self, since: str) -> Counts:
        if since > self.since:
            self.since = since
            for minute in [known for known in self.minutes if known < since]:
                self.whole = self.whole.minus(self.minutes.pop(minute))
        return self.whole


@dataclass(frozen=True, slots=True)
class _Open:
    """A call that was let through and has not ended, and what it was counted as."""

    call: Call
    counts: Counts


_Key = tuple[str, str | None]  # the subject, and the session or ``None`` for the subject's hour


class Tallies:
    """Which counts are known. A move is numbered before it is written: one whose writing began
    before counts were read may stand in them already, so those are dropped and read anew."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, _Tally] = OrderedDict()
        self._loading: dict[_Key, int] = {}
        self._numbers = count(1)
        self.open: dict[str, _Open] = {}

    def number(self) -> int:
        return next(self._numbers)

    def find(self, key: _Key) -> _Tally | None:
        tally = self._known.get(key)
        if tally is not None:
            self._known.move_to_end(key)
        return tally

    def loads(self, key: _Key) -> None:
        self._loading.setdefault(key, 0)

    def loaded(self, key: _Key, since: str, rows: Sequence[Tallied]) -> _Tally:
        tally = _Tally(self.number(), since)
        for row in rows:
            tally.add("" if key[1] is not None else row.minute, counted(row))
        if not self._loading.pop(key, 1):  # nothing moved while it was read
            self._known[key] = tally
            while len(self._known) > _MOST:
                self._known.popitem(last=False)
        return tally

    def add(self, number: int, call: Call, counts: Counts) -> None:
        if call.reverts:
            return
        minute = stamp(call.received_at)[:_TO_THE_MINUTE]
        for key in ((call.subject.id, call.subject.session), (call.subject.id, None)):
            if key in self._loading:
                self._loading[key] += 1
            tally = self._known.get(key)
            if tally is None:
                continue
            if tally.loaded > number:
                del self._known[key]
            else:
                tally.add("" if key[1] is not None else minute, counts)

    def forget(self) -> None:
        """After moves that are rare and told elsewhere: everything is counted anew when asked."""
        self._known.clear()
        self._loading = {key: moved + 1 for key, moved in self._loading.items()}


def _read(t: Tables, key: _Key, since: str) -> list[Tallied]:
    agent, session = key
    return t.tallied(agent, session, since, 0 if session is not None else _number_at(t, since))


def _number_at(t: Tables, since: str) -> int:
    """The number of an entry of the log from before ``since`` that is close to it: the order of
    calls is that of entries, and only entries have an index by time, being in its order."""
    low, high = 0, (t.last_entry() or (0, ""))[0]
    while low < high:
        middle = (low + high) // 2
        at = json.loads(t.entries(middle, 1)[0].body)["at"]
        if datetime.fromisoformat(at) + _CLOCK < datetime.fromisoformat(f"{since}:00+00:00"):
            low = middle + 1
        else:
            high = middle
    return low


class CountingStore(TransactionalStore):
    """A store that also counts: every move goes through here once more."""

    def __init__(self, *, meter: Meter | None = None, **parts: Any) -> None:
        super().__init__(**parts)
        self._tallies = Tallies()
        self._meter = meter or NoMeter()

    async def open_calls(self) -> Mapping[str, int]:
        def states(t: Tables) -> list[str]:
            return [
                *(head.state for head in t.unsettled()),
                *(State.HELD for _ in t.approvals(True)),
            ]

        return Counter(await self._read(states))

    async def counters(self, call: Call) -> Mapping[str, Json]:
        subject = call.subject
        since = stamp(self._clock.now() - HOUR)[:_TO_THE_MINUTE]
        session = (await self._tally((subject.id, subject.session), "")).total("")
        hour = (await self._tally((subject.id, None), since)).total(since)
        own = self._tallies.open.get(call.id)
        if own is not None:
            session = session.minus(own.counts)
            if stamp(own.call.received_at)[:_TO_THE_MINUTE] >= since:
                hour = hour.minus(own.counts)
        return {"session": session._asdict(), "hour": hour._asdict()}

    async def _tally(self, key: _Key, since: str) -> _Tally:
        known = self._tallies.find(key)
        if known is not None:
            return known
        self._tallies.loads(key)
        rows = await self._read(lambda t: _read(t, key, since))
        return self._tallies.loaded(key, since, rows)

    # --- moves

    async def refuse(
        self,
        call: Call,
        deny: Deny,
        *,
        action: Mapping[str, Json] | None = None,
        reach: Reach | None = None,
    ) -> bool:
        number = self._tallies.number()
        refused = await super().refuse(call, deny, action=action, reach=reach)
        if refused:
            self._tallies.add(number, call, Counts(calls=1, denied=1))
        return refused

    async def intend(self, call: Call, **more: Any) -> Intent | Deny:
        number = self._tallies.number()
        intent = await super().intend(call, **more)
        if isinstance(intent, Intent):
            self._begun(number, call, more["action"])
        return intent

    async def begin(self, intent: Intent, **more: Any) -> Running | Deny:
        number = self._tallies.number()
        running = await super().begin(intent, **more)
        if isinstance(running, Deny):
            self._ended(number, intent.call, Counts(denied=1))
        return running

    async def start(self, call: Call, **more: Any) -> Running | Deny:
        number = self._tallies.number()
        running = await super().start(call, **more)
        if isinstance(running, Running):
            self._begun(number, call, more["action"])
        elif running.reason in _DENIED_AT_BEGIN:
            self._begun(number, call, more["action"])
            self._ended(number, call.id, Counts(denied=1))
        return running

    async def permit(self, running: Running, **more: Any) -> Permit | Deny:
        number = self._tallies.number()
        permit = await super().permit(running, **more)
        if isinstance(permit, Permit) and more["undo"] is not None:
            undo: Undo = more["undo"]
            size = len(undo.image) if undo.spooled is None else undo.spooled.size
            self._meter.kept(undo.upstream, size)
        measured: Measured = more["measured"]
        was = self._tallies.open.get(running.call)
        if isinstance(permit, Permit) and was is not None:
            rows = Counts(rows=measured.rows)
            self._tallies.open[running.call] = replace(was, counts=was.counts.plus(rows))
            self._tallies.add(number, was.call, rows)
        return permit

    async def settle(self, running: Running, outcome: Outcome) -> CallRecord:
        number = self._tallies.number()
        record = await super().settle(running, outcome)
        was = self._tallies.open.get(running.call)
        if was is None:
            self._tallies.forget()  # somebody else's: recovery tells how it ended
        elif record.state is State.FAILED:
            self._ended(number, running.call, Counts(failed=1, rows=-was.counts.rows))
        else:
            unknown = record.state is State.UNKNOWN
            self._ended(number, running.call, Counts(unknown=int(unknown)))
        return record

    async def resolve(self, id: str, outcome: Outcome, **more: Any) -> CallRecord | None:
        try:
            return await super().resolve(id, outcome, **more)
        finally:
            self._tallies.forget()

    async def take_over(self, **more: Any) -> list[tuple[CallRecord, Running | None]]:
        taken = await super().take_over(**more)
        # Those that are unknown stay as they are until one of them is settled.
        moved = [record.call.id for record, _ in taken if record.state is not State.UNKNOWN]
        for id in moved:
            self._tallies.open.pop(id, None)
        if moved:
            self._tallies.forget()
        return taken

    async def decide_approval(self, id: str, **more: Any) -> Approval | None:
        try:
            return await super().decide_approval(id, **more)
        finally:
            self._tallies.forget()

    async def save_revert(self, job: RevertJob) -> None:
        await super().save_revert(job)
        if job.state != "running":
            self._meter.reverted(job)

    def _begun(self, number: int, call: Call, action: Mapping[str, Json]) -> None:
        if call.reverts:
            return
        counts = Counts(calls=1)
        if not call.dry_run:
            counts = counts._replace(**{_name_of(action.get("class")): 1})
        self._tallies.open[call.id] = _Open(call, counts)
        self._tallies.add(number, call, counts)

    def _ended(self, number: int, id: str, counts: Counts) -> None:
        was = self._tallies.open.pop(id, None)
        if was is not None:
            self._tallies.add(number, was.call, counts)
