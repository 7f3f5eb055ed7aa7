"""One store serves one gateway: a second one is told so before it listens, the lock ends with the
process however that ends, and what only reads the store works beside a gateway that runs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.app import SystemClock
from gateway.errors import StoreUnavailable
from gateway.store.sqlite import SqliteStore, keys_in_use
from tests.crash.killing import Killer, run_and_kill
from tests.fixtures.canary import canary
from tests.fixtures.serving import ROOT, Served, environment, served
from tests.fixtures.stores import sqlite_store
from tests.fixtures.tooled import TOOL_TOKEN, write_config


def holdfast(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=environment(home, TOOL_TOKEN=TOOL_TOKEN, **extra),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def second(gateway: Served, config: Path) -> subprocess.CompletedProcess[str]:
    return holdfast(gateway.home, "serve", "--config", str(config), "--port", "0")


def test_a_second_gateway_over_the_same_store_does_not_start(tmp_path: Path) -> None:
    with canary() as bird:
        config = write_config(tmp_path, bird.url)
        with served(tmp_path, config, TOOL_TOKEN=TOOL_TOKEN) as first:
            refused = second(first, config)
            assert refused.returncode == 1, refused.stderr
            assert "Another process has the store store.db open" in refused.stderr
            assert "listens on" not in refused.stdout
            assert "Traceback" not in refused.stderr
            with first.agent() as agent:
                assert agent.get("/http/crm/a").status_code == 200, "the first one goes on"

            _reads_beside(first, config, tmp_path)


def _reads_beside(gateway: Served, config: Path, home: Path) -> None:
    """Commands that ask the gateway, and those that look at the configuration and the store."""
    assert holdfast(home, "calls", HOLDFAST_URL=gateway.url).returncode == 0
    verified = holdfast(home, "audit", "verify", HOLDFAST_URL=gateway.url)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    checked = holdfast(home, "check", "--config", str(config))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert keys_in_use(home / "store.db") == set()


async def _opened(home: Path) -> None:
    store = sqlite_store(home, SystemClock())
    await store.open()
    await store.close()


def test_the_lock_of_a_killed_process_is_gone_at_once(tmp_path: Path) -> None:
    async def child(killer: Killer) -> None:
        store = sqlite_store(tmp_path, SystemClock())
        await store.open()
        with pytest.raises(StoreUnavailable, match="Another process"):
            await _opened(tmp_path)
        # Children that outlive it do not hold its lock.
        await asyncio.create_subprocess_exec("sleep", "5")
        killer("open")

    assert run_and_kill(child, Killer("open", 1), tmp_path / "log").killed
    asyncio.run(_opened(tmp_path))


def test_a_link_to_the_store_is_the_same_store(tmp_path: Path) -> None:
    store = sqlite_store(tmp_path, SystemClock())
    link = tmp_path / "elsewhere" / "other.db"
    link.parent.mkdir()
    link.symlink_to(store._path)
    beside = SqliteStore(link, images=store._images, clock=SystemClock())

    async def both() -> None:
        await store.open()
        with pytest.raises(StoreUnavailable, match="Another process"):
            await beside.open()
        await store.close()

    asyncio.run(both())
