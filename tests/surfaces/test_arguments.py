from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import Malformed
from gateway.model import OnConflict
from gateway.surfaces.arguments import Fields, Query, time_of


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T18:00:00Z", datetime(2026, 1, 31, 18, tzinfo=UTC)),
        ("2026-01-31t18:00:00z", datetime(2026, 1, 31, 18, tzinfo=UTC)),
        ("2026-01-31T18:00:00.25+02:00", datetime(2026, 1, 31, 16, 0, 0, 250000, tzinfo=UTC)),
        ("2024-02-29T23:59:59-00:30", datetime(2024, 3, 1, 0, 29, 59, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_rfc_3339_has_them(text: str, time: datetime) -> None:
    read = time_of(text, "since")
    assert read == time
    assert read.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31",
        "2026-01-31T18:00:00",
        "2026-01-31 18:00:00Z",
        "2026-01-31T18:00Z",
        "20260131T180000Z",
        "2026-W05-6T18:00:00Z",
        "2026-02-29T18:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:59:60Z",
        "2026-01-31T18:00:00.1234567Z",
        "2026-01-31T18:00:00+0200",
        "2026-01-31T18:00:00+25:00",
        "2026-01-31T18:00:00 02:00",
        "0001-01-01T00:00:00+01:00",
        "٢٠٢٦-01-31T18:00:00Z",
        " 2026-01-31T18:00:00Z",
        "1767225600",
    ],
)
def test_a_time_in_any_other_form_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        time_of(text, "since")


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_a_body_must_be_an_object(document: Any) -> None:
    with pytest.raises(Malformed):
        Fields(document)


def test_what_was_not_asked_for_is_refused_by_name() -> None:
    fields = Fields({"a": "x", "surprise": 1})
    assert fields.text("a") == "x"
    with pytest.raises(Malformed, match="surprise"):
        fields.end()
    read = Fields({"a": "x"})
    read.text("a")
    assert read.end() is None


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda f: f.text("a"), None),
        (lambda f: f.text("a"), ""),
        (lambda f: f.text("a"), 1),
        (lambda f: f.text("a"), "x" * 501),
        (lambda f: f.text("a"), "x\0"),
        (lambda f: f.text("a"), "x\x1b[2J"),
        (lambda f: f.optional_text("a"), ["x"]),
        (lambda f: f.flag("a"), None),
        (lambda f: f.flag("a"), 1),
        (lambda f: f.flag("a"), "true"),
        (lambda f: f.time("a"), 0),
        (lambda f: f.time("a"), "now"),
        (lambda f: f.choice("a", OnConflict), None),
        (lambda f: f.choice("a", OnConflict), "ABORT"),
        (lambda f: f.choice("a", OnConflict, OnConflict.ABORT), ["abort"]),
        (lambda f: f.texts("a"), "x"),
        (lambda f: f.texts("a"), [1]),
        (lambda f: f.texts("a"), [""]),
        (lambda f: f.texts("a"), ["x"] * 101),
        (lambda f: f.texts("a", among=["y"]), ["x"]),
        (lambda f: f.texts("a"), {"x": 1}),
    ],
)
def test_a_field_of_another_type_is_malformed(read: Any, value: Any) -> None:
    with pytest.raises(Malformed):
        read(Fields({"a": value}))


def test_absent_fields_have_their_defaults() -> None:
    fields = Fields({"null": None})
    assert fields.optional_text("a") is None
    assert fields.flag("a") is False
    assert fields.time("a") is None
    assert fields.choice("a", OnConflict, OnConflict.SKIP) is OnConflict.SKIP
    assert fields.texts("a") == ()
    assert "null" not in fields


def test_a_query_is_read_name_by_name() -> None:
    known = ("limit", "since", "state", "all", "agent")
    items = [("limit", "7"), ("state", "skip,abort"), ("all", "true"), ("agent", "a7")]
    query = Query(items, known)
    assert query.number("limit", default=1, most=10) == 7
    assert query.choices("state", OnConflict) == (OnConflict.ABORT, OnConflict.SKIP)
    assert (query.flag("all"), query.text("agent"), query.time("since")) == (True, "a7", None)


@pytest.mark.parametrize(
    "items",
    [
        [("limits", "7")],
        [("limit", "7"), ("limit", "8")],
        [("limit", "")],
        [("limit", "x" * 513)],
        [("limit", "\ufffd")],
        [("limit", "1\0")],
        [("limit[]", "1")],
    ],
)
def test_an_unknown_or_repeated_parameter_is_malformed(items: list[tuple[str, str]]) -> None:
    with pytest.raises(Malformed):
        Query(items, ("limit",))


@pytest.mark.parametrize("value", ["0", "11", "-1", "1.0", "1e1", "٣", "+3", " 3", "9" * 19])
def test_a_number_out_of_its_range_is_malformed(value: str) -> None:
    with pytest.raises(Malformed):
        Query([("limit", value)], ("limit",)).number("limit", default=1, most=10, least=1)


def test_a_choice_that_does_not_exist_is_malformed() -> None:
    for value in ("nothing", "skip,", "skip,skip"):
        with pytest.raises(Malformed):
            Query([("state", value)], ("state",)).choices("state", OnConflict)
    with pytest.raises(Malformed):
        Query([("all", "yes")], ("all",)).flag("all")
