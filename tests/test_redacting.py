"""Columns that policy keeps from the agent: matched, demanded of the attempt, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.lifecycle import State
from gateway.model import (
    REDACTED,
    Action,
    ActionClass,
    Allow,
    Effect,
    Obligations,
    Redaction,
    Resource,
    Reversibility,
    Surface,
)
from gateway.redacting import redact, still
from tests.fixtures.fakes import FakePolicy, a_call
from tests.fixtures.walks import walks


def an_action(cls: ActionClass = ActionClass.READ, effects: tuple[Effect, ...] = ()) -> Action:
    return Action(
        surface=Surface.SQL,
        tool="box",
        name="x",
        cls=cls,
        reversibility=Reversibility.NONE,
        idempotent=True,
        digest="d",
        effects=effects,
        resource=Resource(type="sql_source", id="box", environment="production"),
    )


@pytest.mark.parametrize(
    ("pattern", "resource", "column", "covered"),
    [
        ("email", "main.customers", "email", True),
        ("email", "main.customers", "Email", True),
        ("email", "main.customers", "email2", False),
        ("*.email", "main.customers", "email", True),
        ("customers.email", "main.customers", "email", True),
        ("Customers.EMAIL", "MAIN.customers", "email", True),
        ("customers.email", "main.orders", "email", False),
        ("main.customers.email", "main.customers", "email", True),
        ("other.customers.email", "main.customers", "email", False),
        ("main.*.email", "main.orders", "email", True),
        ("customers.*", "main.customers", "anything", True),
        ("cust*.e*l", "main.customers", "email", True),
        ("c.stomers.email", "main.customers", "email", False),  # a dot separates, nothing else
        ("[a-z]*", "main.customers", "email", False),
        ("*", "", "x", True),
    ],
)
def test_what_a_pattern_covers(pattern: str, resource: str, column: str, covered: bool) -> None:
    assert Redaction(patterns=(pattern,)).covers(resource, column) is covered


@given(st.lists(st.text(max_size=20), max_size=3), st.text(max_size=20), st.text(max_size=20))
def test_no_pattern_is_too_strange(patterns: list[str], resource: str, column: str) -> None:
    redaction = Redaction(patterns=tuple(patterns))
    if redaction.covers(resource, column):
        assert redaction.touches(resource)


def test_an_image_keeps_its_shape() -> None:
    shown = {
        "resource": "main.customers",
        "key": {"email": "a@b", "id": 7},
        "before": {"email": "a@b", "plan": "pro", "more": [{"email": "c@d", "x": None}]},
        "after": None,
        "now": {"email": None},
        "why": "changed",
    }
    assert Redaction(patterns=("*.email",)).image(shown) == {
        "resource": "main.customers",
        "key": {"email": REDACTED, "id": 7},
        "before": {
            "email": REDACTED,
            "plan": "pro",
            "more": [{"email": REDACTED, "x": None}],
        },
        "after": None,
        "now": {"email": REDACTED},
        "why": "changed",
    }
    assert Redaction().image(shown) == shown
    assert Redaction(patterns=("orders.email",)).image(shown) == shown


@pytest.mark.parametrize(
    ("cls", "effect", "reached"),
    [
        (ActionClass.READ, Effect(verb="select", kind="table", name="m.c", columns=("a",)), False),
        (ActionClass.READ, Effect(verb="select", kind="table", name="m.c", columns=("e",)), True),
        (ActionClass.READ, Effect(verb="select", kind="table", name="m.c", columns=("*",)), True),
        (ActionClass.READ, Effect(verb="select", kind="table", name="m.d", columns=("*",)), False),
        (ActionClass.READ, Effect(verb="select", kind="function", name="m.c"), False),
        (ActionClass.WRITE, Effect(verb="update", kind="table", name="m.c", columns=("a",)), True),
        (ActionClass.WRITE, Effect(verb="update", kind="table", name="m.d", columns=("e",)), False),
        (ActionClass.DESTRUCTIVE, Effect(verb="execute", kind="function", name="m.f"), True),
    ],
)
def test_what_could_show_a_covered_column(cls: ActionClass, effect: Effect, reached: bool) -> None:
    action = an_action(cls=cls, effects=(effect,))
    redaction = Redaction(patterns=("c.e",))
    assert redaction.reached_by(action) is reached
    told = {
        "class": str(cls),
        "effects": [
            {
                "verb": effect.verb,
                "kind": effect.kind,
                "name": effect.name,
                "columns": list(effect.columns),
            }
        ],
    }
    assert redaction.reached_by_json(told) is reached


def test_a_result_whose_columns_are_not_known_any_more_shows_nothing() -> None:
    result = {"verb": "delete", "columns": [{"name": "a"}], "rows": [["x", 1]], "affected": 1}
    hidden = Redaction(patterns=("a",)).result({"results": [result]})
    assert hidden == {"results": [{**result, "rows": [[REDACTED, REDACTED]]}]}
    assert Redaction(patterns=("a",)).result({"status": 200}) == {"status": 200}


async def test_what_cannot_be_redacted_does_not_run() -> None:
    demanded = Obligations(redact=("email",))
    w = await walks(policy=FakePolicy(Allow(obligations=demanded)))
    reply = await w.pipeline.handle(a_call())
    assert reply.state is State.FAILED
    assert reply.outcome.refusal is not None
    assert reply.outcome.refusal.reason == "policy.unavailable"
    assert w.box.effects == []


def test_what_is_demanded_only_after_the_call_ran_comes_too_late() -> None:
    none, email = Obligations(), Obligations(redact=("email",))
    assert still(email, none) is None
    assert still(email, email) is None
    late = still(none, email)
    assert late is not None
    assert late.reason == "policy.unavailable"


def test_nothing_is_asked_of_an_attempt_where_nothing_is_demanded() -> None:
    assert redact(object(), an_action(), Obligations()) is None  # type: ignore[arg-type]
