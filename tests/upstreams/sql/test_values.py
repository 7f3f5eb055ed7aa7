from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.sql.values import render, render_text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1, 1),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**53) + 1, -(2**53) + 1),
        (-(2**63), "-9223372036854775808"),
        (1.5, 1.5),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("text", "text"),
        (b"\x00\xff", "\\x00ff"),
    ],
)
def test_values_keep_their_meaning_in_json(value: object, shown: object) -> None:
    assert render(value) == shown


@given(st.one_of(st.integers(), st.floats(), st.binary(), st.text(), st.booleans(), st.none()))
def test_every_value_is_valid_json_that_doubles_hold_exactly(value: object) -> None:
    shown = json.loads(json.dumps(render(value), allow_nan=False))

    if isinstance(shown, int) and not isinstance(shown, bool):
        assert int(float(shown)) == value
    assert shown == render(value)


@pytest.mark.parametrize(
    ("text", "type_name", "shown"),
    [
        (None, "int4", None),
        ("t", "bool", True),
        ("f", "boolean", False),
        ("7", "integer", 7),
        ("-32768", "int2", -32768),
        ("7", "int8", "7"),
        ("7", "bigint", "7"),
        ("1.50", "numeric", "1.50"),
        ("1.5", "double precision", 1.5),
        ("NaN", "float8", "NaN"),
        ("-Infinity", "real", "-Infinity"),
        ('{"a": 1.0}', "json", '{"a": 1.0}'),
        ("2024-01-01", "date", "2024-01-01"),
        ("\\x00", "bytea", "\\x00"),
        ("{1,2}", "integer[]", "{1,2}"),
    ],
)
def test_the_servers_text_becomes_json_of_its_type(
    text: str | None, type_name: str, shown: object
) -> None:
    assert render_text(text, type_name) == shown
