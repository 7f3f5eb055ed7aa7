"""Only an answer that is exactly a decision is one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import REASONS
from gateway.model import Allow, Deny, Hold, Obligations
from gateway.policy.result import decision_from

GOOD: dict[str, Any] = {"allow": True, "hold": False, "reasons": ["r"], "obligations": {}}


def test_allow_hold_and_deny_are_read() -> None:
    assert decision_from(GOOD, "1") == Allow(reasons=("r",), revision="1")
    assert decision_from({**GOOD, "hold": True}, "1") == Hold(reasons=("r",), revision="1")
    held = decision_from({**GOOD, "allow": False, "hold": True}, "1")
    assert held == Hold(reasons=("r",), revision="1")
    denied = decision_from({**GOOD, "allow": False}, "1")
    assert isinstance(denied, Deny)
    assert (denied.reason, denied.reasons, denied.revision) == ("policy.denied", ("r",), "1")
    assert "r" in denied.detail


def test_all_obligations_are_read() -> None:
    obligations = {
        "max_rows": 0,
        "max_share": 1,
        "rehearse": False,
        "irreversible": True,
        "inexact": True,
        "approvers": ["maintainer"],
        "approval_ttl": 60,
        "redact": ["email"],
    }
    decision = decision_from({**GOOD, "obligations": obligations}, "1")
    assert decision == Allow(
        reasons=("r",),
        revision="1",
        obligations=Obligations(
            max_rows=0,
            max_share=1.0,
            rehearse=False,
            irreversible=True,
            inexact=True,
            approvers=("maintainer",),
            approval_ttl=60,
            redact=("email",),
        ),
    )


BAD = [
    None,
    True,
    "allow",
    [],
    {},
    {"allow": True},
    *({name: value for name, value in GOOD.items() if name != gone} for gone in GOOD),
    {**GOOD, "extra": 1},
    *({**GOOD, "allow": value} for value in (1, 0, "true", None, [], 1.0)),
    *({**GOOD, "hold": value} for value in (1, 0, "false", None, {})),
    *({**GOOD, "reasons": value} for value in ("r", None, {"r": 1}, [1], [None], [["r"]])),
    *({**GOOD, "obligations": value} for value in (None, [], "x", {"unknown": 1}, {1: 2})),
    *(
        {**GOOD, "obligations": {name: value}}
        for name, values in {
            "max_rows": (True, -1, 1.5, "5", None, 2**60),
            "max_share": (True, -0.1, 1.1, "0.2", None, float("nan"), float("inf")),
            "rehearse": (1, "true", None),
            "irreversible": (1, "true", None),
            "inexact": (1, "true", None),
            "approvers": ("maintainer", [1], None),
            "approval_ttl": (True, 0, -5, 1.5, "60", None, 10**12),
            "redact": ("email", [1], None),
        }.items()
        for value in values
    ),
]


@pytest.mark.parametrize("answer", BAD, ids=repr)
def test_anything_else_is_unavailable(answer: object) -> None:
    decision = decision_from(answer, "1")
    assert isinstance(decision, Deny)
    assert decision.reason == "policy.unavailable"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.fixed_dictionaries({name: JSON | st.just(value) for name, value in GOOD.items()}))
def test_a_decision_other_than_unavailable_means_a_well_typed_answer(answer: Any) -> None:
    decision = decision_from(answer, "1")
    if isinstance(decision, Deny) and decision.reason == "policy.unavailable":
        assert decision.reason in REASONS
        return
    assert type(answer["allow"]) is bool
    assert type(answer["hold"]) is bool
    assert all(isinstance(reason, str) for reason in answer["reasons"])
    assert isinstance(decision, Hold) == answer["hold"]
    assert json.dumps(answer, allow_nan=False)
