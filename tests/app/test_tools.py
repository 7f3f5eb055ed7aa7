from __future__ import annotations

import pytest

from gateway.app.parts import SystemClock
from gateway.app.tools import declared_tool, http_tools
from gateway.config import Config, parse
from gateway.errors import ConfigInvalid
from gateway.model import ActionClass, Reversibility

LEAST = 'identity: {admin_token: "${ADMIN}"}\n'
ENVIRON = {"ADMIN": "adm-3f9c1e7a5b2d4860", "CRM_TOKEN": "crm-secret"}


def config(text: str) -> Config:
    return parse(LEAST + text, ENVIRON, file="c.yaml")


def test_settings_become_a_tool() -> None:
    settings = config(
        """
tools:
  crm:
    base_url: http://127.0.0.1:8410/v1/
    headers: {Authorization: "Bearer ${CRM_TOKEN}"}
    environment: staging
    timeout_s: 7.0
    routes:
      - {match: "DELETE /customers/{id}", class: destructive, before: "GET /customers/{id}",
         undo: {call: "PUT /customers/{id}", body: "$before.body"}, verify: "GET /customers/{id}"}
      - {match: "POST /emails", class: write, reversibility: irreversible}
      - match: POST /orders
        probe: {call: "GET /orders", happened: "response.status == `200`", fence: 3m}
        retry: {attempts: 3}
"""
    )
    tool = declared_tool("crm", settings.tools["crm"])
    assert tool.headers == {"Authorization": "Bearer crm-secret"}
    assert (tool.origin.path, tool.bounds.answer_s) == ("/v1", 7.0)
    delete, mails, orders = tool.routes
    assert delete.cls is ActionClass.DESTRUCTIVE
    assert delete.undo is not None
    assert delete.undo.body == "$before.body"
    assert mails.reversibility is Reversibility.IRREVERSIBLE
    assert orders.probe is not None
    assert orders.probe.fence_s == 180
    assert orders.retry.attempts == 3
    assert "crm-secret" not in repr(settings)
    assert set(http_tools(settings, SystemClock())) == {"crm"}


def test_every_wrong_route_is_named_with_its_line() -> None:
    settings = config(
        """
tools:
  crm:
    base_url: http://127.0.0.1:8410
    routes:
      - match: DELETE customers
      - match: DELETE /customers/{id}
        before: GET /customers/{nr}
      - match: PUT /customers/{id}
        undo:
          call: PUT /customers/{id}
          body:
            name: $befor.body.name
      - match: GET /a/{x}
      - match: GET /{y}/b
"""
    )
    with pytest.raises(ConfigInvalid) as caught:
        http_tools(settings, SystemClock())
    faults = [(f["file"], f["line"], f["message"]) for f in caught.value.extra["faults"]]
    assert [(file, line) for file, line, _ in faults] == [
        ("c.yaml", 7), ("c.yaml", 9), ("c.yaml", 14), ("c.yaml", 16),
    ]  # fmt: skip
    assert "tools.crm.routes.0.match: the path of a route begins with a slash" in faults[0][2]
    assert "{nr} is no variable of match" in faults[1][2]
    assert "tools.crm.routes.2.undo.body.name: $befor.body.name reads befor" in faults[2][2]
    assert "neither is a special case" in faults[3][2]
