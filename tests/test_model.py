from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import model
from gateway.model import (
    ActionClass,
    Freeze,
    Intent,
    Measured,
    Permit,
    Reach,
    RowCounts,
    Running,
    Scope,
    Surface,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
VERBS = ["select", "insert", "update", "delete", "drop"]
TABLES = ["main.customers", "public.orders", "customers", "Orders"]

names = st.sampled_from(["shop", "crm", "ledger"])
reaches = st.builds(
    Reach,
    surface=st.sampled_from([Surface.SQL, Surface.HTTP, Surface.MCP]),
    tool=names,
    agent=st.sampled_from(["ada", "bob"]),
    cls=st.sampled_from(ActionClass),
    verbs=st.lists(st.sampled_from(VERBS), max_size=3).map(tuple),
    tables=st.lists(st.sampled_from(TABLES), max_size=3).map(tuple),
)
some = st.lists
scopes = st.builds(
    Scope,
    sources=some(names, max_size=2).map(tuple),
    tools=some(names, max_size=2).map(tuple),
    tables=some(st.sampled_from(["customers", "orders", "main.customers"]), max_size=2).map(tuple),
    agents=some(st.sampled_from(["ada", "bob"]), max_size=2).map(tuple),
    effects=some(st.sampled_from([*VERBS, *(str(c) for c in ActionClass)]), max_size=2).map(tuple),
)
DIMENSIONS = ["sources", "tools", "tables", "agents", "effects"]


def reach(**changes: object) -> Reach:
    customers = Reach(
        surface=Surface.SQL,
        tool="shop",
        agent="ada",
        cls=ActionClass.DESTRUCTIVE,
        verbs=("delete",),
        tables=("main.customers",),
    )
    return dataclasses.replace(customers, **changes)  # type: ignore[arg-type]


# --- tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [Intent, Running, Permit])
def test_a_token_cannot_be_constructed(token: type[Permit]) -> None:
    for key in (None, object(), "key", True):
        with pytest.raises(TypeError, match="issued by the store alone"):
            token(key, "call_1", 1)


@pytest.mark.parametrize("token", [Intent, Running, Permit])
def test_an_issued_token_names_its_call_and_generation(token: type[Permit]) -> None:
    issued = token.issue("call_1", 3)

    assert (issued.call, issued.generation) == ("call_1", 3)
    assert repr(issued) == f"{token.__name__}(call_1, generation 3)"


@pytest.mark.parametrize("other", [Intent, Running])
def test_another_token_is_not_a_permit(other: type) -> None:
    assert not isinstance(other.issue("call_1", 1), Permit)  # type: ignore[attr-defined]


# --- values ---------------------------------------------------------------------------------

NOUNS = [
    noun
    for noun in vars(model).values()
    if inspect.isclass(noun)
    and dataclasses.is_dataclass(noun)
    and noun.__module__.startswith("gateway.model")
]


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_a_noun_is_frozen_slotted_and_keyword_only(noun: type) -> None:
    parameters = noun.__dataclass_params__  # type: ignore[attr-defined]

    assert parameters.frozen
    assert "__slots__" in vars(noun)
    assert all(field.kw_only for field in dataclasses.fields(noun))


def test_the_extent_counts_every_changed_row_of_every_table() -> None:
    measured = Measured(
        tables={"b": RowCounts(inserted=1, updated=2), "a": RowCounts(deleted=4)}, share=0.5
    )

    assert measured.rows == 7
    assert measured.as_json() == {
        "rows": 7,
        "share": 0.5,
        "tables": {
            "a": {"inserted": 0, "updated": 0, "deleted": 4},
            "b": {"inserted": 1, "updated": 2, "deleted": 0},
        },
    }


@given(reaches)
def test_a_reach_survives_its_json(wanted: Reach) -> None:
    assert Reach.from_json(wanted.as_json()) == wanted


# --- freezes --------------------------------------------------------------------------------


@given(reaches)
def test_the_empty_scope_covers_exactly_what_is_not_a_read(covered: Reach) -> None:
    assert Scope().covers(covered) == (covered.cls is not ActionClass.READ)


@given(scopes, reaches, st.sampled_from(["tables", "agents"]))
def test_naming_a_dimension_never_widens_a_scope(scope: Scope, call: Reach, name: str) -> None:
    wider = dataclasses.replace(scope, **{name: ()})

    assert wider.covers(call) or not scope.covers(call)


@given(scopes, reaches, st.sampled_from(DIMENSIONS), st.data())
def test_one_more_name_in_a_named_dimension_never_narrows_a_scope(
    scope: Scope, call: Reach, name: str, data: st.DataObject
) -> None:
    named = getattr(scope, name)
    if not named:
        return
    more = data.draw(st.sampled_from(["shop", "ada", "orders", "delete", "read"]))
    wider = dataclasses.replace(scope, **{name: (*named, more)})

    assert wider.covers(call) or not scope.covers(call)


@given(scopes, reaches, st.sampled_from(TABLES))
def test_reaching_one_more_table_never_escapes_a_scope(
    scope: Scope, call: Reach, table: str
) -> None:
    further = dataclasses.replace(call, tables=(*call.tables, table))

    assert scope.covers(further) or not scope.covers(call)


@given(scopes, reaches)
def test_a_table_that_could_not_be_named_is_covered_like_any_table(
    scope: Scope, call: Reach
) -> None:
    unnamed = dataclasses.replace(call, tables=("*",))

    assert scope.covers(unnamed) or not scope.covers(call)


@given(scopes, reaches)
def test_a_read_is_covered_only_where_effects_say_so(scope: Scope, call: Reach) -> None:
    read = dataclasses.replace(call, cls=ActionClass.READ, verbs=("select",))

    if scope.covers(read):
        assert {"read", "select"} & set(scope.effects)


@pytest.mark.parametrize(
    ("scope", "call", "covered"),
    [
        (Scope(sources=("shop",)), reach(), True),
        (Scope(sources=("ledger",)), reach(), False),
        (Scope(tools=("shop",)), reach(), False),
        (Scope(tools=("crm",)), reach(surface=Surface.HTTP, tool="crm"), True),
        (Scope(sources=("crm",)), reach(surface=Surface.HTTP, tool="crm"), False),
        (Scope(tables=("customers",)), reach(), True),
        (Scope(tables=("CUSTOMERS",)), reach(), True),
        (Scope(tables=("main.customers",)), reach(), True),
        (Scope(tables=("main.customers",)), reach(tables=("other.customers",)), False),
        (Scope(tables=("orders",)), reach(), False),
        (Scope(tables=("orders",)), reach(tables=("*",)), True),
        (Scope(agents=("bob",)), reach(), False),
        (Scope(effects=("delete",)), reach(), True),
        (Scope(effects=("destructive",)), reach(), True),
        (Scope(effects=("ddl",)), reach(), False),
        (Scope(effects=("insert",)), reach(verbs=("insert", "delete")), True),
    ],
)
def test_a_scope_covers_what_it_names(scope: Scope, call: Reach, covered: bool) -> None:
    assert scope.covers(call) is covered


def test_a_freeze_holds_from_its_start_until_just_before_its_end_or_its_lifting() -> None:
    hour = timedelta(hours=1)
    freeze = Freeze(id="frz_1", scope=Scope(), reason="audit", starts_at=NOW, ends_at=NOW + hour)

    assert not freeze.active(NOW - timedelta(microseconds=1))
    assert freeze.active(NOW)
    assert freeze.active(NOW + hour - timedelta(microseconds=1))
    assert not freeze.active(NOW + hour)
    assert dataclasses.replace(freeze, ends_at=None).active(NOW + 10_000 * hour)
    assert not dataclasses.replace(freeze, lifted_at=NOW).active(NOW)
