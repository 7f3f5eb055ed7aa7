from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.cli.arguments import moment
from gateway.cli.remote import Usage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", "2026-03-01T11:45:00Z"),
        ("2h", "2026-03-01T10:00:00Z"),
        ("1d", "2026-02-28T12:00:00Z"),
        ("2026-01-31T18:00:00Z", "2026-01-31T18:00:00Z"),
        ("2026-01-31T18:00:00+02:00", "2026-01-31T16:00:00Z"),
    ],
)
def test_times_are_durations_back_or_rfc3339(text: str, expected: str) -> None:
    assert moment(text, NOW) == expected


def test_times_lie_ahead_where_that_is_meant() -> None:
    assert moment("2h", NOW, ahead=True) == "2026-03-01T14:00:00Z"


def test_no_time_stays_none() -> None:
    assert moment(None, NOW) is None


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-31", "2026-01-31T18:00:00", "15", "-2h", "999999999w"]
)
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(Usage):
        moment(text, NOW)
