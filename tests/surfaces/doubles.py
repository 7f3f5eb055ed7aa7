"""A gateway in which everything behind the surfaces is a double that can be looked into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from gateway.audit import GENESIS, seal
from gateway.errors import AuditUnavailable, NotFound, PolicyInvalid, PreconditionFailed
from gateway.guards.freeze import FreezeAnswer
from gateway.identity.failures import FailedSignIns
from gateway.identity.token import AdminToken, ConfiguredAgent, TokenIdentifier
from gateway.interfaces import Agent, AuditEntry, Quarantined, Rotation, SnapshotInfo
from gateway.lifecycle import State
from gateway.model import (
    Allow,
    Approval,
    Call,
    CallRecord,
    Conflict,
    Deny,
    EffectState,
    Freeze,
    Obligations,
    Outcome,
    Reply,
    Reversibility,
    RevertJob,
    Scope,
    Step,
    Subject,
    Surface,
    Undo,
    UndoInfo,
)
from gateway.pipeline import Judgement
from gateway.progress import Progress
from gateway.revert import RevertRequest
from gateway.surfaces.application import application
from gateway.surfaces.wiring import Bounds, Gateway
from tests.fixtures.fakes import START, FakeClock, ids

AGENT = "token-of-a7"
OTHER = "token-of-b8"
ADMIN = "token-of-admin"


def a_record(
    id: str = "call_1",
    *,
    agent: str = "a7",
    state: State = State.SUCCEEDED,
    effect: EffectState = EffectState.APPLIED,
    result: Mapping[str, Any] | None = None,
    refusal: Deny | None = None,
    snapshot: str | None = "snap_1",
) -> CallRecord:
    call = Call(
        id=id,
        subject=Subject(id=agent, roles=("developer",), session="s1"),
        surface=Surface.SQL,
        tool="shop",
        request={"sql": "DELETE FROM orders WHERE id = ?", "params": [1]},
        digest="d" * 64,
        received_at=START,
        idempotency_key="key-1",
        reason="clean-up",
    )
    settled = Outcome(state=state, effect=effect, result=result, refusal=refusal)
    return CallRecord(
        call=call,
        state=state,
        generation=1,
        effect=effect,
        action={"name": "delete"},
        reach=None,
        decision={"decision": "allow", "reason": None, "reasons": [], "obligations": {}},
        measured={"rows": 1},
        receipt=id,
        permitted=True,
        undo=UndoInfo(reversibility=Reversibility.EXACT, available=True),
        snapshot=snapshot,
        outcome=settled if state not in (State.HELD, State.EXECUTING) else None,
        reverted_by=None,
        lease_until=None,
        updated_at=START,
    )


def an_approval(id: str = "apr_1", call: str = "call_1", state: str = "waiting") -> Approval:
    return Approval(
        id=id,
        call=call,
        digest="d" * 64,
        revision="r1",
        reasons=("large",),
        obligations=Obligations(max_rows=5),
        state=state,
        created_at=START,
        expires_at=START,
    )


def a_snapshot(id: str = "snap_1", call: str = "call_1") -> SnapshotInfo:
    return SnapshotInfo(
        id=id,
        call=call,
        upstream="shop",
        kind="sqlite",
        reversibility="exact",
        bytes=12,
        sha256="a" * 64,
        created_at=START,
        expires_at=None,
        deleted_at=None,
    )


@dataclass
class FakeStore:
    clock: FakeClock
    records: dict[str, CallRecord] = field(default_factory=dict)
    kept_approvals: dict[str, Approval] = field(default_factory=dict)
    kept_snapshots: list[SnapshotInfo] = field(default_factory=list)
    undos: dict[str, Undo] = field(default_factory=dict)
    kept_conflicts: dict[str, list[tuple[str, Conflict]]] = field(default_factory=dict)
    jobs: dict[str, RevertJob] = field(default_factory=dict)
    kept_agents: dict[str, Agent] = field(default_factory=dict)
    log: list[AuditEntry] = field(default_factory=list)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: dict[str, Any] = field(default_factory=dict)
    audit_down: bool = False
    failing: Exception | None = None

    async def record(self, event: str, body: Mapping[str, Any]) -> None:
        if self.audit_down:
            raise AuditUnavailable("The audit log cannot be written.")
        previous = self.log[-1].hash if self.log else GENESIS
        sealed = seal(previous, len(self.log) + 1, self.clock.now(), event, body)
        self.log.append(AuditEntry(seq=sealed.seq, hash=sealed.hash, body=sealed.body))
        self.events.append((event, dict(body)))

    async def entries(self, *, after: int = 0, limit: int = 1000) -> list[AuditEntry]:
        return [e for e in self.log if e.seq > after][:limit]

    async def call(self, id: str) -> CallRecord | None:
        if self.failing is not None:
            raise self.failing
        return self.records.get(id)

    async def resolve(
        self, id: str, outcome: Outcome, *, by: str, note: str | None
    ) -> CallRecord | None:
        record = self.records.get(id)
        if record is None or record.state is not State.UNKNOWN:
            return None
        self.records[id] = replace(
            record, state=outcome.state, effect=outcome.effect, outcome=outcome
        )
        return self.records[id]

    async def calls(self, **asked: Any) -> tuple[list[CallRecord], str | None]:
        self.asked = asked
        return list(self.records.values())[: asked["limit"]], "more"

    async def approvals(self, *, waiting: bool = True) -> list[Approval]:
        found = self.kept_approvals.values()
        return [a for a in found if a.state == "waiting" or not waiting]

    async def approval(self, id: str) -> Approval | None:
        return self.kept_approvals.get(id)

    async def decide_approval(
        self, id: str, *, approve: bool, by: str, note: str | None
    ) -> Approval | None:
        approval = self.kept_approvals.get(id)
        if approval is None or approval.state != "waiting":
            return None
        state = "approved" if approve else "rejected"
        decided = replace(approval, state=state, decided_by=by, note=note)
        self.kept_approvals[id] = decided
        return decided

    async def snapshots(
        self, *, call: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[SnapshotInfo], str | None]:
        found = [s for s in self.kept_snapshots if call in (None, s.call)]
        start = int(cursor or 0)
        more = str(start + limit) if len(found) > start + limit else None
        return found[start : start + limit], more

    async def snapshot(self, id: str) -> SnapshotInfo | None:
        return next((s for s in self.kept_snapshots if s.id == id), None)

    async def rotate_keys(self, *, by: str) -> Rotation:
        self.asked["rotated_by"] = by
        return Rotation(key="k2", rewrapped=3, damaged=1, plain=2)

    async def undo_of(self, call: str) -> Undo | None:
        return self.undos.get(call)

    async def delete_snapshot(self, id: str, *, by: str) -> bool:
        kept = [s for s in self.kept_snapshots if s.id != id]
        gone = len(kept) < len(self.kept_snapshots)
        self.kept_snapshots = kept
        return gone

    async def revert(self, id: str) -> RevertJob | None:
        return self.jobs.get(id)

    async def conflicts(
        self, id: str, *, limit: int = 100, cursor: str | None = None
    ) -> tuple[list[tuple[str, Conflict]], str | None]:
        start = int(cursor or 0)
        found = self.kept_conflicts.get(id, [])
        more = str(start + limit) if len(found) > start + limit else None
        return found[start : start + limit], more

    async def add_agent(self, agent: Agent, *, by: str) -> bool:
        if agent.name in self.kept_agents:
            return False
        self.kept_agents[agent.name] = agent
        return True

    async def revoke_agent(self, name: str, *, by: str) -> bool:
        agent = self.kept_agents.get(name)
        if agent is None or agent.revoked_at is not None:
            return False
        self.kept_agents[name] = replace(agent, revoked_at=self.clock.now())
        return True

    async def agents(self) -> list[Agent]:
        return list(self.kept_agents.values())

    async def agent_by_token(self, token_sha256: str) -> Agent | None:
        found = self.kept_agents.values()
        return next((a for a in found if a.token_sha256 == token_sha256), None)


def a_reply(call: str, result: Mapping[str, Any] | None = None, **changed: Any) -> Reply:
    shown = {"verb": "delete", "columns": [], "rows": [], "affected": 1}
    outcome = Outcome(
        state=State.SUCCEEDED,
        effect=EffectState.APPLIED,
        result=shown if result is None else result,
    )
    reply = Reply(
        call=call,
        state=State.SUCCEEDED,
        effect=EffectState.APPLIED,
        outcome=outcome,
        undo=UndoInfo(reversibility=Reversibility.EXACT, available=True, expires_at=START),
    )
    return replace(reply, **changed)


@dataclass
class FakeWalk:
    """``answer`` makes the reply to a call; the calls are kept."""

    store: FakeStore
    answer: Callable[[Call], Any] = lambda call: a_reply(call.id)
    judgement: Judgement | Exception = field(
        default_factory=lambda: Judgement(
            decision=Allow(obligations=Obligations(max_rows=7), revision="r1"),
            document={"version": 1},
        )
    )
    calls: list[Call] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    resumed: list[Approval] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def handle(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.gate is not None:
            running = a_record(call.id, state=State.EXECUTING)
            self.store.records[call.id] = replace(running, call=call)
            await self.gate.wait()
        reply = self.answer(call)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, Reply)
        return reply

    async def decide(self, call: Call) -> Judgement:
        self.calls.append(call)
        if isinstance(self.judgement, Exception):
            raise self.judgement
        return self.judgement

    async def cancel(self, id: str) -> CallRecord | None:
        self.cancelled.append(id)
        return self.store.records.get(id)

    async def resume(self, approval: Approval) -> Reply:
        self.resumed.append(approval)
        self.store.records[approval.call] = a_record(approval.call)
        return a_reply(approval.call)


@dataclass
class FakeWalkBack:
    state: str = "reverted"
    reason: str | None = None
    requests: list[RevertRequest] = field(default_factory=list)
    running: dict[str, Progress] = field(default_factory=dict)
    failing: Exception | None = None

    def progress(self, id: str) -> Progress | None:
        return self.running.get(id)

    async def revert(self, request: RevertRequest) -> RevertJob:
        self.requests.append(request)
        if self.failing is not None:
            raise self.failing
        if request.target.get("call") == "call_none":
            raise NotFound("There is no such call.")
        state = "planned" if request.plan else self.state
        step = Step(
            call=str(request.target.get("call", "call_1")),
            upstream="shop",
            action="restore",
            state=state,
            restored=3,
            reason=self.reason,
            detail="row 7 was changed since" if self.reason else None,
        )
        shown = {k: v if isinstance(v, str) else v.isoformat() for k, v in request.target.items()}
        return RevertJob(
            id="rev_1",
            target=shown,
            on_conflict=request.on_conflict,
            plan=request.plan,
            reason=request.reason,
            requested_by=request.by,
            state=state if request.wait else "running",
            steps=(step,),
            created_at=START,
            updated_at=START,
        )


@dataclass
class FakeFreezes:
    clock: FakeClock
    known: dict[str, Freeze] = field(default_factory=dict)
    in_flight: tuple[str, ...] = ()
    drains: list[bool] = field(default_factory=list)

    async def freeze(
        self,
        scope: Scope,
        *,
        reason: str,
        by: str,
        starts_at: Any = None,
        ends_at: Any = None,
        drain: bool = False,
    ) -> FreezeAnswer:
        freeze = Freeze(
            id=f"frz_{len(self.known) + 1}",
            scope=scope,
            reason=reason,
            starts_at=starts_at or self.clock.now(),
            ends_at=ends_at,
            epoch=len(self.known) + 1,
            created_by=by,
        )
        self.known[freeze.id] = freeze
        self.drains.append(drain)
        return FreezeAnswer(freeze=freeze, in_flight=self.in_flight, drained=not self.in_flight)

    async def lift(self, id: str, *, by: str) -> Freeze | None:
        freeze = self.known.get(id)
        if freeze is None or freeze.lifted_at is not None:
            return None
        self.known[id] = replace(freeze, lifted_at=self.clock.now())
        return self.known[id]

    async def freezes(self, *, lifted: bool = False) -> list[Freeze]:
        return [f for f in self.known.values() if lifted or f.lifted_at is None]


@dataclass(frozen=True)
class Tested:
    passed: int
    failed: Sequence[Mapping[str, Any]]


class FakePolicies:
    def __init__(self) -> None:
        self.revision = "r1"
        self.texts = {"main.rego": "package gateway\n"}

    def files(self) -> Mapping[str, str]:
        return self.texts

    async def put(self, name: str, text: str, if_match: str | None = None) -> str:
        if if_match not in (None, self.revision):
            raise PreconditionFailed("changed", revision=self.revision)
        if "broken" in text:
            fault = {"file": name, "line": 3, "message": "broken"}
            raise PolicyInvalid("The policies do not compile.", faults=[fault])
        self.texts[name] = text
        self.revision = "r2"
        return self.revision

    async def test(self) -> Tested:
        return Tested(passed=12, failed=[])


class FakeImages:
    def __init__(self, count: int = 5) -> None:
        self.rows = [
            {"resource": "main.orders", "key": [n], "before": {"id": n}, "after": None}
            for n in range(count)
        ]

    async def images(self, undo: Undo, *, offset: int, limit: int) -> list[Mapping[str, Any]]:
        return list(self.rows[offset : offset + limit])


@dataclass
class House:
    """The doubles and an HTTP client on the application made of them."""

    clock: FakeClock
    store: FakeStore
    walk: FakeWalk
    back: FakeWalkBack
    purger: FakePurger
    freezes: FakeFreezes
    policies: FakePolicies
    gateway: Gateway
    http: httpx.AsyncClient
    checks: dict[str, Exception | None]
    may_undo: list[Deny | None]

    async def agent(self, method: str, path: str, token: str = AGENT, **more: Any) -> Any:
        return await self._send(method, path, token, more)

    async def admin(self, method: str, path: str, **more: Any) -> Any:
        return await self._send(method, path, ADMIN, more)

    async def _send(self, method: str, path: str, token: str, more: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **more)

    def heard(self) -> list[str]:
        """The events on record, oldest first."""
        return [event for event, _ in self.store.events]


class FakePurger:
    """``Purging``: what lies there, and what was asked to go."""

    def __init__(self) -> None:
        self.kept: list[tuple[Quarantined, CallRecord | None]] = []
        self.asked: list[tuple[str, tuple[str, ...], str]] = []

    async def listed(self) -> list[tuple[Quarantined, CallRecord | None]]:
        return self.kept

    async def propose(self, source: str, calls: Sequence[str], *, by: str) -> Reply:
        if source != "app":
            raise NotFound("There is no such source with a quarantine.")
        self.asked.append((source, tuple(calls), by))
        refusal = Deny(
            reason="approval.required",
            detail="A person has to approve this call.",
            extra={"approval": "apr_1", "call": "call_9"},
        )
        outcome = Outcome(state=State.HELD, effect=EffectState.NONE, refusal=refusal)
        return Reply(call="call_9", state=State.HELD, effect=EffectState.NONE, outcome=outcome)


@asynccontextmanager
async def house(bounds: Bounds | None = None) -> AsyncIterator[House]:
    clock = FakeClock()
    store = FakeStore(clock)
    walk, back, freezes = FakeWalk(store), FakeWalkBack(), FakeFreezes(clock)
    policies = FakePolicies()
    checks: dict[str, Exception | None] = {"store": None, "policy": None, "audit": None}
    answers: list[Deny | None] = [None]
    known = [
        ConfiguredAgent(name="a7", token=AGENT, roles=("developer",)),
        ConfiguredAgent(name="b8", token=OTHER),
    ]

    def check(part: str) -> Any:
        async def run() -> None:
            failure = checks[part]
            if failure is not None:
                raise failure

        return run

    async def may_undo(subject: Subject, record: CallRecord) -> Deny | None:
        return answers[0]

    purger = FakePurger()
    wired = Gateway(
        pipeline=walk,
        reverter=back,
        purger=purger,
        store=store,  # type: ignore[arg-type]
        freezer=freezes,
        policy=policies,
        identifier=TokenIdentifier(known, store, clock),  # type: ignore[arg-type]
        is_admin=AdminToken(ADMIN).matches,
        failures=FailedSignIns(store, clock),  # type: ignore[arg-type]
        clock=clock,
        upstreams={"shop": "sql", "app": "sql", "crm": "http"},
        images={"shop": FakeImages()},
        may_undo=may_undo,
        new_id=ids(),
        readiness={part: check(part) for part in checks},
        configured_agents={"a7": ("developer",), "b8": ()},
        bounds=bounds or Bounds(watch_poll_s=0.001, watch_beat_s=0.005, watch_total_s=0.05),
    )
    transport = httpx.ASGITransport(app=application(wired), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://holdfast") as http:
        yield House(
            clock=clock,
            store=store,
            walk=walk,
            back=back,
            purger=purger,
            freezes=freezes,
            policies=policies,
            gateway=wired,
            http=http,
            checks=checks,
            may_undo=answers,
        )
