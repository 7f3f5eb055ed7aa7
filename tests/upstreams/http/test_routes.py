from __future__ import annotations

from typing import Any

import pytest

from gateway.model import ActionClass, Reversibility, ToolClass
from gateway.upstreams.http.declared import DeclaredCall, DeclaredRoute
from gateway.upstreams.http.routes import compile_routes

GET = DeclaredCall(call="GET /customers/{id}")
PUT = DeclaredCall(call="PUT /customers/{id}", body="$before.body")


def route(match: str, **more: Any) -> Any:
    table, faults = compile_routes([DeclaredRoute(match=match, **more)])
    assert faults == []
    [found] = [r for routes in table._routes.values() for r in routes]
    return found


def faults(*declared: DeclaredRoute) -> list[tuple[tuple[Any, ...], str]]:
    return compile_routes(declared)[1]


def test_what_is_not_said_follows_from_the_method() -> None:
    assert route("GET /a").cls is ActionClass.READ
    assert route("GET /a").verb == "read"
    assert route("GET /a").reversibility is Reversibility.NONE
    delete = route("DELETE /a")
    assert (delete.cls, delete.verb) == (ActionClass.DESTRUCTIVE, "delete")
    assert (delete.reversibility, delete.tool_class) == (
        Reversibility.IRREVERSIBLE, ToolClass.OPAQUE,
    )  # fmt: skip
    assert (route("POST /a").verb, route("PATCH /a").verb) == ("create", "update")


def test_an_undo_makes_a_route_compensable_and_a_key_makes_it_keyed() -> None:
    found = route("DELETE /customers/{id}", before=GET, undo=PUT, idempotency_key="Idempotency-Key")
    assert found.reversibility is Reversibility.COMPENSABLE
    assert found.tool_class is ToolClass.KEYED
    assert found.key_header == "idempotency-key"
    assert 409 not in found.no_effect
    assert 409 in route("DELETE /a").no_effect
    assert found.reads_answers


def test_a_probe_judges_an_answer_or_does_not_tell() -> None:
    probe = DeclaredCall(call="GET /a", happened="response.body.done", fence_s=5)
    probing = route("POST /a", probe=probe).probing
    assert probing.fence_s == 5
    assert probing.happened({"response": {"body": {"done": True}}}) is True
    assert probing.happened({"response": {"body": {"done": False}}}) is False
    assert probing.happened({"response": {"body": {"done": "yes"}}}) is None
    assert probing.happened({"response": {"body": None}}) is None


def test_the_more_special_route_is_found_first_and_head_is_a_get() -> None:
    table, wrong = compile_routes(
        [DeclaredRoute(match="GET /a/{x}"), DeclaredRoute(match="GET /a/me")]
    )
    assert wrong == []
    assert table.find("GET", ["a", "me"])[0].name == "GET /a/me"  # type: ignore[index]
    assert table.find("GET", ["a", "7"])[1] == {"x": "7"}  # type: ignore[index]
    assert table.find("HEAD", ["a", "7"])[0].name == "GET /a/{x}"  # type: ignore[index]
    assert table.find("PUT", ["a", "7"]) is None
    assert table.find("GET", ["b"]) is None


WRONG = [
    (DeclaredRoute(match="GET a"), (0, "match"), "begins with a slash"),
    (DeclaredRoute(match="GET /a", undo=GET), (0, "undo"), "only reads"),
    (DeclaredRoute(match="GET /a", idempotency_key="K"), (0, "idempotency_key"), "only reads"),
    (
        DeclaredRoute(match="DELETE /a", reversibility=Reversibility.COMPENSABLE),
        (0, "reversibility"),
        "needs `undo`",
    ),
    (
        DeclaredRoute(
            match="DELETE /customers/{id}", undo=GET, reversibility=Reversibility.IRREVERSIBLE
        ),
        (0, "reversibility"),
        "is not irreversible",
    ),
    (
        DeclaredRoute(match="DELETE /customers/{id}", undo=GET, reversibility=Reversibility.EXACT),
        (0, "reversibility"),
        "needs `verify`",
    ),
    (DeclaredRoute(match="DELETE /customers/{id}", undo=PUT), (0, "undo", "body"), "reads before"),
    (DeclaredRoute(match="DELETE /a", before=GET), (0, "before", "call"), "no variable"),
    (
        DeclaredRoute(match="DELETE /a", before=DeclaredCall(call="POST /a")),
        (0, "before", "call"),
        "only GET and HEAD",
    ),
    (
        DeclaredRoute(match="POST /a", probe=DeclaredCall(call="GET /a", happened="nothing.x")),
        (0, "probe", "happened"),
        "reads nothing",
    ),
    (DeclaredRoute(match="DELETE /a", if_match=True), (0, "if_match"), "needs `before`"),
    (DeclaredRoute(match="GET /a", graphql=True), (0, "graphql"), "POST only"),
]


@pytest.mark.parametrize(("declared", "at", "part"), WRONG)
def test_a_wrong_route_says_where(declared: DeclaredRoute, at: tuple[Any, ...], part: str) -> None:
    [(place, message)] = faults(declared)
    assert place == at
    assert part in message


def test_routes_that_cannot_be_told_apart_are_wrong() -> None:
    found = faults(
        DeclaredRoute(match="GET /a/{x}"),
        DeclaredRoute(match="GET /{y}/b"),
        DeclaredRoute(match="GET /a/{z}"),
    )
    assert [place for place, _ in found] == [(1, "match"), (2, "match"), (2, "match")]
