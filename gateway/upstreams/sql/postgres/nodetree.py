"""Reads PostgreSQL's own print of an analysed tree (``nodeToString``) and collects what it would
touch. A node or field that is not known here makes the whole tree unknown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.upstreams.sql.postgres.nodefields import KINDS, KINDS_OF, NODES, Kind

SELECT, UPDATE, INSERT, DELETE, MERGE = 1, 2, 3, 4, 5

_TOKEN = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])++", re.DOTALL)
_LINE = 78  # bytes after which the server breaks a line, inside of a word when it must
_INT = re.compile(r"-?[0-9]+")


class UnknownTree(Exception):
    """The print is not one that can be read for sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A relation in a range table. ``required``: permission bits; columns by number, 0 for all."""

    relation: int
    required: int
    selected: tuple[int, ...]
    inserted: tuple[int, ...]
    updated: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A query that writes, at any depth. ``actions``: the commands of a MERGE."""

    command: int
    relation: int
    actions: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class TreeFacts:
    """Object ids of everything in a tree. ``made``: types that new values are made of, by reading
    text or by a cast; ``passed``: types of values that exist. ``called``: functions that were
    written as such."""

    functions: set[int] = field(default_factory=set)
    called: set[int] = field(default_factory=set)
    operators: set[int] = field(default_factory=set)
    made: set[int] = field(default_factory=set)
    passed: set[int] = field(default_factory=set)
    others: set[int] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    locks: bool = False
    draws: bool = False


class Node:
    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[str, Value] = {}


Value = Node | list["Value"] | str | None


def read_tree(text: str) -> TreeFacts:
    """Facts of a printed list of queries, or of one printed expression. Raises
    ``UnknownTree``."""
    for line in text.encode().split(b"\n"):
        if len(line) >= _LINE and b" " not in line[1:] and b"\n" in text.encode():
            raise UnknownTree("a name is too long to be told apart")
    facts = TreeFacts()
    for node in _nodes(_parse(_TOKEN.findall(text))):
        _collect(node, facts)
    return facts


def _parse(tokens: list[str]) -> Value:
    """Not recursive: trees are as deep as statements are."""
    root: list[Value] = []
    stack: list[Node | list[Value]] = [root]
    label = ""
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        top = stack[-1]
        if token == "}" or token == ")":  # noqa: S105 - a token of the print
            if isinstance(top, Node) is not (token == "}") or label or len(stack) == 1:  # noqa: S105
                raise UnknownTree("brackets do not match")
            stack.pop()
            continue
        if isinstance(top, Node) and not label:
            if not token.startswith(":") or token[1:] in top.fields:
                raise UnknownTree(f"{top.name} is not printed as expected")
            label = token[1:]
            continue
        value: Value
        if token == "{":  # noqa: S105 - a token of the print
            value = Node(tokens[position] if position < len(tokens) else "")
            position += 1
        elif token == "(":  # noqa: S105 - a token of the print
            value = []
        else:
            value = None if token == "<>" else token  # noqa: S105 - a token of the print
        if isinstance(top, Node):
            top.fields[label] = value
            if label == "constvalue" and value is not None:
                position = _datum(tokens, position)
            label = ""
        else:
            top.append(value)
        if isinstance(value, Node | list):
            stack.append(value)
    if len(stack) != 1 or len(root) != 1:
        raise UnknownTree("the print is not whole")
    return root[0]


def _datum(tokens: list[str], position: int) -> int:
    """Skips ``[ 1 0 0 ]``, bytes of a constant."""
    if position >= len(tokens) or tokens[position] != "[":
        raise UnknownTree("a constant is not printed as expected")
    position += 1
    while position < len(tokens) and _INT.fullmatch(tokens[position]):
        position += 1
    if position >= len(tokens) or tokens[position] != "]":
        raise UnknownTree("a constant is not printed as expected")
    return position + 1


def _nodes(root: Value) -> Iterator[Node]:
    stack = [root]
    while stack:
        value = stack.pop()
        if isinstance(value, Node):
            yield value
            stack.extend(value.fields.values())
        elif isinstance(value, list):
            stack.extend(v for v in value if isinstance(v, Node | list))


def _collect(node: Node, facts: TreeFacts) -> None:
    if node.name not in NODES:
        raise UnknownTree(f"the node {node.name} is not known")
    for name, value in node.fields.items():
        kind = KINDS_OF.get((node.name, name)) or KINDS.get(name)
        if kind is None:
            if _plain(value):
                raise UnknownTree(f"the field {name} of {node.name} is not known")
            continue
        if kind is not Kind.NEUTRAL:
            getattr(facts, _SETS[kind]).update(_oids(value))
    if node.name in ("FUNCEXPR", "AGGREF", "WINDOWFUNC"):
        facts.called.update(
            _number(node, f) for f in ("funcid", "aggfnoid", "winfnoid") if f in node.fields
        )
    elif node.name == "ROWMARKCLAUSE":
        facts.locks = True
    elif node.name == "NEXTVALUEEXPR":
        facts.draws = True
    elif node.name in ("RANGETBLENTRY", "RTEPERMISSIONINFO"):
        _use(node, facts)
    elif node.name == "QUERY":
        _query(node, facts)


_SETS = {
    Kind.FUNCTION: "functions",
    Kind.OPERATOR: "operators",
    Kind.MADE: "made",
    Kind.PASSED: "passed",
    Kind.OTHER: "others",
}


def _plain(value: Value) -> bool:
    """Whether a value says something by itself: not absent, not made of nodes only."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            return True
        if isinstance(part, list):
            stack.extend(part)
    return False


def _oids(value: Value) -> Iterator[int]:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, str) and item.isdecimal() and item.isascii():
            if item != "0":
                yield int(item)
        elif item not in ("o", "i", None):
            raise UnknownTree("an object id is not printed as expected")


def _number(node: Node, name: str) -> int:
    value = node.fields.get(name, "0")
    if not isinstance(value, str) or not _INT.fullmatch(value):
        raise UnknownTree(f"the field {name} of {node.name} is not printed as expected")
    return int(value)


def _use(node: Node, facts: TreeFacts) -> None:
    relation = _number(node, "relid")
    if relation:
        facts.uses.append(
            Use(
                relation=relation,
                required=_number(node, "requiredPerms"),
                selected=_columns(node, "selectedCols"),
                inserted=_columns(node, "insertedCols"),
                updated=_columns(node, "updatedCols"),
            )
        )


def _columns(node: Node, name: str) -> tuple[int, ...]:
    value = node.fields.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or value[:1] != ["b"]:
        raise UnknownTree(f"the field {name} of {node.name} is not printed as expected")
    return tuple(int(v) - 7 for v in value[1:] if isinstance(v, str))


def _query(node: Node, facts: TreeFacts) -> None:
    command = _number(node, "commandType")
    if command not in (SELECT, UPDATE, INSERT, DELETE, MERGE) or node.fields.get("utilityStmt"):
        raise UnknownTree("it runs a command that is not a query")
    if command == SELECT:
        return
    entries = node.fields.get("rtable")
    index = _number(node, "resultRelation")
    target = entries[index - 1] if isinstance(entries, list) and index else None
    actions = node.fields.get("mergeActionList")
    conflict = node.fields.get("onConflict")
    updates = isinstance(conflict, Node) and conflict.fields.get("action") == "2"
    facts.commands.append(
        Command(
            command=command,
            relation=_number(target, "relid") if isinstance(target, Node) else 0,
            actions=(UPDATE,)
            if updates
            else tuple(
                _number(a, "commandType")
                for a in (actions if isinstance(actions, list) else ())
                if isinstance(a, Node)
            ),
        )
    )
