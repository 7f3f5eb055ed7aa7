from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import errors
from gateway.errors import REASONS, HoldfastError, PolicyInvalid, UpstreamError
from gateway.model import Deny, EffectState
from gateway.surfaces.problems import internal, problem, problem_of


def read(response: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(response.body)
    return document


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_its_problem(reason: str) -> None:
    response = problem(Deny(reason=reason, detail="why"), call="call_1")
    document = read(response)
    assert response.status_code == document["status"] == REASONS[reason].status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document["type"] == f"urn:holdfast:problem:{reason}"
    assert (document["reason"], document["detail"]) == (reason, "why")
    assert (document["call"], document["effect"]) == ("call_1", "none")
    assert document["retryable"] is REASONS[reason].retryable
    assert ("Retry-After" in response.headers) is REASONS[reason].retryable
    assert ("WWW-Authenticate" in response.headers) is (document["status"] == 401)


ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HoldfastError)
]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_of_ours_has_its_problem(kind: type[HoldfastError]) -> None:
    assert read(problem_of(kind("why")))["reason"] == kind("why").reason


def test_what_may_have_happened_is_not_retryable() -> None:
    error = UpstreamError("slow", reason="upstream.timeout", proves_no_effect=False)
    response = problem_of(error, call="call_1")
    document = read(response)
    assert (document["effect"], document["retryable"]) == ("unknown", False)
    assert "Retry-After" not in response.headers
    assert read(problem_of(UpstreamError("no", reason="upstream.timeout")))["retryable"] is True


def test_extra_fields_join_and_never_replace_the_fixed_ones() -> None:
    extra = {"status": 200, "effect": "applied", "reason": "x", "freezes": [{"id": "frz_1"}]}
    document = read(problem(Deny(reason="frozen", detail="d", extra=extra)))
    assert (document["status"], document["effect"], document["reason"]) == (423, "none", "frozen")
    assert document["freezes"] == [{"id": "frz_1"}]


def test_a_call_that_waits_names_the_one_to_poll() -> None:
    deny = Deny(reason="approval.required", detail="d", extra={"call": "call_2", "approval": "a"})
    response = problem(deny, call="call_1")
    assert read(response)["call"] == response.headers["Holdfast-Call"] == "call_2"
    other = Deny(reason="frozen", detail="d", extra={"call": "call_2"})
    assert read(problem(other, call="call_1"))["call"] == "call_1"


@pytest.mark.parametrize("extra", [{"x": object()}, {"x": float("nan")}, {"x": {1, 2}}])
def test_a_refusal_arrives_even_with_an_extra_that_is_no_json(extra: dict[str, Any]) -> None:
    document = read(problem(Deny(reason="upstream.failed", detail="d", extra=extra)))
    assert (document["reason"], document["status"]) == ("upstream.failed", 502)


def test_faults_of_a_policy_are_shown() -> None:
    faults = [{"file": "a.rego", "line": 3, "message": "unsafe"}]
    document = read(problem_of(PolicyInvalid("no", faults=faults)))
    assert (document["status"], document["faults"]) == (422, faults)


def test_an_internal_fault_tells_its_effect_and_nothing_else() -> None:
    response = internal(call="call_1", effect=EffectState.APPLIED)
    document = read(response)
    assert (document["status"], document["effect"], document["retryable"]) == (
        500,
        "applied",
        False,
    )
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_an_unknown_reason_is_still_a_problem() -> None:
    assert read(problem(Deny(reason="made.up", detail="d")))["status"] == 500
