from __future__ import annotations

import pytest

from gateway.messages import is_json, may_be_sent

NEVER = [
    "authorization", "cookie", "host", "connection", "transfer-encoding", "content-length",
    "x-forwarded-for", "x-forwarded-host", "forwarded", "x-original-url", "x-rewrite-url",
    "x-http-method-override", "x-method-override", "holdfast-session", "proxy-authorization",
    "idempotency-key", "upgrade", "via",
]  # fmt: skip


@pytest.mark.parametrize("name", NEVER)
def test_what_speaks_for_others_never_goes_on(name: str) -> None:
    assert not may_be_sent(name)


@pytest.mark.parametrize("name", ["accept", "if-match", "range", "x-agent-note", "traceparent"])
def test_what_is_the_agents_own_goes_on(name: str) -> None:
    assert may_be_sent(name)


def test_json_is_known_by_its_name() -> None:
    assert is_json("application/json")
    assert is_json("application/problem+json")
    assert not is_json("text/json")
    assert not is_json("application/x-ndjson")
    assert not is_json(None)
