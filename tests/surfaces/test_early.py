from __future__ import annotations

import asyncio

from starlette.responses import Response

from gateway.lifecycle import State
from gateway.model import EffectState, Outcome, Reply
from gateway.surfaces.early import accepted, respond_async
from tests.fixtures.fakes import a_call
from tests.surfaces.doubles import House, a_record


def rendered(reply: Reply) -> Response:
    return Response(reply.call, status_code=299)


async def test_a_call_on_record_is_answered_before_it_ends(home: House) -> None:
    call = a_call(id="call_9")
    home.store.records["call_9"] = a_record("call_9", state=State.EXECUTING)
    ended = asyncio.Event()

    async def handling() -> Reply:
        await ended.wait()
        outcome = Outcome(state=State.SUCCEEDED, effect=EffectState.NONE)
        return Reply(call=call.id, state=outcome.state, effect=outcome.effect, outcome=outcome)

    response = await respond_async(home.gateway, call, handling(), rendered)
    assert response.status_code == 202
    assert response.headers["location"] == "/calls/call_9"
    ended.set()
    await asyncio.gather(*home.gateway.tasks)


async def test_a_reply_that_comes_first_is_the_answer(home: House) -> None:
    call = a_call(id="call_8")

    async def handling() -> Reply:
        outcome = Outcome(state=State.SUCCEEDED, effect=EffectState.NONE)
        return Reply(call=call.id, state=outcome.state, effect=outcome.effect, outcome=outcome)

    response = await respond_async(home.gateway, call, handling(), rendered)
    assert response.status_code == 299


def test_what_was_accepted_says_where_to_ask() -> None:
    response = accepted(a_record("call_1", state=State.EXECUTING))
    assert response.headers["preference-applied"] == "respond-async"
    assert response.headers["holdfast-call"] == "call_1"
