"""The part of an upstream that every remote tool shares: the walk there and back, and recovery.

``upstreams.http`` and ``upstreams.mcp`` parse calls into plans and bring a transport; everything
that concerns effects is here, so that there is one place where something is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from gateway.interfaces import Attempt, Clock, Probe, Unsettled, Unwinding, no_probe
from gateway.model import Action, Call, EffectState, Json, OnConflict, Outcome, Permit, Undo
from gateway.upstreams.remote.attempt import RemoteAttempt, Tool
from gateway.upstreams.remote.breaker import Breaker
from gateway.upstreams.remote.plan import Plan
from gateway.upstreams.remote.resolving import resolve
from gateway.upstreams.remote.sending import Sender
from gateway.upstreams.remote.transport import Transport
from gateway.upstreams.remote.unwinding import RemoteUnwinding, images_of

# How a recorded call is declared now; ``None`` where its route or tool is gone.
PlanOf = Callable[[Call], Awaitable[Plan | None]]


class RemoteTarget:
    """``Upstream`` without ``parse``, and ``Resolver`` and ``ImageReader``. ``action.facts`` is
    the ``Plan`` that ``parse`` made. ``deadline_s`` bounds one call, pauses included; ``fresh_s``
    is how long after its permit a call may still be sent and must be shorter than the lease."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        clock: Clock,
        plan_of: PlanOf,
        deadline_s: float = 60.0,
        fresh_s: float = 60.0,
        breaker: Breaker | None = None,
        sender: Sender | None = None,
        probe: Probe = no_probe,
    ) -> None:
        self._plan_of = plan_of
        breaker = breaker or Breaker(clock)
        self._tool = Tool(
            name=name,
            sender=sender or Sender(transport, breaker, deadline_s=deadline_s, probe=probe),
            clock=clock,
            probe=probe,
            fresh_s=fresh_s,
        )

    @property
    def name(self) -> str:
        return self._tool.name

    def attempt(self, call: Call, action: Action) -> AbstractAsyncContextManager[Attempt]:
        if not isinstance(action.facts, Plan):
            raise TypeError("the facts of a remote action are its plan")
        # Nothing is sent before its commit, so there is nothing to roll back.
        return nullcontext(RemoteAttempt(self._tool, call, action.facts))

    @asynccontextmanager
    async def unwind(
        self, call: Call, undos: Sequence[tuple[str, Undo]], on_conflict: OnConflict
    ) -> AsyncIterator[Unwinding]:
        yield RemoteUnwinding(self._tool, call, undos, on_conflict)

    async def happened(self, receipt: str) -> EffectState:  # noqa: ARG002 - nobody can be asked
        """A remote tool keeps no receipts: ``resolve`` finds out instead."""
        return EffectState.UNKNOWN

    async def resolve(self, unsettled: Unsettled, permit: Permit | None) -> Outcome | None:
        plan = None if unsettled.call.reverts else await self._plan_of(unsettled.call)
        return await resolve(self._tool, unsettled, plan, permit)

    async def images(self, undo: Undo, *, offset: int, limit: int) -> list[Mapping[str, Json]]:
        """One image: the state before the call and the state that it left."""
        return list(images_of(undo)[offset : offset + limit])
