from __future__ import annotations

import pytest

from gateway.upstreams.mcp.suspicion import (
    bad_icons,
    shown,
    shown_document,
    warnings,
    without_bad_icons,
)

HIDDEN = [
    "\u200b",
    "\u202e",
    "\u2066",
    "\x1b",
    "\x07",
    "\ufeff",
    "\U000e0041",
    "\ufe0f",
    "\u3164",
    "\u00ad",
]


@pytest.mark.parametrize("letter", HIDDEN, ids=lambda letter: f"U+{ord(letter):04X}")
def test_what_people_do_not_see_is_written_out(letter: str) -> None:
    assert shown(f"a{letter}b") == f"a\\u{{{ord(letter):x}}}b"
    [warning] = warnings({"description": f"a{letter}b"})
    assert warning == f"description has hidden characters: U+{ord(letter):04X}"


def test_ordinary_texts_raise_no_warning() -> None:
    assert warnings({"name": "a", "description": "Größe, 大きさ, e\u0301\n\t- item"}) == ()


def test_a_text_for_the_model_raises_one() -> None:
    document = {"inputSchema": {"properties": {"a": {"description": "x <IMPORTANT> y"}}}}
    assert warnings(document) == (
        "inputSchema.properties.a.description addresses the model, not the reader",
    )


def test_hidden_keys_are_found_and_shown() -> None:
    document = {"a\u200b": [{"b": "c\u202e"}]}
    assert len(warnings(document)) == 2
    assert shown_document(document) == {"a\\u{200b}": [{"b": "c\\u{202e}"}]}


@pytest.mark.parametrize(
    ("icons", "bad"),
    [
        ([{"src": "https://a.example/i.png"}, {"src": "data:image/png;base64,AA=="}], False),
        ([], False),
        ([{"src": "javascript:alert(1)"}], True),
        ([{"src": "https://a.example/i.png"}, {"src": " file:///etc/passwd"}], True),
        ([{"src": "data:text/html,x"}], True),
        ([{"src": "data:image/svg+xml,<svg/>"}], True),
        ([{}], True),
        ("javascript:alert(1)", True),
    ],
)
def test_an_icon_is_a_picture_or_a_person_has_to_look(icons: object, bad: bool) -> None:
    document = {"name": "a", "icons": icons}
    assert bad_icons(document) is bad
    assert warnings(document) == (
        ("icons has a source that is no picture of the web",) if bad else ()
    )
    assert without_bad_icons(document) == ({"name": "a"} if bad else document)
