"""Which routes of a tool can be taken back, as far as its OpenAPI document tells.

What is derived is a proposal: the document says what an operation takes and answers, not what it
does. ``holdfast tools rehearse`` proves each route against a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.model import Json
from gateway.upstreams.openapi.document import Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """``route``: as it stands under ``routes`` of a tool. ``why_not``: why it has no way back,
    where it has none. ``notes``: what a person should know before trusting it."""

    route: Mapping[str, Json]
    why_not: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def match(self) -> str:
        return str(self.route["match"])


def derive(operations: Sequence[Operation]) -> tuple[Derived, ...]:
    """One proposal for each operation, in the order of the document."""
    return tuple(_derived(_Surroundings(operations), operation) for operation in operations)


class _Surroundings:
    def __init__(self, operations: Sequence[Operation]) -> None:
        self._by_route = {(o.method, o.path): o for o in operations}
        self._paths = sorted({o.path for o in operations})

    def get(self, method: str, path: str) -> Operation | None:
        return self._by_route.get((method, path))

    def item_of(self, collection: str) -> tuple[str, str] | None:
        """The path of one element of ``collection`` and the name of its id, if it is told."""
        beginning = collection.rstrip("/") + "/{"
        found = [p for p in self._paths if p.startswith(beginning) and p.endswith("}")]
        items = [p for p in found if p.count("/") == beginning.count("/")]
        return (items[0], items[0].rpartition("{")[2][:-1]) if len(items) == 1 else None


def _derived(around: _Surroundings, operation: Operation) -> Derived:
    if operation.method in ("GET", "HEAD", "OPTIONS"):
        return Derived(route={"match": operation.route, "class": "read"})
    by_method = {"DELETE": _delete, "PUT": _replace, "PATCH": _replace, "POST": _create}
    return by_method[operation.method](around, operation)


def _delete(around: _Surroundings, operation: Operation) -> Derived:
    path = operation.path
    read, put = around.get("GET", path), around.get("PUT", path)
    if read is None or _schema(read) is None:
        return _no_way_back(operation, f"no GET {path} tells what would be deleted", "destructive")
    if put is None:
        why = f"no PUT {path} could make it again under the same id"
        return _no_way_back(operation, why, "destructive")
    if "201" not in put.answers:
        why = f"PUT {path} does not say (by a 201) that it makes what is not there"
        return _no_way_back(operation, why, "destructive")
    fault = _not_taken(read, put)
    if fault is not None:
        return _no_way_back(operation, fault, "destructive")
    headers = {"If-None-Match": "*"} if "if-none-match" in put.inputs else {}
    return _restoring(operation, "destructive", put, headers, _read_only(read, put))


def _replace(around: _Surroundings, operation: Operation) -> Derived:
    path = operation.path
    read, put = around.get("GET", path), around.get("PUT", path)
    if read is None or _schema(read) is None:
        return _no_way_back(operation, f"no GET {path} tells what would be changed", "write")
    if put is None:
        why = f"no PUT {path} could put the whole back (a PATCH cannot remove what it added)"
        return _no_way_back(operation, why, "write")
    fault = _not_taken(read, put)
    if fault is not None:
        return _no_way_back(operation, fault, "write")
    tagged = "if-match" in put.inputs and "etag" in (operation.success() or (None, ()))[1]
    headers = {"If-Match": "$response.headers.etag"} if tagged else {}
    notes = _read_only(read, put)
    if operation.method == "PUT" and "201" in operation.answers:
        notes = (*notes, "a PUT that makes something new is refused: nothing is there before it")
    return _restoring(operation, "write", put, headers, notes)


def _create(around: _Surroundings, operation: Operation) -> Derived:
    item = around.item_of(operation.path)
    if item is None:
        return _no_way_back(operation, "it is not the POST of a collection of items", "write")
    path, name = item
    if around.get("DELETE", path) is None:
        return _no_way_back(operation, f"no DELETE {path} could remove what it makes", "write")
    answer = _schema(operation)
    named = next((n for n in (name, "id") if n in (answer or {}).get("properties", {})), None)
    if named is None:
        why = f"its answer does not tell the {name} of what it made"
        return _no_way_back(operation, why, "write")
    own = path.replace(f"{{{name}}}", f"{{$response.body.{named}}}")
    route: dict[str, Json] = {
        "match": operation.route,
        "class": "write",
        "reversibility": "compensable",
        "undo": {"call": f"DELETE {own}"},
    }
    if around.get("GET", path) is not None:
        route["verify"] = f"GET {own}"
    return Derived(route={**route, **_keyed(operation)})


def _restoring(
    operation: Operation,
    cls: str,
    put: Operation,
    headers: Mapping[str, str],
    notes: tuple[str, ...],
) -> Derived:
    undo: dict[str, Json] = {"call": f"PUT {put.path}"}
    if headers:
        undo["headers"] = dict(headers)
    route: dict[str, Json] = {
        "match": operation.route,
        "class": cls,
        "reversibility": "compensable",
        "before": f"GET {operation.path}",
        "undo": {**undo, "body": "$before.body"},
        "verify": f"GET {operation.path}",
    }
    return Derived(route={**route, **_keyed(operation)}, notes=notes)


def _no_way_back(operation: Operation, why: str, cls: str) -> Derived:
    route: dict[str, Json] = {
        "match": operation.route,
        "class": cls,
        "reversibility": "irreversible",
    }
    return Derived(route={**route, **_keyed(operation)}, why_not=why)


def _keyed(operation: Operation) -> dict[str, Json]:
    keyed = "idempotency-key" in operation.inputs
    return {"idempotency_key": "Idempotency-Key"} if keyed else {}


def _schema(operation: Operation) -> Mapping[str, Any] | None:
    answer = operation.success()
    return None if answer is None else answer[0]


def _not_taken(read: Operation, put: Operation) -> str | None:
    """Why what ``read`` answers cannot be sent to ``put`` as it is."""
    shown, taken = _schema(read), put.body
    if taken is None or shown is None:
        return f"{put.route} takes no JSON"
    if taken.get("type", "object") != "object" or shown.get("type", "object") != "object":
        return f"{read.route} and {put.route} do not speak of one object"
    lacking = sorted(set(taken.get("required", ())) - set(shown.get("properties", {})))
    if lacking:
        return f"{put.route} needs {', '.join(lacking)}, which {read.route} does not show"
    hidden = sorted(
        name
        for name, value in taken.get("properties", {}).items()
        if value.get("writeOnly") or name not in shown.get("properties", {})
    )
    if hidden:
        return f"{put.route} sets {', '.join(hidden)}, which {read.route} does not show"
    surplus = sorted(set(shown.get("properties", {})) - set(taken.get("properties", {})))
    if surplus and taken.get("additionalProperties") is False:
        return f"{read.route} shows {', '.join(surplus)}, which {put.route} does not take"
    return None


def _read_only(read: Operation, put: Operation) -> tuple[str, ...]:
    properties = (_schema(read) or {}).get("properties", {})
    own = {name.lower() for name in put.path_names}
    names = sorted(n for n, v in properties.items() if v.get("readOnly") and n.lower() not in own)
    if not names:
        return ()
    return (f"{', '.join(names)} are read-only: they come back only if the tool sets them alike",)
