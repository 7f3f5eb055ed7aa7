from __future__ import annotations

from datetime import timedelta

from gateway.interfaces import Quarantined
from tests.fixtures.fakes import START
from tests.surfaces.doubles import House, a_record

KEPT = Quarantined(
    source="app",
    place="holdfast_q0123456789ab_1",
    call="call_1",
    at=START - timedelta(hours=1),
    objects=("orders",),
    bytes=8192,
)


async def test_what_lies_there_is_listed_with_size_age_and_call(home: House) -> None:
    home.purger.kept = [(KEPT, a_record()), (KEPT, None)]
    body = (await home.admin("GET", "/admin/quarantine")).json()
    first, second = body["quarantine"]
    assert (first["call"], first["agent"], first["objects"]) == ("call_1", "a7", ["orders"])
    assert (first["bytes"], first["age_s"], body["bytes"]) == (8192, 3600, 16384)
    assert second["agent"] is None
    assert (await home.agent("GET", "/admin/quarantine")).status_code == 403


async def test_a_purge_waits_for_a_person_and_is_on_record(home: House) -> None:
    asked = {"source": "app", "call": "call_1"}
    answer = await home.admin("POST", "/admin/quarantine/purges", json=asked)
    assert answer.status_code == 202
    assert answer.json()["approval"] == "apr_1"
    assert home.purger.asked == [("app", ("call_1",), "admin")]
    assert "admin.quarantine.purge" in home.heard()


async def test_another_source_or_field_is_refused(home: House) -> None:
    for body, status in (
        ({"source": "no", "call": "c"}, 404),
        ({"source": "app"}, 400),
        ({"source": "app", "call": "c", "force": True}, 400),
    ):
        answer = await home.admin("POST", "/admin/quarantine/purges", json=body)
        assert answer.status_code == status, body
