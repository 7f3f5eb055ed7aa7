from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from tests.surfaces.doubles import House


async def fill(home: House, count: int) -> None:
    for n in range(count):
        await home.store.record("test", {"n": n})


async def test_entries_come_byte_for_byte_and_in_pages(home: House) -> None:
    await fill(home, 5)
    first = (await home.admin("GET", "/admin/audit?limit=3")).json()
    assert [e["seq"] for e in first["entries"]] == [1, 2, 3]
    for entry in first["entries"]:
        assert hashlib.sha256(entry["body"].encode()).hexdigest() == entry["hash"]
        assert json.loads(entry["body"])["seq"] == entry["seq"]
    rest = (await home.admin("GET", f"/admin/audit?after={first['after']}&limit=100")).json()
    # The two readings stand on record themselves.
    assert [e["seq"] for e in rest["entries"]] == [4, 5, 6, 7]
    assert rest["after"] is None


async def test_a_whole_log_verifies_page_by_page(home: House) -> None:
    await fill(home, 2500)
    document = (await home.admin("GET", "/admin/audit/verify")).json()
    assert document == {
        "ok": True,
        "entries": 2501,
        "head": home.store.log[-1].hash,
        "fault": None,
    }


async def test_the_first_bad_entry_is_named(home: House) -> None:
    await fill(home, 5)
    bad = home.store.log[2]
    home.store.log[2] = replace(bad, body=bad.body.replace('"n":2', '"n":7'))
    document = (await home.admin("GET", "/admin/audit/verify")).json()
    assert (document["ok"], document["fault"]["seq"]) == (False, 3)


async def test_a_log_that_was_cut_differs_from_its_checkpoint(home: House) -> None:
    await fill(home, 5)
    made = await home.admin("POST", "/admin/audit/checkpoints")
    point = made.json()
    assert made.status_code == 201
    assert (point["seq"], point["hash"]) == (6, home.store.log[-1].hash)
    query = f"checkpoint={point['seq']}:{point['hash']}"
    good = (await home.admin("GET", f"/admin/audit/verify?{query}")).json()
    assert good["ok"] is True
    del home.store.log[3:]
    cut = (await home.admin("GET", f"/admin/audit/verify?{query}")).json()
    assert (cut["ok"], cut["fault"]["seq"]) == (False, 5)


async def test_no_checkpoint_is_made_of_a_log_that_does_not_verify(home: House) -> None:
    await fill(home, 3)
    del home.store.log[1]
    answer = await home.admin("POST", "/admin/audit/checkpoints", json={})
    assert (answer.status_code, answer.json()["reason"]) == (412, "precondition.failed")
    assert answer.json()["fault"]["seq"] == 2


@pytest.mark.parametrize(
    "query",
    ["after=-1", "after=x", "limit=0", "limit=1001", "before=3", "checkpoint=1:abc"],
)
async def test_a_question_that_is_not_understood_is_malformed(home: House, query: str) -> None:
    path = "/admin/audit/verify" if "checkpoint" in query else "/admin/audit"
    answer = await home.admin("GET", f"{path}?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


@pytest.mark.parametrize("point", ["0:" + "a" * 64, "1:" + "A" * 64, "1", "1:" + "a" * 63])
async def test_a_checkpoint_of_another_form_is_malformed(home: House, point: str) -> None:
    answer = await home.admin("GET", f"/admin/audit/verify?checkpoint={point}")
    assert answer.status_code == 400
