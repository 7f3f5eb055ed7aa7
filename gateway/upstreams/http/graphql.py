"""GraphQL requests as their operations and top-level fields: what really runs, not its labels.

Aliases are resolved, fragments expanded, and directives are not believed: a field that `@skip`
might leave out counts as one that runs. Everything that is not one readable request is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    parse,
)
from graphql.language import SelectionSetNode

from gateway.model import Json

_MOST_TOKENS = 10_000
_MOST_FIELDS = 200
_MOST_DEPTH = 32
_KEYS = frozenset({"query", "operationName", "variables", "extensions"})


class NotJudged(ValueError):
    """Why this request is refused, for the one who sent it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """``kind``: query or mutation. ``fields`` are the names of the top-level fields as the server
    knows them, each once, in order."""

    kind: str
    name: str | None
    fields: tuple[str, ...]

    def as_json(self) -> dict[str, Json]:
        return {"kind": self.kind, "name": self.name, "fields": list(self.fields)}


def operation_of(body: Json) -> Operation:
    """The operation that a request body runs. Raises ``NotJudged``."""
    if isinstance(body, list):
        raise NotJudged("a batch of GraphQL requests is not accepted; send one at a time")
    if not isinstance(body, dict):
        raise NotJudged("a GraphQL request is a JSON object with `query`")
    strange = sorted(body.keys() - _KEYS)
    if strange:
        raise NotJudged(f"a GraphQL request has no member {strange[0]!r}; a stored query is not "
                        "known here")  # fmt: skip
    text = body.get("query")
    if not isinstance(text, str) or not text.strip():
        raise NotJudged("the GraphQL request has no `query`; a persisted one is not known here")
    extensions = body.get("extensions")
    if isinstance(extensions, dict) and "persistedQuery" in extensions:
        raise NotJudged("persisted queries are not known here; send the document itself")
    name = body.get("operationName")
    if name is not None and not isinstance(name, str):
        raise NotJudged("operationName is a text")
    return _chosen(_parsed(text), name or None)


def _parsed(text: str) -> DocumentNode:
    try:
        return parse(text, no_location=True, max_tokens=_MOST_TOKENS)
    except GraphQLError as error:
        raise NotJudged(f"the GraphQL document cannot be parsed: {error.message}") from None
    except RecursionError:
        raise NotJudged("the GraphQL document is nested too deeply") from None


def _chosen(document: DocumentNode, name: str | None) -> Operation:
    operations: list[OperationDefinitionNode] = []
    fragments: dict[str, FragmentDefinitionNode] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(definition, FragmentDefinitionNode):
            if definition.name.value in fragments:
                raise NotJudged(f"the fragment {definition.name.value} is defined twice")
            fragments[definition.name.value] = definition
        else:
            raise NotJudged("a document has operations and fragments only")
    names = [o.name.value if o.name else None for o in operations]
    if len(set(names)) < len(names) or (len(names) > 1 and None in names):
        raise NotJudged("the operations of the document cannot be told apart by name")
    if name is None and len(operations) != 1:
        raise NotJudged("operationName must say which operation of the document runs")
    found = [o for o, own in zip(operations, names, strict=True) if name in (None, own)]
    if len(found) != 1:
        raise NotJudged(f"the document has no operation {name!r}")
    kind = found[0].operation.value
    if kind not in ("query", "mutation"):
        raise NotJudged("subscriptions are not served over POST")
    fields = _fields(found[0].selection_set, fragments, ())
    # Counted before they are told apart: fragments can multiply.
    seen = list(islice(fields, _MOST_FIELDS + 1))
    if not 1 <= len(seen) <= _MOST_FIELDS:
        raise NotJudged(f"an operation has 1 to {_MOST_FIELDS} top-level fields")
    own = found[0].name
    return Operation(kind, own.value if own else None, tuple(dict.fromkeys(seen)))


def _fields(
    selected: SelectionSetNode,
    fragments: dict[str, FragmentDefinitionNode],
    inside: tuple[str, ...],
) -> Iterator[str]:
    if len(inside) > _MOST_DEPTH:
        raise NotJudged("fragments are nested too deeply")
    for node in selected.selections:
        if isinstance(node, FieldNode):
            yield node.name.value
        elif isinstance(node, InlineFragmentNode):
            yield from _fields(node.selection_set, fragments, (*inside, "..."))
        elif isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in fragments:
                raise NotJudged(f"the fragment {name} is not defined")
            if name in inside:
                raise NotJudged(f"the fragment {name} contains itself")
            yield from _fields(fragments[name].selection_set, fragments, (*inside, name))
        else:
            raise NotJudged("a selection that is not known")
