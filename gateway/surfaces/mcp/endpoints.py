"""``POST``, ``GET`` and ``DELETE`` of ``/mcp`` and ``/mcp/{server}``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from starlette.responses import Response

from gateway.errors import HoldfastError, NotFound
from gateway.interfaces.mcp import (
    CURRENT,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PREVIOUS,
    Client,
    McpFault,
)
from gateway.model import Json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.headers import single
from gateway.surfaces.mcp import listening, origins, parameters
from gateway.surfaces.mcp.exchange import Exchange
from gateway.surfaces.mcp.messages import (
    BadMessage,
    Kind,
    Message,
    client_of,
    read_message,
    status_of,
)
from gateway.surfaces.mcp.names import Scope
from gateway.surfaces.mcp.rounds import Interrupted, answer, begun, resumed
from gateway.surfaces.mcp.serving import Asked, described, initialized
from gateway.surfaces.mcp.sessions import Session
from gateway.surfaces.mcp.streams import STREAM, accepted, answered, response, streamed
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

SESSION = "Mcp-Session-Id"


def _scope(gateway: Gateway, visit: Visit) -> Scope:
    name = visit.request.path_params.get("server")
    if name is not None and name not in gateway.mcp.servers:
        raise NotFound(f"There is no MCP server called {str(name)[:64]!r} here.")
    return Scope(gateway.mcp.servers, name)


async def post(gateway: Gateway, visit: Visit) -> Act:
    origins.check(visit.request, gateway.mcp)
    scope = _scope(gateway, visit)
    try:
        message = await read_message(visit.request, gateway.bounds)
    except BadMessage as bad:
        failed = _failed(bad)
        return Act(what="mcp.refused", run=lambda: _ready(failed))

    async def run() -> Response:
        visit.began = message.kind is Kind.REQUEST
        try:
            if message.current:
                return await _current(gateway, visit, scope, message)
            return await _previous(gateway, visit, scope, message)
        except BadMessage as bad:
            return _failed(bad)
        except McpFault as fault:
            return _fault(message, fault)

    return Act(what="mcp", about={"method": message.method}, run=run)


async def _ready(response: Response) -> Response:
    return response


def _failed(bad: BadMessage) -> Response:
    document = response(bad.id, fault=bad.fault)
    return answered(document, status=status_of(bad.fault.code, current=True))


def _fault(message: Message, fault: McpFault) -> Response:
    status = status_of(fault.code, current=message.current)
    return answered(response(message.id, fault=fault), status=status)


# --- the current era


async def _current(gateway: Gateway, visit: Visit, scope: Scope, message: Message) -> Response:
    if message.kind is Kind.NOTIFICATION:
        return accepted()  # there is none that means anything; the stream is what is closed
    client = client_of(message, visit.subject.id)
    if message.method == "subscriptions/listen":
        return _subscribed(gateway, visit, scope, message, client)
    if message.params.get("requestState") is not None:
        try:
            exchange = resumed(gateway.mcp, visit, scope, message)
        except Interrupted as interrupted:
            exchange = begun(gateway.mcp, message, client)
            asked = Asked(
                gateway=gateway, visit=visit, scope=scope, message=message, exchange=exchange
            )
            exchange.start(asked.fate_of(interrupted.call))
    else:
        exchange = begun(gateway.mcp, message, client)
        await parameters.check(visit.request, scope, message, client)
        asked = Asked(gateway=gateway, visit=visit, scope=scope, message=message, exchange=exchange)
        exchange.start(asked.result())
    return await answer(gateway, visit, scope, message, exchange)


def _subscribed(
    gateway: Gateway, visit: Visit, scope: Scope, message: Message, client: Client
) -> Response:
    wanted = listening.wanted_by(message)
    owner = visit.subject.id
    listening.admit(gateway, owner)
    pieces = listening.subscription(scope, message, wanted, client, gateway.bounds.watch_total_s)
    return streamed(pieces, closed=lambda: listening.dismiss(gateway, owner))


# --- the previous era


async def _previous(gateway: Gateway, visit: Visit, scope: Scope, message: Message) -> Response:
    if message.method == "initialize" and message.kind is Kind.REQUEST:
        return await _initialize(gateway, visit, scope, message)
    session = await _session(gateway, visit, scope)
    if message.kind is Kind.RESPONSE:
        session.answered(message.document)
        return accepted()
    if message.kind is Kind.NOTIFICATION:
        await _noted(gateway, session, message)
        return accepted()
    if message.id in session.running:
        raise McpFault(INVALID_REQUEST, "This id is in use by a request that still runs.")
    exchange = _exchange(gateway, session, message)
    session.running[message.id] = exchange
    asked = Asked(
        gateway=gateway,
        visit=visit,
        scope=scope,
        message=message,
        exchange=exchange,
        session=session,
    )
    exchange.start(_until_over(asked, session))
    if session.resumable and STREAM in visit.request.headers.get("accept", ""):
        return streamed(session.tracks.lay(message.id, exchange).pieces())
    return await answer(gateway, visit, scope, message, exchange)


async def _until_over(asked: Asked, session: Session) -> dict[str, Json]:
    try:
        return await asked.result()
    finally:
        session.running.pop(asked.message.id, None)


def _exchange(gateway: Gateway, session: Session, message: Message) -> Exchange:
    exchange: Exchange

    async def ask(requests: Mapping[str, Json]) -> Mapping[str, Json]:
        return await session.ask(exchange, requests, gateway.mcp.answer_s)

    exchange = Exchange(session.client, token=message.progress_token, asker=ask)
    return exchange


async def _session(gateway: Gateway, visit: Visit, scope: Scope) -> Session:
    """The session of the request's header, which never stands for a token. Raises ``McpFault``
    without a header and ``NotFound`` for a session of somebody else, which is recorded."""
    id = single(visit.request, SESSION)
    if id is None:
        raise BadMessage(McpFault(INVALID_REQUEST, f"The header {SESSION} is missing."))
    owner = visit.subject.id
    if gateway.mcp.sessions.foreign(id, owner=owner):
        await gateway.store.record("mcp.session_refused", {"agent": owner, "scope": scope.only})
    return gateway.mcp.sessions.find(id, owner=owner, scope=scope.only)


async def _initialize(gateway: Gateway, visit: Visit, scope: Scope, message: Message) -> Response:
    capabilities, info = message.params.get("capabilities"), message.params.get("clientInfo")
    wanted = message.params.get("protocolVersion")
    if not isinstance(capabilities, dict) or not isinstance(info, dict | None):
        raise McpFault(INVALID_PARAMS, "initialize needs the client's capabilities.")
    version = wanted if wanted in PREVIOUS else PREVIOUS[0]
    # Everything is told until the client says how much it wants to know.
    client = Client(
        owner=visit.subject.id,
        capabilities=capabilities,
        info=info,
        log_level="debug",
        current=False,
    )
    try:
        found = await described(scope, client, current=False)
    except HoldfastError as error:
        raise McpFault(-32603, error.detail) from None
    session = gateway.mcp.sessions.open(
        owner=visit.subject.id, scope=scope.only, version=str(version), client=client
    )
    document = response(message.id, result=initialized(found, str(version)))
    return answered(document, headers={SESSION: session.id})


async def _noted(gateway: Gateway, session: Session, message: Message) -> None:
    if message.method != "notifications/cancelled":
        return
    exchange = session.running.get(message.params.get("requestId"))
    if exchange is None or exchange.call is None:
        return
    # What may have landed is left to land; the client is told what became of it.
    await gateway.pipeline.cancel(exchange.call)


async def listen(gateway: Gateway, visit: Visit) -> Act:
    origins.check(visit.request, gateway.mcp)
    scope = _scope(gateway, visit)
    if visit.request.headers.get("mcp-protocol-version") == CURRENT:
        return Act(what="mcp.refused", run=lambda: _ready(_no_such_method()))

    async def run() -> Response:
        try:
            session = await _session(gateway, visit, scope)
        except BadMessage as bad:
            return _failed(bad)
        owner = visit.subject.id
        kept = session.tracks.find(single(visit.request, "Last-Event-ID") or "")
        listening.admit(gateway, owner)
        if kept is None:
            pieces = listening.session_stream(scope, session, gateway.bounds.watch_total_s)
        else:
            pieces = kept[0].pieces(kept[1])
        return streamed(
            _alive(pieces, session),
            closed=lambda: listening.dismiss(gateway, owner),
            headers={SESSION: session.id},
        )

    return Act(what="mcp.listen", run=run)


async def _alive(pieces: AsyncIterator[bytes], session: Session) -> AsyncIterator[bytes]:
    async for piece in pieces:
        session.used = asyncio.get_running_loop().time()
        yield piece


async def end(gateway: Gateway, visit: Visit) -> Act:
    origins.check(visit.request, gateway.mcp)
    scope = _scope(gateway, visit)
    if visit.request.headers.get("mcp-protocol-version") == CURRENT:
        return Act(what="mcp.refused", run=lambda: _ready(_no_such_method()))

    async def run() -> Response:
        try:
            session = await _session(gateway, visit, scope)
        except BadMessage as bad:
            return _failed(bad)
        gateway.mcp.sessions.close(session)
        return accepted()

    return Act(what="mcp.end", run=run)


def _no_such_method() -> Response:
    fault = McpFault(METHOD_NOT_FOUND, "This revision of the protocol knows POST only.")
    return answered(response(None, fault=fault), status=405, headers={"Allow": "POST"})


def _endpoints(path: str, what: str) -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            method="POST",
            path=path,
            access=Access.AGENT,
            read=post,
            summary=f"MCP over streamable HTTP: {what}.",
            headers=("Idempotency-Key", "Holdfast-Session", "Holdfast-Reason"),
            answers={200: None, 202: None},
        ),
        Endpoint(
            method="GET",
            path=path,
            access=Access.AGENT,
            read=listen,
            summary="The event stream of an MCP session (revisions before 2026-07-28).",
            answers={200: None},
        ),
        Endpoint(
            method="DELETE",
            path=path,
            access=Access.AGENT,
            read=end,
            summary="Ends an MCP session (revisions before 2026-07-28).",
            answers={202: None},
        ),
    )


ENDPOINTS = (
    *_endpoints("/mcp", "all servers, tools as server.tool"),
    *_endpoints("/mcp/{server}", "one server, tools by their own names"),
)
