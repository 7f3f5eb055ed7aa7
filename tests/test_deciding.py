from __future__ import annotations

from gateway.model import Deny, Freeze, Scope
from tests.fixtures.fakes import FakePolicy, a_call
from tests.fixtures.walks import walks


async def test_a_freeze_is_named_first_and_keeps_the_policys_reasons() -> None:
    w = await walks(policy=FakePolicy(Deny(reason="policy.denied", detail="", reasons=("no",))))
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "frozen"
    assert reply.outcome.refusal.reasons == ("no",)
