"""Values as the server's own binary log was seen to hold them."""

from __future__ import annotations

import pytest

from gateway.upstreams.sql.mysql.packing import (
    date,
    decimal,
    moment,
    stamp,
    time_of_day,
    year,
)


@pytest.mark.parametrize(
    ("text", "digits", "places", "packed"),
    [
        (b"-3.50", 9, 2, "7ffffffccd"),
        (b"12345678901234567890.0123456789", 30, 10, "8c149aa4350dfb38d200bc614e09"),
        (b"0.00", 9, 2, "8000000000"),
    ],
)
def test_decimals(text: bytes, digits: int, places: int, packed: str) -> None:
    assert decimal(text, digits, places).hex() == packed


def test_times() -> None:
    assert year(b"2020") == b"\x78"
    assert year(b"0000") == b"\0"
    assert date(b"2020-02-29").hex() == "5dc80f"
    assert date(b"0000-00-00").hex() == "000000"
    assert moment(b"2020-01-01 00:00:00.123456", 6).hex() == "99a542000001e240"
    assert stamp(b"2020-01-01 00:00:01.500000", 6).hex() == "5e0be10107a120"
    assert stamp(b"0000-00-00 00:00:00", 0).hex() == "00000000"
    assert time_of_day(b"-838:59:59.000", 3).hex() == "4b91050000"
    assert time_of_day(b"-00:00:01", 0).hex() == "7fffff"
    assert time_of_day(b"-12:34:56.12345", 5).hex() == "7f3747fe1dc6"


@pytest.mark.parametrize("text", [b"", b"yesterday", b"2020-01"])
def test_what_is_no_time(text: bytes) -> None:
    with pytest.raises(ValueError, match="this is no"):
        moment(text, 0)
    with pytest.raises(ValueError, match="this is no"):
        time_of_day(text, 0)
