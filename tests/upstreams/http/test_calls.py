from __future__ import annotations

from typing import Any

import pytest

from gateway.upstreams.http.calls import condition_of, maker_of
from gateway.upstreams.http.declared import DeclaredCall
from gateway.upstreams.remote.templates import TemplateInvalid, TemplateMissing

ROOTS = {"request", "params", "before", "response"}


def made(call: str, values: dict[str, Any], **more: Any) -> Any:
    return maker_of(DeclaredCall(call=call, **more), ROOTS, {"id"})(values)


def test_variables_and_expressions_fill_path_query_headers_and_body() -> None:
    request = made(
        "PUT /customers/{id}/v{$before.body.version}?who={$request.body.name}&all",
        {
            "params": {"id": "a b/é"[:3] + "é"},
            "before": {"body": {"version": 7, "plan": "pro"}, "headers": {"etag": '"x"'}},
            "request": {"body": {"name": "A & B"}},
        },
        body={"plan": "$before.body.plan", "by": "$$me", "n": 1},
        headers={"If-Match": "$before.headers.etag"},
    )
    assert request == {
        "method": "PUT",
        "path": "/customers/a%20b%C3%A9/v7",
        "query": [["who", "A & B"], ["all", None]],
        "headers": {"if-match": '"x"'},
        "type": "application/json",
        "body": {"plan": "pro", "by": "$me", "n": 1},
    }


def test_a_call_without_a_body_has_no_type() -> None:
    request = made("DELETE /a/{id}", {"params": {"id": "1"}})
    assert (request["type"], request["body"]) == (None, None)


def test_a_body_may_be_a_form() -> None:
    request = made(
        "POST /a",
        {},
        body={"x": "1"},
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert request["type"] == "application/x-www-form-urlencoded"
    assert "content-type" not in request["headers"]


@pytest.mark.parametrize(
    "value", ["..", "a/b", "", None, True, 1.5, [1], "a\\b", "x;y", "\x00", "%2e"]
)
def test_a_value_that_would_change_the_path_is_missing(value: Any) -> None:
    with pytest.raises(TemplateMissing):
        made("GET /a/{$response.body.id}", {"response": {"body": {"id": value}}})


@pytest.mark.parametrize(
    ("call", "more", "at", "part"),
    [
        ("FROB /a", {}, ("call",), "begins with one of"),
        ("GET a", {}, ("call",), "begins with a slash"),
        ("GET /a/{nr}", {}, ("call",), "no variable of match"),
        ("GET /a/{$nothing.id}", {}, ("call",), "reads nothing"),
        ("GET /a/{$before.}", {}, ("call",), "not a JMESPath"),
        ("GET /a/../b", {}, ("call",), "dot segments"),
        ("GET /a;b", {}, ("call",), "; parameters"),
        ("GET /a?b;c", {}, ("call",), "bare ;"),
        ("GET /~a", {}, ("call",), "~"),
        ("PUT /a", {"body": {"x": ["$befor.y"]}}, ("body", "x", 0), "reads befor"),
        ("PUT /a", {"headers": {"X-A": "$befor.y"}}, ("headers", "X-A"), "reads befor"),
        ("PUT /a", {"headers": {"Authorization": "x"}}, ("headers", "Authorization"), "not for"),
        ("PUT /a", {"headers": {"Host": "x"}}, ("headers", "Host"), "not for"),
    ],
)
def test_a_wrong_declaration_says_where(
    call: str, more: dict[str, Any], at: tuple[Any, ...], part: str
) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        maker_of(DeclaredCall(call=call, **more), ROOTS, {"id"})
    assert caught.value.at == at
    assert part in str(caught.value)


def test_a_condition_is_an_expression_with_or_without_its_dollar() -> None:
    for text in ("response.status == `200`", "$response.status == `200`"):
        assert condition_of(text, ROOTS).render({"response": {"status": 200}}) is True
    with pytest.raises(TemplateInvalid):
        condition_of("status == `200`", ROOTS)
