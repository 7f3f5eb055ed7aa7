from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import StoreUnavailable
from gateway.model import Freeze, Scope
from gateway.store.standing import Standing

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FREEZE = Freeze(id="frz_1", scope=Scope(), reason="r", starts_at=NOW, created_by="a")


class Table:
    """What the store holds; a look-up sees it as it was when it began."""

    def __init__(self) -> None:
        self.rows: list[Freeze] = []
        self.looks = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def look_up(self) -> list[Freeze]:
        seen = list(self.rows)
        self.looks += 1
        await self.gate.wait()
        return seen

    async def add(self, freeze: Freeze, written: asyncio.Event | None = None) -> str:
        if written is not None:
            await written.wait()
        self.rows.append(freeze)
        return freeze.id


async def test_they_are_looked_up_once_until_they_change() -> None:
    standing, table = Standing(), Table()
    assert await standing.at(NOW, table.look_up) == []
    assert await standing.at(NOW, table.look_up) == []
    assert table.looks == 1
    assert await standing.changed_by(table.add(FREEZE)) == "frz_1"
    assert await standing.at(NOW, table.look_up) == [FREEZE]
    assert table.looks == 2


async def test_what_ended_meanwhile_does_not_stand() -> None:
    standing, table = Standing(), Table()
    table.rows = [replace(FREEZE, ends_at=NOW + timedelta(hours=1))]
    assert len(await standing.at(NOW, table.look_up)) == 1
    assert await standing.at(NOW + timedelta(hours=1), table.look_up) == []


async def test_a_look_up_that_a_change_overtook_is_not_kept() -> None:
    standing, table = Standing(), Table()
    table.gate.clear()
    early = asyncio.create_task(standing.at(NOW, table.look_up))
    await asyncio.sleep(0)
    await standing.changed_by(table.add(FREEZE))
    table.gate.set()
    assert await early == []
    assert await standing.at(NOW, table.look_up) == [FREEZE]


async def test_a_write_counts_also_when_its_caller_has_gone_away() -> None:
    standing, table, written = Standing(), Table(), asyncio.Event()
    caller = asyncio.create_task(standing.changed_by(table.add(FREEZE, written)))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await standing.at(NOW, table.look_up) == []
    written.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await standing.at(NOW, table.look_up) == [FREEZE]


async def test_a_write_that_failed_makes_it_look_again() -> None:
    standing, table = Standing(), Table()
    await standing.at(NOW, table.look_up)

    async def fails() -> None:
        raise StoreUnavailable("no")

    with pytest.raises(StoreUnavailable):
        await standing.changed_by(fails())
    await standing.at(NOW, table.look_up)
    assert table.looks == 2
