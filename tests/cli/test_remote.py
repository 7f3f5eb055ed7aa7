from __future__ import annotations

import json

import httpx
import pytest

from tests.fixtures.terminal import TOKEN, Terminal, problem_body


def test_the_admin_token_goes_with_every_request() -> None:
    terminal = Terminal().on("GET", "/admin/freezes", 200, {"freezes": []})
    assert terminal.run("freezes") == 0
    assert terminal.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert terminal.requests[0].url.host == "gate"


def test_without_a_token_nothing_is_sent() -> None:
    terminal = Terminal(environ={})
    assert terminal.run("freezes") == 2
    assert "HOLDFAST_ADMIN_TOKEN" in terminal.err
    assert terminal.requests == []


@pytest.mark.parametrize("url", ["gate:8400", "ftp://gate", "http://", "file:///etc/passwd"])
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    terminal = Terminal()
    terminal.environ["HOLDFAST_URL"] = url
    assert terminal.run("freezes", transport=None) == 2
    assert "HOLDFAST_URL" in terminal.err


def test_a_refusal_shows_reason_detail_and_call() -> None:
    body = problem_body(409, "revert.conflict", "Others changed it.", "call_1")
    terminal = Terminal().on("POST", "/admin/reverts", 409, body)
    assert terminal.run("revert", "call_1") == 1
    assert terminal.err.strip() == "revert.conflict: Others changed it. (call call_1)"
    assert terminal.out == ""


def test_a_refusal_as_json_is_the_problem_document() -> None:
    body = problem_body(403, "not_admin", "No.")
    terminal = Terminal().on("GET", "/admin/freezes", 403, body)
    assert terminal.run("freezes", "--json") == 1
    assert json.loads(terminal.out) == body


def test_json_is_what_the_api_sent_to_the_letter() -> None:
    text = '{"freezes": [], "n": 1.10, "big": 123456789012345678901234567890}'
    terminal = Terminal().on("GET", "/admin/freezes", 200, text)
    assert terminal.run("freezes", "--json") == 0
    assert terminal.out == text + "\n"


def test_an_answer_without_json_is_a_failure() -> None:
    terminal = Terminal().on("GET", "/admin/freezes", 502, "<html>bad gateway</html>")
    assert terminal.run("freezes") == 1
    assert "502" in terminal.err


def test_an_answer_of_another_shape_is_a_failure() -> None:
    terminal = Terminal().on("GET", "/admin/freezes", 200, {"items": []})
    assert terminal.run("freezes") == 1
    assert "freezes" in terminal.err


def test_a_gateway_that_is_away_is_a_failure() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    terminal = Terminal()
    assert terminal.run("freezes", transport=httpx.MockTransport(refuse)) == 1
    assert "http://gate:8400 cannot be reached: Connection refused" in terminal.err


def test_a_gateway_that_does_not_answer_is_a_failure() -> None:
    def wait(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    terminal = Terminal()
    assert terminal.run("freezes", transport=httpx.MockTransport(wait)) == 1
    assert "did not answer in time" in terminal.err


def test_the_token_is_never_shown() -> None:
    terminal = Terminal()
    terminal.run("freezes")
    assert TOKEN not in terminal.out + terminal.err
