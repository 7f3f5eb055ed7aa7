"""The policy input has exactly the contract's shape, and the gate before the engines is strict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gateway.interfaces import Context
from gateway.model import (
    Action,
    ActionClass,
    Obligations,
    Resource,
    Reversibility,
    SqlAction,
    Surface,
)
from gateway.policy.input import FIELDS, _time, action_json, fault_of
from gateway.policy.samples import samples
from tests.policy.decisions import document

FULL = samples()[1]


def test_the_parts_are_those_of_the_contract() -> None:
    for sample in samples():
        assert set(sample) == set(FIELDS)
        for part, fields in FIELDS.items():
            if fields:
                assert set(sample[part]) == fields
        assert fault_of(sample) is None


def test_what_a_call_does_not_have_is_null_or_empty() -> None:
    read = samples()[0]
    assert (read["action"]["http"], read["action"]["mcp"]) == (None, None)
    context = read["context"]
    assert (context["measured"], context["approval"], context["reason"]) == (None, None, None)
    assert (context["freezes"], context["counters"]) == ([], {})


def test_everything_a_call_has_is_shown() -> None:
    assert FULL["action"]["class"] == "destructive"
    assert FULL["action"]["effects"] == [
        {"verb": "delete", "kind": "table", "name": "main.t0", "columns": ["*"], "bounded": True}
    ]
    assert FULL["action"]["sql"]["params"] == [1, "a", None]
    context = FULL["context"]
    assert context["measured"]["rows"] == 3
    assert context["freezes"][0]["until"] == context["time"] == "2026-01-05T09:30:00Z"
    assert context["approval"]["state"] == "approved"
    assert context["approval"]["approvers"] == ["maintainer"]


def _action(params: Any) -> Any:
    return Action(
        surface=Surface.SQL,
        tool="shop",
        name="insert",
        cls=ActionClass.WRITE,
        reversibility=Reversibility.EXACT,
        idempotent=False,
        digest="d",
        effects=(),
        resource=Resource(type="sqlite", id="shop", environment="production"),
        sql=SqlAction(dialect="sqlite", text="...", statements=(), params=params),
    )


def test_parameters_are_the_bound_values_and_whole_floats_are_whole() -> None:
    shown = action_json(_action((1, 2.0, 2.5, "x", None, True, {"k": (1e300,)})))
    params = shown["sql"]["params"]
    assert params == [1, 2, 2.5, "x", None, True, {"k": [1e300]}]
    assert isinstance(params[1], int)


def test_times_are_shown_in_utc() -> None:
    moment = datetime(2026, 1, 5, 11, 30, tzinfo=timezone(timedelta(hours=2)))
    assert _time(moment) == "2026-01-05T09:30:00Z"
    assert Context(time=datetime.now(UTC)).freezes == ()


def _with(path: str, value: object) -> dict[str, Any]:
    changed = document(does=["select main.orders"])
    *parents, last = path.split(".")
    target: Any = changed
    for name in parents:
        target = target[name]
    target[last] = value
    return changed


def _deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


REFUSED = [
    ("action.tool", "a\x00b"),
    ("action.tool", "\ud83d"),
    ("action.sql.params", [float("nan")]),
    ("action.sql.params", [float("inf")]),
    ("action.sql.params", [2**64]),
    ("action.sql.params", [-(2**63) - 1]),
    ("action.sql.params", _deep(100)),
    ("action.sql.params", _deep(50_000)),
    ("action.sql.params", [b"bytes"]),
    ("action.sql.params", [{1: 2}]),
    ("action.sql.params", [{"a\x00": 2}]),
    ("action.sql.params", [{1, 2}]),
    ("action.extra", 1),
    ("extra", 1),
    ("version", 2),
    ("version", True),
    ("version", "1"),
    ("subject", None),
    ("context.time", "yesterday"),
    ("context.time", "2026-11-24t10:00:00z"),
    ("context.time", None),
    ("context.measured", {"rows": "5", "share": 0, "tables": {}}),
    ("context.measured", {"rows": True, "share": 0, "tables": {}}),
    ("context.measured", {"rows": -1, "share": 0, "tables": {}}),
    ("context.measured", {"rows": 1, "share": 2, "tables": {}}),
    ("context.measured", {"rows": 1, "share": None, "tables": {}}),
    ("context.measured", [1]),
]


NAMES = [f"{path} {n}" for n, (path, _) in enumerate(REFUSED)]


@pytest.mark.parametrize(("path", "value"), REFUSED, ids=NAMES)
def test_what_engines_read_differently_is_refused(path: str, value: object) -> None:
    assert fault_of(_with(path, value)) is not None


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 1e300, "😀", "a\nb\t", "\u2028", [], {}])
def test_what_engines_read_alike_passes(value: object) -> None:
    assert fault_of(_with("action.sql.params", [value])) is None


@pytest.mark.parametrize("document", [None, [], "x", {}, {"version": 1}])
def test_only_a_whole_document_passes(document: object) -> None:
    assert fault_of(document) is not None


def test_obligations_are_shown_as_far_as_they_are_set() -> None:
    assert Obligations().as_json() == {}
    assert Obligations(max_rows=0, rehearse=False, redact=("email",)).as_json() == {
        "max_rows": 0,
        "rehearse": False,
        "redact": ["email"],
    }


@pytest.mark.parametrize(
    "counters",
    [{"week": {}}, {"hour": {"spend": 1}}, {"hour": {"calls": 1.5}}, {"hour": {"calls": True}}, []],
)
def test_counters_that_are_no_counts_do_not_reach_an_engine(counters: Any) -> None:
    document = samples()[1]
    assert fault_of(document) is None
    document["context"]["counters"] = counters
    assert "counters" in str(fault_of(document))
