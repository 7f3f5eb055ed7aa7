from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

from gateway.lifecycle import State
from gateway.model import ActionClass, EffectState, Obligations, Reach, Surface
from gateway.surfaces import views
from gateway.surfaces.answers import encoded
from gateway.surfaces.hiding import Hiding
from tests.surfaces.doubles import a_record, an_approval


def test_times_are_utc_with_a_z() -> None:
    time = datetime(2026, 1, 31, 18, tzinfo=timezone(timedelta(hours=2)))
    assert views.time_json(time) == "2026-01-31T16:00:00Z"
    assert views.time_json(None) is None
    assert views.time_json(datetime(2026, 1, 1, 0, 0, 0, 5, UTC)) == "2026-01-01T00:00:00.000005Z"


def test_the_admins_view_of_a_call_is_the_agents_and_more() -> None:
    record = a_record(result={"affected": 1})
    agent = views.record_json(record, full=False, hiding=Hiding())
    admin = views.record_json(record, full=True, hiding=Hiding())
    assert agent.items() <= admin.items()
    assert admin.keys() - agent.keys() >= {"snapshot", "receipt", "idempotency_key", "action"}
    assert encoded(admin)


def test_a_call_without_an_outcome_shows_none() -> None:
    record = a_record(state=State.EXECUTING, effect=EffectState.NONE)
    shown = views.record_json(record, full=True, hiding=Hiding())
    assert (shown["outcome"], shown["result"], shown["reach"]) == (None, None, None)


def test_the_reach_of_a_call_is_shown() -> None:
    reach = Reach(
        surface=Surface.SQL,
        tool="shop",
        agent="a7",
        cls=ActionClass.WRITE,
        verbs=("update",),
        tables=("main.t",),
    )
    shown = views.record_json(replace(a_record(), reach=reach), full=True, hiding=Hiding())
    assert shown["reach"]["tables"] == ["main.t"]


def test_a_call_that_was_taken_back_has_no_undo_left() -> None:
    assert views.record_json(a_record(), full=False, hiding=Hiding())["undo"]["available"] is True
    gone = replace(a_record(), reverted_by="call_9")
    assert views.record_json(gone, full=False, hiding=Hiding())["undo"]["available"] is False


def test_obligations_show_what_is_demanded_and_nothing_else() -> None:
    assert Obligations().as_json() == {}
    every = Obligations(
        max_rows=0,
        max_share=0.0,
        rehearse=False,
        irreversible=True,
        inexact=True,
        approvers=("lead",),
        approval_ttl=60,
        redact=("email",),
    )
    shown = every.as_json()
    assert shown.keys() == {f.name for f in fields(Obligations)}
    assert (shown["max_rows"], shown["rehearse"]) == (0, False)


def test_an_approval_shows_the_exact_action_it_is_bound_to() -> None:
    shown = views.approval_json(an_approval(), a_record())
    assert shown["request"] == {"sql": "DELETE FROM orders WHERE id = ?", "params": [1]}
    assert (shown["digest"], shown["measured"]) == ("d" * 64, {"rows": 1})
    assert views.approval_json(an_approval(), None)["action"] is None
