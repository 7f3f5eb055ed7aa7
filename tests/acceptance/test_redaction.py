"""Columns that are not to be shown: nowhere, while the images keep them exact."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.cli import main
from gateway.cli.display import Printer
from gateway.cli.shell import Shell
from gateway.demo.shop import seed_shop
from tests.fixtures.serving import ROOT, Served, served

CANARY = "canary-9d41@example.org"
POLICY = """package gateway

decision := {
  "allow": true, "hold": false, "reasons": [],
  "obligations": {"redact": REDACT, "irreversible": true},
}
"""


def config(home: Path, *, configured: str = "[]", demanded: list[str] | None = None) -> Path:
    """A gateway over the demo shop in which every customer's e-mail holds the canary."""
    (home / "policies").mkdir()
    (home / "policies" / "rule.rego").write_text(
        POLICY.replace("REDACT", json.dumps(demanded or []))
    )
    seed_shop(home / "shop.db")
    with closing(sqlite3.connect(home / "shop.db")) as shop:
        shop.execute("UPDATE customers SET email = id || ?", (CANARY,))
        shop.commit()
    text = (ROOT / "config.example.yaml").read_text()
    text = text.replace("path: policies", f"path: {home}/policies")
    text = text.replace("  redact: []", f"  redact: {configured}")
    text = text.replace("  max_rows: 100\n", "  max_rows: 5000\n")
    text = text.replace("max_share: 0.2", "max_share: 1.0")
    file = home / "config.yaml"
    file.write_text(text)
    return file


def sql(gateway: Served, text: str) -> dict[str, Any]:
    with gateway.agent() as agent:
        answer = agent.post("/sql/shop", json={"sql": text})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def emails(home: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(home / "shop.db")) as shop:
        return shop.execute("SELECT id, email FROM customers ORDER BY id").fetchall()


def conflicting(gateway: Served, home: Path) -> str:
    """A call on three customers, of which somebody changed one since."""
    call: str = sql(gateway, "UPDATE customers SET email = 'agent-' || email WHERE id <= 3")["call"]
    with closing(sqlite3.connect(home / "shop.db")) as shop:
        shop.execute("UPDATE customers SET email = ? WHERE id = 2", (f"theirs-{CANARY}",))
        shop.commit()
    return call


def views(gateway: Served, call: str) -> Iterator[tuple[str, str]]:
    """Everything that people are shown, by where."""
    with gateway.admin() as admin:
        bodies: list[tuple[str, str, dict[str, Any] | None]] = [
            ("POST", "/admin/reverts", {"call": call, "plan": True}),
            ("POST", "/admin/reverts", {"call": call}),
            ("GET", "/admin/calls", None),
            ("GET", f"/admin/calls/{call}", None),
            ("GET", f"/calls/{call}", None),
            ("GET", "/admin/snapshots", None),
            ("GET", "/admin/approvals?all=true", None),
            ("GET", "/admin/freezes", None),
            ("GET", "/openapi.json", None),
        ]
        for method, path, body in bodies:
            yield f"{method} {path}", admin.request(method, path, json=body).text
        job = admin.post("/admin/reverts", json={"call": call}).json()
        yield "job", admin.get(f"/admin/reverts/{job['id']}").text
        for snapshot in admin.get("/admin/snapshots").json()["snapshots"]:
            yield "images", admin.get(f"/admin/snapshots/{snapshot['id']}").text
        for record in admin.get("/admin/calls").json()["calls"]:
            yield "call", admin.get(f"/admin/calls/{record['call']}").text
            with admin.stream("GET", f"/calls/{record['call']}/events") as events:
                yield "events", events.read().decode()
        yield "audit", admin.get("/admin/audit?limit=1000").text


def commands(gateway: Served, call: str, snapshot: str) -> Iterator[tuple[str, str]]:
    for command in (
        ["calls"],
        ["show", call],
        ["revert", call, "--plan"],
        ["revert", call],
        ["snapshots", "list"],
        ["snapshots", "show", snapshot],
        ["audit", "export"],
    ):
        for more in ([], ["--json"]):
            out = io.StringIO()
            console = Console(file=out, width=400)
            environ = {**gateway.environ, "HOLDFAST_URL": gateway.url}
            shell = Shell(environ=environ, printer=Printer(console, console))
            main([*command, *more], shell=shell)
            yield " ".join([*command, *more]), out.getvalue()


@pytest.mark.parametrize(
    ("configured", "demanded"),
    [('["customers.email"]', []), ('["*.EMAIL"]', []), ("[]", ["email"]), ("[]", ["main.*.email"])],
)
def test_no_view_shows_it_and_the_images_keep_it(
    tmp_path: Path, configured: str, demanded: list[str]
) -> None:
    with served(tmp_path, config(tmp_path, configured=configured, demanded=demanded)) as gateway:
        before = emails(tmp_path)
        returned = sql(
            gateway, "UPDATE customers SET plan = 'pro' WHERE id IN (8, 9) RETURNING email"
        )
        read = sql(gateway, "SELECT email FROM customers WHERE id = 9")
        # What the agent may see is policy's to say; what people are shown is the configuration's.
        for answer in (returned, read):
            assert (CANARY in json.dumps(answer["rows"])) is (not demanded)
        call = conflicting(gateway, tmp_path)
        seen = list(views(gateway, call))
        seen += commands(gateway, call, f"snap_{call[5:]}")
        assert any("[redacted]" in text for _, text in seen)
        for what in ("images", "job", "POST /admin/reverts", "revert", "snapshots show"):
            assert any(where.startswith(what) and "[redacted]" in text for where, text in seen)
        assert [where for where, text in seen if CANARY in text] == []

        with gateway.admin() as admin:
            job = admin.post("/admin/reverts", json={"call": call, "on_conflict": "force"}).json()
        assert job["state"] == "reverted"
        assert emails(tmp_path) == before
    log = (tmp_path / "serve.log").read_text()
    assert CANARY not in log


def test_without_it_the_views_show_what_was_there(tmp_path: Path) -> None:
    """So that the test above can fail."""
    with served(tmp_path, config(tmp_path)) as gateway:
        call = conflicting(gateway, tmp_path)
        shown = {where for where, text in views(gateway, call) if CANARY in text}
    assert {"images", "job", "POST /admin/reverts"} <= shown
