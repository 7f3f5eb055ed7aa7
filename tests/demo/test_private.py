from __future__ import annotations

from pathlib import Path

from gateway.config import parse
from gateway.demo.private import private_gateway
from gateway.demo.shop import seed_shop
from tests.house.sources import ROOT

ENVIRON = {"HOLDFAST_ADMIN_TOKEN": "a" * 40, "HOLDFAST_AGENT_TOKEN": "b" * 40}


def names_in(folder: Path) -> set[str]:
    return {found.name for found in folder.iterdir()}


async def test_source_tool_and_server_are_there_and_live_in_one_folder(tmp_path: Path) -> None:
    settings = parse((ROOT / "config.example.yaml").read_text(encoding="utf-8"), ENVIRON)
    settings = settings.model_copy(
        update={"policy": settings.policy.model_copy(update={"path": str(ROOT / "policies")})}
    )
    seed_shop(tmp_path / "shop.db")
    async with private_gateway(settings, tmp_path, "s") as (agent, admin):
        rows = await agent.post("/sql/shop", json={"sql": "SELECT count(*) FROM customers"})
        assert rows.json()["rows"] == [[1206]]
        assert (await agent.get("/http/crm/customers/1")).json()["id"] == 1
        assert (await agent.get("/admin/calls")).status_code == 403
        calls = (await admin.get("/admin/calls", params={"session": "s"})).json()["calls"]
        assert {call["surface"] for call in calls} == {"sql", "http"}
    assert {"shop.db", "crm.db", "store.db"} <= names_in(tmp_path)
