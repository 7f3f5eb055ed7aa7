from __future__ import annotations

import asyncio

import pytest

from gateway.surfaces.begun import Begun


async def test_what_never_waits_is_over_at_once() -> None:
    async def work() -> int:
        return 7

    begun = Begun(work())
    assert begun.over
    assert begun.value == 7
    assert await begun == 7


async def test_what_waits_is_awaited_to_its_end() -> None:
    gate = asyncio.Event()

    async def work() -> int:
        await gate.wait()
        await asyncio.sleep(0)
        return 7

    begun = Begun(work())
    assert not begun.over
    asyncio.get_running_loop().call_soon(gate.set)
    assert await begun == 7


async def test_what_goes_wrong_is_raised_where_it_goes_wrong() -> None:
    async def at_once() -> int:
        raise ValueError("now")

    async def later() -> int:
        await asyncio.sleep(0)
        raise ValueError("later")

    with pytest.raises(ValueError, match="now"):
        Begun(at_once())
    begun = Begun(later())
    with pytest.raises(ValueError, match="later"):
        await begun


async def test_a_deadline_reaches_the_coroutine() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    begun = Begun(work())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await begun
    assert seen == ["cancelled"]
