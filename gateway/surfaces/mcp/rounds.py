"""The rounds of one request: it begins, is answered, or waits for its client to come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response

from gateway.errors import Overloaded
from gateway.interfaces.mcp import INTERNAL_ERROR, INVALID_PARAMS, Client, McpFault
from gateway.model import Json
from gateway.surfaces.mcp.desk import Desk, Waiting
from gateway.surfaces.mcp.exchange import Exchange
from gateway.surfaces.mcp.messages import Message, status_of
from gateway.surfaces.mcp.names import Scope
from gateway.surfaces.mcp.states import digest_of_request
from gateway.surfaces.mcp.streams import BEAT_S, STREAM, answered, event, response, streamed
from gateway.surfaces.visit import Visit
from gateway.surfaces.wiring import Gateway

# What takes longer is answered by a stream, so that nothing on the way thinks that it is dead.
COMMIT_S = 15.0


class Interrupted(Exception):
    """The call that asked waited in a process that is gone."""

    def __init__(self, call: str) -> None:
        super().__init__(call)
        self.call = call


def begun(desk: Desk, message: Message, client: Client) -> Exchange:
    """A request of the current era that comes for the first time."""
    exchange: Exchange

    async def ask(requests: Mapping[str, Json]) -> Mapping[str, Json]:
        return await exchange.pause(requests, desk.answer_s)

    exchange = Exchange(
        client, token=message.progress_token, inputs=message.params.get("inputResponses"), asker=ask
    )
    return exchange


def resumed(desk: Desk, visit: Visit, scope: Scope, message: Message) -> Exchange:
    """The request that this one answers the questions of. Raises ``McpFault``: a state is good
    once, for its own subject and request; and ``Interrupted``."""
    state, inputs = message.params["requestState"], message.params.get("inputResponses", {})
    if not isinstance(state, str) or not isinstance(inputs, dict):
        raise McpFault(INVALID_PARAMS, "requestState must be a text, inputResponses an object.")
    opened = desk.seal.open(state, owner=visit.subject.id, digest=_digest(scope, message))
    visit.call = opened.call or None
    if opened.earlier:
        raise Interrupted(opened.call)
    waiting = desk.waiting.pop(opened.name, None)
    exchange = waiting.exchange if waiting is not None else None
    if exchange is None or exchange.paused is None or exchange.paused[1].done():
        raise McpFault(INVALID_PARAMS, "This requestState was used already, or waited too long.")
    requests, future = exchange.paused
    exchange.paused = None
    exchange.token = message.progress_token
    future.set_result({key: inputs[key] for key in requests if key in inputs})
    visit.call = exchange.call
    return exchange


def _digest(scope: Scope, message: Message) -> bytes:
    return digest_of_request(message.method, scope.only or "", message.params)


async def answer(
    gateway: Gateway, visit: Visit, scope: Scope, message: Message, exchange: Exchange
) -> Response:
    """JSON where nothing has to be said before the result, otherwise a stream."""
    streams = STREAM in visit.request.headers.get("accept", "")
    if not streams:
        while not (exchange.over or exchange.paused):
            exchange.outgoing.clear()  # there is no way to tell
            await exchange.wait(BEAT_S)
    else:
        await exchange.wait(COMMIT_S)
    if not exchange.outgoing and (exchange.over or exchange.paused):
        document = _last(gateway.mcp, visit, scope, message, exchange)
        error = document.get("error")
        status = 200 if error is None else status_of(error["code"], current=message.current)
        return answered(document, status=status)
    return streamed(_pieces(gateway, visit, scope, message, exchange))


async def _pieces(
    gateway: Gateway, visit: Visit, scope: Scope, message: Message, exchange: Exchange
) -> AsyncIterator[bytes]:
    finished = False
    try:
        while True:
            while exchange.outgoing:
                yield event(exchange.outgoing.popleft())
            if exchange.over or exchange.paused:
                yield event(_last(gateway.mcp, visit, scope, message, exchange))
                finished = True
                return
            if not await exchange.wait(BEAT_S):
                yield b": still at it\n\n"
    finally:
        if not finished and message.current and exchange.call is not None:
            # The client closed the stream: in this era that cancels what cannot have landed yet.
            _later(gateway, exchange.call)


def _later(gateway: Gateway, call: str) -> None:
    task = asyncio.create_task(gateway.pipeline.cancel(call))
    gateway.tasks.add(task)
    task.add_done_callback(gateway.tasks.discard)


def _last(
    desk: Desk, visit: Visit, scope: Scope, message: Message, exchange: Exchange
) -> dict[str, Json]:
    """The final message of this round."""
    try:
        if exchange.over:
            return response(message.id, result=exchange.outcome())
        return response(message.id, result=_question(desk, visit, scope, message, exchange))
    except McpFault as fault:
        return response(message.id, fault=fault)
    except Overloaded as error:
        return response(message.id, fault=McpFault(INTERNAL_ERROR, error.detail))


def _question(
    desk: Desk, visit: Visit, scope: Scope, message: Message, exchange: Exchange
) -> dict[str, Json]:
    assert exchange.paused is not None
    owner = visit.subject.id
    for name in [n for n, w in desk.waiting.items() if w.exchange.paused is None]:
        del desk.waiting[name]  # waited too long
    if sum(w.owner == owner for w in desk.waiting.values()) >= desk.waiting_per_agent:
        exchange.give_up()
        raise Overloaded("Too many requests of this agent wait for answers.")
    digest = _digest(scope, message)
    name, state = desk.seal.seal(
        owner=owner, digest=digest, ttl_s=desk.answer_s, call=exchange.call or ""
    )
    desk.waiting[name] = Waiting(exchange=exchange, owner=owner)
    return {
        "resultType": "input_required",
        "inputRequests": dict(exchange.paused[0]),
        "requestState": state,
    }
