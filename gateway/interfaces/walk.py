"""The seams of the walk: who calls, who decides, what is protected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from gateway.lifecycle import State
from gateway.model import (
    Action,
    Approval,
    Call,
    Conflict,
    Decision,
    Deny,
    EffectState,
    Finding,
    Freeze,
    Json,
    Measured,
    OnConflict,
    Outcome,
    Permit,
    Redaction,
    Step,
    Subject,
    Undo,
)

# Called with the name of each step of the walk; crash tests kill the process in it.
Probe = Callable[[str], None]


def no_probe(step: str) -> None:  # noqa: ARG001 - the production probe looks at nothing
    return None


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, UTC."""
        ...


class Identifier(Protocol):
    async def identify(self, credentials: str, session: str | None) -> Subject:
        """The subject behind a bearer token. Raises ``Unauthenticated``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What policy sees beside subject and action."""

    time: datetime
    freezes: tuple[Freeze, ...] = ()
    measured: Measured | None = None
    counters: Mapping[str, Json] = field(default_factory=dict)
    reason: str | None = None
    approval: Approval | None = None


class Policy(Protocol):
    @property
    def revision(self) -> str:
        """Names the policies in force; changes with every reload that changes them."""
        ...

    def document(self, call: Call, action: Action, context: Context) -> dict[str, Json]:
        """The policy input, version 1."""
        ...

    async def decide(self, document: Mapping[str, Json]) -> Decision:
        """Never raises: an engine that fails, times out or answers badly is a ``Deny`` with
        ``policy.unavailable``."""
        ...


class Guard(Protocol):
    async def check(self, call: Call, action: Action, decision: Decision) -> Decision:
        """``decision`` or a stricter one, never a looser one."""
        ...


class FreezeWindows(Protocol):
    def active(self, now: datetime) -> tuple[Freeze, ...]:
        """The recurring freezes in force at ``now``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What an attempt has done so far, nothing of it committed. ``result`` is the surface's JSON:
    for SQL ``{"verb", "columns", "rows", "affected"}`` or ``{"results": [...]}``."""

    measured: Measured
    result: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """``receipt`` is what ``Upstream.happened`` can be asked by after a crash."""

    undo: Undo
    receipt: str


class Attempt(Protocol):
    """One open transaction (or one prepared request) of an agent's call. Leaving the context
    without ``commit`` rolls everything back."""

    async def read(self) -> Outcome:
        """Runs a proven read behind the engine's own read-only wall."""
        ...

    async def run(self) -> Ran:
        """Runs the call in the open transaction and measures it. Raises ``UpstreamError``."""
        ...

    async def capture(self) -> Captured | Deny:
        """Images of everything ``run`` changed, proven complete; ``undo.unavailable`` or
        ``snapshot.failed`` where that cannot be had."""
        ...

    async def commit(self, permit: Permit) -> Outcome:
        """Commits, once. An outcome that cannot be told is ``UNKNOWN``, never guessed."""
        ...


@runtime_checkable
class Redacting(Protocol):
    """An attempt that can keep columns from the agent."""

    def redact(self, redaction: Redaction, *, exposed: bool) -> None:
        """Before anything runs: results and errors show nothing of these columns. ``exposed``:
        whether the call could read one of them."""
        ...


class Unwinding(Protocol):
    """One open transaction that takes calls back. Same duties as ``Attempt``."""

    async def run(self) -> tuple[Step, ...]:
        """Compares before, after and now and restores, newest call first, uncommitted; one step
        per call. With ``abort`` a conflict in any step restores nothing."""
        ...

    async def capture(self) -> Captured | Deny:
        """The way back from the revert itself."""
        ...

    async def commit(self, permit: Permit) -> Outcome: ...


@runtime_checkable
class Rehearsing(Protocol):
    """An ``Attempt`` that can prove its way back before it commits."""

    async def rehearse(self, *, demanded: bool) -> Deny | None:
        """After ``capture``: takes the call back inside the open transaction, by what was
        captured, compares what stands then with the state before the call, read independently of
        the images, and goes back to where it was. ``undo.inexact`` where the two differ. What
        cannot be tried here is refused only if policy ``demanded`` it (``undo.unavailable``)."""
        ...


class Watch(Protocol):
    """Told by a revert while it runs, from any thread. Both are quick and never fail."""

    def conflict(self, call: str, conflict: Conflict) -> None:
        """One conflict of ``call``, in the order of the list that people are shown."""
        ...

    def progress(self, done: int, total: int) -> None:
        """Rows compared and restored so far, of all that there are."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """An ``Unwinding`` that tells of its progress, and of more conflicts than a step holds."""

    def watch(self, watch: Watch) -> None:
        """Called once, before ``run``."""
        ...


class Upstream(Protocol):
    """What is protected. Parse, capture, execute and revert of one kind live together."""

    @property
    def name(self) -> str: ...

    async def parse(self, call: Call) -> Action | Deny:
        """What the call would do. What is not understood is a ``Deny``. Executes nothing."""
        ...

    def attempt(self, call: Call, action: Action) -> AbstractAsyncContextManager[Attempt]: ...

    def unwind(
        self, call: Call, undos: Sequence[tuple[str, Undo]], on_conflict: OnConflict
    ) -> AbstractAsyncContextManager[Unwinding]:
        """``undos``: (call id, its undo), newest first."""
        ...

    async def happened(self, receipt: str) -> EffectState:
        """Whether the transaction behind ``receipt`` is committed: ``APPLIED``, ``NONE`` (and it
        never will be), or ``UNKNOWN`` when the target cannot be asked or it still runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsettled:
    """A call whose outcome nobody recorded. ``since``: its last move, after which nothing was sent
    for it; ``undo``: what its permit made durable."""

    call: Call
    state: State
    since: datetime
    undo: Undo


@runtime_checkable
class Resolver(Protocol):
    """An upstream without transactions, which settles what was left open by its own means."""

    async def resolve(self, unsettled: Unsettled, permit: Permit | None) -> Outcome | None:
        """With a ``permit`` the call is running, taken over from whoever ran it, and may be sent
        again where that has no second effect. Without one its outcome is recorded as unknown: it
        is only looked at. ``None``: it cannot be told yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """What a source has put away instead of dropping it, for the revert of ``call``. ``bytes``:
    what it takes up in the source."""

    source: str
    place: str
    call: str
    at: datetime
    objects: tuple[str, ...]
    bytes: int

    def as_json(self) -> dict[str, Json]:
        return {
            "source": self.source,
            "place": self.place,
            "call": self.call,
            "at": self.at.isoformat(),
            "objects": list(self.objects),
            "bytes": self.bytes,
        }


@runtime_checkable
class Quarantining(Protocol):
    """An upstream that puts things away. Purging them is a call to it, ``{"purge": [call ids]}``
    of the admin surface."""

    async def quarantined(self) -> list[Quarantined]:
        """Oldest first. Raises ``UpstreamError``."""
        ...


class ImageReader(Protocol):
    async def images(self, undo: Undo, *, offset: int, limit: int) -> list[Mapping[str, Json]]:
        """The images of ``undo`` as ``{"resource", "key", "before", "after"}``, for people."""
        ...


class Resident(Protocol):
    """A part with a life: ``app`` opens, checks and closes it."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> list[Finding]: ...
