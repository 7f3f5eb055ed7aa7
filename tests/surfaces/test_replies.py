from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.lifecycle import State
from gateway.model import Deny, EffectState, Outcome, Reply
from gateway.surfaces.replies import render
from tests.surfaces.doubles import a_reply


def a_state(state: State, effect: EffectState, refusal: Deny | None = None) -> Reply:
    outcome = Outcome(state=state, effect=effect, refusal=refusal)
    return Reply(call="call_1", state=state, effect=effect, outcome=outcome)


def read(reply: Reply) -> tuple[int, dict[str, Any]]:
    response = render(reply)
    return response.status_code, json.loads(response.body)


@pytest.mark.parametrize(
    ("state", "effect", "status", "reason"),
    [
        (State.EXECUTING, EffectState.UNKNOWN, 504, "outcome.unknown"),
        (State.UNKNOWN, EffectState.UNKNOWN, 504, "outcome.unknown"),
        (State.FAILED, EffectState.NONE, 503, "interrupted"),
        (State.DENIED, EffectState.NONE, 503, "interrupted"),
        (State.INTENT, EffectState.NONE, 504, "outcome.unknown"),
    ],
)
def test_a_state_without_words_gets_true_ones(
    state: State, effect: EffectState, status: int, reason: str
) -> None:
    got, document = read(a_state(state, effect))
    assert (got, document["reason"], document["effect"]) == (status, reason, effect)
    assert document["call"] == "call_1"


def test_a_success_that_recovery_settled_has_no_rows_but_its_state() -> None:
    status, document = read(a_state(State.SUCCEEDED, EffectState.APPLIED))
    assert (status, document["state"], document["effect"]) == (200, "succeeded", "applied")


@pytest.mark.parametrize("value", [float("inf"), object(), "\udfff", b"bytes"])
def test_a_result_that_json_cannot_hold_still_tells_the_effect(value: object) -> None:
    status, document = read(a_reply("call_1", {"rows": [[value]]}))
    assert (status, document["reason"], document["effect"]) == (500, "internal", "applied")
    assert document["retryable"] is False


def test_a_held_call_says_where_to_ask() -> None:
    extra = {"approval": "apr_1", "call": "call_2"}
    deny = Deny(reason="approval.required", detail="wait", extra=extra)
    response = render(a_state(State.HELD, EffectState.NONE, deny))
    document = json.loads(response.body)
    assert response.status_code == 202
    assert response.headers["Location"] == "/calls/call_2"
    assert (document["approval"], document["call"]) == ("apr_1", "call_2")
    assert response.headers["Holdfast-Call"] == "call_2"


def test_a_replayed_refusal_is_marked_and_the_same() -> None:
    deny = Deny(reason="policy.denied", detail="no", reasons=("r",))
    first = a_state(State.DENIED, EffectState.NONE, deny)
    again = render(replace(first, replayed=True))
    assert again.body == render(first).body
    assert again.headers["Idempotency-Replayed"] == "true"
