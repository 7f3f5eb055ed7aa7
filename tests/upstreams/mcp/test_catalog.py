"""Tools as they are approved: here, those that cannot be used whatever people say."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.store.memory import MemoryStore
from gateway.upstreams.mcp.catalog import FIRST_USE, Catalog
from tests.fixtures.fakes import FakeClock

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}


async def taken(**about: Any) -> tuple[str | None, bool]:
    """The fault of a tool, and whether its arguments can be checked."""
    store = MemoryStore(clock=FakeClock())
    await store.open()
    catalog = Catalog("it", pins=store, clock=FakeClock(), mode=FIRST_USE)
    tool = (await catalog.take([{"name": "t", "inputSchema": SCHEMA, **about}]))["t"]
    return tool.fault, tool.check is not None


async def test_an_honest_tool_is_usable() -> None:
    assert await taken() == (None, True)


@pytest.mark.parametrize("support", ["optional", "forbidden"])
async def test_a_tool_that_may_be_called_as_a_task_is_called_without(support: str) -> None:
    assert await taken(execution={"taskSupport": support}) == (None, True)


async def test_a_tool_that_is_a_task_only_is_disabled_and_says_so() -> None:
    fault, _ = await taken(execution={"taskSupport": "required"})
    assert "as a task only" in str(fault)


async def test_a_tool_whose_patterns_cannot_be_matched_safely_is_disabled_and_says_why() -> None:
    pattern = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)"}}}
    fault, usable = await taken(inputSchema=pattern)
    assert "look-around" in str(fault)
    assert not usable
