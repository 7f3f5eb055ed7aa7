"""A gateway of its own for a demonstration: everything in one folder, in this process."""

from __future__ import annotations

import json
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from gateway.app import build
from gateway.config import Config, parse
from gateway.model import Json

_TIMEOUT_S = 120.0
_CUSTOMER = "GET /customers/{id}"
ROUTES: list[Json] = [
    {"match": _CUSTOMER},
    {
        "match": "DELETE /customers/{id}",
        "before": _CUSTOMER,
        "undo": {
            "call": "PUT /customers/{id}",
            "headers": {"If-None-Match": "*"},
            "body": "$before.body",
        },
        "verify": _CUSTOMER,
    },
    {"match": "POST /emails", "reversibility": "irreversible"},
]
_ID = {"id": "$arguments.id"}
NOTES: dict[str, Json] = {
    "read_note": {"class": "read"},
    "delete_note": {
        "class": "destructive",
        "before": {"tool": "read_note", "arguments": _ID},
        "undo": {"tool": "write_note", "arguments": {**_ID, "text": "$before.text"}},
    },
}


@asynccontextmanager
async def private_gateway(
    settings: Config, home: Path, session: str
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """The agent's and the admin's client of a gateway over ``shop.db``, ``crm.db`` and
    ``notes.db`` in ``home``. It uses the policies of ``settings`` and nothing else of them."""
    agent_token, admin_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    environ = {"ADMIN": admin_token, "AGENT": agent_token}
    text = json.dumps(_document(settings, home))
    app = build(parse(text, environ, file="the demo's configuration"))

    def client(token: str, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://127.0.0.1:8400",
            headers={"Authorization": f"Bearer {token}", **headers},
            timeout=_TIMEOUT_S,
        )

    async with (
        app.router.lifespan_context(app),
        client(agent_token, **{"Holdfast-Session": session}) as agent,
        client(admin_token) as admin,
    ):
        yield agent, admin


def _document(settings: Config, home: Path) -> dict[str, Json]:
    return {
        "store": {"url": f"sqlite:///{home}/store.db"},
        "snapshots": {"path": f"{home}/snapshots"},
        "policy": {"path": settings.policy.path, "watch": False},
        "identity": {
            "admin_token": "${ADMIN}",
            "agents": [{"name": "demo", "token": "${AGENT}", "roles": ["developer"]}],
        },
        "sources": {"shop": {"url": f"sqlite:///{home}/shop.db"}},
        "tools": {
            "crm": {
                "base_url": f"http://127.0.0.1:{_free_port()}",
                "demo_data": f"{home}/crm.db",
                "routes": ROUTES,
            }
        },
        "mcp_servers": {
            "notes": {
                "command": [sys.executable, "-m", "gateway.demo.notes", f"{home}/notes.db"],
                "tools": NOTES,
            }
        },
        "telemetry": {"log_level": "error"},
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
