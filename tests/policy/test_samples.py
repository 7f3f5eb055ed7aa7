"""The samples reach every surface and every part of the input."""

from __future__ import annotations

from gateway.policy.input import fault_of
from gateway.policy.samples import samples


def test_every_sample_is_a_valid_input() -> None:
    assert [fault_of(sample) for sample in samples()] == [None] * len(samples())


def test_every_part_is_present_in_one_sample_and_absent_in_another() -> None:
    actions = [sample["action"] for sample in samples()]
    contexts = [sample["context"] for sample in samples()]
    for name in ("sql", "http", "mcp"):
        assert {action[name] is None for action in actions} == {True, False}
    for name in ("measured", "approval", "reason"):
        assert {context[name] is None for context in contexts} == {True, False}
    assert {action["surface"] for action in actions} == {"sql", "http", "mcp"}
    assert {not action["effects"] for action in actions} == {True, False}
