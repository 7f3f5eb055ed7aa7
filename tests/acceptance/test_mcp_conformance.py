"""The protocol's own conformance suite, at a server and at the same server behind the gateway."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.mcp.doorman import doorman
from tests.fixtures.mcp.elsewhere import listening
from tests.fixtures.mcp.house import TOKENS, house
from tests.fixtures.mcp.npm import node_module, node_program

Results = dict[tuple[str, str], str]
# What the suite reports beside its checks.
_NO_CHECK = ("INFO", "SKIPPED")


async def results(url: str, revision: str, folder: Path) -> Results:
    """The worst status of every check of every required scenario."""
    suite = node_module("@modelcontextprotocol/conformance/dist/index.js")
    process = await asyncio.create_subprocess_exec(
        *(node_program(), str(suite), "server", "--url", url, "--requirements", revision),
        *("-o", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    found = read(folder)
    assert found, said.decode()
    return found


def read(folder: Path) -> Results:
    found: Results = {}
    for file in sorted(folder.rglob("checks.json")):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT.*", "", file.parent.name)
        for check in json.loads(file.read_text()):
            if check["status"] not in _NO_CHECK:
                key = (scenario, check["id"])
                found[key] = min(found.get(key, "SUCCESS"), check["status"])
    return found


@asynccontextmanager
async def gated(home: Path, server: dict[str, Any]) -> AsyncIterator[str]:
    declared = {**server, "tools": {"*": {"class": "read"}}}
    # The suite knows no tokens, so somebody at the door adds one.
    async with (
        house(home, {"everything": declared}) as found,
        doorman(found.url, TOKENS["a7"]) as url,
    ):
        yield f"{url}/mcp/everything"


@pytest.mark.parametrize("revision", ["2026-07-28", "2025-11-25"])
async def test_nothing_fails_through_the_gateway_that_does_not_fail_directly(
    revision: str, tmp_path: Path
) -> None:
    async with listening() as url:
        direct = await results(url, revision, tmp_path / "direct")
        async with gated(tmp_path, {"url": url}) as through:
            behind = await results(through, revision, tmp_path / "behind")
    worse = {
        key: (status, behind.get(key, "missing"))
        for key, status in direct.items()
        if status == "SUCCESS" and behind.get(key) != "SUCCESS"
    }
    assert worse == {}
    assert sum(status == "SUCCESS" for status in behind.values()) >= 60
