from __future__ import annotations

import pytest

from gateway.surfaces.answers import SAFE, answer, encoded


def test_the_order_of_keys_does_not_change_the_bytes() -> None:
    assert encoded({"b": {"y": 1, "x": 2}, "a": 3}) == encoded({"a": 3, "b": {"x": 2, "y": 1}})


def test_text_stays_text() -> None:
    assert encoded({"a": "Größe 😀"}) == '{"a":"Größe 😀"}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        encoded({"a": value})


def test_every_answer_has_the_safe_headers() -> None:
    response = answer({}, status=201, headers={"Location": "/x"})
    assert {name: response.headers[name] for name in SAFE} == SAFE
    assert (response.status_code, response.headers["Location"]) == (201, "/x")
    assert SAFE["Cache-Control"] == "no-store"
