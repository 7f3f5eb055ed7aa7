"""``/admin/freezes``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from starlette.responses import Response

from gateway.errors import Malformed, NotFound
from gateway.model import ActionClass, Json, Scope
from gateway.surfaces.answers import answer
from gateway.surfaces.arguments import Fields
from gateway.surfaces.bodies import read_json
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.views import freeze_json
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

# A freeze of something that does not exist would stop nothing while people believe it does.
EFFECTS = frozenset({str(cls) for cls in ActionClass}) | {
    "select",
    "insert",
    "update",
    "delete",
    "merge",
    "truncate",
    "execute",
    "create",
    "alter",
    "drop",
}


async def create(gateway: Gateway, visit: Visit) -> Act:
    fields = Fields(await read_json(visit.request, gateway.bounds))
    scope = scope_of(fields.take("scope"), gateway.upstreams)
    reason = fields.optional_text("reason") or "no reason given"
    starts_at, ends_at = fields.time("starts_at"), fields.time("ends_at")
    drain = fields.flag("drain")
    fields.end()
    _check_times(starts_at, ends_at, gateway.clock.now())

    async def run() -> Response:
        made = await gateway.freezer.freeze(
            scope,
            reason=reason,
            by=visit.subject.id,
            starts_at=starts_at,
            ends_at=ends_at,
            drain=drain,
        )
        document = {
            **freeze_json(made.freeze, gateway.clock.now()),
            "in_flight": list(made.in_flight),
            "drained": made.drained,
        }
        where = {"Location": f"/admin/freezes/{made.freeze.id}"}
        return answer(document, status=201, headers=where)

    about = {"scope": scope.as_json(), "reason": reason, "drain": drain}
    return Act(what="freezes.create", about=about, run=run)


def scope_of(document: Json, upstreams: Mapping[str, str]) -> Scope:
    """Absent is everything that writes."""
    fields = Fields({} if document is None else document, "'scope'")
    sources = {name for name, kind in upstreams.items() if kind == "sql"}
    scope = Scope(
        sources=fields.texts("sources", among=sources),
        tools=fields.texts("tools", among=upstreams.keys() - sources),
        tables=fields.texts("tables"),
        agents=fields.texts("agents"),
        effects=fields.texts("effects", among=EFFECTS),
    )
    fields.end()
    return scope


def _check_times(starts_at: datetime | None, ends_at: datetime | None, now: datetime) -> None:
    if ends_at is not None and ends_at <= max(starts_at or now, now):
        raise Malformed("'ends_at' must be after the start and in the future.")


async def listed(gateway: Gateway, visit: Visit) -> Act:
    lifted = visit.query.flag("lifted")

    async def run() -> Response:
        now = gateway.clock.now()
        found = await gateway.freezer.freezes(lifted=lifted)
        return answer({"freezes": [freeze_json(freeze, now) for freeze in found]})

    return Act(what="freezes.list", run=run)


async def show(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        found = await gateway.freezer.freezes(lifted=True)
        freeze = next((f for f in found if f.id == id), None)
        if freeze is None:
            raise NotFound("There is no such freeze.")
        return answer(freeze_json(freeze, gateway.clock.now()))

    return Act(what="freezes.show", about={"freeze": id}, run=run)


async def lift(gateway: Gateway, visit: Visit) -> Act:
    id = visit.id()

    async def run() -> Response:
        freeze = await gateway.freezer.lift(id, by=visit.subject.id)
        if freeze is None:
            raise NotFound(
                "There is no such freeze to lift. A recurring window (window:NAME) ends by its "
                "own time or by a change of the configuration."
            )
        return answer(freeze_json(freeze, gateway.clock.now()))

    return Act(what="freezes.lift", about={"freeze": id}, run=run)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/admin/freezes",
        access=Access.ADMIN,
        read=create,
        summary="Freezes a scope; when this answers, nothing in scope begins any more.",
        body="FreezeOrder",
        answers={201: "FreezeAnswer"},
    ),
    Endpoint(
        method="GET",
        path="/admin/freezes",
        access=Access.ADMIN,
        read=listed,
        summary="Freezes, recurring windows in force included.",
        query={"lifted": {"type": "boolean", "default": False}},
        answers={200: "Freezes"},
    ),
    Endpoint(
        method="GET",
        path="/admin/freezes/{id}",
        access=Access.ADMIN,
        read=show,
        summary="One freeze.",
        answers={200: "Freeze"},
    ),
    Endpoint(
        method="DELETE",
        path="/admin/freezes/{id}",
        access=Access.ADMIN,
        read=lift,
        summary="Lifts a freeze.",
        answers={200: "Freeze"},
    ),
)
