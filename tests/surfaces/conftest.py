from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.surfaces.doubles import House, house


@pytest_asyncio.fixture
async def home() -> AsyncIterator[House]:
    async with house() as made:
        yield made
