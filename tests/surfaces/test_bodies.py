from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.surfaces.strict_json import JsonBounds
from gateway.surfaces.wiring import Bounds
from tests.surfaces.doubles import AGENT, House, house

SQL = b'{"sql":"SELECT 1"}'
JSON = {"Content-Type": "application/json"}


async def send(home: House, content: Any, headers: Any = JSON) -> Any:
    signed = [*dict(headers).items()] if isinstance(headers, dict) else headers
    return await home.http.post(
        "/sql/shop", content=content, headers=[("Authorization", f"Bearer {AGENT}"), *signed]
    )


async def pieces(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
    ],
)
async def test_json_is_taken_under_its_own_name(home: House, kind: str) -> None:
    assert (await send(home, SQL, {"Content-Type": kind})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=utf-7"},
        {"Content-Type": "application/json; charset=utf-8; charset=utf-16"},
        {"Content-Type": "application/json, text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/jsonp"},
        [("Content-Type", "application/json"), ("Content-Type", "text/plain")],
        {**JSON, "Content-Encoding": "gzip"},
        {**JSON, "Content-Encoding": "identity"},
    ],
)
async def test_a_body_under_any_other_name_is_malformed(home: House, headers: Any) -> None:
    answer = await send(home, SQL, headers)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_a_body_in_pieces_is_one_body(home: House) -> None:
    assert (await send(home, pieces(SQL[:5], b"", SQL[5:]))).status_code == 200
    assert home.walk.calls[0].request["sql"] == "SELECT 1"


async def test_a_large_body_is_read_whole_and_strictly(home: House) -> None:
    text = "x" * 100_000
    body = json.dumps({"sql": text}).encode()
    assert (await send(home, body)).status_code == 200
    assert home.walk.calls[0].request["sql"] == text
    assert (await send(home, body + b"x")).status_code == 400


async def test_a_body_announced_too_large_is_refused_unread() -> None:
    async with house(Bounds(json=JsonBounds(bytes=100))) as home:
        read = []

        async def counted() -> AsyncIterator[bytes]:
            read.append(1)
            yield SQL

        headers = {**JSON, "Content-Length": "101"}
        answer = await send(home, counted(), headers)
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
        assert answer.json()["limit"] == 100
        assert read == []


async def test_a_body_that_grows_too_large_is_refused_while_it_comes() -> None:
    async with house(Bounds(json=JsonBounds(bytes=100))) as home:
        sent = []

        async def endless() -> AsyncIterator[bytes]:
            while True:
                sent.append(1)
                yield b" " * 30

        answer = await send(home, endless())
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
        assert len(sent) < 10


async def test_a_body_that_stops_coming_meets_its_deadline() -> None:
    async with house(Bounds(body_idle_s=0.02)) as home:
        answer = await send(home, pieces(SQL[:5], SQL[5:], pause=0.5))
        assert (answer.status_code, answer.json()["reason"]) == (408, "deadline")
        assert home.walk.calls == []


async def test_a_body_that_drips_meets_its_deadline() -> None:
    async with house(Bounds(body_idle_s=1.0, body_total_s=0.05)) as home:
        answer = await send(home, pieces(*[b" "] * 50, SQL, pause=0.01))
        assert (answer.status_code, answer.json()["reason"]) == (408, "deadline")


async def test_an_empty_body_is_malformed_where_one_is_needed(home: House) -> None:
    answer = await send(home, b"")
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_nothing_is_read_for_somebody_who_is_not_known(home: House) -> None:
    read = []

    async def counted() -> AsyncIterator[bytes]:
        read.append(1)
        yield SQL

    answer = await home.http.post("/sql/shop", content=counted(), headers=JSON)
    assert answer.status_code == 401
    assert read == []


async def test_the_place_of_a_fault_is_told(home: House) -> None:
    document = (await send(home, b'{"sql":"a","sql":"b"}')).json()
    assert (document["reason"], document["position"]) == ("malformed", 11)
