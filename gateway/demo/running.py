"""Starts the demo tool ``crm`` in a process of its own and ends it again."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from gateway.errors import ConfigInvalid

START_S = 20.0
STOP_S = 5.0
_LOOK_AGAIN_S = 0.05


@contextlib.asynccontextmanager
async def crm_running(base_url: str, data: Path) -> AsyncIterator[None]:
    """``crm`` answers at ``base_url`` (http, a loopback host and a port) while the context is
    open. Raises ``ConfigInvalid`` when it cannot start there."""
    at = urlsplit(base_url)
    host, port = at.hostname or "127.0.0.1", at.port or 80
    if await _answers(host, port):
        raise ConfigInvalid(f"The demo tool crm cannot start: port {port} is in use.", faults=[])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway.demo.crm",
        *("--host", host, "--port", str(port), "--data", str(data)),
        stdin=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the gateway, which then ends the tool
    )
    try:
        await _started(process, host, port)
        yield
    finally:
        await _ended(process)


async def _started(process: asyncio.subprocess.Process, host: str, port: int) -> None:
    for _ in range(round(START_S / _LOOK_AGAIN_S)):
        if process.returncode is not None:
            raise ConfigInvalid(f"The demo tool crm cannot start on port {port}.", faults=[])
        if await _answers(host, port):
            return
        await asyncio.sleep(_LOOK_AGAIN_S)
    raise ConfigInvalid("The demo tool crm did not start in time.", faults=[])


async def _answers(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
