from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateway.app import application, assemble, build, opened
from gateway.config import parse
from tests.fixtures.serving import ADMIN, AGENT, ROOT, environment


async def test_the_application_of_a_configuration_answers(tmp_path: Path) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    app = build(parse(text, environment(tmp_path), file="x.yaml"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            ready = await client.get("/readyz")
            assert ready.status_code == 200
            assert set(ready.json()["parts"]) == {"store", "audit", "policy"}


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_agent_takes_back_its_own_call_only_where_that_is_configured(
    tmp_path: Path, allowed: bool
) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    text = text.replace("agents_may_undo: false", f"agents_may_undo: {str(allowed).lower()}")
    parts = assemble(parse(text, environment(tmp_path), file="x.yaml"))
    app = application(parts)
    async with opened(parts):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"Authorization": f"Bearer {AGENT}"}
            sql = {"sql": "DELETE FROM orders WHERE id = 5"}
            call = (await client.post("/sql/shop", json=sql, headers=headers)).json()["call"]
            undone = await client.post(f"/calls/{call}/undo", headers=headers)
            assert undone.status_code == (200 if allowed else 403)


async def test_policies_of_an_opa_server_are_not_edited_here(tmp_path: Path) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    text = text.replace("engine: embedded", "engine: opa").replace("#url: http", "url: http")
    parts = assemble(parse(text, environment(tmp_path), file="x.yaml"))
    app = application(parts)
    async with opened(parts):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            headers = {"Authorization": f"Bearer {ADMIN}"}
            answer = await client.get("/admin/policies", headers=headers)
            assert answer.status_code == 404
            assert (await client.get("/readyz")).status_code == 503
