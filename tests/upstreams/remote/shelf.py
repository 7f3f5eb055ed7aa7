"""A remote tool that can be looked into: a shelf of items, and what goes wrong on the way to it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from gateway.audit import digest_of
from gateway.errors import UpstreamError
from gateway.interfaces import no_probe
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Effect,
    Json,
    Permit,
    Resource,
    Reversibility,
    Subject,
    Surface,
    ToolClass,
)
from gateway.upstreams.remote.attempt import Tool
from gateway.upstreams.remote.breaker import Breaker
from gateway.upstreams.remote.plan import Maker, Plan, Probing, Retry
from gateway.upstreams.remote.sending import Sender
from gateway.upstreams.remote.target import RemoteTarget
from gateway.upstreams.remote.templates import Template
from gateway.upstreams.remote.transport import Answer
from tests.fixtures.fakes import FakeClock

ROOTS = ("request", "before", "response")


@dataclass
class Shelf:
    """``Transport``. ``faults``: what happens to the next sendings of effects, in order: ``lost``
    (applied, the answer is lost), ``refused`` (never sent), ``swallowed`` (sent, never arrives),
    ``broken`` (answers 500 without an effect), ``rejected`` (answers 422, which proves no effect).
    ``effects`` is what really happened."""

    items: dict[str, Json] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    read_faults: list[str] = field(default_factory=list)
    effects: list[tuple[str, str]] = field(default_factory=list)
    seen: list[Mapping[str, Json]] = field(default_factory=list)
    keys: dict[str, Answer] = field(default_factory=dict)
    heeds_keys: bool = False
    ids: Any = field(default_factory=lambda: itertools.count(100))

    async def send(
        self,
        request: Mapping[str, Json],
        *,
        key: str | None = None,
        body: Any = None,
        live: bool = False,
    ) -> Answer:
        self.seen.append(request)
        reads = request["do"] == "get"
        faults = self.read_faults if reads else self.faults
        fault = faults.pop(0) if faults else ""
        if fault == "refused":
            raise UpstreamError("refused", reason="upstream.unreachable")
        if fault == "swallowed":
            raise UpstreamError("silence", reason="upstream.timeout", proves_no_effect=False)
        if fault == "broken":
            return _answer(500, {"error": "broken"}, failed=True)
        if fault == "rejected":
            return _answer(422, {"error": "rejected"}, failed=True, proves_no_effect=True)
        answer = self._keyed(request, key)
        if fault == "lost":
            raise UpstreamError("silence", reason="upstream.timeout", proves_no_effect=False)
        return answer

    def _keyed(self, request: Mapping[str, Json], key: str | None) -> Answer:
        if key is None or not self.heeds_keys:
            return self._done(request)
        if key not in self.keys:
            self.keys[key] = self._done(request)
        return self.keys[key]

    def _done(self, request: Mapping[str, Json]) -> Answer:
        do, id = request["do"], request.get("id")
        if do == "get":
            if id not in self.items:
                return _answer(404, {"error": "nothing"}, failed=True, absent=True)
            return _answer(200, self.items[id])
        if do == "delete" and id not in self.items:
            return _answer(404, {"error": "nothing"}, failed=True, proves_no_effect=True)
        id = id or str(next(self.ids))
        self.effects.append((do, id))
        if do == "delete":
            del self.items[id]
            return _answer(204, None)
        self.items[id] = request["body"]
        return _answer(200, {"id": id, "item": request["body"]})


def _answer(status: int, body: Json, **more: bool) -> Answer:
    view = {"status": status, "headers": {"date": "today"}, "body": body}
    return Answer(view=view, result={"status": status, "body": body}, **more)


def make(template: Json) -> Maker:
    return Template.compile(template, ROOTS).render


GET = make({"do": "get", "id": "$request.id"})


def deletion(id: str = "7", **changes: Any) -> Plan:
    """Deletes an item; the undo puts back what was read before."""
    request = {"do": "delete", "id": id}
    plan = Plan(
        name="DELETE /items/{id}",
        resource=f"/items/{id}",
        cls=ActionClass.DESTRUCTIVE,
        reversibility=Reversibility.EXACT,
        tool_class=ToolClass.OPAQUE,
        request=request,
        values={"request": request},
        before=GET,
        undo=make({"do": "put", "id": "$request.id", "body": "$before.body"}),
        verify=GET,
        undo_safe=True,
    )
    return replace(plan, **changes)


def change(id: str = "7", body: Json = "new", **changes: Any) -> Plan:
    request = {"do": "put", "id": id, "body": body}
    return deletion(id, name="PUT /items/{id}", request=request, values={"request": request},
                    cls=ActionClass.WRITE, safe=True, **changes)  # fmt: skip


def creation(body: Json = "made", **changes: Any) -> Plan:
    """Creates an item whose id only the answer tells."""
    request = {"do": "post", "body": body}
    plan = Plan(
        name="POST /items",
        resource="/items",
        cls=ActionClass.WRITE,
        reversibility=Reversibility.COMPENSABLE,
        tool_class=ToolClass.OPAQUE,
        request=request,
        values={"request": request},
        undo=make({"do": "delete", "id": "$response.body.id"}),
        verify=make({"do": "get", "id": "$response.body.id"}),
    )
    return replace(plan, **changes)


def probing(found: bool | None, fence_s: float = 10.0) -> Probing:
    return Probing(request=GET, happened=lambda _: found, fence_s=fence_s)


def a_call(plan: Plan, number: int = 1, *, reverts: tuple[str, ...] = (), **more: Any) -> Call:
    request = {"revert": list(reverts)} if reverts else dict(plan.request)
    return Call(
        id=f"call_{number:04d}",
        subject=Subject(id="a7", roles=("developer",), session="s1"),
        surface=Surface.HTTP,
        tool="shelf",
        request=request,
        digest=digest_of(Surface.HTTP, "shelf", request),
        received_at=datetime(2026, 3, 2, 9, 0, tzinfo=UTC),
        reverts=reverts,
        **more,
    )


def an_action(call: Call, plan: Plan) -> Action:
    irreversible = plan.reversibility is Reversibility.IRREVERSIBLE
    return Action(
        surface=call.surface,
        tool=call.tool,
        name=str(plan.request["do"]),
        cls=plan.cls,
        reversibility=plan.reversibility,
        idempotent=plan.safe,
        digest=call.digest,
        effects=(Effect(verb=str(plan.request["do"]), kind="route", name=plan.name),),
        resource=Resource(type="http_tool", id=call.tool, environment="test"),
        why_irreversible="no undo is declared" if irreversible else None,
        tool_class=plan.tool_class,
        facts=plan,
    )


async def at_once(_seconds: float) -> None:
    return None


def a_sender(shelf: Shelf, clock: FakeClock) -> Sender:
    return Sender(shelf, Breaker(clock), pause=at_once)


def a_tool(shelf: Shelf, clock: FakeClock | None = None) -> Tool:
    clock = clock or FakeClock()
    return Tool(name="shelf", sender=a_sender(shelf, clock), clock=clock, probe=no_probe)


def a_target(shelf: Shelf, plan: Plan | None, clock: FakeClock | None = None) -> RemoteTarget:
    clock = clock or FakeClock()

    async def plan_of(_call: Call) -> Plan | None:
        return plan

    return RemoteTarget("shelf", shelf, clock=clock, plan_of=plan_of, sender=a_sender(shelf, clock))


def permit_for(call: Call) -> Permit:
    return Permit.issue(call.id, 1)


ONCE_MORE = Retry(attempts=3)
