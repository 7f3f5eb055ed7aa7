"""What the surfaces are given: everybody they may call, and the bounds of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.guards.freeze import FreezeAnswer
from gateway.identity.failures import FailedSignIns
from gateway.interfaces import Clock, Identifier, ImageReader, Quarantined, Store
from gateway.model import (
    Approval,
    Call,
    CallRecord,
    Deny,
    Freeze,
    Json,
    Redaction,
    Reply,
    RevertJob,
    Scope,
    Subject,
)
from gateway.pipeline import Judgement
from gateway.progress import Progress
from gateway.revert import RevertRequest
from gateway.surfaces.mcp.desk import Desk
from gateway.surfaces.strict_json import JsonBounds
from gateway.surfaces.uploads import Shelf


class Walk(Protocol):
    """``pipeline.Pipeline`` as the surfaces use it."""

    async def handle(self, call: Call) -> Reply: ...

    async def decide(self, call: Call) -> Judgement: ...

    async def cancel(self, id: str) -> CallRecord | None: ...

    async def resume(self, approval: Approval) -> Reply: ...


class Purging(Protocol):
    """``purging.Purger`` as the surfaces use it."""

    async def listed(self) -> list[tuple[Quarantined, CallRecord | None]]: ...

    async def propose(self, source: str, calls: Sequence[str], *, by: str) -> Reply: ...


class WalkBack(Protocol):
    async def revert(self, request: RevertRequest) -> RevertJob: ...

    def progress(self, id: str) -> Progress | None:
        """Of a revert that runs in this process."""
        ...


class Freezes(Protocol):
    """``guards.freeze.Freezer`` as the surfaces use it."""

    async def freeze(
        self,
        scope: Scope,
        *,
        reason: str,
        by: str,
        starts_at: Any = None,
        ends_at: Any = None,
        drain: bool = False,
    ) -> FreezeAnswer: ...

    async def lift(self, id: str, *, by: str) -> Freeze | None: ...

    async def freezes(self, *, lifted: bool = False) -> list[Freeze]: ...


class Tested(Protocol):
    """What the policies' own tests said."""

    @property
    def passed(self) -> int: ...

    @property
    def failed(self) -> Sequence[Mapping[str, Json]]: ...


class PolicyFiles(Protocol):
    """The policies as people edit them."""

    @property
    def revision(self) -> str: ...

    def files(self) -> Mapping[str, str]:
        """The texts in force, by file name."""
        ...

    async def put(self, name: str, text: str, if_match: str | None = None) -> str:
        """Compiles and tests aside, then takes effect: the new revision. Raises
        ``PolicyInvalid`` and ``PreconditionFailed``."""
        ...

    async def test(self) -> Tested: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of one request; times in seconds."""

    json: JsonBounds = field(default_factory=JsonBounds)
    body_idle_s: float = 5.0  # between two pieces of a body
    body_total_s: float = 10.0
    check_s: float = 5.0  # for each part of /readyz
    recheck_s: float = 1.0  # how long an answer of /readyz is good
    upload_idle_s: float = 30.0  # between two pieces of a body that is not JSON, or of an answer
    watch_poll_s: float = 0.25
    watch_beat_s: float = 15.0
    watch_total_s: float = 600.0
    watchers: int = 8  # event streams per subject


async def _nothing_measured() -> bytes:
    return b""


def _nobody(_token: str) -> bool:
    return False


def _nobody_counts(_reason: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """``upstreams``: kind (``sql``, ``http``, ``mcp``) by name. ``readiness``: a check per part
    that raises ``HoldfastError`` while the part cannot work. ``redaction``: what no view shows.
    ``uploads``: by tool, the most bytes of a body that is not JSON; ``shelf``: where they lie.
    ``refused`` is told the reason of each request that was refused before it was a call.
    ``tasks`` keeps what outlives its request from being collected. ``may_scrape``: of a token,
    beside the admin's, that reads ``metrics`` and nothing else."""

    pipeline: Walk
    reverter: WalkBack
    purger: Purging
    store: Store
    freezer: Freezes
    policy: PolicyFiles
    identifier: Identifier
    is_admin: Callable[[str], bool]
    failures: FailedSignIns
    clock: Clock
    upstreams: Mapping[str, str]
    images: Mapping[str, ImageReader]
    may_undo: Callable[[Subject, CallRecord], Awaitable[Deny | None]]
    new_id: Callable[[str], str]
    readiness: Mapping[str, Callable[[], Awaitable[None]]]
    configured_agents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    redaction: Redaction = field(default_factory=Redaction)
    bounds: Bounds = field(default_factory=Bounds)
    uploads: Mapping[str, int] = field(default_factory=dict)
    shelf: Shelf = field(default_factory=lambda: Shelf(2**31))
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    watching: dict[str, int] = field(default_factory=dict)
    mcp: Desk = field(default_factory=Desk)
    metrics: Callable[[], Awaitable[bytes]] = _nothing_measured
    refused: Callable[[str], None] = _nobody_counts
    may_scrape: Callable[[str], bool] = _nobody
