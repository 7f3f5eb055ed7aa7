"""Every method of ``interfaces.Store``, written once: each is one function over ``Tables`` in one
transaction. A store adds where the tables are and what a transaction is."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from gateway.errors import Malformed, StoreUnavailable
from gateway.interfaces import (
    Agent,
    AuditEntry,
    Clock,
    Frozen,
    Pace,
    Probe,
    Remains,
    Rotation,
    SnapshotInfo,
    no_probe,
)
from gateway.interfaces.mcp import Pin
from gateway.model import (
    Approval,
    Call,
    CallRecord,
    Conflict,
    Deny,
    Freeze,
    Hold,
    Intent,
    Json,
    Measured,
    Outcome,
    Permit,
    Reach,
    RevertJob,
    Running,
    Scope,
    Spooled,
    Undo,
)
from gateway.store import (
    approving,
    freezing,
    keeping,
    landing,
    listing,
    refusing,
    rotating,
    starting,
    trail,
)
from gateway.store.binding import Bound, bind, find, find_answer
from gateway.store.cells import approval_of, snapshot_of, stamp
from gateway.store.images import Images
from gateway.store.reading import Reading
from gateway.store.rows import SnapshotRow
from gateway.store.standing import Standing
from gateway.store.tables import Tables

T = TypeVar("T")
APPROVAL_TTL = timedelta(hours=1)
_BATCH = 100


class TransactionalStore(Reading):
    """``approval_ttl`` is how long a hold waits whose policy names no time. ``remains``: where
    sources keep something for a call themselves, so that it goes with the call's snapshot."""

    def __init__(
        self,
        *,
        images: Images,
        clock: Clock,
        approval_ttl: timedelta = APPROVAL_TTL,
        remains: Remains | None = None,
        probe: Probe = no_probe,
    ) -> None:
        self._images = images
        self._clock = clock
        self._approval_ttl = approval_ttl
        self._remains = remains
        self._probe = probe
        self._standing = Standing()

    @abstractmethod
    async def _write(self, op: Callable[[Tables, datetime], T]) -> T:
        """The answer of ``op`` once everything it wrote is durable; if it raises, nothing is."""

    @abstractmethod
    async def _scrub(self) -> None:
        """Makes deleted bytes unreadable wherever the store may still hold copies of them."""

    async def ready(self) -> None:
        await self._write(lambda t, now: t.beat(stamp(now)))

    # --- moves of a call

    async def refuse(
        self,
        call: Call,
        deny: Deny,
        *,
        action: Mapping[str, Json] | None = None,
        reach: Reach | None = None,
    ) -> bool:
        return await self._write(lambda t, now: refusing.refuse(t, now, call, deny, action, reach))

    async def hold(
        self,
        call: Call,
        hold: Hold,
        *,
        action: Mapping[str, Json],
        reach: Reach,
        measured: Measured | None = None,
    ) -> Approval | Deny:
        ttl = self._approval_ttl
        return await self._write(
            lambda t, now: starting.hold(t, now, call, hold, action, reach, measured, ttl)
        )

    async def intend(
        self,
        call: Call,
        *,
        action: Mapping[str, Json],
        reach: Reach,
        decision: Mapping[str, Json],
        approval: str | None = None,
        pace: Pace | None = None,
    ) -> Intent | Deny:
        return await self._write(
            lambda t, now: starting.intend(t, now, call, action, reach, decision, approval, pace)
        )

    async def begin(
        self, intent: Intent, *, windows: Sequence[Freeze], revision: str, lease: timedelta
    ) -> Running | Deny:
        return await self._write(
            lambda t, now: starting.begin(t, now, intent, windows, revision, lease)
        )

    async def start(
        self,
        call: Call,
        *,
        action: Mapping[str, Json],
        reach: Reach,
        decision: Mapping[str, Json],
        windows: Sequence[Freeze],
        revision: str,
        lease: timedelta,
        pace: Pace | None = None,
    ) -> Running | Deny:
        def both(t: Tables, now: datetime) -> Running | Deny:
            intent = starting.intend(t, now, call, action, reach, decision, None, pace)
            if isinstance(intent, Deny):
                return intent
            return starting.begin(t, now, intent, windows, revision, lease)

        return await self._write(both)

    async def permit(
        self,
        running: Running,
        *,
        undo: Undo | None,
        receipt: str,
        measured: Measured,
        reach: Reach,
        windows: Sequence[Freeze],
        expires_at: datetime | None,
        pace: Pace | None = None,
    ) -> Permit | Deny:
        async with contextlib.AsyncExitStack() as stack:
            image: Spooled | None = None
            bound: Bound | None = None
            if undo is not None:
                image = await stack.enter_async_context(self._images.placing(undo))
                bound = bind(self._images.keys, running.call, image, undo.manifest)
            self._probe("store.image_kept")
            wanted = landing.Landing(
                undo=undo,
                image=image,
                bound=bound,
                receipt=receipt,
                measured=measured,
                reach=reach,
                windows=windows,
                expires_at=expires_at,
                pace=pace,
            )
            answer = await self._write(lambda t, now: landing.permit(t, now, running, wanted))
        if isinstance(answer, Deny) and image is not None and image.file is not None:
            await self._images.remove(image.file)
        return answer

    async def settle(self, running: Running, outcome: Outcome) -> CallRecord:
        keys = self._images.keys
        return await self._settled(
            await self._write(lambda t, now: landing.settle(t, now, running, outcome, keys))
        )

    async def resolve(
        self, id: str, outcome: Outcome, *, by: str, note: str | None
    ) -> CallRecord | None:
        keys = self._images.keys
        settled = await self._write(
            lambda t, now: landing.resolve(t, now, id, outcome, keys, by, note)
        )
        return None if settled is None else await self._settled(settled)

    async def _settled(self, settled: landing.Settled) -> CallRecord:
        if settled.unused is not None:
            # The outcome is recorded; what cannot be erased now is tried again with what expires.
            with contextlib.suppress(StoreUnavailable):
                await self._erase([settled.unused])
        return settled.record

    async def permitted(self, running: Running) -> Permit | None:
        return await self._read(lambda t: landing.permitted(t, running))

    async def renew(self, running: Running, *, lease: timedelta) -> bool:
        return await self._write(lambda t, now: landing.renew(t, now, running, lease))

    async def take_over(
        self, *, everything: bool, lease: timedelta
    ) -> list[tuple[CallRecord, Running | None]]:
        return await self._write(lambda t, now: landing.take_over(t, now, everything, lease))

    # --- freezes and approvals

    async def freeze(self, freeze: Freeze) -> Frozen:
        write = self._write(lambda t, now: freezing.freeze(t, now, freeze))
        return await self._standing.changed_by(write)

    async def lift(self, id: str, *, by: str) -> Freeze | None:
        return await self._standing.changed_by(
            self._write(lambda t, now: freezing.lift(t, now, id, by))
        )

    async def freezes(self, *, lifted: bool = False) -> list[Freeze]:
        if lifted:
            return await self._read(lambda t: freezing.freezes(t, self._clock.now(), True))
        return await self._standing.at(self._clock.now(), self._look_up_freezes)

    async def _look_up_freezes(self) -> list[Freeze]:
        return await self._read(lambda t: freezing.freezes(t, self._clock.now(), False))

    async def in_flight(self, scope: Scope) -> list[str]:
        return list(await self._read(lambda t: freezing.in_flight(t, scope)))

    async def approvals(self, *, waiting: bool = True) -> list[Approval]:
        return await self._read(lambda t: approving.approvals(t, self._clock.now(), waiting))

    async def approval(self, id: str) -> Approval | None:
        row = await self._read(lambda t: t.approval(id))
        return None if row is None else approval_of(row, stamp(self._clock.now()))

    async def decide_approval(
        self, id: str, *, approve: bool, by: str, note: str | None
    ) -> Approval | None:
        return await self._write(lambda t, now: approving.decide(t, now, id, approve, by, note))

    # --- snapshots

    async def snapshots(
        self, *, call: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[SnapshotInfo], str | None]:
        before = listing.position(cursor)
        return await self._read(lambda t: listing.snapshots(t, call, before, limit))

    async def undo_of(self, call: str) -> Undo | None:
        row = await self._read(lambda t: keeping.kept(t, call))
        if row is None:
            return None
        found = find(self._images.keys, row)
        image = found.image if row.spooled else await self._images.get(found.image)
        return keeping.undo_of(row, found.manifest, image, find_answer(self._images.keys, row))

    async def snapshot(self, id: str) -> SnapshotInfo | None:
        row = await self._read(lambda t: t.snapshot(id))
        return None if row is None else snapshot_of(row)

    async def delete_snapshot(self, id: str, *, by: str) -> bool:
        row = await self._write(lambda t, now: keeping.delete(t, now, id, by))
        if row is None:
            return False
        await self._erase([row])
        return True

    async def expire_snapshots(self, now: datetime) -> int:
        expired = await self._write(lambda t, at: keeping.expire(t, at, now))
        failed: StoreUnavailable | None = None
        rows = await self._unerased(0)
        while rows:
            try:
                await self._erase(rows)
            except StoreUnavailable as error:
                failed = error  # the others come first
            rows = await self._unerased(rows[-1].ord)
        if failed is not None:
            raise failed
        return expired

    async def _unerased(self, after: int) -> list[SnapshotRow]:
        return await self._read(lambda t: t.unerased_snapshots(after, _BATCH))

    async def _erase(self, rows: Sequence[SnapshotRow]) -> None:
        """Removes what is left of deleted snapshots, shows that it is gone, and records that."""
        done: list[SnapshotRow] = []
        failed: StoreUnavailable | None = None
        for row in rows:
            try:
                if row.file is not None:
                    await self._images.remove(row.file)
                if self._remains is not None:
                    await self._remains.erase(row.upstream, row.call)
                done.append(row)
            except StoreUnavailable as error:
                failed = error
        if done:
            await self._scrub()
            await self._write(lambda t, now: keeping.erased(t, now, done))
        if failed is not None:
            raise failed

    async def rotate_keys(self, *, by: str) -> Rotation:
        keys = self._images.keys
        if keys is None:
            raise Malformed("No key is configured that images could be encrypted with.")
        turn = rotating.Turn(keys=keys, by=by)
        while await self._write(turn.step):
            continue
        return turn.done()

    # --- reverts and agents

    async def save_revert(self, job: RevertJob) -> None:
        await self._write(lambda t, now: keeping.save_revert(t, now, job))

    async def revert(self, id: str) -> RevertJob | None:
        return await self._read(lambda t: keeping.revert(t, id))

    async def add_conflicts(self, id: str, found: Sequence[tuple[str, Conflict]]) -> None:
        await self._write(lambda t, _: keeping.add_conflicts(t, id, found))

    async def forget_conflicts(self, id: str, calls: Sequence[str]) -> None:
        await self._write(lambda t, _: keeping.forget_conflicts(t, id, calls))

    async def conflicts(
        self, id: str, *, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[tuple[str, Conflict]], str | None]:
        after = listing.position(cursor) or 0
        return await self._read(lambda t: keeping.conflicts(t, id, after, limit))

    async def unfinished_reverts(self) -> list[RevertJob]:
        return await self._read(lambda t: keeping.unfinished_reverts(t))

    async def add_agent(self, agent: Agent, *, by: str) -> bool:
        return await self._write(lambda t, now: keeping.add_agent(t, now, agent, by))

    async def revoke_agent(self, name: str, *, by: str) -> bool:
        return await self._write(lambda t, now: keeping.revoke_agent(t, now, name, by))

    async def agents(self) -> list[Agent]:
        return await self._read(lambda t: keeping.agents(t))

    async def agent_by_token(self, token_sha256: str) -> Agent | None:
        return await self._read(lambda t: keeping.agent_by_token(t, token_sha256))

    # --- tools of MCP servers

    async def pins(self, server: str | None = None) -> list[Pin]:
        return await self._read(lambda t: keeping.pins(t, server))

    async def put_pin(self, pin: Pin) -> None:
        await self._write(lambda t, now: keeping.put_pin(t, now, pin))

    # --- audit

    async def entries(self, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        rows = await self._read(lambda t: t.entries(after, limit))
        return [AuditEntry(seq=r.seq, hash=r.hash, body=r.body) for r in rows]

    async def record(self, event: str, body: Mapping[str, Json]) -> None:
        if event.startswith("call."):
            raise ValueError("moves of calls are recorded with the move, not beside it")
        await self._write(lambda t, now: trail.write(t, now, event, dict(body)))
