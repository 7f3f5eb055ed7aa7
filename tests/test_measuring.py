"""What was measured counts as if the statement had said it."""

from __future__ import annotations

from dataclasses import replace

from gateway.guards.freeze import reach_of
from gateway.measuring import executes, seen
from gateway.model import (
    EXECUTE,
    Effect,
    Measured,
    RowCounts,
)
from tests.fixtures.fakes import a_call, code_that_runs

ACTION = code_that_runs()
(RUN,) = ACTION.effects
MEASURED = Measured(
    tables={
        "public.a": RowCounts(inserted=1, updated=0, deleted=2),
        "public.b": RowCounts(inserted=0, updated=0, deleted=0),
    }
)


def test_each_table_and_verb_that_was_measured_is_an_effect() -> None:
    found = {(e.verb, e.name, e.bounded) for e in seen(ACTION, MEASURED).effects}
    assert found == {
        (EXECUTE, "public.f", False),
        ("insert", "public.a", True),
        ("delete", "public.a", True),
    }


def test_what_was_known_before_stands_as_it_was() -> None:
    known = Effect(verb="delete", kind="table", name="public.a", columns=("x",), bounded=False)
    action = replace(ACTION, effects=(RUN, known))
    assert seen(action, MEASURED).effects[:2] == (RUN, known)
    assert len(seen(action, MEASURED).effects) == 3
    assert seen(ACTION, Measured()) is ACTION
    assert seen(replace(ACTION, sql=None), MEASURED).effects == (RUN,)


def test_only_code_that_runs_by_name_executes() -> None:
    assert executes(ACTION)
    assert not executes(replace(ACTION, effects=(replace(RUN, verb="select"),)))


def test_a_freeze_of_any_change_of_rows_meets_code() -> None:
    reach = reach_of(a_call(), ACTION)
    assert {"execute", "write", "insert", "update", "delete"} <= set(reach.verbs)
