from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.fixtures.terminal import Terminal

ROOT = Path(__file__).parents[2]
TOKENS = {
    "HOLDFAST_AGENT_TOKEN": "agt-3f9c1e7a5b2d4860",
    "HOLDFAST_ADMIN_TOKEN": "adm-3f9c1e7a5b2d4860",
}
START_S = 60


@dataclass
class Served:
    process: subprocess.Popen[str]
    printed: str

    @property
    def url(self) -> str:
        found = re.search(r"listens on (\S+)", self.printed)
        assert found is not None
        return found[1]

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[object]:
    started: list[subprocess.Popen[str]] = []

    def start(**environ: str) -> Served:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HOLDFAST_")}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--port", "0"],
                cwd=ROOT,
                env={**kept, "HOLDFAST_HOME": str(tmp_path / "var"), **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        return Served(process, _until_ready(process, tmp_path / "log"))

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _until_ready(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    printed = ""
    late = threading.Timer(START_S, process.kill)
    late.start()
    try:
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, f"ended: {printed}{log.read_text()}"
            printed += line
    finally:
        late.cancel()
        late.join()
    return printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_starts_answers_and_stops_cleanly(serve, number: signal.Signals) -> None:  # type: ignore[no-untyped-def]
    served = serve(**TOKENS)
    answer = httpx.get(f"{served.url}/healthz")
    assert answer.status_code == 200
    assert "server" not in answer.headers
    for token in TOKENS.values():
        assert token in served.printed
    assert "made up" not in served.printed
    assert served.stop(number) == 0


def test_tokens_that_are_made_up_work_and_the_printed_calls_can_be_pasted(serve) -> None:  # type: ignore[no-untyped-def]
    served = serve()
    assert served.printed.count("agent token: ") == 1
    commands = re.findall(r"(?m)^  (curl .*\n(?:    .*\n)+)", served.printed)
    met = []
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
        )
        met.append(done.stdout)
    read, refused, deleted, reverted = met
    assert '"customers"' in read
    assert '"policy.denied"' in refused
    assert '"succeeded"' in deleted
    assert '"reverted"' in reverted
    assert served.stop(signal.SIGINT) == 0


def test_more_workers_are_refused_before_anything_starts() -> None:
    shell = Terminal()
    assert shell.run("serve", "--workers", "2") == 2
    assert "PostgreSQL store" in shell.err


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "serve", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, "HOLDFAST_HOME": str(tmp_path), **TOKENS},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_policies_that_are_not_valid_keep_it_from_starting(tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "gateway.rego").write_text("package gateway\n\nimport rego.v1\n\ndecision := x\n")
    text = (ROOT / "config.example.yaml").read_text().replace("path: policies", f"path: {folder}")
    (tmp_path / "config.yaml").write_text(text.replace("port: 8400", "port: 0"))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(tmp_path / "config.yaml")],
        cwd=ROOT,
        env={**os.environ, "HOLDFAST_HOME": str(tmp_path), **TOKENS},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "gateway.rego:5: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "listens" not in done.stdout
