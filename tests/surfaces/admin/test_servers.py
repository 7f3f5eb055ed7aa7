from __future__ import annotations

from pathlib import Path

from tests.fixtures.mcp.house import current, house
from tests.surfaces.mcp.test_trust import UNRULY


async def test_a_changed_tool_is_shown_and_approved(tmp_path: Path) -> None:
    async with house(tmp_path, {"unruly": UNRULY}) as found, found.client() as client:
        await current(client, "/mcp/unruly", "tools/list")
    hidden = {**UNRULY, "env": {"UNRULY_DESCRIPTION": "Reads.\u202e"}}
    path = "/admin/mcp/unruly/tools"
    async with (
        house(tmp_path, {"unruly": hidden}) as found,
        found.client() as client,
        found.admin() as admin,
    ):
        await current(client, "/mcp/unruly", "tools/list")
        [tool] = (await admin.get(path)).json()["tools"]
        assert (tool["tool"], tool["state"]) == ("act", "changed")
        assert tool["document"]["description"] == "Reads.\\u{202e}"
        assert tool["warnings"] == ["description has hidden characters: U+202E"]

        other = await admin.post(path, json={"tool": "act", "digest": "0" * 64})
        assert (other.status_code, other.json()["reason"]) == (412, "precondition.failed")
        approved = await admin.post(path, json={"tool": "act", "digest": tool["digest"]})
        assert (approved.json()["state"], approved.json()["by"]) == ("approved", "admin")
        listed = await current(client, "/mcp/unruly", "tools/list")
        assert [t["name"] for t in listed.json()["result"]["tools"]] == ["act"]
        assert (await admin.get("/admin/mcp/nobody/tools")).status_code == 404
        assert (await client.get(path)).json()["reason"] == "not_admin"
