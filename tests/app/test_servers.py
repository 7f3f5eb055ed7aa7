from __future__ import annotations

import sys

import pytest

from gateway.app.servers import INHERITED, mcp_upstreams, server_spec
from gateway.config import parse
from gateway.errors import ConfigInvalid
from gateway.interfaces import no_probe
from gateway.model import ActionClass, Reversibility, ToolClass
from gateway.store.memory import MemoryStore
from tests.fixtures.fakes import FakeClock

ENVIRON = {"ADMIN": "a-token-for-the-admin"}
TEXT = """identity: {admin_token: "${ADMIN}"}
mcp_servers:
  notes:
    command: [python, -m, gateway.demo.notes]
    env: {A: b}
    tools:
      read: {class: read}
      keyed: {class: write, key: request_id, undo: {tool: undo, arguments: {id: $response.id}}}
      probed:
        class: write
        probe: {tool: look, arguments: {id: $arguments.id}, happened: "response.there"}
"""
WRONG = """identity: {admin_token: "${ADMIN}"}
mcp_servers:
  notes:
    command: [notes]
    tools:
      a: {class: write, undo: {tool: b, arguments: {id: $before.id}}}
      b:
        before: {tool: c, arguments: {id: "$arguments.["}}
      c: {class: write, reversibility: exact}
      d:
        undo_absent: {tool: c}
      e:
        before_needs: [{tool: c}]
      f:
        undo: {tool: c}
        undo_then: [{tool: c}]
      g: {undo: {tool: c}, irreversible_because: it is not}
"""


def made(text: str) -> None:
    clock = FakeClock()
    config = parse(text, ENVIRON)
    mcp_upstreams(config, MemoryStore(clock=clock), clock, no_probe)


def test_declarations_are_compiled() -> None:
    settings = parse(TEXT, ENVIRON).mcp_servers["notes"]
    spec = server_spec("notes", settings, (), [], {"PATH": "/bin", "SECRET": "x"})
    assert spec.command[0] == sys.executable
    assert spec.environment == {"PATH": "/bin", "A": "b"}
    assert "SECRET" not in INHERITED
    assert spec.tool("read").cls is ActionClass.READ
    keyed = spec.tool("keyed")
    assert (keyed.tool_class, keyed.reversibility) == (
        ToolClass.KEYED,
        Reversibility.COMPENSABLE,
    )
    assert keyed.undo is not None
    made_undo = keyed.undo({"arguments": {}, "response": {"id": 7}})
    assert made_undo == {"method": "tools/call", "name": "undo", "arguments": {"id": 7}}
    probing = spec.tool("probed").probing
    assert probing is not None
    assert probing.happened({"arguments": {}, "response": {"there": True}}) is True
    assert probing.happened({"arguments": {}, "response": {}}) is None
    undeclared = spec.tool("something")
    assert (undeclared.tool_class, undeclared.reversibility) == (
        ToolClass.OPAQUE,
        Reversibility.IRREVERSIBLE,
    )


def test_every_wrong_template_is_said_with_its_line() -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        made(WRONG)
    assert [fault["line"] for fault in invalid.value.extra["faults"]] == [6, 8, 9, 11, 13, 16, 17]


@pytest.mark.parametrize(
    "url", ["http://me:secret@host/mcp", "http://2130706433/mcp", "http://host/a b"]
)
def test_an_address_that_could_be_another_is_said_with_its_line(url: str) -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        made(f'{WRONG.splitlines()[0]}\nmcp_servers:\n  far:\n    url: "{url}"\n')
    assert [fault["line"] for fault in invalid.value.extra["faults"]] == [4]


def test_right_ones_are_none() -> None:
    made(TEXT)
    assert parse(TEXT, ENVIRON).mcp_servers["notes"].pin == "first_use"
