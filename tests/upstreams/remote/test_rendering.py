from __future__ import annotations

from gateway.upstreams.remote.rendering import render
from tests.fixtures.shelf import creation, deletion, make


def test_a_request_is_made_of_what_is_known() -> None:
    plan = deletion("7")
    made = render(plan, plan.undo, before={"body": "old"})
    assert made.request == {"do": "put", "id": "7", "body": "old"}


def test_what_only_the_answer_brings_is_made_later() -> None:
    plan = creation()
    early = render(plan, plan.undo)
    assert (early.request, early.later) == (None, True)
    late = render(plan, plan.undo, answer={"body": {"id": "100"}})
    assert late.request == {"do": "delete", "id": "100"}


def test_what_nothing_will_bring_is_told_apart() -> None:
    plan = deletion()
    missing = render(plan, plan.undo, before={"nothing": 1})
    assert (missing.request, missing.later) == (None, False)
    both = make({"do": "$before.body", "id": "$response.body"})
    assert render(plan, both, answer={"body": 1}).later is False


def test_without_a_declaration_there_is_no_request() -> None:
    assert render(deletion(), None).request is None


def test_makers_in_code_are_understood_too() -> None:
    early = render(creation(), lambda values: {"id": values["response"]["id"]})
    assert early.later
