"""An endpoint as a value, and the one way in which every endpoint is served.

admit -> read the request into an ``Act`` -> record it if the admin asks -> run it. Routes and the
OpenAPI description are both made from the same values, so neither can leave one out.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import HoldfastError, NotAdmin, StoreUnavailable, Unauthenticated
from gateway.identity.token import ADMIN, session_of
from gateway.model import EffectState, Json, Subject
from gateway.surfaces import problems
from gateway.surfaces.arguments import Query
from gateway.surfaces.headers import bearer, single
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

_log = logging.getLogger(__name__)

Reader = Callable[[Gateway, Visit], Awaitable[Act]]


class Access(StrEnum):
    OPEN = "open"
    AGENT = "agent"
    EITHER = "either"
    ADMIN = "admin"
    SCRAPE = "scrape"  # the admin or who reads the metrics; reading them is recorded nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``query``: JSON Schema by parameter. ``body`` and ``answers`` name schemas of
    ``schemas.SCHEMAS``; an answer without one has a body of
    ``media_type``. ``optional_body``: may be
    absent. ``any_query``: the query is not ours and is read by the endpoint itself."""

    method: str
    path: str
    access: Access
    read: Reader
    summary: str
    query: Mapping[str, Json] = field(default_factory=dict)
    any_query: bool = False
    headers: tuple[str, ...] = ()
    body: str | None = None
    optional_body: bool = False
    answers: Mapping[int, str | None]
    media_type: str = "text/event-stream"


async def serve(gateway: Gateway, endpoint: Endpoint, request: Request) -> Response:
    """Never raises, except for cancellation: every failure is a problem document."""
    visit = Visit(request=request)
    try:
        await _admit(gateway, endpoint, visit)
        if not endpoint.any_query:
            asked = request.query_params.multi_items() if request.scope["query_string"] else ()
            visit.query = Query(asked, endpoint.query)
        act = await endpoint.read(gateway, visit)
        if visit.admin:
            await gateway.store.record(f"admin.{act.what}", {**act.about, "by": ADMIN})
        return await act.run()
    except HoldfastError as error:
        if visit.call is None:
            gateway.refused(error.reason)
        doubt = visit.doubt and isinstance(error, StoreUnavailable)
        return problems.problem_of(error, call=visit.call, doubt=doubt)
    except Exception as error:  # noqa: BLE001 - the last frame that can still answer
        where = "".join(traceback.format_tb(error.__traceback__))
        # The place and the type, not the message: it may quote what must not be logged.
        _log.error("internal: %s, call %s\n%s", type(error).__name__, visit.call, where)
        effect = EffectState.UNKNOWN if visit.began else EffectState.NONE
        return problems.internal(call=visit.call, effect=effect)


async def _admit(gateway: Gateway, endpoint: Endpoint, visit: Visit) -> None:
    if endpoint.access is Access.OPEN:
        return
    try:
        visit.who = await _who(gateway, endpoint.access, visit)
    except (Unauthenticated, NotAdmin) as error:
        await gateway.failures.note(error.reason, f"{endpoint.method} {endpoint.path}")
        raise


async def _who(gateway: Gateway, access: Access, visit: Visit) -> Subject:
    token = bearer(visit.request)
    if access is Access.SCRAPE:
        if not gateway.is_admin(token) and not gateway.may_scrape(token):
            raise Unauthenticated("The admin token, or that of the metrics, is needed here.")
        return Subject(id=ADMIN, roles=(), session="metrics")
    session = single(visit.request, "Holdfast-Session")
    if gateway.is_admin(token):
        if access is Access.AGENT:
            raise Unauthenticated("This is the admin token. Agents call with a token of their own.")
        visit.admin = True
        return Subject(id=ADMIN, roles=(ADMIN,), session=session_of(session, ADMIN, gateway.clock))
    subject = await gateway.identifier.identify(token, session)
    if access is Access.ADMIN:
        raise NotAdmin("The admin token is needed here.")
    return subject
