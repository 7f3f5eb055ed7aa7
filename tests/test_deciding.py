from __future__ import annotations

import pytest

from gateway.lifecycle import State
from gateway.model import Allow, Obligations
from tests.fixtures.fakes import FakePolicy, a_call
from tests.fixtures.walks import walks


@pytest.mark.parametrize("demanded", [Obligations(rehearse=True), Obligations(redact=("email",))])
async def test_an_obligation_that_cannot_be_met_is_a_denial(demanded: Obligations) -> None:
    w = await walks(policy=FakePolicy(Allow(obligations=demanded)))
    reply = await w.pipeline.handle(a_call())
    assert reply.state is State.DENIED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "policy.unavailable"
    assert w.box.effects == []
