from __future__ import annotations

import pytest

from gateway.lifecycle import State
from gateway.model import Allow, Deny, Freeze, Obligations, Scope
from tests.fixtures.fakes import FakePolicy, a_call
from tests.fixtures.walks import walks


@pytest.mark.parametrize("demanded", [Obligations(redact=("email",))])
async def test_an_obligation_that_cannot_be_met_is_a_denial(demanded: Obligations) -> None:
    w = await walks(policy=FakePolicy(Allow(obligations=demanded)))
    reply = await w.pipeline.handle(a_call())
    assert reply.state is State.DENIED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "policy.unavailable"
    assert w.box.effects == []


async def test_a_freeze_is_named_first_and_keeps_the_policys_reasons() -> None:
    w = await walks(policy=FakePolicy(Deny(reason="policy.denied", detail="", reasons=("no",))))
    await w.store.freeze(Freeze(id="f", scope=Scope(), reason="x", starts_at=w.clock.now()))
    reply = await w.pipeline.handle(a_call())
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "frozen"
    assert reply.outcome.refusal.reasons == ("no",)
