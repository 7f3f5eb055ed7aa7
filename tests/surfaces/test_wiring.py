from __future__ import annotations

from dataclasses import fields

from gateway.surfaces.wiring import Bounds
from tests.surfaces.doubles import House


def test_every_bound_is_a_bound() -> None:
    bounds = Bounds()
    assert all(getattr(bounds, f.name) for f in fields(Bounds))
    assert bounds.body_idle_s <= bounds.body_total_s
    assert bounds.watch_poll_s < bounds.watch_beat_s < bounds.watch_total_s


async def test_a_gateway_shows_no_token(home: House) -> None:
    assert "token-of" not in repr(home.gateway)
