"""The walk: every call of every agent, from the parsed request to its settled outcome.

``handle`` and ``_carry_out`` read top to bottom as design and audit describe them; each step is one
move of ``lifecycle`` or one call across a Protocol. Nothing here knows a database or a transport.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gateway.deciding import Decider
from gateway.errors import NotFound, SnapshotFailed, StoreUnavailable, UpstreamError
from gateway.flights import Flights, Timing, clear_cancellation, held
from gateway.interfaces import (
    Attempt,
    Clock,
    Probe,
    Ran,
    StaleGeneration,
    Store,
    Upstream,
    no_probe,
)
from gateway.lifecycle import RUNNING, SETTLED, IllegalMove, State
from gateway.measuring import executes, seen
from gateway.model import (
    Action,
    ActionClass,
    Allow,
    Approval,
    Call,
    CallRecord,
    Decision,
    Deny,
    EffectState,
    Hold,
    Json,
    Measured,
    Outcome,
    Reply,
    Running,
)
from gateway.outcomes import (
    approval_needed,
    decision_json,
    denied_by,
    failed,
    refused,
    rehearsed,
    reply_from,
    rows_tell_all,
    unrecorded,
    unresolved,
    upstream_outcome,
    waiting,
    without_effect,
)
from gateway.redacting import redact, still
from gateway.rehearsing import Demands, Rehearsals


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What ``/decide`` answers. ``document`` is ``None`` when the action could not be parsed."""

    decision: Decision
    document: Mapping[str, Json] | None


class Pipeline:
    def __init__(
        self,
        *,
        upstreams: Mapping[str, Upstream],
        decider: Decider,
        store: Store,
        clock: Clock,
        new_id: Callable[[str], str],
        timing: Timing | None = None,
        rehearsals: Rehearsals | None = None,
        probe: Probe = no_probe,
    ) -> None:
        self._upstreams = upstreams
        self._decider = decider
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._timing = timing or Timing()
        self._rehearsals = rehearsals or Rehearsals(probe=probe)
        self._probe = probe
        self._flights = Flights(self._timing.max_in_flight)

    async def handle(self, call: Call) -> Reply:
        """Decides and carries out one call. A refusal is a reply; ``HoldfastError`` means that
        the gateway failed and nothing ran. A caller that goes away does not stop the call."""
        return await self._flights.fly(call.id, self._handle(call))

    async def _handle(self, call: Call) -> Reply:
        replay = await self._replay(call)
        if replay is not None:
            return replay
        action = await self._parse(call)
        if isinstance(action, Deny):
            return await self._refuse(call, None, action)
        decision = await self._decider.decide(call, action)
        if isinstance(decision, Deny):
            return await self._refuse(call, action, decision)
        if isinstance(decision, Hold):
            return await self._hold(call, action, decision)
        return await self._carry_out(call, action, decision, approval=None)

    async def _parse(self, call: Call) -> Action | Deny:
        try:
            return await self._upstream(call.tool).parse(call)
        except UpstreamError as error:
            return denied_by(error)

    async def _carry_out(
        self, call: Call, action: Action, decision: Allow | Hold, approval: Approval | None
    ) -> Reply:
        self._probe("walk.decided")
        running = await self._begin(call, action, decision, approval)
        if isinstance(running, Deny):
            if running.reason == "repetition":
                return await self._refuse(call, action, running)
            return await self._taken(call, running)
        self._probe("walk.begun")
        async with held(self._store, running, self._timing.lease):
            outcome = await self._attempt(call, action, decision, approval, running)
        self._probe("walk.landed")
        reply = await self._settle(call, running, outcome)
        self._probe("walk.settled")
        return reply

    async def _begin(
        self, call: Call, action: Action, decision: Allow | Hold, approval: Approval | None
    ) -> Running | Deny:
        reach = self._decider.reach(call, action)
        shown = self._decider.action_json(call, action)
        decided = decision_json(decision)
        windows, revision = self._decider.windows(), self._decider.revision
        lease = self._timing.lease
        if action.cls is ActionClass.READ and approval is None:
            return await self._store.start(
                call,
                action=shown,
                reach=reach,
                decision=decided,
                windows=windows,
                revision=revision,
                lease=lease,
                pace=self._timing.pace.beside,
            )
        approved = approval.id if approval else None
        intent = await self._store.intend(
            call,
            action=shown,
            reach=reach,
            decision=decided,
            approval=approved,
            pace=self._timing.pace,
        )
        if isinstance(intent, Deny):
            return intent
        self._probe("walk.intended")
        return await self._store.begin(intent, windows=windows, revision=revision, lease=lease)

    async def _attempt(
        self,
        call: Call,
        action: Action,
        decision: Allow | Hold,
        approval: Approval | None,
        running: Running,
    ) -> Outcome:
        try:
            with self._flights.cancellable(call.id):
                async with self._upstream(call.tool).attempt(call, action) as attempt:
                    unable = redact(attempt, action, decision.obligations)
                    if unable is not None:
                        return failed(unable)
                    if action.cls is ActionClass.READ:
                        return await attempt.read()
                    ran = await attempt.run()
                    self._probe("walk.ran")
                    judged = await self._measured(call, action, decision, approval, ran.measured)
                    if isinstance(judged, Deny):
                        return failed(judged)
                    if call.dry_run:
                        return rehearsed(ran)
                    if ran.measured.rows == 0 and rows_tell_all(action):
                        return without_effect(ran)
                    return await self._land(call, action, attempt, ran, running, judged)
        except UpstreamError as error:
            return upstream_outcome(error)
        except SnapshotFailed as error:
            return failed(denied_by(error))
        except asyncio.CancelledError:
            # Only ``cancel`` cancels this task, and only before the permit: the attempt's context
            # has rolled back.
            clear_cancellation()
            return failed(Deny(reason="cancelled", detail="The call was cancelled and undone."))

    async def _land(
        self,
        call: Call,
        action: Action,
        attempt: Attempt,
        ran: Ran,
        running: Running,
        demands: Demands,
    ) -> Outcome:
        captured = await self._rehearsals.capture(attempt, action, ran.measured, demands)
        if isinstance(captured, Deny):
            return failed(captured)
        self._flights.seal(call.id)
        permit = await self._store.permit(
            running,
            undo=captured.undo,
            receipt=captured.receipt,
            measured=ran.measured,
            reach=self._decider.reach(call, seen(action, ran.measured), tuple(ran.measured.tables)),
            windows=self._decider.windows(),
            expires_at=self._timing.expiry(captured.undo, self._clock.now()),
            pace=self._timing.pace,
        )
        if isinstance(permit, Deny):
            return failed(permit)
        self._probe("walk.permitted")
        return await attempt.commit(permit)

    async def decide(self, call: Call) -> Judgement:
        """The decision that ``handle`` would take now, with the document policy saw. Executes
        and records nothing."""
        action = await self._parse(call)
        if isinstance(action, Deny):
            return Judgement(decision=action, document=None)
        context = await self._decider.context(call)
        document = self._decider.document(call, action, context)
        return Judgement(
            decision=await self._decider.judge(call, action, context), document=document
        )

    async def _measured(
        self,
        call: Call,
        action: Action,
        decision: Allow | Hold,
        approval: Approval | None,
        measured: Measured,
    ) -> Deny | Demands:
        """The limits, then policy once more now that the extent is known; what both demand."""
        refusal = self._decider.extent(measured, decision.obligations)
        if refusal is not None:
            return refusal
        context = await self._decider.context(call, measured=measured, approval=approval)
        # What code did needs the same grants as if the statement had said it.
        judged = seen(action, measured) if executes(action) else action
        again = await self._decider.judge(call, judged, context)
        if isinstance(again, Deny):
            return again
        if isinstance(again, Hold) and approval is None and not isinstance(decision, Hold):
            return await self._hold_measured(call, action, again, measured)
        refusal = self._decider.extent(measured, again.obligations)
        refusal = refusal or still(decision.obligations, again.obligations)
        return refusal or (decision.obligations, again.obligations)

    # --- holding --------------------------------------------------------------------------

    async def _hold(self, call: Call, action: Action, hold: Hold) -> Reply:
        held = await self._store.hold(
            call,
            hold,
            action=self._decider.action_json(call, action),
            reach=self._decider.reach(call, action),
        )
        if isinstance(held, Deny):
            return await self._taken(call, held)
        return waiting(call, held)

    async def _hold_measured(
        self, call: Call, action: Action, hold: Hold, measured: Measured
    ) -> Deny:
        # The measured call is over; what waits for a person is a new one with the same digest.
        again = replace(call, id=self._new_id("call"), idempotency_key=None)
        held = await self._store.hold(
            again,
            hold,
            action=self._decider.action_json(call, action),
            reach=self._decider.reach(call, action, tuple(measured.tables)),
            measured=measured,
        )
        return held if isinstance(held, Deny) else approval_needed(again.id, held)

    async def resume(self, approval: Approval) -> Reply:
        """Carries out a held call after its approval: parsed and decided anew first."""
        record = await self._store.call(approval.call)
        if record is None:
            raise NotFound("The held call does not exist any more.")
        call = record.call
        return await self._flights.fly(call.id, self._resume(call, approval))

    async def _resume(self, call: Call, approval: Approval) -> Reply:
        action = await self._parse(call)
        if isinstance(action, Deny):
            return await self._refuse(call, None, action)
        context = await self._decider.context(call, approval=approval)
        decision = await self._decider.judge(call, action, context)
        if isinstance(decision, Deny):
            return await self._refuse(call, action, decision)
        return await self._carry_out(call, action, decision, approval)

    # --- recording ------------------------------------------------------------------------

    async def _refuse(self, call: Call, action: Action | None, deny: Deny) -> Reply:
        await self._store.refuse(
            call,
            deny,
            action=self._decider.action_json(call, action) if action else None,
            reach=self._decider.reach(call, action) if action else None,
        )
        return refused(call, deny)

    async def _settle(self, call: Call, running: Running, outcome: Outcome) -> Reply:
        if outcome.state is State.UNKNOWN and not outcome.final:
            # The target can be asked later: recovery settles it, nobody guesses now.
            return unresolved(call, outcome)
        keep = outcome
        if outcome.effect is EffectState.NONE and call.idempotency_key is None:
            # A read's rows are the agent's; without a key nobody can ask for them again.
            keep = replace(outcome, result=None)
        try:
            record = await self._store.settle(running, keep)
        except StaleGeneration:
            # Recovery took the call over; what it found is the truth.
            return reply_from(await self._taken_over(call, outcome))
        except StoreUnavailable as error:
            return unrecorded(call, outcome, error)
        return replace(reply_from(record), outcome=outcome)

    async def _taken_over(self, call: Call, outcome: Outcome) -> CallRecord:
        if outcome.effect is EffectState.APPLIED:
            late = "the answer came after recovery had taken the call over"
            record = await self._store.resolve(call.id, outcome, by="gateway", note=late)
            if record is not None:
                return record
        taken = await self._store.call(call.id)
        if taken is None:
            raise NotFound("The call's row does not exist any more.")
        return taken

    async def _replay(self, call: Call) -> Reply | None:
        if call.idempotency_key is None:
            return None
        earlier = await self._store.find(call.subject.id, call.idempotency_key)
        if earlier is None or earlier.call.digest != call.digest:
            return None  # the store names the mismatch when the intent is made
        if earlier.state not in SETTLED:
            return None
        return replace(reply_from(earlier), replayed=True)

    async def _taken(self, call: Call, deny: Deny) -> Reply:
        # Between the look-up and the intent, the first call with this key may have settled.
        replay = await self._replay(call)
        return replay if replay is not None else refused(call, deny)

    # --- flights --------------------------------------------------------------------------

    async def cancel(self, id: str) -> CallRecord | None:
        """Stops a call that holds no permit yet; one that does is left to land. The record says
        which, truly. A held call becomes denied."""
        record = await self._store.call(id)
        if record is None:
            return None
        if record.state is State.HELD:
            # An approval that comes first has moved the call on: then there is nothing to refuse.
            with contextlib.suppress(IllegalMove):
                await self._store.refuse(
                    record.call, Deny(reason="cancelled", detail="The held call was cancelled.")
                )
        elif record.state in RUNNING:
            await self._flights.cancel(id)
        return await self._store.call(id)

    async def reply_of(self, id: str) -> Reply | None:
        record = await self._store.call(id)
        return None if record is None else reply_from(record)

    async def close(self, timeout_s: float) -> None:
        """Waits for the calls that are running; what is left is recovered at the next start."""
        await self._flights.land(timeout_s)

    def _upstream(self, name: str) -> Upstream:
        upstream = self._upstreams.get(name)
        if upstream is None:
            raise NotFound(f"There is no source or tool called {name!r} here.")
        return upstream
