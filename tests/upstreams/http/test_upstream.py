from __future__ import annotations

from typing import Any

import pytest

from gateway.audit import digest_of
from gateway.hosts import origin_of
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Deny,
    Reversibility,
    Subject,
    Surface,
    ToolClass,
)
from gateway.upstreams.http.declared import DeclaredCall, DeclaredRoute, DeclaredTool
from gateway.upstreams.http.routes import compile_routes
from gateway.upstreams.http.upstream import HttpUpstream
from gateway.upstreams.remote.plan import Plan
from tests.fixtures.fakes import START, FakeClock

ROUTES = (
    DeclaredRoute(
        match="DELETE /customers/{id}",
        before=DeclaredCall(call="GET /customers/{id}"),
        undo=DeclaredCall(call="PUT /customers/{id}", body="$before.body"),
        verify=DeclaredCall(call="GET /customers/{id}"),
        if_match=True,
        ignore=("body.at",),
    ),
    DeclaredRoute(match="POST /keyed", idempotency_key="K"),
    DeclaredRoute(match="GET /one", scalars=frozenset({"id"})),
    DeclaredRoute(match="POST /form", scalars=frozenset({"id"})),
    DeclaredRoute(match="POST /graphql", graphql=True),
    DeclaredRoute(match="POST /reading", graphql=True, cls=ActionClass.READ),
)


def upstream(**changed: Any) -> HttpUpstream:
    tool = DeclaredTool(
        name="crm",
        origin=origin_of("http://127.0.0.1:1"),
        environment="staging",
        labels={"team": "sales"},
        routes=ROUTES,
        **changed,
    )
    table, faults = compile_routes(ROUTES)
    assert faults == []
    return HttpUpstream(tool, table, clock=FakeClock(), lease_s=120)


def a_call(method: str, path: str, **more: Any) -> Call:
    request = {
        "method": method,
        "path": path,
        "query": [],
        "headers": {"accept-encoding": "gzip"},
        "type": "application/json" if "body" in more else None,
        "body": None,
        **more,
    }
    return Call(
        id="call_1",
        subject=Subject(id="a7", session="s"),
        surface=Surface.HTTP,
        tool="crm",
        request=request,
        digest=digest_of(Surface.HTTP, "crm", request),
        received_at=START,
    )


async def parsed(method: str, path: str, *, safe: bool = False, **more: Any) -> Action:
    found = await upstream(gets_are_safe=safe).parse(a_call(method, path, **more))
    assert isinstance(found, Action), found
    return found


async def refused(method: str, path: str, **more: Any) -> str:
    found = await upstream().parse(a_call(method, path, **more))
    assert isinstance(found, Deny), found
    return found.reason


async def test_a_declared_route_is_judged_as_declared() -> None:
    action = await parsed("DELETE", "/customers/7", query=[["x", "1"], ["x", "2"]])
    [effect] = action.effects
    assert (effect.verb, effect.kind, effect.name) == (
        "delete", "route", "crm DELETE /customers/{id}",
    )  # fmt: skip
    assert action.cls is ActionClass.DESTRUCTIVE
    assert action.reversibility is Reversibility.COMPENSABLE
    assert action.http == {
        "method": "DELETE",
        "route": "DELETE /customers/{id}",
        "path": "/customers/7",
        "params": {"id": "7"},
        "query": {"x": ["1", "2"]},
        "headers": {"accept-encoding": "gzip"},
        "type": None,
        "body": None,
        "graphql": None,
    }
    assert (action.resource.type, action.resource.id, action.resource.environment) == (
        "http_tool", "crm", "staging",
    )  # fmt: skip
    assert action.resource.labels == {"team": "sales"}


async def test_its_plan_says_what_is_sent_and_how_it_is_taken_back() -> None:
    plan = (await parsed("DELETE", "/customers/7")).facts
    assert isinstance(plan, Plan)
    assert (plan.name, plan.resource) == ("DELETE /customers/{id}", "/customers/7")
    assert plan.request["headers"]["accept-encoding"] == "identity"
    assert plan.ignore == ("body.at",)
    before = {"body": {"name": "A"}, "headers": {"etag": '"1"'}}
    values = {**plan.values, "before": before}
    assert plan.before is not None
    assert plan.before(values)["path"] == "/customers/7"
    assert plan.undo is not None
    assert plan.undo(values)["body"] == {"name": "A"}
    assert plan.conditional is not None
    assert plan.conditional(values)["headers"]["if-match"] == '"1"'
    with pytest.raises(KeyError):
        plan.conditional({**values, "before": {"body": {}, "headers": {}}})


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_undeclared_read_is_one_only_where_the_tool_says_so(method: str) -> None:
    safe = await parsed(method, "/x", safe=True)
    assert (safe.cls, safe.name, safe.reversibility) == (
        ActionClass.READ, "read", Reversibility.NONE,
    )  # fmt: skip
    assert safe.effects[0].name == f"crm {method} *"
    assert safe.idempotent
    opaque = await parsed(method, "/x")
    assert (opaque.cls, opaque.reversibility) == (ActionClass.WRITE, Reversibility.IRREVERSIBLE)
    assert opaque.effects[0].verb == "call"
    assert opaque.why_irreversible == "the route is not declared"


@pytest.mark.parametrize(
    ("method", "verb", "cls"),
    [
        ("POST", "create", "write"), ("PUT", "update", "write"), ("PATCH", "update", "write"),
        ("DELETE", "delete", "destructive"), ("OPTIONS", "call", "write"),
    ],
)  # fmt: skip
async def test_every_other_undeclared_route_is_opaque(method: str, verb: str, cls: str) -> None:
    action = await parsed(method, "/customers/7/x", safe=True)
    assert (action.name, str(action.cls)) == (verb, cls)
    assert action.reversibility is Reversibility.IRREVERSIBLE
    assert action.tool_class is ToolClass.OPAQUE
    assert action.effects[0].name == f"crm {method} *"
    assert action.http is not None
    assert action.http["route"] is None


async def test_a_key_needs_a_body_that_can_be_sent_again() -> None:
    assert (await parsed("POST", "/keyed", body={"n": 1})).tool_class is ToolClass.KEYED
    opaque = await parsed("POST", "/keyed", body={"sha256": "x", "size": 1}, type="image/png")
    assert opaque.tool_class is ToolClass.OPAQUE


async def test_a_scalar_may_be_given_once() -> None:
    assert await refused("GET", "/one", query=[["id", "1"], ["id", "2"]]) == "malformed"
    assert await refused("GET", "/one", query=[["id[]", "1"]]) == "malformed"
    for other in ("ID", " id", "id[", "Id[a]"):
        assert await refused("GET", "/one", query=[["id", "1"], [other, "2"]]) == "malformed"
        assert await refused("GET", "/one", query=[[other, "2"]]) == "malformed"
    await parsed("GET", "/one", query=[["id", "1"], ["x", "1"], ["x", "2"]])
    form = "application/x-www-form-urlencoded"
    body = [["id", "1"], ["id", "2"]]
    assert await refused("POST", "/form", type=form, body=body) == "malformed"
    action = await parsed("POST", "/form", type=form, body=[["id", "1"]])
    assert action.http is not None
    assert action.http["body"] == {"id": ["1"]}


async def test_a_path_that_is_not_canonical_is_malformed() -> None:
    assert await refused("GET", "/pub/../admin") == "malformed"
    assert await refused("FROB", "/a") == "malformed"


async def test_graphql_is_judged_by_what_it_runs() -> None:
    query = await parsed("POST", "/graphql", body={"query": "{ me }"})
    assert (query.cls, query.reversibility) == (ActionClass.READ, Reversibility.NONE)
    assert [effect.name for effect in query.effects] == ["crm POST /graphql", "crm query me"]
    mutation = await parsed("POST", "/graphql", body={"query": "mutation { a: volumeDelete b }"})
    assert mutation.cls is ActionClass.WRITE
    assert [(e.kind, e.name) for e in mutation.effects] == [
        ("route", "crm POST /graphql"),
        ("graphql", "crm mutation volumeDelete"),
        ("graphql", "crm mutation b"),
    ]
    assert mutation.http is not None
    assert mutation.http["graphql"]["fields"] == ["volumeDelete", "b"]
    sneaky = await parsed("POST", "/reading", body={"query": "mutation { x }"})
    assert (sneaky.cls, sneaky.reversibility) == (ActionClass.WRITE, Reversibility.IRREVERSIBLE)
    assert await refused("POST", "/graphql", body=[]) == "action.unsupported"
    more = {"body": {"query": "{ me }"}, "query": [["query", "mutation { x }"]]}
    assert await refused("POST", "/graphql", **more) == "action.unsupported"
    assert await refused("POST", "/graphql", type="text/plain", body={}) == "action.unsupported"


async def test_a_tool_that_is_away_is_a_warning() -> None:
    target = upstream()
    await target.open()
    [finding] = await target.check()
    assert (finding.level, finding.about) == ("warning", "tool crm")
    await target.close()
