"""Regular expressions of schemas: as JavaScript reads them, in linear time, or refused."""

from __future__ import annotations

import time

import pytest

from gateway.upstreams.mcp.patterns import PatternUnusable, pattern


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        (r"^a+$", "aaa", "aab"),
        (r"^a+$", "a", "a\n"),
        (r"b", "abc", "ac"),
        (r"^\d{3}$", "123", "١٢٣"),
        (r"^\w+$", "a_1", "é"),
        (r"^[\w-]+$", "a-1", "é"),
        (r"^[^\d]$", "x", "5"),
        (r"^[\D]$", "x", "5"),
        (r"^\W$", "é", "e"),
        (r"^<\/?b\>$", "</b>", "b"),
        (r"\<b\>", "<b>", "b"),
        (r"^[[a]$", "[", "b"),
        (r"^[a&&b]$", "&", "c"),
        (r"^[+--]$", ",", "a"),
        (r"^[a~~b]+$", "a~b", "c"),
        (r"^é$", "é", "e"),
        (r"^\p{Lu}$", "Ä", "ä"),
        (r"^(?<year>[0-9]{4})-(?:x|y)$", "2026-x", "2026-z"),
        (r"^[\]\\]$", "]", "a"),
        (r"^.{1,4000}$", "x" * 4000, "x" * 4001),
        (r"^[^\s@]+@[^\s@]+\.[a-z]{2,}$", "a@b.de", "a@b"),
        ("", "", None),
    ],
)
def test_a_pattern_matches_as_its_author_meant(text: str, matching: str, other: str | None) -> None:
    assert pattern(text).found_in(matching)
    if other is not None:
        assert not pattern(text).found_in(other)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("(?=a)b", "look-around"),
        ("(?!a)b", "look-around"),
        ("(?<=a)b", "look-around"),
        (r"(a)\1", "backreferences"),
        ("[a", "not closed"),
        ("a)", "not opened"),
        ("(a", "not closed"),
        ("*a", "repetition"),
        ("(?:(?:a{999}){999}){99}", "size limit"),
        ("a" * 5000, "longer than"),
    ],
)
def test_what_cannot_be_matched_in_bounded_time_is_refused_with_its_reason(
    text: str, because: str
) -> None:
    with pytest.raises(PatternUnusable) as refused:
        pattern(text)
    assert because in str(refused.value)


@pytest.mark.parametrize("text", ["^(a+)+$", "^(a|a)*$", "^(a*)*b$", "(x+x+)+y", r"^([a-z]+\.?)+$"])
def test_patterns_that_never_end_elsewhere_end_here(text: str) -> None:
    started = time.process_time()
    for evil in ("a" * 50_000 + "!", "x" * 50_000):
        assert not pattern(text).found_in(evil) or "x" in evil
    assert time.process_time() - started < 1
