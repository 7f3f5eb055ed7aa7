from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import AuditUnavailable
from gateway.identity.failures import FailedSignIns
from tests.fixtures.fakes import FakeClock


class Log:
    def __init__(self) -> None:
        self.recorded: list[tuple[str, Mapping[str, Any]]] = []
        self.down = False

    async def record(self, event: str, body: Mapping[str, Any]) -> None:
        if self.down:
            raise AuditUnavailable("down")
        self.recorded.append((event, body))


async def test_few_failures_a_minute_are_recorded_and_the_rest_counted() -> None:
    log, clock = Log(), FakeClock()
    failures = FailedSignIns(log, clock, per_minute=2)
    for _ in range(5):
        await failures.note("unauthenticated", "POST /sql/{source}")
    assert [body["left_out"] for _, body in log.recorded] == [0, 0]
    clock.advance(seconds=61)
    await failures.note("not_admin", "GET /admin/calls")
    assert log.recorded[-1] == (
        "identity.refused",
        {"reason": "not_admin", "where": "GET /admin/calls", "left_out": 3},
    )


async def test_an_audit_log_that_is_down_changes_nothing_for_the_caller() -> None:
    log, clock = Log(), FakeClock()
    failures = FailedSignIns(log, clock, per_minute=10)
    log.down = True
    await failures.note("unauthenticated", "POST /decide")
    await failures.note("unauthenticated", "POST /decide")
    log.down = False
    await failures.note("unauthenticated", "POST /decide")
    assert [body["left_out"] for _, body in log.recorded] == [2]
