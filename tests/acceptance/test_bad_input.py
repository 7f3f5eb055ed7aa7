"""Input that is too large, too deep or broken, and parts that are gone: each is answered clearly,
and nothing is lost or held up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.fixtures.inside import Ticker, inside
from tests.fixtures.serving import ROOT, environment, served

ROWS = 20_000
HOSTILE = {
    "a megabyte of SQL": ("SELECT " + "1 + " * 250_000 + "1", {"too_large"}),
    "a quarter megabyte": ("SELECT " + "1+" * 120_000 + "1", {"sql.unparsable", "too_large"}),
    "1,000 nested parentheses": (
        "SELECT " + "(" * 1000 + "1" + ")" * 1000,
        {"sql.unparsable", "too_large"},
    ),
    "1,000 nested NOT": ("SELECT " + "NOT " * 1000 + "1", None),
    "1,000 nested CASE": (
        "SELECT " + "CASE WHEN 1 THEN " * 1000 + "1" + " END" * 1000,
        {"sql.unparsable", "too_large"},
    ),
    "10,000 OR terms": (
        "SELECT id FROM customers WHERE " + " OR ".join(f"id={n}" for n in range(10_000)),
        None,
    ),
    "20,000 rows in one INSERT": (
        "INSERT INTO orders(id) VALUES " + ",".join(f"({n})" for n in range(10**6, 10**6 + ROWS)),
        {"limit.rows", "upstream.failed", "too_large", "policy.denied"},
    ),
    "an unterminated literal": ("SELECT 'abc", {"sql.unparsable"}),
    "nothing": ("", {"sql.unparsable"}),
    "only a comment": ("-- hello", {"sql.unparsable"}),
    "a NUL": ("SELECT 1\0", {"malformed", "sql.unparsable"}),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_hostile_sql_is_answered_and_holds_nobody_up(what: str, tmp_path: Path) -> None:
    text, reasons = HOSTILE[what]
    async with inside(tmp_path) as gateway:
        await gateway.sql("SELECT 1")
        await gateway.sql("SELECT 1 " + "-- " + "x" * 8_000)  # starts the parser's process
        async with Ticker() as ticker:
            answer = await asyncio.wait_for(gateway.sql(text), 30)
        if reasons is None:
            assert answer.status_code in (200, 400, 413), answer.text
        else:
            assert answer.json()["reason"] in reasons, answer.text
            assert answer.json()["effect"] == "none"
        assert ticker.longest_s < 0.02, f"the loop was busy for {ticker.longest_s * 1000:.0f} ms"
        assert (await gateway.sql("SELECT count(*) FROM customers")).json()["rows"] == [[1206]]


BAD_BODIES = {
    "not JSON": b"{",
    "NaN": b'{"sql": "SELECT 1", "params": [NaN]}',
    "duplicate keys": b'{"sql": "SELECT 1", "sql": "DELETE FROM customers"}',
    "an escaped duplicate": b'{"sql": "SELECT 1", "s\\u0071l": "DELETE FROM customers"}',
    "bad UTF-8": b'{"sql": "SELECT \xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"sql": "SELECT 1"}',
    "an integer beyond 64 bits": b'{"sql": "SELECT ?", "params": [123456789012345678901234]}',
    "too deep": b'{"sql": "SELECT 1", "params": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "rows where no statement reads any": b'{"sql": "SELECT 1", "stdin": ["1\\n"]}',
    "an unknown key": b'{"sql": "SELECT 1", "dryrun": true}',
    "two documents": b'{"sql": "SELECT 1"}{}',
    "a list": b'["SELECT 1"]',
}


@pytest.mark.parametrize("what", BAD_BODIES)
async def test_a_body_that_is_not_strict_json_is_malformed(what: str, tmp_path: Path) -> None:
    async with inside(tmp_path) as gateway:
        headers = {"Authorization": "Bearer hf_agent_token_of_this_test_run"}
        answer = await gateway.client.post(
            "/sql/shop",
            content=BAD_BODIES[what],
            headers={**headers, "Content-Type": "application/json"},
        )
        assert answer.status_code == 400
        assert answer.json()["reason"] == "malformed"


BROKEN = {
    "an unknown key": ("server:\n", "severs: {}\nserver:\n"),
    "a wrong type": ("port: 8400", "port: eight"),
    "a missing variable": ("${HOLDFAST_ADMIN_TOKEN}", "${NOBODY_SET_THIS}"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_configuration_is_named_by_file_and_line(what: str, tmp_path: Path) -> None:
    old, new = BROKEN[what]
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    assert old in text
    path = tmp_path / "config.yaml"
    path.write_text(text.replace(old, new, 1))
    line = text[: text.index(old)].count("\n") + 1
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", "0"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert f"config.yaml:{line}" in done.stderr + done.stdout


def test_a_broken_policy_keeps_the_gateway_from_starting(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    (tmp_path / "policies" / "broken.rego").write_text("package gateway\n\nallow {\n")
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(text.replace("path: policies", f"path: {tmp_path / 'policies'}"))
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", "0"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "broken.rego:3" in done.stderr + done.stdout


def test_a_database_that_cannot_be_reached_is_said_and_stops_nobody_else(tmp_path: Path) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    path = tmp_path / "config.yaml"
    gone = "postgresql://agent:very-secret-word@127.0.0.1:1/app"
    path.write_text(text.replace("sources:\n", f'sources:\n  app: {{url: "{gone}"}}\n', 1))
    with served(tmp_path, path) as gateway, gateway.agent() as agent:
        answer = agent.post("/sql/app", json={"sql": "SELECT 1"})
        assert answer.status_code == 502
        assert answer.json()["reason"] == "upstream.unreachable"
        assert answer.json()["effect"] == "none"
        assert "very-secret-word" not in answer.text
        assert agent.post("/sql/shop", json={"sql": "SELECT 1"}).status_code == 200
    assert "very-secret-word" not in (tmp_path / "serve.log").read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a file system of its own needs the right to mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_under_the_store_means_that_nothing_executes(
    small_disk: Path, tmp_path: Path
) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    path = tmp_path / "config.yaml"
    path.write_text(
        text.replace("sqlite:///${HOLDFAST_HOME:-var}/store.db", f"sqlite:///{small_disk}/store.db")
    )
    delete = {"sql": "DELETE FROM customers WHERE id = 9"}
    count = {"sql": "SELECT count(*) FROM customers"}
    with served(tmp_path, path) as gateway, gateway.agent() as agent:
        assert agent.post("/sql/shop", json=count).json()["rows"] == [[1206]]
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 4096):
                continue
        answers: list[httpx.Response] = []
        for _ in range(200):  # what is left inside the store's own files is used up first
            answers.append(agent.post("/sql/shop", json=delete | {"dry_run": True}))
            if answers[-1].status_code == 503:
                break
        assert answers[-1].json()["reason"] in ("store.unavailable", "audit.unavailable")
        refused = agent.post("/sql/shop", json=delete)
        assert refused.status_code == 503
        assert refused.json()["effect"] == "none"
        assert httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 503
        filler.unlink()
        deadline = 50
        while httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code != 200 and deadline:
            deadline -= 1
            time.sleep(0.2)
        assert agent.post("/sql/shop", json=count).json()["rows"] == [[1206]]
        assert agent.post("/sql/shop", json=delete).status_code == 200
