from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from gateway.demo.running import crm_running
from gateway.errors import ConfigInvalid


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


async def test_the_tool_answers_while_it_runs_and_is_gone_afterwards(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with httpx.AsyncClient(base_url=url) as client:
        async with crm_running(url, tmp_path / "crm.db"):
            assert (await client.get("/customers/1")).status_code == 200
        with pytest.raises(httpx.ConnectError):
            await client.get("/customers/1")


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(ConfigInvalid):
            async with crm_running(url, tmp_path / "crm.db"):
                raise AssertionError("it started on a port that is taken")
