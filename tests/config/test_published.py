from __future__ import annotations

import json
from pathlib import Path

from gateway.config.published import schema

ROOT = Path(__file__).parents[2]


def test_the_published_schema_is_current() -> None:
    published = (ROOT / "docs/config.schema.json").read_text("utf-8")
    assert published == schema(), "run `make schema`"


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    described = json.loads(schema())
    objects = [described, *described["$defs"].values()]
    assert all(part["additionalProperties"] is False for part in objects)


def test_numbers_may_be_written_as_variables() -> None:
    port = json.loads(schema())["$defs"]["Server"]["properties"]["port"]
    assert [part["type"] for part in port["anyOf"]] == ["integer", "string"]
    assert port["default"] == 8400


def test_every_setting_is_described() -> None:
    described = json.loads(schema())
    for part in (described, *described["$defs"].values()):
        for name, setting in part["properties"].items():
            assert "description" in setting, name
