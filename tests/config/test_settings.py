"""The example documents every setting: its path, a comment, its default."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config import Config, parse
from gateway.config.loading import key_of, nested
from gateway.config.values import shown_duration

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
TOKENS = {"HOLDFAST_ADMIN_TOKEN": "a" * 9 + "b" * 9, "HOLDFAST_AGENT_TOKEN": "c" * 9 + "d" * 9}
KEY = base64.b64encode(bytes(range(32))).decode()
Path_ = tuple[str, ...]


def settings(model: type[BaseModel] = Config, at: Path_ = ()) -> Iterator[tuple[Path_, FieldInfo]]:
    """Every key path, ``*`` for a name or an index."""
    for field, known in model.model_fields.items():
        name = key_of(field, known)
        yield (*at, name), known
        for inner, path in nested(known.annotation, (*at, name)):
            yield from settings(inner, path)


def uncommented() -> str:
    """The example with every ``#key:`` and ``#- key:`` in use."""
    return re.sub(r"(?m)^( *)#(?=[a-z_]+:|- )", r"\1", EXAMPLE.read_text("utf-8"))


def documented(node: yaml.Node, at: Path_ = ()) -> Iterator[tuple[Path_, int, str | None]]:
    """Key path, line (from 0) and scalar value of everything in the example."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from documented(item, (*at, "*"))
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        named = at in {
            ("sources",),
            ("tools",),
            ("mcp_servers",),
            ("mcp_servers", "*", "tools"),
        }
        path = (*at, "*" if named else key.value)
        scalar = value.value if isinstance(value, yaml.ScalarNode) else None
        yield path, key.start_mark.line, scalar
        yield from documented(value, path)


LINES = uncommented().split("\n")
# Where a key comes more than once, the first place explains it.
DOCUMENTED: dict[Path_, tuple[int, str | None]] = {}
for _path, _line, _value in documented(yaml.compose("\n".join(LINES))):
    DOCUMENTED.setdefault(_path, (_line, _value))
SETTINGS = dict(settings())


@pytest.mark.parametrize("path", SETTINGS, ids=".".join)
def test_every_setting_stands_in_the_example_with_a_comment(path: Path_) -> None:
    assert path in DOCUMENTED, "add it to config.example.yaml"
    line, _ = DOCUMENTED[path]
    assert comment_above(line), f"line {line + 1} has no comment above it"


@pytest.mark.parametrize("path", SETTINGS, ids=".".join)
def test_the_example_says_the_default(path: Path_) -> None:
    known = SETTINGS[path]
    line, value = DOCUMENTED[path]
    comment = comment_above(line)
    if list(nested(known.annotation, ())) and path not in {("freezes",), ("sources",), ("tools",)}:
        return  # a section: its keys say theirs
    if known.is_required():
        assert "Required" in comment
        return
    assert "efault" in comment
    default = known.get_default(call_default_factory=True)
    if "(default)" in comment:
        assert value == as_written(default)
    elif isinstance(default, str):
        assert f"Default: {default}" in comment or f"`{default}`" in comment


def comment_above(line: int) -> str:
    found: list[str] = []
    while line > 0 and LINES[line - 1].strip().startswith("# "):
        line -= 1
        found.insert(0, LINES[line].strip())
    return " ".join(found)


def as_written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return shown_duration(value) if hasattr(value, "total_seconds") else str(value)


def test_nothing_in_the_example_is_unknown() -> None:
    named = {
        path
        for path in DOCUMENTED
        if (path[0] not in ("sources", "tools") or len(path) != 2) and "headers" not in path[:-1]
    }
    named -= {path for path in named if path[0] == "mcp_servers" and chosen_by_the_user(path)}
    assert named <= set(SETTINGS)


def chosen_by_the_user(path: Path_) -> bool:
    """Names of servers, tools, variables and arguments."""
    free = {"env", "arguments"} & set(path[:-1])
    return len(path) == 2 or (len(path) == 4 and path[2] == "tools") or bool(free)


def test_the_example_starts_with_the_schema_for_editors() -> None:
    first = EXAMPLE.read_text("utf-8").split("\n", 1)[0]
    assert first == "# yaml-language-server: $schema=docs/config.schema.json"


def test_the_example_is_valid_as_it_stands() -> None:
    config = parse(EXAMPLE.read_text("utf-8"), TOKENS)
    assert config.sources["shop"].seed == "shop"
    assert config.store.path == "var/store.db"


def test_the_example_is_valid_with_everything_in_use() -> None:
    text = uncommented()
    config = parse(text, {**TOKENS, "SHOP_CAPTURE_URL": "", "HOLDFAST_IMAGE_KEY": KEY})
    assert config.freezes[0].name == "weekend"
    assert config.policy.url == "http://127.0.0.1:8181"


def test_the_home_of_the_state_can_be_moved() -> None:
    config = parse(EXAMPLE.read_text("utf-8"), {**TOKENS, "HOLDFAST_HOME": "/srv/holdfast"})
    assert config.store.path == "/srv/holdfast/store.db"
    assert config.snapshots.path == "/srv/holdfast/snapshots"
    assert config.sources["shop"].path == "/srv/holdfast/shop.db"
