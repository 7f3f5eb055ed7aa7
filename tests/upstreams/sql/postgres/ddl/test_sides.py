from __future__ import annotations

from gateway.upstreams.sql.postgres.ddl.sides import everything, pairs


def _itself(name: str) -> dict[str, str]:
    return {"relkind": "v", "schema": "public", "relname": name}


def test_parts_are_told_apart_by_kind_and_name() -> None:
    now = {"relation 1 itself": _itself("a"), "relation 1 column odd name": {"n": 1}}
    goal = {"relation 1 itself": _itself("a"), "relation 1 column other": {"n": 2}}
    (sides,) = pairs(now, goal)
    assert (sides.kind, sides.name) == ("VIEW", '"public"."a"')
    assert sides.surplus("column") == {"odd name": {"n": 1}}
    assert sides.missing("column") == {"other": {"n": 2}}
    assert list(sides.changed("column")) == []


def test_what_changed_is_shown_with_both_sides() -> None:
    now = {"relation 1 itself": _itself("a"), "relation 1 rule r": {"n": 1}}
    goal = {"relation 1 itself": _itself("a"), "relation 1 rule r": {"n": 2}}
    (sides,) = pairs(now, goal)
    assert list(sides.changed("rule")) == [("r", {"n": 1}, {"n": 2})]
    assert [s.oid for s in everything(now)] == ["1"]
