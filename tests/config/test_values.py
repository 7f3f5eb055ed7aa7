from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.values import parse_duration, shown_duration, sqlite_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("62h", timedelta(hours=62)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_durations_are_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5h", "1 h", "1y", "1h30m", 30, None]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration is"):
        parse_duration(text)


@given(st.integers(min_value=1, max_value=10**8))
def test_a_shown_duration_reads_back(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(shown_duration(duration)) == duration


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/shop.db", "var/shop.db"),
        ("sqlite:////srv/shop.db", "/srv/shop.db"),
        ("postgresql://h/d", None),
    ],
)
def test_sqlite_urls_name_relative_and_absolute_files(url: str, path: str | None) -> None:
    assert sqlite_path(url) == path
