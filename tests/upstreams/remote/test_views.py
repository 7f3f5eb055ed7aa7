from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.remote.transport import Answer
from gateway.upstreams.remote.views import View


def shown(body: object, status: int = 200, **headers: str) -> View:
    view = {"status": status, "headers": headers, "body": body}
    return View.of(Answer(view=view, result={}, failed=status >= 400))


def test_headers_change_by_themselves_and_are_not_compared() -> None:
    assert shown({"a": 1}, date="monday").same(shown({"a": 1}, date="tuesday"), ())


def test_a_different_body_is_a_different_state() -> None:
    assert not shown({"a": 1}).same(shown({"a": 2}), ())
    assert not shown({"a": 1}).same(shown({"a": "1"}), ())


def test_what_is_declared_to_change_is_left_out_also_in_lists() -> None:
    first = shown({"items": [{"id": 1, "seen": 5}], "etag": "x"})
    then = shown({"items": [{"id": 1, "seen": 6}], "etag": "y"})
    assert first.same(then, ("body.items.seen", "body.etag"))
    assert not first.same(then, ("body.etag",))


@pytest.mark.parametrize("status", [404, 410])
def test_nothing_there_is_a_state(status: int) -> None:
    assert shown("not found", status).view is None
    assert shown("a", status).same(shown("b", status), ())
    assert not shown("a", status).same(shown("a"), ())


def test_a_tool_may_say_that_nothing_is_there_in_its_own_way() -> None:
    assert View.of(Answer(view={"text": "no such note"}, result={}, absent=True)).view is None


@pytest.mark.parametrize("status", [401, 500, 503])
def test_an_error_is_not_a_state(status: int) -> None:
    with pytest.raises(UpstreamError):
        shown("oops", status)


def told(text: str) -> Answer:
    return Answer(view={"text": text}, result={}, failed=True)


def test_what_a_tool_says_in_words_is_compared_by_its_words() -> None:
    gone = View.now(told("There is no note 'a'."))
    assert gone.same(View.now(told("There is no note 'a'.")), ())
    assert not gone.same(View.now(told("The notes are locked.")), ())
    assert not gone.same(View.now(Answer(view={"text": "There is no note 'a'."}, result={})), ())


def test_words_alone_never_stand_for_the_state_before_a_call() -> None:
    with pytest.raises(UpstreamError):
        View.of(told("There is no note 'a'."))


def test_a_status_tells_more_than_words() -> None:
    with pytest.raises(UpstreamError):
        View.now(Answer(view={"status": 500, "body": "oops"}, result={}, failed=True))
