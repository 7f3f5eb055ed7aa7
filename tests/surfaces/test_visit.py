from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from gateway.errors import NotFound, Unauthenticated
from gateway.model import Subject
from gateway.surfaces.visit import Visit


def a_visit(**path: Any) -> Visit:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "path_params": path}
    return Visit(request=Request(scope))


def test_nobody_is_no_subject() -> None:
    with pytest.raises(Unauthenticated):
        _ = a_visit().subject


def test_agents_see_their_own_and_the_admin_all() -> None:
    visit = a_visit()
    visit.who = Subject(id="a7", session="s")
    assert (visit.sees("a7"), visit.sees("b8")) == (True, False)
    visit.admin = True
    assert visit.sees("b8") is True


@pytest.mark.parametrize("id", ["", "a b", "x" * 129, "a/b", "ä", "a\n"])
def test_what_cannot_be_an_id_is_not_found(id: str) -> None:
    with pytest.raises(NotFound):
        a_visit(id=id).id()


@pytest.mark.parametrize("id", ["call_01J", "window:weekend", "a.b-c"])
def test_an_id_is_taken_as_it_is(id: str) -> None:
    assert a_visit(id=id).id() == id
