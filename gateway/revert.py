"""The walk back: one call, a session, or what an agent did since a time.

A revert is a call of its own: it has an intent, a permit, images and a way back. Calls come back
strictly newest first, over all upstreams. Neighbours of one database share a transaction, so they
come back whole or not at all; a call of a tool without transactions is compensated on its own, and
the job says what happened to each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.audit import digest_of
from gateway.errors import (
    SnapshotFailed,
    StoreUnavailable,
    UpstreamError,
)
from gateway.flights import held
from gateway.interfaces import (
    Clock,
    Probe,
    StaleGeneration,
    Store,
    Unwinding,
    Upstream,
    Watchable,
    no_probe,
)
from gateway.lifecycle import State
from gateway.model import (
    ActionClass,
    Call,
    CallRecord,
    Deny,
    EffectState,
    Json,
    Measured,
    OnConflict,
    Outcome,
    Reach,
    RevertJob,
    Running,
    Step,
    Subject,
    Surface,
)
from gateway.progress import Progress, Told
from gateway.selection import Group, Selection, whole
from gateway.steps import (
    failed_steps,
    foreseen_only,
    left_alone,
    nothing_restored,
    ordered_like,
    stopped_before,
    verdict_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertRequest:
    """``target`` holds ``call``, or ``session``, or ``agent`` with ``since`` (and ``until``);
    times are aware datetimes."""

    target: Mapping[str, Json]
    by: str
    plan: bool = False
    on_conflict: OnConflict = OnConflict.ABORT
    reason: str | None = None
    wait: bool = True


class Reverter:
    def __init__(
        self,
        *,
        upstreams: Mapping[str, Upstream],
        store: Store,
        clock: Clock,
        new_id: Callable[[str], str],
        revision: Callable[[], str],
        lease: timedelta,
        retention: timedelta | None,
        probe: Probe = no_probe,
    ) -> None:
        self._upstreams = upstreams
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._revision = revision
        self._lease = lease
        self._retention = retention
        self._probe = probe
        self._selection = Selection(store, upstreams.keys())
        self._running: set[asyncio.Task[RevertJob]] = set()
        self._progress: dict[str, Progress] = {}

    async def revert(self, request: RevertRequest) -> RevertJob:
        """Plans or carries out the request and returns the job with one step per call. Raises
        ``NotFound`` for an unknown call and ``Malformed`` for a target that names nothing."""
        now = self._clock.now()
        job = RevertJob(
            id=self._new_id("rev"),
            target=_shown(request.target),
            on_conflict=request.on_conflict,
            plan=request.plan,
            reason=request.reason,
            requested_by=request.by,
            state="planned" if request.plan else "running",
            steps=(),
            created_at=now,
            updated_at=now,
        )
        records = await self._selection.records(request.target)
        if request.plan:
            return await self._plan(job, records)
        await self._store.save_revert(job)
        self._probe("back.saved")
        task = asyncio.create_task(self._carry_out(job, records), name=f"revert {job.id}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task) if request.wait else job

    async def resume(self) -> list[RevertJob]:
        """Finishes the jobs that a crash interrupted: groups that landed stay, others run now."""
        jobs = []
        for job in await self._store.unfinished_reverts():
            records = await self._selection.records(_times(job.target))
            jobs.append(await self._carry_out(job, records))
        return jobs

    def progress(self, id: str) -> Progress | None:
        """Of a revert that runs in this process."""
        return self._progress.get(id)

    async def close(self, timeout_s: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)

    # --- plan and revert ------------------------------------------------------------------

    async def _plan(self, job: RevertJob, records: Sequence[CallRecord]) -> RevertJob:
        groups, steps = await self._selection.grouped(job.id, records)
        for group in whole(groups):
            with closing(Told(Progress())) as told:
                steps.extend(await self._foresee(job, group, told))
        return replace(job, steps=ordered_like(steps, records), updated_at=self._clock.now())

    async def _foresee(self, job: RevertJob, group: Group, told: Told) -> tuple[Step, ...]:
        """The steps as they would be now, from a transaction that is rolled back."""
        call = self._revert_call(job, group)
        try:
            unwound = self._upstreams[group.upstream].unwind(call, group.undos, job.on_conflict)
            async with unwound as unwinding:
                if isinstance(unwinding, Watchable):
                    unwinding.watch(told)
                steps = await unwinding.run()
        except UpstreamError as error:
            return failed_steps(group.upstream, group.undos, error.reason, error.detail)
        return tuple(replace(s, state="planned") if s.state == "reverted" else s for s in steps)

    async def _carry_out(self, job: RevertJob, records: Sequence[CallRecord]) -> RevertJob:
        groups, steps = await self._selection.grouped(job.id, records)
        if job.on_conflict is OnConflict.ABORT and len(groups) > 1:
            # All or nothing must hold across upstreams as far as it can be foreseen.
            foreseen = await self._foreseen(job, groups)
            if any(s.state in ("conflict", "failed") for s in foreseen):
                return await self._finish(job, [*steps, *foreseen_only(foreseen)], records)
        # A step that this job cannot take stops it there: what is older may build on it.
        stuck = job.on_conflict is OnConflict.ABORT and any(s.state == "unknown" for s in steps)
        for group in groups:
            if stuck:
                steps.extend(stopped_before(group.upstream, group.undos))
                continue
            taken = await self._take_back(job, group)
            steps.extend(taken)
            whole_step = all(s.state == "reverted" for s in taken)
            stuck = job.on_conflict is OnConflict.ABORT and not whole_step
        return await self._finish(job, steps, records)

    async def _foreseen(self, job: RevertJob, groups: Sequence[Group]) -> list[Step]:
        """The steps of all groups as they would be, their conflicts listed."""
        steps: list[Step] = []
        for group in whole(groups):
            with closing(Told(self._progress.setdefault(job.id, Progress()))) as told:
                found = await self._foresee(job, group, told)
                await told.keep(self._store, job.id, found)
                steps.extend(found)
        return steps

    async def _take_back(self, job: RevertJob, group: Group) -> tuple[Step, ...]:
        call = self._revert_call(job, group)
        reach = _reach(call)
        intent = await self._store.intend(
            call,
            action=_action(call),
            reach=reach,
            decision={"decision": "allow", "reasons": ["admin"], "revision": self._revision()},
        )
        if isinstance(intent, Deny):
            return failed_steps(group.upstream, group.undos, intent.reason, intent.detail)
        self._probe("back.intended")
        running = await self._store.begin(
            intent, windows=(), revision=self._revision(), lease=self._lease
        )
        if isinstance(running, Deny):
            return failed_steps(group.upstream, group.undos, running.reason, running.detail)
        self._probe("back.begun")
        async with held(self._store, running, self._lease):
            outcome = await self._unwind(job, call, group, running, reach)
        self._probe("back.landed")
        if outcome.state is not State.UNKNOWN or outcome.final:
            try:
                await self._store.settle(running, outcome)
            except StaleGeneration:
                return await self._taken_over(call, group)
            self._probe("back.settled")
        return outcome.steps

    async def _taken_over(self, call: Call, group: Group) -> tuple[Step, ...]:
        """Recovery settled this revert first; what it found is the truth."""
        record = await self._store.call(call.id)
        if record is not None and record.outcome is not None and record.outcome.steps:
            return record.outcome.steps
        detail = "Another process took this revert over and has not settled it yet."
        return failed_steps(group.upstream, group.undos, "outcome.unknown", detail)

    async def _unwind(
        self, job: RevertJob, call: Call, group: Group, running: Running, reach: Reach
    ) -> Outcome:
        told = Told(self._progress.setdefault(job.id, Progress()))
        try:
            unwound = self._upstreams[group.upstream].unwind(call, group.undos, job.on_conflict)
            async with unwound as unwinding:
                if isinstance(unwinding, Watchable):
                    unwinding.watch(told)
                steps = await unwinding.run()
                self._probe("back.ran")
                if any(s.restored for s in steps) and not _aborted(job, steps):
                    await told.keep(self._store, job.id, steps)
                    return await self._land(unwinding, steps, running, reach)
            await told.keep(self._store, job.id, steps)
            return nothing_restored(steps)
        except (UpstreamError, SnapshotFailed) as error:
            certain = not isinstance(error, UpstreamError) or error.proves_no_effect
            state, effect = (
                (State.FAILED, EffectState.NONE)
                if certain
                else (State.UNKNOWN, EffectState.UNKNOWN)
            )
            refusal = Deny(reason=error.reason, detail=error.detail, effect=effect)
            steps = failed_steps(group.upstream, group.undos, error.reason, error.detail)
            return Outcome(state=state, effect=effect, refusal=refusal, steps=steps)
        finally:
            told.close()

    async def _land(
        self, unwinding: Unwinding, steps: tuple[Step, ...], running: Running, reach: Reach
    ) -> Outcome:
        captured = await unwinding.capture()
        if isinstance(captured, Deny):
            return Outcome(
                state=State.FAILED,
                effect=EffectState.NONE,
                refusal=captured,
                steps=tuple(
                    replace(
                        s,
                        state="failed",
                        restored=0,
                        reason=captured.reason,
                        detail=captured.detail,
                    )
                    for s in steps
                ),
            )
        self._probe("back.captured")
        permit = await self._store.permit(
            running,
            # The steps travel with the undo, so that recovery can report them after a crash.
            undo=replace(
                captured.undo,
                manifest={**captured.undo.manifest, "steps": [s.as_json() for s in steps]},
            ),
            receipt=captured.receipt,
            measured=Measured(),
            reach=reach,
            windows=(),
            expires_at=self._clock.now() + self._retention if self._retention else None,
        )
        if isinstance(permit, Deny):
            return Outcome(
                state=State.FAILED, effect=EffectState.NONE, refusal=permit, steps=left_alone(steps)
            )
        self._probe("back.permitted")
        landed = await unwinding.commit(permit)
        if landed.effect is EffectState.APPLIED or landed.state is State.REVERTED:
            return replace(landed, state=State.REVERTED, steps=landed.steps or steps)
        refusal = landed.refusal or Deny(reason="outcome.unknown", detail="Not known yet.")
        state = "unknown" if landed.state is State.UNKNOWN else "failed"
        failed = tuple(
            replace(s, state=state, restored=0, reason=refusal.reason, detail=refusal.detail)
            for s in steps
        )
        return replace(landed, steps=failed)

    async def _finish(
        self, job: RevertJob, steps: Sequence[Step], records: Sequence[CallRecord]
    ) -> RevertJob:
        self._progress.pop(job.id, None)
        ordered = ordered_like(steps, records)
        done = replace(job, state=verdict_of(ordered), steps=ordered, updated_at=self._clock.now())
        try:
            await self._store.save_revert(done)
        except StoreUnavailable:
            # The calls are settled; ``resume`` writes the job's end from them.
            return replace(done, state="running")
        self._probe("back.finished")
        return done

    def _revert_call(self, job: RevertJob, group: Group) -> Call:
        targets = tuple(call for call, _ in group.undos)
        request = {
            "revert": list(targets),
            "on_conflict": str(job.on_conflict),
            "job": job.id,
        }
        return Call(
            id=self._new_id("call"),
            subject=Subject(id=job.requested_by, roles=("admin",), session=job.id),
            surface=Surface.ADMIN,
            tool=group.upstream,
            request=request,
            digest=digest_of(Surface.ADMIN, group.upstream, request),
            received_at=self._clock.now(),
            reason=job.reason,
            reverts=targets,
        )


def _aborted(job: RevertJob, steps: Sequence[Step]) -> bool:
    return job.on_conflict is OnConflict.ABORT and any(
        s.state in ("conflict", "failed") for s in steps
    )


def _reach(call: Call) -> Reach:
    return Reach(
        surface=call.surface,
        tool=call.tool,
        agent=call.subject.id,
        cls=ActionClass.ADMIN,
        verbs=("revert",),
        tables=(),
    )


def _action(call: Call) -> dict[str, Json]:
    return {
        "surface": str(call.surface),
        "tool": call.tool,
        "name": "revert",
        "class": str(ActionClass.ADMIN),
        "reversibility": "exact",
        "idempotent": False,
        "digest": call.digest,
        "effects": [],
        "sql": None,
        "http": None,
        "mcp": None,
    }


def _shown(target: Mapping[str, Json]) -> dict[str, Json]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in target.items()}


def _times(target: Mapping[str, Json]) -> dict[str, Json]:
    return {
        k: datetime.fromisoformat(v) if k in ("since", "until") and v else v
        for k, v in target.items()
    }
