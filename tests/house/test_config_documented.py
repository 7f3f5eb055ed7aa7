from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from gateway.config import Config
from tests.house.sources import ROOT

EXAMPLE = ROOT / "config.example.yaml"
ANY = "*"  # stands for a name that the user chooses, or for an item of a list


def switched_on(text: str) -> str:
    """The example with every ``#key:`` and ``#- item`` in use; ``# text`` stays a comment."""
    return re.sub(r"^(\s*)#(?=\S)", r"\1", text, flags=re.MULTILINE)


def wanted(schema: dict[str, Any], root: dict[str, Any], path: str = "") -> Iterator[str]:
    """The dotted paths of all keys in a JSON Schema."""
    schema = _resolved(schema, root)
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from wanted(choice, root, path)
    for key, value in schema.get("properties", {}).items():
        yield f"{path}{key}"
        yield from wanted(value, root, f"{path}{key}.")
    for inner in (schema.get("additionalProperties"), schema.get("items")):
        if isinstance(inner, dict):
            yield from wanted(inner, root, f"{path}{ANY}.")


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def shown(value: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of a YAML value, those under ``*`` included for every name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (f"{path}{key}", f"{path}{ANY}")
            yield from shown(inner, f"{path}{key}.")
            yield from shown(inner, f"{path}{ANY}.")
    elif isinstance(value, list):
        for inner in value:
            yield from shown(inner, f"{path}{ANY}.")


def test_every_setting_stands_in_the_example() -> None:
    schema = Config.model_json_schema()
    keys = set(wanted(schema, schema))
    example = yaml.safe_load(switched_on(EXAMPLE.read_text(encoding="utf-8")))

    assert len(keys) > 30, "the schema is not walked any more"
    assert sorted(keys - set(shown(example))) == []


def test_every_setting_of_the_example_is_explained_above_it() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    unexplained = []
    explained: set[tuple[int, str]] = set()
    for above, line in zip(["", *lines], lines, strict=False):
        if re.match(r"^\S", line) and not line.startswith("#"):
            explained.clear()  # another section; within one, a key is explained where it is first
        key = re.match(r"^(\s*)#?(- )?([a-z_]+):", line)
        if key is None:
            continue
        at = len(key[1]) + len(key[2] or ""), key[3]
        if re.match(r"^\s*# \S", above):
            explained.add(at)
        elif at not in explained:
            unexplained.append(line.strip())

    assert unexplained == []


def test_a_missing_key_is_noticed() -> None:
    schema = Config.model_json_schema()
    keys = set(wanted(schema, schema))
    example = yaml.safe_load(switched_on(EXAMPLE.read_text(encoding="utf-8")))
    del example["server"]["port"]

    assert "server.port" in keys - set(shown(example))
