"""What people are shown of columns that the configuration hides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.lifecycle import State
from gateway.model import CallRecord, Conflict, Deny, EffectState, Outcome, Redaction, Step
from gateway.surfaces.hiding import Hiding, demanded_of, hiding, taken_back
from tests.surfaces.doubles import House, a_record

ACTION = {
    "class": "write",
    "effects": [{"verb": "update", "kind": "table", "name": "main.customers", "columns": ["plan"]}],
}
EMAIL = Redaction(patterns=("customers.email",))
CONFLICT = Conflict(
    resource="main.customers", key={"id": 1}, before={"email": "x"}, after=None, now={"email": "y"}
)


def a_call(refusal: Deny | None = None, **changes: Any) -> CallRecord:
    result = None if refusal else {"columns": [{"name": "m"}], "rows": [["canary"]]}
    outcome = Outcome(
        state=State.FAILED if refusal else State.SUCCEEDED,
        effect=EffectState.NONE,
        result=result,
        refusal=refusal,
    )
    return replace(a_record(), action=ACTION, outcome=outcome, **changes)


def test_a_result_is_the_agents_own_and_nobody_elses() -> None:
    record = a_call()
    assert record.outcome is not None
    assert Hiding(always=EMAIL, own=True).result(record) == record.outcome.result
    hidden = Hiding(always=EMAIL, own=False).result(record)
    assert hidden["rows"] == [["[redacted]"]]  # type: ignore[index]
    other = Hiding(always=Redaction(patterns=("orders.email",)), own=False)
    assert other.result(record) == record.outcome.result


def test_what_a_database_said_is_withheld_from_others() -> None:
    refusal = Deny(
        reason="upstream.failed",
        detail="it said canary",
        extra={"message": "canary", "server_detail": "canary", "sqlstate": "23514"},
    )
    record = a_call(refusal)
    assert Hiding(always=EMAIL, own=True).refusal(record) == refusal
    hidden = Hiding(always=EMAIL, own=False).refusal(record)
    assert hidden is not None
    assert "canary" not in repr(hidden)
    assert hidden.extra == {"sqlstate": "23514"}
    ours = Deny(reason="limit.rows", detail="Too many.")
    assert Hiding(always=EMAIL, own=False).refusal(a_call(ours)) == ours


async def test_what_policy_demanded_of_a_call_holds_for_its_conflicts(home: House) -> None:
    decision = {"decision": "allow", "obligations": {"redact": ["email"]}}
    home.store.records["call_1"] = replace(a_record(), decision=decision)
    found = await hiding(home.gateway, ["call_1", "call_1", "call_none"], own=False)
    assert found.conflict("call_1", CONFLICT)["now"] == {"email": "[redacted]"}
    assert found.conflict("call_2", CONFLICT)["now"] == {"email": "y"}
    assert demanded_of(None) == Redaction()


def test_only_calls_with_conflicts_are_looked_up() -> None:
    def a_step(call: str, *conflicts: Conflict) -> Step:
        return Step(call=call, upstream="shop", action="x", state="s", conflicts=conflicts)

    outcome = Outcome(
        state=State.REVERTED,
        effect=EffectState.APPLIED,
        steps=(a_step("call_1"), a_step("call_2", CONFLICT)),
    )
    records = [replace(a_record(), outcome=outcome), replace(a_record(), outcome=None)]
    assert taken_back(records) == ["call_2"]
