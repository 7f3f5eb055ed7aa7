"""Settles what a crash, a lost connection or a lost reply left open. Asks the target, never
guesses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from gateway.errors import ImageDamaged, StoreUnavailable, UpstreamError
from gateway.interfaces import (
    Probe,
    Resolver,
    StaleGeneration,
    Store,
    Unsettled,
    Upstream,
    no_probe,
)
from gateway.lifecycle import State
from gateway.model import (
    CallRecord,
    Deny,
    EffectState,
    Json,
    Outcome,
    Running,
    Step,
)


class Recovery:
    """``settle`` is one pass; ``watch`` repeats it while the gateway lives."""

    def __init__(
        self,
        *,
        upstreams: Mapping[str, Upstream],
        store: Store,
        lease: timedelta,
        probe: Probe = no_probe,
    ) -> None:
        self._upstreams = upstreams
        self._store = store
        self._lease = lease
        self._probe = probe

    async def settle(self, *, everything: bool = False) -> list[CallRecord]:
        """Takes over every call whose lease ran out (all open ones with ``everything``) and
        settles those whose target can tell. The rest keeps its state and is asked again when
        this lease has run out."""
        settled = []
        for record, running in await self._store.take_over(
            everything=everything, lease=self._lease
        ):
            if running is None:
                settled.append(record)
                continue
            self._probe("recovery.taken")
            outcome = await self._outcome(record, running)
            if outcome is None or outcome.state is record.state:
                continue
            try:
                settled.append(await self._store.settle(running, outcome))
            except StaleGeneration:
                continue  # another process took it over and knows better
            self._probe("recovery.settled")
        return settled

    async def watch(self, every_s: float) -> None:
        """Runs passes until cancelled; a store that is down is tried again."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.settle()
            except StoreUnavailable:
                continue  # readiness reports it; the next pass tries again

    async def _outcome(self, record: CallRecord, running: Running) -> Outcome | None:
        if not record.permitted:
            # Without a permit nothing can have been committed, and its generation is over now.
            return _interrupted(record)
        upstream = self._upstreams.get(record.call.tool)
        if isinstance(upstream, Resolver):
            return await self._resolved(upstream, record, running)
        verdict = await self._ask(record)
        if verdict is EffectState.UNKNOWN:
            return None
        if verdict is EffectState.NONE:
            return _interrupted(record)
        return await self._landed(record)

    async def _resolved(
        self, upstream: Resolver, record: CallRecord, running: Running
    ) -> Outcome | None:
        """By the means of a tool without transactions. Only a call that was taken over while it
        ran may be sent again."""
        permit = None
        if record.state is not State.UNKNOWN:
            permit = await self._store.permitted(running)
            if permit is None:
                return None
        try:
            undo = await self._store.undo_of(record.call.id)
        except ImageDamaged:
            undo = None
        if undo is None:
            return None if permit is None else _lost_from_sight()
        unsettled = Unsettled(
            call=record.call, state=record.state, since=record.updated_at, undo=undo
        )
        try:
            return await upstream.resolve(unsettled, permit)
        except UpstreamError:
            return None

    async def _ask(self, record: CallRecord) -> EffectState:
        upstream = self._upstreams.get(record.call.tool)
        if upstream is None or record.receipt is None:
            return EffectState.UNKNOWN
        try:
            return await upstream.happened(record.receipt)
        except UpstreamError:
            return EffectState.UNKNOWN

    async def _landed(self, record: CallRecord) -> Outcome:
        if record.state is not State.REVERTING:
            return Outcome(
                state=State.SUCCEEDED, effect=EffectState.APPLIED, result={"recovered": True}
            )
        return Outcome(
            state=State.REVERTED,
            effect=EffectState.APPLIED,
            result={"recovered": True},
            steps=await self._steps(record),
        )

    async def _steps(self, record: CallRecord) -> tuple[Step, ...]:
        try:
            undo = await self._store.undo_of(record.call.id)
        except ImageDamaged:
            undo = None
        noted = undo.manifest.get("steps", ()) if undo else ()
        if noted:
            return tuple(_step(s) for s in noted)
        return tuple(
            Step(call=id, upstream=record.call.tool, action="restore", state="reverted")
            for id in record.call.reverts
        )


def _step(data: Mapping[str, Json]) -> Step:
    # Conflicts were listed to the caller that is gone; the counts and states are what matters.
    return Step(
        call=data["call"],
        upstream=data["upstream"],
        action=data["action"],
        state=data["state"],
        restored=data["restored"],
        reason=data["reason"],
        detail=data["detail"],
    )


def _lost_from_sight() -> Outcome:
    refusal = Deny(
        reason="outcome.unknown",
        detail="What was recorded of this call cannot be read, so nobody can find out by itself.",
        effect=EffectState.UNKNOWN,
    )
    return Outcome(state=State.UNKNOWN, effect=EffectState.UNKNOWN, refusal=refusal, final=True)


def _interrupted(record: CallRecord) -> Outcome:
    refusal = Deny(
        reason="interrupted",
        detail="The gateway stopped while this call was running. Nothing was changed; the call "
        "may be sent again.",
    )
    steps = tuple(
        Step(
            call=id,
            upstream=record.call.tool,
            action="restore",
            state="failed",
            reason=refusal.reason,
            detail=refusal.detail,
        )
        for id in record.call.reverts
    )
    return Outcome(state=State.FAILED, effect=EffectState.NONE, refusal=refusal, steps=steps)
