"""What is counted, and how it is told."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import telemetry
from gateway.errors import NotFound
from gateway.model import Conflict, OnConflict, RevertJob, Step
from gateway.telemetry import HELP, MeteredWalk, Standing, Telemetry
from tests.fixtures.fakes import a_call
from tests.fixtures.walks import walks

NOW = datetime(2026, 1, 1, tzinfo=UTC)
STANDING = Standing(open_calls={"unknown": 2}, freezes=1, revision="r9", policy_fault=True)


def told(counted: Telemetry, standing: Standing = STANDING) -> dict[tuple[str, ...], float]:
    """By sample: name, then the values of its labels."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(counted.text(standing).decode())
        for sample in family.samples
    }


def test_every_name_is_told_and_has_its_help() -> None:
    names = {v for n, v in vars(telemetry).items() if n.isupper() and str(v).startswith("holdfast")}
    assert names == set(HELP)
    text = Telemetry(()).text(STANDING).decode()
    assert set(re.findall(r"# HELP (holdfast_\w+?)(?:_total|_info)? ", text)) == names


def test_what_stands_is_told() -> None:
    found = told(Telemetry(()))
    assert found["holdfast_open_calls", "unknown"] == 2
    assert found["holdfast_freezes",] == 1
    assert found["holdfast_policy_info", "r9"] == 1
    assert found["holdfast_policy_fault",] == 1


def test_calls_are_counted_and_timed() -> None:
    counted = Telemetry(["shop"])
    counted.called("sql", "shop", "succeeded", None, 0.002)
    counted.called("sql", "shop", "succeeded", None, 0.2)
    counted.called("sql", "shop", "denied", "frozen", 100)
    found = told(counted)
    assert found["holdfast_calls_total", "", "succeeded", "sql", "shop"] == 2
    assert found["holdfast_calls_total", "frozen", "denied", "sql", "shop"] == 1
    assert found["holdfast_call_seconds_bucket", "0.001", "sql", "shop"] == 0
    assert found["holdfast_call_seconds_bucket", "0.0025", "sql", "shop"] == 1
    assert found["holdfast_call_seconds_bucket", "30.0", "sql", "shop"] == 2
    assert found["holdfast_call_seconds_bucket", "+Inf", "sql", "shop"] == 3
    assert found["holdfast_call_seconds_count", "sql", "shop"] == 3
    assert found["holdfast_call_seconds_sum", "sql", "shop"] == pytest.approx(100.202)


def test_no_label_has_a_value_that_came_from_outside() -> None:
    counted = Telemetry(["shop"])
    for n in range(1_000):
        counted.called("http", f"secret-{n}", "denied", f"reason-{n}", 0.1)
        counted.kept(f"secret-{n}", 1)
    text = counted.text(STANDING).decode()
    assert "secret" not in text
    assert "reason-" not in text
    assert told(counted)["holdfast_calls_total", "other", "denied", "http", "other"] == 1_000


def test_reverts_and_their_conflicts_are_counted() -> None:
    conflict = Conflict(resource="t", key={"id": 1}, before=None, after=None, now=None)
    step = Step(
        call="c", upstream="shop", action="restore", state="conflict", conflicts=(conflict,) * 3
    )
    job = RevertJob(
        id="r",
        target={},
        on_conflict=OnConflict.ABORT,
        plan=False,
        reason=None,
        requested_by="ann",
        state="conflict",
        steps=(step,),
        created_at=NOW,
        updated_at=NOW,
    )
    counted = Telemetry(())
    counted.reverted(job)
    found = told(counted)
    assert found["holdfast_reverts_total", "conflict"] == 1
    assert found["holdfast_revert_conflicts_total",] == 3


async def test_the_walk_is_counted_whatever_comes_of_it() -> None:
    w, counted = await walks(), Telemetry(["box"])
    walk = MeteredWalk(w.pipeline, counted)
    await walk.handle(a_call())
    with pytest.raises(NotFound):
        await walk.handle(a_call(tool="nowhere"))
    found = told(counted)
    assert found["holdfast_calls_total", "", "succeeded", "sql", "box"] == 1
    assert found["holdfast_calls_total", "unknown_tool", "error", "sql", "other"] == 1
