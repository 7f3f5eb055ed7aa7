"""``python -m benchmarks.rival [--write]``: undo of many shapes of writes, by the gateway and by
the nearest other tool, interdict-db, which is installed from PyPI into an environment of its own.

Each shape runs on a fresh database of a real PostgreSQL. A hold is approved by the operator's own
command. What counts is the database: read before, after, and after the revert.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
from mcp import Client, StdioServerParameters

from benchmarks.shapes import SHAPES, Shape, dump
from benchmarks.sql import POLICY
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.serving import environment, served

RIVAL = "interdict-db"
VERSION = "0.4.0"
ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "rival.md"
OPERATOR = "operator-token-of-this-benchmark-0123456789"

AGENTS, GATEWAY = "agents", "holdfast"
EXACT, REFUSED, STAYED, WRONG = "exact", "refused before", "not reverted", "**silently wrong**"
TOUCHED = "**refused, but changed**"


def verdict(
    before: object, executed: bool, changed: object, said_reverted: bool, now: object
) -> str:
    if not executed:
        return REFUSED if changed == before else TOUCHED
    if said_reverted:
        return EXACT if now == before else WRONG
    return STAYED


def read(url: str) -> dict[str, object]:
    with psycopg.connect(url, autocommit=True) as connection:
        return dump(connection)


# --- the gateway ----------------------------------------------------------------------------


def gateway_config(folder: Path, sources: Mapping[str, str]) -> Path:
    policies = folder / "policies"
    policies.mkdir()
    (policies / "gateway.rego").write_text(POLICY)
    listed = "".join(
        f'  {name}: {{url: "{as_role(url, AGENTS)}", capture_url: "{as_role(url, GATEWAY)}"}}\n'
        for name, url in sources.items()
    )
    config = folder / "config.yaml"
    config.write_text(
        f"""
store: {{url: "sqlite:///{folder}/store.db"}}
policy: {{path: "{policies}"}}
snapshots: {{path: "{folder}/snapshots"}}
limits: {{max_rows: 1000000, max_share: 1.0}}
identity:
  admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"
  agents: [{{name: bench, token: "${{HOLDFAST_AGENT_TOKEN}}", roles: [bench]}}]
sources:
{listed}telemetry: {{log_level: error}}
"""
    )
    return config


def by_gateway(shape: Shape, source: str, url: str, clients: tuple[httpx.Client, ...]) -> str:
    agent, admin = clients
    before = read(url)
    answer = agent.post(f"/sql/{source}", json={"sql": shape.statement})
    executed = answer.status_code == 200
    changed, reverted = read(url), False
    if executed:
        answer = admin.post("/admin/reverts", json={"call": answer.json()["call"]})
        reverted = answer.json().get("state") == "reverted"
    return verdict(before, executed, changed, reverted, read(url))


def gateway_column(server: PostgresServer, folder: Path) -> list[str]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {AGENTS} LOGIN; CREATE ROLE {GATEWAY} LOGIN")
    urls = {f"s{number}": made(server, shape, AGENTS) for number, shape in enumerate(SHAPES)}
    config = gateway_config(folder, urls)
    for name, url in urls.items():
        prepare(config, name, url)
    with (
        served(folder, config) as gateway,
        gateway.agent() as agent,
        gateway.admin() as admin,
    ):
        return [
            by_gateway(shape, name, url, (agent, admin))
            for shape, (name, url) in zip(SHAPES, urls.items(), strict=True)
        ]


def as_role(url: str, role: str) -> str:
    return url.replace("//postgres@", f"//{role}@", 1)


def prepare(config: Path, source: str, url: str) -> None:
    """As an operator does once: ``holdfast source prepare NAME --apply``. It ends with 1 where it
    leaves a piece to the operator, as it does with what changes more than the source."""
    command = [sys.executable, "-m", "gateway", "source", "prepare", source, "--apply"]
    command += ["--as", "ADMIN_URL"]
    environ = environment(config.parent, ADMIN_URL=url)
    subprocess.run(
        [*command, "--config", config],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def made(server: PostgresServer, shape: Shape, owner: str | None = None) -> str:
    """The database, whose tables belong to ``owner``, by the administrator's URL."""
    url = server.url(server.create_database())
    with psycopg.connect(url, autocommit=True) as connection:
        if owner is not None:
            connection.execute(
                f"GRANT CREATE ON SCHEMA public TO {owner}; SET ROLE {owner}".encode()
            )
        connection.execute(shape.setup.encode())
    return url


# --- the rival ------------------------------------------------------------------------------


def installed(folder: Path) -> Path:
    """Its command, in a virtual environment of its own. It needs the first major version of the
    MCP SDK and does not say so."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    packages = [f"{RIVAL}=={VERSION}", "mcp<2"]
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
    return folder / "bin" / "interdict"


class Rival:
    """Its MCP server over stdio, and its operator's command."""

    def __init__(self, command: Path, url: str, folder: Path) -> None:
        self._command = command
        self._environ = {
            **os.environ,
            "AGENT_DB_DSN": url,
            "AGENT_SAFETY_PROFILE": "development",
            "AGENT_OPERATOR_TOKEN": OPERATOR,
            "AGENT_AUDIT_LOG": str(folder / "rival-audit.jsonl"),
        }

    async def run(self, shape: Shape, url: str) -> str:
        before = read(url)
        server = StdioServerParameters(command=str(self._command), env=self._environ)
        async with Client(server, mode="legacy") as client:
            done = await self._called(client, "run_query", sql=shape.statement)
            if done.get("requires_confirmation"):
                done = await self._approved(client, "run_approved_query", done["approval_id"])
            executed = not done.get("blocked") and done.get("error") is None
            changed, reverted = read(url), False
            if executed and done.get("undo_action_id"):
                asked = await self._called(
                    client, "request_revert", action_id=done["undo_action_id"]
                )
                if asked.get("approval_id"):
                    back = await self._approved(client, "run_approved_revert", asked["approval_id"])
                    reverted = bool(back.get("ok"))
        return verdict(before, executed, changed, reverted, read(url))

    async def _approved(self, client: Client, tool: str, approval: str) -> dict[str, Any]:
        approving = await asyncio.create_subprocess_exec(
            self._command, "approve", approval, env=self._environ, stdout=subprocess.DEVNULL
        )
        await approving.wait()
        return await self._called(client, tool, approval_id=approval)

    async def _called(self, client: Client, tool: str, **arguments: str) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        return dict(result.structured_content or {"blocked": True})


def rival_column(server: PostgresServer, folder: Path) -> list[str]:
    command = installed(folder / "rival")
    found = []
    for shape in SHAPES:
        url = made(server, shape)
        found.append(asyncio.run(Rival(command, url, folder).run(shape, url)))
    return found


# --- the table ------------------------------------------------------------------------------


def table(gateway: list[str], rival: list[str], version: str) -> str:
    lines = [
        "# Undo, shape by shape",
        "",
        f"Each statement runs on a fresh PostgreSQL {version} database, once through the gateway",
        f"and once through {RIVAL} {VERSION} from PyPI (its default",
        "policy, development profile, holds approved by its operator's command, MCP SDK below 2,",
        "which it needs). The database is read before, after the statement, and after the revert.",
        "*exact*: every row is back. *refused before*: nothing ran, nothing changed.",
        "*not reverted*: the data changed and the revert was refused or not offered.",
        "*silently wrong*: the revert reported success and the rows differ.",
        "",
        "    python -m benchmarks.rival --write",
        "",
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}.",
        "",
        f"| shape | Holdfast | {RIVAL} {VERSION} |",
        "|---|---|---|",
    ]
    lines += [
        f"| {shape.name} | {ours} | {theirs} |"
        for shape, ours, theirs in zip(SHAPES, gateway, rival, strict=True)
    ]
    lines += ["", f"Holdfast: {_sum(gateway)}. {RIVAL}: {_sum(rival)}."]
    return "\n".join(lines) + "\n"


def _sum(column: list[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in Counter(column).most_common())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rival", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"writes {DOCUMENT.name}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, PostgresServer.started() as server:
        folder = Path(name)
        with psycopg.connect(server.url()) as connection:
            version = str(connection.info.server_version // 10_000)
        text = table(gateway_column(server, folder), rival_column(server, folder), version)
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
