from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.surfaces.doubles import House

TEXT = "package gateway\n\ndefault decision := {}\n"


async def test_files_are_listed_by_name_and_digest(home: House) -> None:
    document = (await home.admin("GET", "/admin/policies")).json()
    digest = hashlib.sha256(b"package gateway\n").hexdigest()
    assert document == {
        "revision": "r1",
        "policies": [{"name": "main.rego", "sha256": digest}],
    }


async def test_a_file_is_shown_with_the_revision_to_edit(home: House) -> None:
    answer = await home.admin("GET", "/admin/policies/main.rego")
    assert answer.json()["text"] == "package gateway\n"
    assert answer.headers["ETag"] == '"r1"'
    assert (await home.admin("GET", "/admin/policies/other.rego")).status_code == 404


async def test_an_edit_takes_effect_and_gives_the_new_revision(home: House) -> None:
    answer = await home.admin(
        "PUT", "/admin/policies/main.rego", json={"text": TEXT}, headers={"If-Match": '"r1"'}
    )
    assert (answer.status_code, answer.json()) == (200, {"name": "main.rego", "revision": "r2"})
    assert answer.headers["ETag"] == '"r2"'
    assert home.policies.texts["main.rego"] == TEXT
    event, body = home.store.events[0]
    assert (event, body["policy"], body["if_match"]) == ("admin.policies.put", "main.rego", "r1")
    assert body["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert TEXT not in str(body)


async def test_an_edit_of_what_changed_meanwhile_is_refused(home: House) -> None:
    answer = await home.admin(
        "PUT", "/admin/policies/main.rego", json={"text": TEXT}, headers={"If-Match": '"r0"'}
    )
    assert (answer.status_code, answer.json()["reason"]) == (412, "precondition.failed")
    assert home.policies.texts["main.rego"] != TEXT


async def test_a_broken_edit_is_refused_with_its_faults(home: House) -> None:
    answer = await home.admin("PUT", "/admin/policies/main.rego", json={"text": "broken"})
    assert (answer.status_code, answer.json()["reason"]) == (422, "policy.invalid")
    assert answer.json()["faults"] == [{"file": "main.rego", "line": 3, "message": "broken"}]
    assert home.policies.revision == "r1"


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "%2e%2e", ".hidden", "a%00.rego", "a%5cb", "x" * 200]
)
async def test_a_name_that_leads_elsewhere_does_not_exist(home: House, name: str) -> None:
    for method, more in (("GET", {}), ("PUT", {"json": {"text": TEXT}})):
        answer = await home.admin(method, f"/admin/policies/{name}", **more)
        assert answer.status_code in (404, 405)
    assert home.policies.revision == "r1"


@pytest.mark.parametrize("body", [{}, {"text": None}, {"text": 1}, {"text": "a\0"}, "package x"])
async def test_a_text_that_is_no_text_is_malformed(home: House, body: Any) -> None:
    answer = await home.admin("PUT", "/admin/policies/main.rego", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_the_policies_own_tests_are_reported(home: House) -> None:
    answer = await home.admin("POST", "/admin/policies/test")
    assert answer.json() == {"passed": 12, "failed": [], "revision": "r1"}
