from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.compiled import Compiled, EngineFailed, parse_files
from gateway.policy.folder import Files, read_folder
from gateway.policy.remembering import Remembered, read_paths
from gateway.policy.samples import samples
from tests.house.sources import ROOT

SHIPPED = read_folder(ROOT / "policies")


DECISION = 'default decision := {"allow": false, "hold": false, "reasons": [], "obligations": {}}'


def compiled(*rules: str) -> Compiled:
    text = "package gateway\n\nimport rego.v1\n\n" + "\n\n".join((DECISION, *rules)) + "\n"
    return parse_files(Files(texts={"a.rego": text, "data.yaml": "roles: {a: [b]}\n"}))


def paths(*rules: str) -> Any:
    return read_paths(compiled(*rules)._modules)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("a if input.action.name == \"x\"", {("action", "name")}),
        ("a contains e.verb if some e in input.action.effects", {("action", "effects")}),
        ("a if input.action.class in input.subject.roles",
         {("action", "class"), ("subject", "roles")}),
        ("a if input[\"action\"].name == \"x\"", {("action", "name")}),
        ("a if input.context == input.context.time", {("context",)}),
        ("f(x) if x == input.resource.id\n\na if f(input.subject.id)",
         {("resource", "id"), ("subject", "id")}),
        ("a := x if x := [e | some e in input.action.effects; e.name == input.subject.id]",
         {("action", "effects"), ("subject", "id")}),
        ("a if every e in input.action.effects { e.verb == input.action.name }",
         {("action", "effects"), ("action", "name")}),
        ("a := 1 if input.version == 2\n\nelse := 2 if input.subject.session == \"s\"",
         {("version",), ("subject", "session")}),
        ("a if data.roles[input.subject.id]", {("subject", "id")}),
        ("a if true", set()),
    ],
)  # fmt: skip
def test_what_a_policy_reads_is_told_by_its_syntax(rule: str, expected: set[Any]) -> None:
    found = paths(rule)
    assert found is not None
    assert set(found) == expected


@pytest.mark.parametrize(
    "rule",
    [
        "a := input",
        'a := object.get(input, "x", 1)',
    ],
)
def test_input_that_stands_alone_is_all_of_it(rule: str) -> None:
    assert paths(rule) is None
    assert Remembered(compiled(rule)._modules).key({"version": 1}) is None


def test_the_shipped_policies_do_not_read_what_differs_in_every_call() -> None:
    found = read_paths(parse_files(SHIPPED)._modules)
    assert found is not None
    for path in (("context", "time"), ("action", "digest"), ("subject", "session")):
        assert not [read for read in found if read == path[: len(read)]], path


def test_absent_and_null_are_two_things() -> None:
    memory = Remembered(compiled("a if input.context.approval")._modules)
    assert memory.key({"context": {}}) != memory.key({"context": {"approval": None}})
    assert memory.key({"context": {"approval": None}}) != memory.key({})


def test_answers_are_bounded_and_undefined_is_not_one() -> None:
    memory = Remembered(compiled("a if input.version == 1")._modules)
    for number in range(5_000):
        memory.keep(memory.key({"version": number}), {"n": number})
    assert len(memory._answers) <= 4_096
    assert memory.get(memory.key({"version": 4_999})) == {"n": 4_999}
    memory.keep(memory.key({"version": -1}), None)
    assert memory.get(memory.key({"version": -1})) is None
    assert memory.key({"version": "x" * 10_000}) is None


_SHIPPED = parse_files(SHIPPED)
_SAMPLES = [json.loads(json.dumps(sample)) for sample in samples()]
_VALUES = st.sampled_from(
    [None, 0, 51, "delete", "select", "read", "destructive", "developer", "production", "crm", [],
     {}, ["reader"], "GET *", "crm DELETE /customers/{id}", "route", True]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_SAMPLES), st.lists(st.tuples(st.integers(0, 200), _VALUES), max_size=3))
def test_a_remembered_answer_is_the_one_that_would_be_given(
    sample: dict[str, Any], changes: list[tuple[int, Any]]
) -> None:
    document = copy.deepcopy(sample)
    for place, value in changes:
        spots = list(_spots(document))
        holder, key = spots[place % len(spots)]
        holder[key] = value
    text = json.dumps(document)
    try:
        expected = _SHIPPED.evaluate(text)
    except EngineFailed:
        with pytest.raises(EngineFailed):
            _SHIPPED.decision(document, lambda _: text)
        return
    assert _SHIPPED.decision(document, lambda _: text) == expected
    assert _SHIPPED.decision(document, lambda _: text) == expected


def _spots(value: Any) -> Any:
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in list(members):
        yield value, key
        if isinstance(member, dict | list):
            yield from _spots(member)
