"""Bindings of several statements from one list or one object."""

from __future__ import annotations

from gateway.model import Deny
from gateway.upstreams.sql.sqlite.params import bind


def test_a_list_is_shared_out_in_order() -> None:
    assert bind([(None,), (None, None)], [True, "x", None]) == ((1,), ("x", None))


def test_an_object_gives_each_statement_its_own_names() -> None:
    assert bind([("a",), ("b", "a")], {"a": 1, "b": 2}) == ({"a": 1}, {"b": 2, "a": 1})


def test_what_does_not_fit_is_malformed() -> None:
    for names, params in (([(None,)], []), ([("a",)], {"b": 1}), ([()], 5), ([("1",)], {"1": 1})):
        refusal = bind(names, params)
        assert isinstance(refusal, Deny)
        assert refusal.reason == "malformed"
