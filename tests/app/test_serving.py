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


async def test_the_metrics_tell_what_happened_to_who_has_their_token(tmp_path: Path) -> None:
    text = (ROOT / "config.example.yaml").read_text("utf-8")
    scraper = "scraper-token-of-some-length"
    environ = {**environment(tmp_path), "HOLDFAST_METRICS_TOKEN": scraper}
    parts = assemble(parse(text, environ, file="x.yaml"))
    app = application(parts)
    async with opened(parts):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            agent = {"Authorization": f"Bearer {AGENT}"}
            for sql in ("DELETE FROM orders WHERE id = 5", "DELETE FROM orders"):
                await client.post("/sql/shop", json={"sql": sql}, headers=agent)
            admin = {"Authorization": f"Bearer {ADMIN}"}
            everything = {"reason": "x", "agent": "demo", "since": "2000-01-01T00:00:00Z"}
            await client.post("/admin/reverts", json=everything, headers=admin)
            await client.post("/admin/freezes", json={"reason": "x"}, headers=admin)
            reading = {"Authorization": f"Bearer {scraper}"}
            told = (await client.get("/metrics", headers=reading)).text.splitlines()
            revision = parts.policy.revision
            assert (await client.get("/admin/freezes", headers=reading)).status_code == 401
    assert 'holdfast_calls_total{reason="",state="succeeded",surface="sql",tool="shop"} 1.0' in told
    assert (
        'holdfast_calls_total{reason="policy.denied",state="denied",surface="sql",tool="shop"} 1.0'
        in told
    )
    assert 'holdfast_reverts_total{state="reverted"} 1.0' in told
    assert "holdfast_freezes 1.0" in told
    assert "holdfast_policy_fault 0.0" in told
    assert f'holdfast_policy_info{{revision="{revision}"}} 1.0' in told
    kept = next(line for line in told if line.startswith("holdfast_snapshot_bytes_total{"))
    assert float(kept.rpartition(" ")[2]) > 0
    assert any(line.startswith('holdfast_store_write_seconds_bucket{le="+Inf"}') for line in told)
    assert not any(secret in "".join(told) for secret in (AGENT, ADMIN, scraper))
