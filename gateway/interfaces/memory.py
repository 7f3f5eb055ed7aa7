"""The seams of our memory: each part of the gateway asks only for the family it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from gateway.interfaces.mcp import PinStore
from gateway.lifecycle import State
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
    Undo,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How close calls may follow each other. ``apart``: how long a call without a key that has not
    ended, or ended unknown, stands for identical ones. ``calls``: the most of one subject
    ``within`` a window, ``rows``: the most rows that those may change. ``misses``: how many
    identical calls may be denied or fail, ``misses_within`` a window; once there are any, those
    that still run count as well. ``None`` sets no bound."""

    apart: timedelta | None = timedelta(seconds=60)
    calls: int | None = None
    rows: int | None = None
    within: timedelta = timedelta(seconds=60)
    misses: int | None = None
    misses_within: timedelta = timedelta(seconds=300)

    @property
    def beside(self) -> Pace:
        """For reads, which may stand beside themselves."""
        return replace(self, apart=None, misses=None)


class CallStore(Protocol):
    """The moves of ``lifecycle``. Each is one transaction that also writes one audit entry.
    Every method may raise ``StoreUnavailable`` (``AuditUnavailable``): then nothing was moved."""

    async def refuse(
        self,
        call: Call,
        deny: Deny,
        *,
        action: Mapping[str, Json] | None = None,
        reach: Reach | None = None,
    ) -> bool:
        """received -> denied. Does not use up the idempotency key. Also held -> denied. Whether
        that was news: a call that is denied already stays as it is."""
        ...

    async def hold(
        self,
        call: Call,
        hold: Hold,
        *,
        action: Mapping[str, Json],
        reach: Reach,
        measured: Measured | None = None,
    ) -> Approval | Deny:
        """received -> held, with a waiting approval. ``Deny`` for a key that is taken."""
        ...

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
        """received | held -> intent. ``Deny`` ``idempotency.*`` when (subject, key) has a row, or
        when the call is too close to an identical one; ``limit.rate`` when there are too many;
        ``revert.not_revertible`` when a target of ``call.reverts`` has no undo left or another
        revert has claimed it."""
        ...

    async def begin(
        self, intent: Intent, *, windows: Sequence[Freeze], revision: str, lease: timedelta
    ) -> Running | Deny:
        """intent -> executing (reverting for a revert), unless frozen, the approval is not
        usable, or ``revision`` is not the one that decided: then intent -> denied. Linearizable
        with ``FreezeStore.freeze``. Freezes do not stop reverts."""
        ...

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
        """``intend`` and ``begin`` in one transaction, two entries in the log: for a read, which
        has nothing that would have to be durable before it begins."""
        ...

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
        """Makes image and undo durable, then checks the freeze, the generation and the budget
        (``limit.budget``) again.
        ``Deny`` leaves the call running: the caller rolls back and settles."""
        ...

    async def settle(self, running: Running, outcome: Outcome) -> CallRecord:
        """executing | unknown -> outcome.state. A generation that was taken over raises
        ``StaleGeneration`` and changes nothing. ``outcome.kept`` becomes durable with it."""
        ...

    async def renew(self, running: Running, *, lease: timedelta) -> bool:
        """Prolongs the lease of a call that still runs; no move. False: it was taken over."""
        ...

    async def resolve(
        self, id: str, outcome: Outcome, *, by: str, note: str | None
    ) -> CallRecord | None:
        """unknown -> outcome.state, by whoever found out. ``None``: the call is not unknown."""
        ...


class StaleGeneration(Exception):
    """Somebody else took this call over; whoever holds the old token must stop."""


class CallRecords(Protocol):
    async def find(self, subject: str, key: str) -> CallRecord | None:
        """The call that used this idempotency key."""
        ...

    async def call(self, id: str) -> CallRecord | None: ...

    async def repeated(self, subject: str, digest: str, *, since: datetime) -> int:
        """How many calls with this digest were denied or failed since then, for reasons that do
        not go away by themselves."""
        ...

    async def calls(
        self,
        *,
        session: str | None = None,
        agent: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        states: Sequence[State] = (),
        tool: str | None = None,
        reverts: bool | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> tuple[list[CallRecord], str | None]:
        """Newest first, and the cursor of the next page. ``reverts``: only (not) revert calls."""
        ...


class CounterStore(Protocol):
    async def open_calls(self) -> Mapping[str, int]:
        """How many calls have not ended, by their state."""
        ...

    async def counters(self, call: Call) -> Mapping[str, Json]:
        """What the subject did before ``call``: ``{"session": ..., "hour": ...}``, counts of this
        session and of the last 60 minutes over all its sessions. A count may be behind by calls
        that are decided at the same time; ``intend`` and ``permit`` alone hold to a bound."""
        ...


class RecoveryStore(Protocol):
    async def take_over(
        self, *, everything: bool, lease: timedelta
    ) -> list[tuple[CallRecord, Running | None]]:
        """Calls whose lease ran out (all unsettled ones when ``everything``: a lone process that
        has just started), each with the next generation. An ``intent`` becomes ``failed`` with
        effect none here and comes with ``None``; held calls are left alone. One whose outcome is
        unknown comes every time, under the generation that it has."""
        ...

    async def permitted(self, running: Running) -> Permit | None:
        """The permit of a call that was taken over, if it had got one and nobody has taken it over
        since: for a request that may be sent again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """The answer to a freeze: calls that may still land, and those begun that can only fail."""

    freeze: Freeze
    in_flight: tuple[str, ...]


class FreezeStore(Protocol):
    async def freeze(self, freeze: Freeze) -> Frozen:
        """Durable when it returns; no call in scope begins or gets a permit afterwards. Sets the
        epoch. ``in_flight``: running calls in scope at that moment."""
        ...

    async def lift(self, id: str, *, by: str) -> Freeze | None: ...

    async def freezes(self, *, lifted: bool = False) -> list[Freeze]: ...

    async def in_flight(self, scope: Scope) -> list[str]: ...


class ApprovalStore(Protocol):
    async def approvals(self, *, waiting: bool = True) -> list[Approval]: ...

    async def approval(self, id: str) -> Approval | None: ...

    async def decide_approval(
        self, id: str, *, approve: bool, by: str, note: str | None
    ) -> Approval | None:
        """waiting -> approved | rejected. Rejecting also moves the call held -> denied. ``None``
        when there is no such waiting approval. One that ran out becomes ``expired``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotInfo:
    id: str
    call: str
    upstream: str
    kind: str
    reversibility: str
    bytes: int
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    deleted_at: datetime | None
    erased_at: datetime | None = None  # when nothing of it could be read any more
    place: str | None = "row"  # or "file"; None once it is erased
    packed: int | None = None  # bytes that are stored
    key: str | None = None  # names the key that it is encrypted with


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How many images are under the ``key`` now that were not, and how many could not be read;
    ``plain``: how many are not encrypted at all, and stay so."""

    key: str
    rewrapped: int
    damaged: int
    plain: int


class SnapshotStore(Protocol):
    async def snapshots(
        self, *, call: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[SnapshotInfo], str | None]: ...

    async def snapshot(self, id: str) -> SnapshotInfo | None: ...

    async def undo_of(self, call: str) -> Undo | None:
        """Raises ``ImageDamaged`` when the stored image is not the recorded one."""
        ...

    async def delete_snapshot(self, id: str, *, by: str) -> bool:
        """Removes the image for good and records it; the call can no longer be reverted. Raises
        ``StoreUnavailable`` when it is deleted, but something of it may still be readable:
        ``expire_snapshots`` tries again."""
        ...

    async def expire_snapshots(self, now: datetime) -> int:
        """Deletes what expired by ``now``, and erases what is left of earlier deletions."""
        ...

    async def rotate_keys(self, *, by: str) -> Rotation:
        """Puts every encrypted image under the active key; the images stay as they are. Raises
        ``Malformed`` when no key is configured."""
        ...


class Remains(Protocol):
    """What sources keep themselves for taking calls back."""

    async def erase(self, upstream: str, call: str) -> None:
        """Removes it for good. Raises ``StoreUnavailable`` when something may be left."""
        ...


class RevertStore(Protocol):
    async def save_revert(self, job: RevertJob) -> None: ...

    async def revert(self, id: str) -> RevertJob | None: ...

    async def add_conflicts(self, id: str, found: Sequence[tuple[str, Conflict]]) -> None:
        """Appends to the list of all conflicts of a revert, each with the call it stands for."""
        ...

    async def forget_conflicts(self, id: str, calls: Sequence[str]) -> None:
        """Takes the conflicts of ``calls`` out of the list: they are about to be found anew."""
        ...

    async def conflicts(
        self, id: str, *, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[tuple[str, Conflict]], str | None]:
        """One page of the list, and the cursor of the next."""
        ...

    async def unfinished_reverts(self) -> list[RevertJob]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    name: str
    roles: tuple[str, ...]
    token_sha256: str
    created_at: datetime
    revoked_at: datetime | None = None


class AgentStore(Protocol):
    async def add_agent(self, agent: Agent, *, by: str) -> bool:
        """False when the name is taken by an agent that is not revoked."""
        ...

    async def revoke_agent(self, name: str, *, by: str) -> bool: ...

    async def agents(self) -> list[Agent]: ...

    async def agent_by_token(self, token_sha256: str) -> Agent | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """``body`` is the canonical JSON text that was hashed, byte for byte."""

    seq: int
    hash: str
    body: str


class AuditStore(Protocol):
    async def entries(self, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        """Entries with ``seq > after``, ascending."""
        ...

    async def record(self, event: str, body: Mapping[str, Json]) -> None:
        """One entry for an act that is not a move of a call: an admin's read or change."""
        ...


class Store(
    CallStore,
    CallRecords,
    CounterStore,
    RecoveryStore,
    FreezeStore,
    ApprovalStore,
    SnapshotStore,
    RevertStore,
    AgentStore,
    AuditStore,
    PinStore,
    Protocol,
):
    """Everything a store does; each part of the gateway asks only for the family it needs."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def ready(self) -> None:
        """Proves with a real durable write that calls can be recorded. Raises
        ``StoreUnavailable``."""
        ...
