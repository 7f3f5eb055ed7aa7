from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import Scalar, read


def test_every_value_knows_its_line() -> None:
    document = read("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n", {})
    assert document.data == {"a": {"b": 1, "c": ["x", {"d": 2}]}}
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "c", 1, "d")) == 5
    assert document.key_line(("a", "c")) == 3
    assert document.line(("a", "missing")) == 2


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("1_000", "1_000"),
        ("2026-01-01", "2026-01-01"),
        (".inf", ".inf"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("-3", -3),
        ("1.5e3", 1500.0),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!int x", "x"),
    ],
)
def test_only_the_types_of_json_exist(written: str, value: object) -> None:
    document = read(f"key: {written}\n", {})
    assert document.faults == []
    assert document.data == {"key": value}
    assert type(document.data["key"]) is type(value)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("${A}", True), ("${A}${B}", True), ("${A:-}", True), ("x${A}", False), ("${A:-x}", False)],
)
def test_what_is_written_in_the_file_is_told_from_what_is_not(written: str, expected: bool) -> None:
    assert Scalar(written=written, text="").from_environment is expected


@given(st.text(max_size=200))
def test_any_text_is_read_or_has_a_fault(text: str) -> None:
    document = read(text, {})
    for fault in document.faults:
        assert fault.line >= 1
