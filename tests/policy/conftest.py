"""A real OPA for the tests that compare with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

POLICIES = Path(__file__).parents[2] / "policies"


def find_opa() -> str | None:
    """The OPA binary: ``OPA_BIN``, the PATH, ``GOBIN`` or ``~/go/bin``."""
    folders = [os.environ.get("GOBIN"), str(Path.home() / "go" / "bin")]
    places = os.pathsep.join([os.environ.get("PATH", ""), *(f for f in folders if f)])
    return os.environ.get("OPA_BIN") or shutil.which("opa", path=places)


@pytest.fixture(scope="session")
def opa() -> str:
    found = find_opa()
    if found is None:
        why = "no opa binary (go install github.com/open-policy-agent/opa@latest)"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return found


@dataclass(frozen=True)
class OpaServer:
    url: str
    client: httpx.Client


@pytest.fixture(scope="session")
def opa_server(opa: str) -> Iterator[OpaServer]:
    """An OPA server without policies, on a port of its own."""
    yield from _served(opa, [])


@pytest.fixture(scope="session")
def shipped_opa_server(opa: str) -> Iterator[OpaServer]:
    """An OPA server with the shipped policies as its bundle."""
    yield from _served(opa, ["--bundle", str(POLICIES)])


def _served(opa: str, arguments: list[str]) -> Iterator[OpaServer]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [opa, "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error"]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, timeout=10) as client:
            _wait(client, process)
            yield OpaServer(url, client)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the OPA server ended at once"
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail("the OPA server did not come up")
