from __future__ import annotations

from gateway.interfaces import Context
from gateway.model import Action, Call, Deny, Freeze, Json, Scope
from tests.fixtures.fakes import FakePolicy, a_call
from tests.fixtures.walks import walks


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
