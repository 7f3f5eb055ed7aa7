from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from gateway.demo.crm import OPENAPI
from gateway.upstreams.openapi.derive import Derived, derive
from gateway.upstreams.openapi.document import read

CRM: dict[str, Any] = json.loads(OPENAPI.read_text(encoding="utf-8"))
ITEM = "/customers/{id}"


def derived(document: dict[str, Any]) -> dict[str, Derived]:
    return {found.match: found for found in derive(read(json.dumps(document)))}


def changed(**of_item: Any) -> dict[str, Any]:
    """The description of ``crm`` with other operations on one customer; ``None`` removes one."""
    document = copy.deepcopy(CRM)
    for method, operation in of_item.items():
        document["paths"][ITEM][method] = operation
        if operation is None:
            del document["paths"][ITEM][method]
    return document


def test_reads_are_reads() -> None:
    found = derived(CRM)
    for route in ("GET /customers", f"GET {ITEM}", "GET /emails"):
        assert found[route].route == {"match": route, "class": "read"}


def test_a_deleted_item_is_put_back_where_nothing_stands() -> None:
    assert derived(CRM)[f"DELETE {ITEM}"].route == {
        "match": f"DELETE {ITEM}",
        "class": "destructive",
        "reversibility": "compensable",
        "before": f"GET {ITEM}",
        "undo": {
            "call": f"PUT {ITEM}",
            "headers": {"If-None-Match": "*"},
            "body": "$before.body",
        },
        "verify": f"GET {ITEM}",
    }


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_changed_item_is_put_back_if_nobody_changed_it_since(method: str) -> None:
    route = derived(CRM)[f"{method} {ITEM}"].route
    assert route["undo"] == {
        "call": f"PUT {ITEM}",
        "headers": {"If-Match": "$response.headers.etag"},
        "body": "$before.body",
    }
    assert route["class"] == "write"


def test_a_made_item_is_deleted_by_the_id_that_was_answered() -> None:
    route = derived(CRM)["POST /customers"].route
    assert route["undo"] == {"call": "DELETE /customers/{$response.body.id}"}
    assert route["verify"] == "GET /customers/{$response.body.id}"
    assert route["idempotency_key"] == "Idempotency-Key"
    assert "before" not in route


def test_what_has_no_inverse_is_irreversible_and_says_why() -> None:
    mail = derived(CRM)["POST /emails"]
    assert mail.route["reversibility"] == "irreversible"
    assert mail.why_not
    assert "undo" not in mail.route


def put_without(answer: str) -> dict[str, Any]:
    operation: dict[str, Any] = copy.deepcopy(CRM["paths"][ITEM]["put"])
    del operation["responses"][answer]
    return operation


def put_taking(schema: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = copy.deepcopy(CRM["paths"][ITEM]["put"])
    operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
    return operation


SECRET = {"type": "object", "properties": {"name": {}, "password": {"writeOnly": True}}}
NARROW = {"type": "object", "properties": {"name": {}}, "additionalProperties": False}
MORE = {"type": "object", "properties": {"name": {}}, "required": ["name", "tier"]}


@pytest.mark.parametrize(
    ("document", "lost"),
    [
        (changed(get=None), ("DELETE", "PUT", "PATCH")),
        (changed(put=None), ("DELETE", "PATCH")),
        (changed(put=put_without("201")), ("DELETE",)),
        (changed(put=put_taking(SECRET)), ("DELETE", "PUT", "PATCH")),
        (changed(put=put_taking(NARROW)), ("DELETE", "PUT", "PATCH")),
        (changed(put=put_taking(MORE)), ("DELETE", "PUT", "PATCH")),
    ],
    ids=["no read", "no put", "put makes nothing", "hidden field", "surplus field", "lacking"],
)
def test_an_inverse_that_the_document_does_not_carry_is_not_derived(
    document: dict[str, Any], lost: tuple[str, ...]
) -> None:
    found = derived(document)
    for method in lost:
        proposal = found[f"{method} {ITEM}"]
        assert proposal.why_not, method
        assert proposal.route["reversibility"] == "irreversible"


@pytest.mark.parametrize(
    "document",
    [
        changed(delete=None),
        {**CRM, "paths": {k: v for k, v in CRM["paths"].items() if k != ITEM}},
    ],
)
def test_a_made_item_that_nothing_deletes_stays(document: dict[str, Any]) -> None:
    assert derived(document)["POST /customers"].why_not
