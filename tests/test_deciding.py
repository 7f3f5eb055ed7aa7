from __future__ import annotations

from dataclasses import replace

from gateway.deciding import Decider
from gateway.guards.freeze import Windows
from gateway.guards.limits import Limits
from gateway.interfaces import Context
from gateway.model import (
    Action,
    Allow,
    Approval,
    Call,
    Deny,
    Freeze,
    Hold,
    Json,
    Obligations,
    Scope,
)
from gateway.store.memory import MemoryStore
from tests.fixtures.fakes import FakeClock, FakePolicy, a_call, code_that_runs
from tests.fixtures.walks import judges, walks


async def test_a_freeze_is_named_first_and_keeps_the_policys_reasons() -> None:
    w = await walks(policy=FakePolicy(Deny(reason="policy.denied", detail="", reasons=("no",))))
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "frozen"
    assert reply.outcome.refusal.reasons == ("no",)


async def test_policy_sees_what_the_subject_did_before() -> None:
    seen: list[tuple[bool, int, int]] = []

    class Watching(FakePolicy):
        def document(self, call: Call, action: Action, context: Context) -> dict[str, Json]:
            if context.counters:
                hour, measured = context.counters["hour"], context.measured is not None
                seen.append((measured, hour["calls"], hour["rows"]))
            return super().document(call, action, context)

    w = await walks(policy=Watching())
    for n in range(3):
        await w.pipeline.handle(a_call("a", str(n + 5)))
    # At first and again once the extent is known, each time without the call itself.
    assert seen == [(m, n, n) for n in range(3) for m in (False, True)]


async def test_code_of_users_waits_for_a_person_whatever_policy_says() -> None:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    decider = Decider(
        policy=FakePolicy(Allow()),
        judges=judges(Limits(max_rows=9, max_share=1)),
        windows=Windows([]),
        store=store,
        clock=clock,
    )
    action = code_that_runs()
    context = await decider.context(a_call())
    assert isinstance(await decider.judge(a_call(), action, context), Hold)
    waiting = Approval(
        id="a",
        call="c",
        digest="d",
        revision="r1",
        reasons=(),
        obligations=Obligations(),
        state="waiting",
        created_at=clock.now(),
        expires_at=clock.now(),
    )
    for state in ("waiting", "rejected", "expired"):
        ruled = replace(context, approval=replace(waiting, state=state))
        assert isinstance(await decider.judge(a_call(), action, ruled), Hold)
    agreed = replace(context, approval=replace(waiting, state="approved"))
    assert isinstance(await decider.judge(a_call(), action, agreed), Allow)
