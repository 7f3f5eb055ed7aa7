from __future__ import annotations

import typing

import pytest

from gateway.app.packs import pack
from gateway.app.servers import server_spec
from gateway.config import McpServerSettings, parse
from gateway.model import ActionClass, Reversibility

PACKS = [
    name
    for name in typing.get_args(
        typing.get_args(McpServerSettings.model_fields["pack"].annotation)[0]
    )
]
TEXT = """identity: {admin_token: "${ADMIN}"}
mcp_servers:
  files:
    command: [files]
    pack: filesystem
    tools:
      "*": {class: admin}
      write_file: {class: write}
"""


@pytest.mark.parametrize("name", PACKS)
def test_every_pack_can_be_used_as_it_is(name: str) -> None:
    faults: list[object] = []
    settings = McpServerSettings(command="it", pack=name)  # type: ignore[arg-type]
    spec = server_spec("it", settings, (), faults, {})  # type: ignore[arg-type]
    assert faults == []
    assert spec.pack.keys() == pack(name).keys()
    assert any(tool.undo is not None for tool in spec.pack.values())


@pytest.mark.parametrize("name", PACKS)
def test_calls_of_a_pack_are_of_tools_that_it_knows(name: str) -> None:
    tools = pack(name)
    for tool in tools.values():
        calls = (*tool.before_needs, tool.before, tool.undo, *tool.undo_then, tool.undo_absent)
        mine = (call for call in calls if call is not None and not call.companion)
        assert all(call.tool in tools for call in mine)


def test_the_configuration_wins_over_a_pack_and_a_pack_over_the_star() -> None:
    settings = parse(TEXT, {"ADMIN": "a-token-for-the-admin"}).mcp_servers["files"]
    spec = server_spec("files", settings, (), [], {})
    assert spec.tool("write_file").reversibility is Reversibility.IRREVERSIBLE
    assert spec.tool("edit_file").reversibility is Reversibility.COMPENSABLE
    assert spec.tool("read_text_file").cls is ActionClass.READ
    assert spec.tool("another").cls is ActionClass.ADMIN
