from __future__ import annotations

from gateway.errors import AuditUnavailable
from gateway.surfaces.wiring import Bounds
from tests.surfaces.doubles import ADMIN, AGENT, House, house


async def test_the_process_says_that_it_lives(home: House) -> None:
    answer = await home.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_ready_names_its_parts(home: House) -> None:
    answer = await home.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "parts": {"store": "ok", "policy": "ok", "audit": "ok"},
    }


async def test_a_part_that_cannot_work_is_named_without_details(home: House) -> None:
    home.checks["audit"] = AuditUnavailable("disk /secret/path full")
    home.checks["policy"] = RuntimeError("token=hunter2")
    answer = await home.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {
        "store": "ok",
        "policy": "internal",
        "audit": "audit.unavailable",
    }
    assert "secret" not in answer.text
    assert "hunter2" not in answer.text


async def test_a_part_that_does_not_answer_is_not_ready() -> None:
    async with house(Bounds(check_s=0.01)) as home:
        home.checks["store"] = TimeoutError()
        assert (await home.http.get("/readyz")).json()["parts"]["store"] == "deadline"


async def test_asking_often_does_not_check_often(home: House) -> None:
    await home.http.get("/readyz")
    home.checks["store"] = AuditUnavailable("down")
    assert (await home.http.get("/readyz")).status_code == 200
    home.clock.advance(seconds=2)
    assert (await home.http.get("/readyz")).status_code == 503


async def test_health_may_be_asked_by_head(home: House) -> None:
    assert (await home.http.head("/healthz")).status_code == 200


async def test_metrics_are_not_for_everybody_and_are_read_without_a_record(home: House) -> None:
    assert (await home.http.get("/metrics")).status_code == 401
    assert (
        await home.http.get("/metrics", headers={"Authorization": f"Bearer {AGENT}"})
    ).status_code == 401
    before = len(home.store.events)
    answer = await home.http.get("/metrics", headers={"Authorization": f"Bearer {ADMIN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert len(home.store.events) == before
