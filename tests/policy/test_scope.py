"""Variables are known in the query that declares them and in those within it."""

from __future__ import annotations

from gateway.policy.scope import Known, Scope


def test_inner_queries_see_outer_variables_and_not_the_other_way_round() -> None:
    outer = Scope(bound={"x"}, scalars={"x"}, wholes={"x": 5}, pending={"i": 1})
    inner = Scope(outer=outer, bound={"y"})
    assert inner.is_bound("x")
    assert inner.is_scalar("x")
    assert inner.whole("x") == 5
    assert inner.knows("i")
    assert not inner.is_bound("i")
    assert not outer.knows("y")
    assert inner.whole("y") is None


def test_a_set_rule_is_always_defined_and_a_value_only_with_a_default() -> None:
    def known(kind: str, *, defaulted: bool) -> Known:
        return Known(path=("a",), kind=kind, arity=0, defaulted=defaulted, file="a", line=1)

    assert known("set", defaulted=False).always_defined
    assert known("value", defaulted=True).always_defined
    assert not known("value", defaulted=False).always_defined
